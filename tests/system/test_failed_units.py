"""Units survive what keeps their programs from starting, and are restarted after they have failed."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.system.box import Box, wait_until
from tests.system.site import SKIPJACK, Site

WISHES = "/var/lib/skipjack/wishes"
TIMERS = ("skipjack-tick.timer", "skipjack-follow.timer")
PATHS = ("skipjack-tick.path", "skipjack-follow.path", "skipjack-measure.path")
Obstacle = Callable[[Box], AbstractContextManager[None]]
LONG = 240.0
"""Seconds after which something counts as never happening."""


@pytest.fixture(scope="module")
def worker(site: Site) -> Box:
    """A box with a worker whose programs start for nothing but requests."""
    site.commit({"hello.yml": "upstream: rsync://127.0.0.1/files/hello/\n"})
    site.install(quick=False)
    site.wait_for("hello", "success")
    site.box.do("systemctl", "stop", *TIMERS)
    wait_until(lambda: not (wished(site.box, "tick") or wished(site.box, "follow")), "nothing is asked for", LONG)
    return site.box


def wished(box: Box, name: str) -> bool:
    return box.path(f"{WISHES}/{name}").exists()


def prop(box: Box, unit: str, name: str) -> str:
    return box.do("systemctl", "show", "--value", f"--property={name}", unit)


def starts(box: Box, unit: str) -> int:
    """How often systemd has tried to start a service."""
    words = ("journalctl", "--no-pager", "--output=cat", f"UNIT={unit}")
    return sum(line.startswith("Starting ") for line in box.do(*words).splitlines())


@contextmanager
def no_program(box: Box) -> Iterator[None]:
    box.do("mv", "/opt/skipjack", "/opt/gone")
    try:
        yield
    finally:
        box.do("mv", "/opt/gone", "/opt/skipjack")


@contextmanager
def half_a_program(box: Box) -> Iterator[None]:
    """As in the middle of an upgrade: the commands are there, and what they import is not."""
    packages = box.shell("echo /opt/skipjack/lib/python3*/site-packages")
    gone = ("schemas/errors.py", "runner/base/next_wake.py")
    for name in gone:
        box.do("mv", f"{packages}/{name}", f"{packages}/{name}.gone")
    try:
        yield
    finally:
        for name in gone:
            box.do("mv", f"{packages}/{name}.gone", f"{packages}/{name}")


@contextmanager
def full_disk(box: Box) -> Iterator[None]:
    """No block and no inode is left on the disk of `/`."""
    box.run("dd", "if=/dev/zero", "of=/var/fill", "bs=1M", timeout=300)
    box.run("bash", "-c", "for number in $(seq 100000); do mkdir /var/fill-$number || break; done", timeout=300)
    try:
        yield
    finally:
        box.shell("rm -rf /var/fill /var/fill-*")


@pytest.mark.parametrize("fault", [no_program, half_a_program, full_disk], ids=lambda fault: fault.__name__)
def test_a_request_is_kept_until_its_program_can_start_again(worker: Box, fault: Obstacle) -> None:
    worker.do("systemctl", "start", "skipjack-tick.service")  # so that what it recovers from is this
    before = starts(worker, "skipjack-tick.service")
    with fault(worker):
        worker.do("touch", f"{WISHES}/tick")
        wait_until(lambda: int(prop(worker, "skipjack-tick.service", "NRestarts")) >= 2, "it is tried again", LONG)
        tried, restarts = (
            starts(worker, "skipjack-tick.service") - before,
            prop(worker, "skipjack-tick.service", "NRestarts"),
        )
        assert 2 <= tried <= int(restarts) + 3, "only the service itself tries again, with its pauses"
        assert [prop(worker, path, "ActiveState") for path in PATHS] == ["active"] * 3
        assert wished(worker, "tick")
    wait_until(lambda: not wished(worker, "tick"), "the request is taken", LONG)
    assert [prop(worker, path, "ActiveState") for path in PATHS] == ["active"] * 3


def test_a_request_for_a_broken_follow_does_not_start_it_without_end(site: Site, worker: Box) -> None:
    before = starts(worker, "skipjack-follow.service")
    with half_a_program(worker):
        worker.do("touch", f"{WISHES}/follow")
        wait_until(lambda: prop(worker, "skipjack-follow.service", "Result") == "exit-code", "it fails", LONG)
        wait_until(lambda: not wished(worker, "follow"), "the request is taken", LONG)
        wait_until(lambda: prop(worker, "skipjack-follow.path", "SubState") == "waiting", "the path unit waits", LONG)
        assert starts(worker, "skipjack-follow.service") == before + 1
    site.commit({"_site.yml": "title: Another Title\n"})
    worker.do("touch", f"{WISHES}/follow")
    site.wait_for_revision()


@contextmanager
def limited(box: Box, unit: str) -> Iterator[None]:
    """Let a path unit die at its second request, as units without TriggerLimitIntervalSec=0 did."""
    folder = f"/run/systemd/system/{unit}.d"
    box.write(f"{folder}/limit.conf", "[Path]\nTriggerLimitIntervalSec=1h\nTriggerLimitBurst=1\n")
    box.do("systemctl", "daemon-reload")
    box.do("systemctl", "restart", unit)
    try:
        for _request in range(2):
            box.do("touch", f"{WISHES}/tick")
            wait_until(lambda: not wished(box, "tick") or is_dead(box, unit), "the request is seen", LONG)
        wait_until(lambda: is_dead(box, unit), f"{unit} has failed", LONG)
        yield
    finally:
        box.do("rm", "-r", folder)
        box.do("systemctl", "daemon-reload")


def is_dead(box: Box, unit: str) -> bool:
    return prop(box, unit, "Result") == "trigger-limit-hit"


def test_a_failed_path_unit_is_shown_and_the_next_follow_restarts_it(worker: Box) -> None:
    with limited(worker, "skipjack-tick.path"):
        said = worker.run(SKIPJACK, "next").stderr
        assert "WARNING next: skipjack-tick.path: It has failed (trigger-limit-hit)." in said
        assert prop(worker, "skipjack-tick.path", "ActiveState") == "failed", "looking changes nothing"
    worker.do("systemctl", "start", "skipjack-follow.service")
    assert prop(worker, "skipjack-tick.path", "ActiveState") == "active"
    wait_until(lambda: not wished(worker, "tick"), "its request is taken", LONG)
    assert [unit["unit"] for unit in json.loads(worker.do(SKIPJACK, "next", "--json"))["units"]] == [*TIMERS[::-1]]


def test_a_tick_restarts_units_when_the_last_check_is_old(worker: Box) -> None:
    with limited(worker, "skipjack-tick.path"):
        worker.do("touch", "--date=-1 hour", "/var/lib/skipjack/units")
    worker.do("systemctl", "start", "skipjack-tick.service")
    assert prop(worker, "skipjack-tick.path", "ActiveState") == "active"


def test_a_unit_that_a_person_has_stopped_stays_stopped_and_is_shown(worker: Box) -> None:
    worker.do("systemctl", "start", "skipjack-follow.service")
    assert [prop(worker, timer, "ActiveState") for timer in TIMERS] == ["inactive"] * 2
    said = worker.run(SKIPJACK, "next").stderr
    assert "WARNING next: skipjack-tick.timer: It is stopped, so it starts nothing." in said


STATE, KEPT = "/var/lib/skipjack", "/srv/kept"


def test_path_units_see_requests_on_a_disk_that_was_mounted_after_their_start(worker: Box) -> None:
    worker.shell(f"cp -a {STATE} {KEPT}; mount -t tmpfs box {STATE}; cp -a {KEPT}/. {STATE}/")
    try:
        request = f"{WISHES}/measure/hello"
        worker.do("touch", "--date=-2 minutes", request)
        worker.do("chown", "skipjack:", request)
        worker.do("systemctl", "start", "skipjack-follow.service")
        wait_until(lambda: not worker.path(request).exists(), "the request is taken", LONG)
    finally:
        worker.shell(f"umount --lazy {STATE}; rm -r {KEPT}; systemctl restart {' '.join(PATHS)}")


@contextmanager
def read_only(box: Box) -> Iterator[None]:
    box.shell(f"mount --bind {STATE} {STATE}; mount -o remount,bind,ro {STATE}")
    try:
        yield
    finally:
        box.do("umount", "--lazy", STATE)


def test_a_request_that_cannot_be_removed_starts_few_follows(worker: Box) -> None:
    worker.do("systemctl", "start", "skipjack-follow.service")  # it has ended when this returns
    before = starts(worker, "skipjack-follow.service")
    worker.do("systemctl", "stop", "skipjack-follow.path")
    worker.do("touch", f"{WISHES}/follow")
    with read_only(worker):
        worker.do("systemctl", "start", "skipjack-follow.path")
        wait_until(lambda: starts(worker, "skipjack-follow.service") >= before + 2, "it is started again", LONG)
        said = worker.run(SKIPJACK, "next").stderr
        assert f"The folder {WISHES} cannot be written, so they are delayed." in said
    wait_until(lambda: not wished(worker, "follow"), "the request is taken", LONG)
    said = worker.do("journalctl", "--no-pager", "--output=cat", "-t", "skipjack-follow")
    assert f"skipjack: {STATE}: Read-only file system. Find out why" in said


def test_a_lost_name_of_the_service_manager_is_written_again(site: Site, worker: Box) -> None:
    worker.do("systemctl", "start", "skipjack-follow.service")  # waits for one that is running
    worker.do("rm", f"{STATE}/launcher")
    worker.do("systemctl", "start", "skipjack-follow.service")
    assert worker.path(f"{STATE}/launcher").read_text() == "systemd\n"
    known = len(site.ends("hello"))
    worker.do(SKIPJACK, "start", "hello")
    wait_until(lambda: "success" in site.ends("hello")[known:], "its run succeeds", LONG)


def test_units_that_lacked_their_disk_at_boot_start_when_it_is_there(site: Site, worker: Box) -> None:
    worker.do("systemctl", "stop", *TIMERS, *PATHS, "skipjack-*.service")  # which earlier mounts have started
    worker.shell(f"mv {STATE} {KEPT}; mkdir {STATE}")
    worker.write("/etc/fstab", f"none {STATE} tmpfs nofail,no-such-option=1 0 0\n")
    try:
        worker.reboot()
        site.serve()
        assert {prop(worker, unit, "ActiveState") for unit in (*PATHS, *TIMERS)} == {"inactive"}
        worker.do("mount", "--bind", KEPT, STATE)
        everything = (*PATHS, *TIMERS)
        wait_until(
            lambda: {prop(worker, unit, "ActiveState") for unit in everything} == {"active"}, "all units start", LONG
        )
        assert json.loads(worker.do(SKIPJACK, "next", "--json"))["units"] == []
    finally:
        worker.write("/etc/fstab", "")
        worker.shell(f"umount --lazy {STATE}; rmdir {STATE}; mv {KEPT} {STATE}; systemctl daemon-reload")


def test_drift_shows_the_unit_of_a_mirror_that_is_gone(worker: Box) -> None:
    worker.run("systemctl", "start", "skipjack-run@gone.service")
    wait_until(lambda: prop(worker, "skipjack-run@gone.service", "ActiveState") == "failed", "its run has failed", LONG)
    found = json.loads(worker.do(SKIPJACK, "drift", "--json"))
    (unit,) = (each for each in found["items"] if each["kind"] == "unit")
    assert unit["name"] == "gone" and unit["what"] == "the unit skipjack-run@gone.service is failed"
    assert unit["kept"] == "`systemctl reset-failed skipjack-run@gone.service` removes it."
    worker.do("systemctl", "reset-failed", "skipjack-run@gone.service")
    assert "unit" not in {each["kind"] for each in json.loads(worker.do(SKIPJACK, "drift", "--json"))["items"]}
