"""Runs as units of systemd: they outlive what started them, and however they end, their end is known."""

from collections.abc import Iterator

import pytest

from tests.system.box import Box, wait_until
from tests.system.conftest import install_version
from tests.system.site import SKIPJACK, Site

WAITS = "provider: command\nupstream: x\ncommand: sh -c 'echo began; until [ -e go ]; do sleep 0.1; done; rm go'\n"
TREE = """#!/bin/bash
sleep 1000 &
setsid sleep 1001 &
setsid --fork bash -c 'trap "" TERM; sleep 1002; true'
trap '' TERM
wait
"""
START = ("systemctl", "--no-ask-password", "start", "skipjack-tick.service")
HOG = "#!/usr/bin/python3\nblocks = []\nwhile True:\n    blocks.append(b'x' * 2**20)\n"


@pytest.fixture(autouse=True)
def quiet_site(site: Site) -> Iterator[None]:
    """Each test begins with an installed worker without mirrors and leaves none running."""
    site.install()
    yield
    site.box.run("systemctl", "stop", "skipjack-run@*.service")
    names = site.box.do("find", "/srv/tree", "-name", "[!_]*.yml", "-printf", "%P\n").split()
    if names:
        site.commit(dict.fromkeys(names))
    site.install()  # a test may have stopped the timers
    site.wait_for_revision()


def shown(box: Box, name: str, what: str) -> str:
    return box.do("systemctl", "show", "--value", f"--property={what}", f"skipjack-run@{name}.service")


def test_a_run_outlives_the_tick_that_started_it_and_all_that_may_start_it(site: Site) -> None:
    site.commit({"old.yml": WAITS})
    site.wait_for("old", "syncing")
    pid = shown(site.box, "old", "MainPID")
    others = ["skipjack-tick.service", "skipjack-tick.timer", "skipjack-tick.path", "skipjack-follow.service"]
    site.box.do("systemctl", "restart", *others)
    assert shown(site.box, "old", "MainPID") == pid
    assert "skipjack-run@old.service" in site.box.do("cat", f"/proc/{pid}/cgroup")
    site.box.do("touch", "/srv/mirror/old/go")
    assert site.wait_for("old", "success")["attempts"] == 1


def test_a_freed_slot_is_refilled_without_any_timer(site: Site) -> None:
    names = ("slot-a", "slot-b", "slot-c")
    site.commit({f"{name}.yml": WAITS for name in names})

    def statuses() -> dict[str, str]:
        found = site.mirrors()
        return {name: found[name]["status"] for name in names if name in found}

    wait_until(lambda: sorted(statuses().values()) == ["queued", "syncing", "syncing"], "two run and one waits")
    site.box.do("systemctl", "stop", "skipjack-tick.timer", "skipjack-follow.timer")
    running = next(name for name, status in statuses().items() if status == "syncing")
    waiting = next(name for name, status in statuses().items() if status == "queued")
    site.box.do("touch", f"/srv/mirror/{running}/go")
    begun = site.wait_for(waiting, "syncing")
    assert begun["started_at"] >= site.mirrors()[running]["ended_at"]


def test_a_run_that_waits_for_its_next_attempt_leaves_its_slot_to_another(site: Site) -> None:
    fails = "provider: command\nupstream: x\ncommand: sh -c 'exit 7'\nretry: 2\nretry_delay: 1h\n"
    again, others = ("again-a", "again-b"), ("other-a", "other-b")
    site.commit({f"{name}.yml": fails for name in again} | {f"{name}.yml": WAITS for name in others})
    for name in others:
        site.wait_for(name, "syncing")
    for name in again:
        run = site.mirrors()[name]
        assert (run["status"], run["attempts"]) == ("pre-syncing", 1)
        assert shown(site.box, name, "ActiveState") == "active", "its process waits"
    site.box.do(SKIPJACK, "stop", *again)
    for name in again:
        site.wait_for(name, "paused")


def test_stopping_a_unit_ends_its_whole_tree_and_counts_as_an_interruption(site: Site) -> None:
    site.box.write("/srv/tree.sh", TREE, 0o755)
    site.commit({"tree.yml": "provider: command\nupstream: x\ncommand: /srv/tree.sh\n"})
    site.wait_for("tree", "syncing")
    sleeping = ("pgrep", "-c", "-u", "skipjack", "-f", "sleep 100[012]")
    wait_until(lambda: site.box.run(*sleeping).stdout.strip() == "4", "all processes are there")
    site.box.do("systemctl", "stop", "skipjack-run@tree.service")
    assert site.box.run(*sleeping).stdout.strip() == "0"
    run = site.mirrors()["tree"]
    assert run["status"] in ("interrupted", "queued", "launching", "pre-syncing", "syncing")
    assert "received a stop signal" in site.box.do("journalctl", "--no-pager", "-t", "skipjack-tree")


def test_a_unit_closes_only_a_run_that_could_not_record_its_end(site: Site) -> None:
    settled = ("journalctl", "--no-pager", "--quiet", "--unit", "skipjack-settle@killed.service")
    site.commit({"killed.yml": WAITS + "interval: 1s\n"})
    site.wait_for("killed", "syncing")
    site.box.do("touch", "/srv/mirror/killed/go")
    wait_until(lambda: site.ends("killed")[:1] == ["success"], "one run has ended well")
    site.wait_for("killed", "syncing")
    assert site.box.do(*settled) == ""
    site.box.do("systemctl", "stop", "skipjack-tick.timer", "skipjack-tick.path", "skipjack-follow.timer")
    site.box.do("systemctl", "kill", "--signal=KILL", "skipjack-run@killed.service")
    run = site.wait_for("killed", "interrupted")
    assert "died (crash, kill or reboot)" in run["reason"]
    assert site.box.do(*settled)


BROKEN_MOUNT = "[Mount]\nWhat=nothing\nWhere=/srv/mirror\nType=no-such-file-system\n"


def test_a_run_whose_disk_cannot_be_mounted_fails_with_that_reason(site: Site) -> None:
    site.box.write("/etc/systemd/system/srv-mirror.mount", BROKEN_MOUNT)
    site.box.do("systemctl", "daemon-reload")
    try:
        site.commit({"unmounted.yml": "upstream: rsync://127.0.0.1/files/\n"})
        run = site.wait_for("unmounted", "launch-failed")
    finally:
        site.box.shell("rm /etc/systemd/system/srv-mirror.mount; systemctl daemon-reload; systemctl reset-failed")
    assert "it needs srv-mirror.mount, which failed; see `systemctl status srv-mirror.mount`" in run["reason"]
    site.box.do(SKIPJACK, "start", "unmounted")
    site.wait_for("unmounted", "success")


LOST_DISK = "[Service]\nType=oneshot\nExecStart=/bin/false\n"
MOUNT_OF_LOST_DISK = (
    "[Unit]\nRequires=lost.service\nAfter=lost.service\n[Mount]\nWhat=tmpfs\nWhere=/srv/mirror\nType=tmpfs\n"
)


@pytest.mark.parametrize(
    ("name", "mount", "why"),
    [("on-broken", BROKEN_MOUNT, "failed"), ("on-lost", MOUNT_OF_LOST_DISK, "is not mounted")],
    ids=["broken", "lost"],
)
def test_a_run_that_failed_before_its_disk_went_shows_why(site: Site, name: str, mount: str, why: str) -> None:
    site.commit({f"{name}.yml": "upstream: rsync://127.0.0.1/no-such-module/\n"})
    site.wait_for(name, "failed")
    site.box.write("/etc/systemd/system/lost.service", LOST_DISK)
    site.box.write("/etc/systemd/system/srv-mirror.mount", mount)
    site.box.do("systemctl", "daemon-reload")
    try:
        site.box.do(SKIPJACK, "start", name)
        run = site.wait_for(name, "launch-failed")
    finally:
        units = "/etc/systemd/system/srv-mirror.mount /etc/systemd/system/lost.service"
        site.box.shell(f"rm -f {units}; systemctl daemon-reload; systemctl reset-failed")
    assert f"it needs srv-mirror.mount, which {why}; see `systemctl status srv-mirror.mount`" in run["reason"]


def test_a_run_above_its_memory_limit_is_killed_and_fails_with_that_reason(site: Site) -> None:
    site.box.write("/srv/hog.py", HOG, 0o755)
    site.commit({"hog.yml": "provider: command\nupstream: x\ncommand: /srv/hog.py\nmemory_limit: 64MiB\n"})
    run = site.wait_for("hog", "failed", "interrupted")
    assert run["status"] == "failed"
    assert "memory_limit" in run["reason"] and "64.0 MiB" in run["reason"]


def test_limits_follow_a_merged_change_without_root(site: Site) -> None:
    site.commit({"limited.yml": WAITS + "memory_limit: 64MiB\ncpu_limit: 50%\nio_weight: 50\n"})
    site.wait_for("limited", "syncing")
    assert shown(site.box, "limited", "IOWeight") == "50"
    assert shown(site.box, "limited", "MemoryMax") == str(64 * 1024**2)
    assert shown(site.box, "limited", "CPUQuotaPerSecUSec") == "500ms"
    site.box.do("touch", "/srv/mirror/limited/go")
    site.wait_for("limited", "success")
    site.commit({"limited.yml": WAITS + "interval: 1s\nmemory_limit: 128MiB\n"})
    wait_until(lambda: shown(site.box, "limited", "MemoryMax") == str(128 * 1024**2), "the limit is the new one")
    site.wait_for("limited", "syncing")
    assert shown(site.box, "limited", "CPUQuotaPerSecUSec") == "infinity"


UNSTARTABLE = [
    ("user", "User=nobody-of-that-name\n", "its user does not exist"),
    ("credential", "LoadCredential=gone:/etc/skipjack/credentials/gone\n", "a credential is missing"),
    ("folder", "ReadWritePaths=/srv/gone\n", "a folder that it may write to is missing"),
    ("program", "ExecStart=\nExecStart=/srv/gone\n", "its program cannot be executed"),
]


@pytest.mark.parametrize(("name", "text", "reason"), UNSTARTABLE, ids=[each[0] for each in UNSTARTABLE])
def test_a_unit_that_cannot_start_is_reported_with_its_reason(site: Site, name: str, text: str, reason: str) -> None:
    drop_in = f"/etc/systemd/system/skipjack-run@{name}.service.d"
    site.box.write(f"{drop_in}/bad.conf", f"[Service]\n{text}")
    site.box.do("systemctl", "daemon-reload")
    try:
        site.commit({f"{name}.yml": WAITS})
        run = site.wait_for(name, "launch-failed")
    finally:
        site.box.do("rm", "-r", drop_in)
        site.box.do("systemctl", "daemon-reload")
    assert reason in run["reason"]
    assert f"systemctl {'cat' if name == 'credential' else 'status'}" in run["reason"]


LOSSES = {
    "rule": ("rm /etc/polkit-1/rules.d/50-skipjack.rules", "true"),
    "polkit": ("systemctl mask --runtime --now polkit", "systemctl unmask --runtime polkit"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_worker_without_permission_to_start_runs_prints_what_to_do_and_recovers(site: Site, loss: str) -> None:
    lose, repair = LOSSES[loss]
    site.box.shell(lose)
    try:
        wait_until(lambda: site.box.run(*START, user="skipjack").returncode != 0, "the worker may start nothing")
        site.commit({f"refused-{loss}.yml": "upstream: rsync://127.0.0.1/files/\n"})
        run = site.wait_for(f"refused-{loss}", "launch-failed")
    finally:
        site.box.shell(repair)
    assert "run `skipjack install` again, as root" in run["reason"]
    site.install()
    wait_until(lambda: site.box.run(*START, user="skipjack").returncode == 0, "polkit has noticed")
    site.box.do(SKIPJACK, "start", f"refused-{loss}")
    site.wait_for(f"refused-{loss}", "success")


def test_a_password_is_a_credential_that_only_runs_are_given(site: Site) -> None:
    box = site.box
    box.write("/etc/rsyncd.secrets", "mirror:open sesame\n", 0o600)
    config = box.path("/etc/box-rsyncd.conf")
    config.write_text(
        config.read_text()
        + "[private]\npath = /srv/upstream\nauth users = mirror\nsecrets file = /etc/rsyncd.secrets\n"
    )
    box.write("/etc/skipjack/credentials/mirrors/upstream-password", "open sesame\n", 0o600)
    site.install()
    site.commit(
        {"p.yml": "upstream: rsync://127.0.0.1/private/\nusername: mirror\npassword: {credential: upstream-password}\n"}
    )
    site.wait_for("p", "success")
    assert box.path("/srv/mirror/p/hello/file.txt").exists()


def test_a_run_that_a_reboot_ended_is_an_interruption(site: Site) -> None:
    site.commit({"reboot.yml": WAITS})
    site.wait_for("reboot", "syncing")
    site.box.reboot()
    site.serve()
    assert "received a stop signal" in site.wait_for("reboot", "interrupted")["reason"]


def test_a_mirror_that_ran_when_the_power_failed_is_synced_again_by_itself(site: Site) -> None:
    site.commit({"power.yml": WAITS})
    before = site.wait_for("power", "syncing")
    site.box.cut_power()
    site.box.boot()
    site.serve()
    wait_until(lambda: site.mirrors()["power"]["id"] > before["id"], "it begins again after its pause")
    site.wait_for("power", "syncing")
    site.box.do("touch", "/srv/mirror/power/go")
    site.wait_for("power", "success")
    assert site.ends("power") == ["interrupted", "success"]


def test_an_upgrade_leaves_runs_alone_and_the_next_ones_are_of_the_new_version(site: Site) -> None:
    box = site.box
    site.commit({"upgraded.yml": WAITS})
    site.wait_for("upgraded", "syncing")
    pid = shown(box, "upgraded", "MainPID")
    install_version(box, "/opt/skipjack-2")
    box.do("/opt/skipjack-2/bin/skipjack", "install")
    assert shown(box, "upgraded", "MainPID") == pid
    assert "/opt/skipjack/" in box.do("cat", f"/proc/{pid}/cmdline")
    box.do("touch", "/srv/mirror/upgraded/go")
    site.wait_for("upgraded", "success")
    site.commit({"upgraded.yml": WAITS + "interval: 1s\n"})
    site.wait_for("upgraded", "syncing")
    assert "/opt/skipjack-2/" in box.do("cat", f"/proc/{shown(box, 'upgraded', 'MainPID')}/cmdline")
    box.do(SKIPJACK, "install")
