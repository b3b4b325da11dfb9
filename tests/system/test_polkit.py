"""What the worker's user may ask of systemd, and what not."""

import pytest

from tests.system.box import Box
from tests.system.site import Site

RUN = "skipjack-run@debian-security.x.service"
BUSY = "skipjack-run@busy.service"

ALLOWED = [
    ("start", RUN),
    ("restart", RUN),
    ("set-property", "--runtime", RUN, "MemoryMax=64M"),
    ("set-property", "--runtime", "skipjack-run@never-loaded.service", "CPUQuota=20%"),
    ("stop", RUN),
    ("reset-failed", RUN),
    ("start", "--no-block", "skipjack-tick.service"),
    ("start", "--no-block", "skipjack-follow.service"),
    ("start", "skipjack-tick.timer"),
    ("start", "skipjack-measure.path"),
    ("try-restart", "skipjack-measure.path"),
]

DENIED = [
    ("stop", "box-upstream.service"),
    ("restart", "ssh.service"),
    ("start", "rescue.target"),
    ("stop", "skipjack-tick.service"),
    ("stop", "skipjack-tick.timer"),
    ("restart", "skipjack-tick.path"),
    ("stop", "skipjack-tick.path"),
    ("try-restart", "skipjack-tick.timer"),
    ("start", "skipjack-measure.service"),
    ("start", "skipjack-manager.path"),
    ("start", "skipjack-tick.path.service"),
    ("restart", "skipjack-follow.service"),
    ("start", "skipjack-courier.service"),
    ("start", "skipjack-run@-x.service"),
    ("start", r"skipjack-run@..\x2fetc.service"),
    ("start", "skipjack-run@x.timer"),
    ("start", "skipjack-run@x.service.service.timer"),
    ("set-property", "--runtime", "skipjack-tick.service", "MemoryMax=64M"),
    ("set-property", "--runtime", RUN, "ExecStart=/bin/true"),
    ("set-property", "--runtime", RUN, "User=root"),
    ("kill", BUSY),
    ("freeze", BUSY),
    ("clean", BUSY),
    ("enable", RUN),
    ("mask", "--runtime", RUN),
    ("link", "--runtime", "/srv/mirror/skipjack-run@evil.service"),
    ("daemon-reload",),
    ("set-environment", "LD_PRELOAD=/srv/mirror/evil.so"),
    ("reboot",),
]


@pytest.fixture(scope="module")
def worker(site: Site) -> Box:
    """A box with a worker that has one active run and no other due one."""
    site.commit({"busy.yml": "provider: command\nupstream: x\ncommand: sleep 1000\n"})
    site.install()
    site.wait_for("busy", "syncing")
    site.box.write("/srv/mirror/skipjack-run@evil.service", "[Service]\nExecStart=/bin/true\n")
    site.box.do("systemctl", "stop", "skipjack-tick.timer", "skipjack-follow.timer")
    return site.box


def ask(box: Box, *words: str, user: str = "skipjack") -> tuple[int, str]:
    done = box.run("systemctl", "--no-ask-password", *words, user=user)
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", ALLOWED, ids=lambda words: f"{words[0]} {words[-1]}")
def test_the_worker_may_start_stop_and_limit_its_own_runs(worker: Box, words: tuple[str, ...]) -> None:
    code, said = ask(worker, *words)
    # There is no mirror of that name, so the run itself may fail; what counts is that it was allowed to begin.
    assert code == 0 or "Job for" in said, said
    assert "uthentication" not in said and "denied" not in said


@pytest.mark.parametrize("words", DENIED, ids=" ".join)
def test_the_worker_may_not_do_anything_else(worker: Box, words: tuple[str, ...]) -> None:
    code, said = ask(worker, *words)
    assert code != 0
    refusals = ("nteractive authentication required", "Access denied", "Permission denied", "Cannot set property")
    assert any(each in said for each in (*refusals, "Unknown assignment", "Invalid unit name")), said
    assert worker.do("systemctl", "is-active", "box-upstream.service", BUSY) == "active\nactive"


def test_no_unit_of_its_own_making_may_bear_a_runs_name(worker: Box) -> None:
    words = (
        "systemd-run",
        "--no-ask-password",
        "--unit=skipjack-run@evil.service",
        "-p",
        "User=root",
        "touch",
        "/srv/evil",
    )
    done = worker.run(*words, user="skipjack")
    assert done.returncode != 0 and "authentication required" in done.stderr
    assert not worker.path("/srv/evil").exists()


@pytest.mark.parametrize("words", [("start", RUN), ("start", "skipjack-tick.service")], ids=" ".join)
def test_no_other_user_may_start_the_workers_units(worker: Box, words: tuple[str, ...]) -> None:
    code, said = ask(worker, *words, user="games")
    assert code == 4 or "authentication required" in said
    assert code != 0
