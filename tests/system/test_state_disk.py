"""The disks of the directories of a worker and a manager go away and come back while both are running."""

import pytest

from tests.system.box import Box, wait_until
from tests.system.site import RUNNER, SETTINGS, SKIPJACK, Site

MANAGER = "/opt/skipjack/bin/skipjack-manager"
STATE, DISK = "/var/lib/skipjack", "/srv/own-disk"
WISHES = f"{STATE}/wishes"
MOUNTS = {STATE: "var-lib-skipjack.mount", DISK: r"srv-own\x2ddisk.mount"}
PATHS = ("skipjack-tick.path", "skipjack-follow.path", "skipjack-measure.path")
TIMERS = ("skipjack-tick.timer", "skipjack-follow.timer", "skipjack-courier.timer")
LASTING = ("skipjack-manager.service", "skipjack-publish.service")
HELLO = "upstream: rsync://127.0.0.1/files/hello/\n"
SITE = "/var/www/skipjack/status.json"


@pytest.fixture(scope="module")
def both(site: Site) -> Box:
    """A box with a worker that reports to a manager; the disks are made after the installation."""
    box = site.box
    box.write("/etc/skipjack/manager.yml", f"repository: {{url: 'git://127.0.0.1/config.git'}}\nstate_dir: {DISK}/m\n")
    token = box.do(MANAGER, "token", "add", "w1")
    box.do(SKIPJACK, "install", "--manager")
    box.write("/etc/skipjack/credentials/token", f"{token}\n", 0o600)
    box.write(SETTINGS, RUNNER + "manager: {url: 'http://127.0.0.1:8080', token: {credential: token}}\n")
    site.commit({"hello.yml": HELLO})
    site.install()
    site.wait_for("hello", "success")
    box.do("systemctl", "stop", *TIMERS, *PATHS, "skipjack-*.service", "skipjack-manager.socket")
    plug = "[Service]\nType=oneshot\nExecStart=test -e /srv/plugged-in/%i\n"
    box.write("/etc/systemd/system/plugged-in@.service", plug)
    for path in (STATE, DISK):
        disk = path.rpartition("/")[2]
        options = f"bind,nofail,x-systemd.requires=plugged-in@{disk}.service"
        box.shell(f"mv {path} {path}-disk; mkdir -p {path} /srv/plugged-in/{disk}")
        box.shell(f"echo '{path}-disk {path} none {options} 0 0' >>/etc/fstab")
    box.do("systemctl", "daemon-reload")
    box.do("systemctl", "start", *MOUNTS.values(), *TIMERS)
    is_well(box)
    return box


def mount_links(box: Box) -> list[str]:
    return box.do("find", "/etc/systemd/system", "-path", "*.mount.wants*").splitlines()


def states(box: Box, *units: str) -> set[str]:
    return {box.run("systemctl", "is-active", unit).stdout.strip() for unit in units}


def is_well(box: Box) -> None:
    """Everything runs, and a start request is taken."""
    units = (*PATHS, *TIMERS, *LASTING, "skipjack-manager.socket")
    wait_until(lambda: states(box, *units) == {"active"}, "everything runs")
    box.do("touch", f"{WISHES}/tick")
    wait_until(lambda: not box.path(f"{WISHES}/tick").exists(), "the start request is taken")


def unplug(box: Box, path: str) -> None:
    """Take a disk away: its mount unit stops, and cannot start again."""
    box.do("rmdir", f"/srv/plugged-in/{path.rpartition('/')[2]}")
    box.do("systemctl", "stop", MOUNTS[path])
    assert states(box, MOUNTS[path]) == {"inactive"}, "nothing has cancelled the stop"


def plug_in(box: Box, path: str) -> None:
    box.do("mkdir", f"/srv/plugged-in/{path.rpartition('/')[2]}")


def test_the_worker_starts_again_with_its_disk(site: Site, both: Box) -> None:
    unplug(both, STATE)
    assert states(both, *PATHS, *TIMERS, "skipjack-courier.service") == {"inactive"}
    assert both.shell(f"ls {STATE}") == "", "nothing is written below the disk"
    plug_in(both, STATE)
    both.do("systemd-run", "--wait", "true")
    assert states(both, MOUNTS[STATE]) == {"inactive"}, "the start of any service does not mount it"
    both.do("systemctl", "start", MOUNTS[STATE])
    is_well(both)
    known = len(site.ends("hello"))
    both.do(SKIPJACK, "start", "hello")
    wait_until(lambda: "success" in site.ends("hello")[known:], "its run succeeds")


def test_the_manager_starts_again_with_its_disk(site: Site, both: Box) -> None:
    unplug(both, DISK)
    assert states(both, *LASTING, "skipjack-manager.socket") == {"inactive"}
    plug_in(both, DISK)
    both.do("mount", DISK)
    is_well(both)
    site.commit({"later.yml": HELLO})
    both.do("touch", f"{WISHES}/follow")
    wait_until(lambda: '"later"' in both.path(SITE).read_text(), "the site shows a new mirror")


def test_disks_that_nobody_mounts_again_are_mounted_when_they_are_back(both: Box) -> None:
    timers = ("skipjack-disks.timer", "skipjack-manager-disks.timer")
    for path in MOUNTS:
        unplug(both, path)
    assert states(both, "skipjack-disks.target", "skipjack-manager-disks.target") == {"inactive"}
    quick = "[Timer]\nOnUnitInactiveSec=1s\n"
    for timer in timers:
        both.write(f"/etc/systemd/system/{timer}.d/quick.conf", quick)
    both.do("systemctl", "daemon-reload")
    both.do("systemctl", "restart", *timers)
    failed = "Job skipjack-manager-disks.target/start failed with result 'dependency'"
    wait_until(lambda: both.do("journalctl", "--no-pager").count(failed) > 1, "the manager's disk is tried again")
    for path in MOUNTS:
        plug_in(both, path)
    is_well(both)
    both.do("rm", "-r", *(f"/etc/systemd/system/{timer}.d" for timer in timers))
    both.do("systemctl", "daemon-reload")


def test_units_that_a_person_stopped_stay_stopped_as_long_as_no_disk_changes(both: Box) -> None:
    stopped = ("skipjack-measure.path", "skipjack-publish.service")
    both.do("systemctl", "stop", *stopped)
    for unit in ("skipjack-tick.service", "skipjack-follow.service", "skipjack-manager.service"):
        both.do("systemctl", "restart", unit)
    assert states(both, *stopped) == {"inactive"}
    for path in MOUNTS:
        unplug(both, path)
        plug_in(both, path)
        both.do("systemctl", "start", MOUNTS[path])
    is_well(both)


def test_nothing_runs_in_rescue_mode(both: Box) -> None:
    shell = "[Service]\nExecStart=\nExecStart=/bin/sleep infinity\n"
    both.write("/etc/systemd/system/rescue.service.d/no-terminal.conf", shell)
    both.do("systemctl", "daemon-reload")
    both.do("systemctl", "isolate", "rescue.target")
    assert states(both, *MOUNTS.values()) == {"active"}
    wait_until(lambda: states(both, *PATHS, *LASTING, *TIMERS) == {"inactive"}, "everything has stopped")
    both.do("systemctl", "isolate", "multi-user.target")
    is_well(both)


def test_uninstalling_removes_the_links_of_mount_units(both: Box) -> None:
    assert mount_links(both)
    both.do(SKIPJACK, "uninstall")
    both.do(SKIPJACK, "uninstall", "--manager")
    assert mount_links(both) == []
