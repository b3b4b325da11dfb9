"""`skipjack install` and `uninstall` on a machine with systemd."""

import re

import pytest

from tests.system.box import Box, wait_until
from tests.system.site import RUNNER, SETTINGS, SKIPJACK, Site

UNITS = "/etc/systemd/system"
RULE = "/etc/polkit-1/rules.d/50-skipjack.rules"
SERVICES = ("tick", "follow", "measure", "courier", "run@", "settle@", "manager", "publish")
REPORTING = "manager: {url: 'http://127.0.0.1:8080', token: {credential: token}}\n"

MIRROR = "upstream: rsync://127.0.0.1/files/\n"


def ours(box: Box) -> set[str]:
    """Return every file of Skipjack outside of the venv and the data."""
    found = box.do(
        "find",
        "/etc",
        "-path",
        "*skipjack*",
        "!",
        "-path",
        "/etc/skipjack*",
        "!",
        "-type",
        "d",
        "!",
        "-name",
        "quick.conf",
    )
    return set(found.split())


def test_printing_writes_nothing_and_shows_what_installing_writes(site: Site) -> None:
    before = ours(site.box)
    printed = site.box.do(SKIPJACK, "install", "--print", user="nobody")
    assert ours(site.box) == before
    site.install(quick=False)
    for path in ours(site.box) - {each for each in ours(site.box) if ".wants/" in each}:
        assert f"# {path}\n{site.box.do('cat', path)}" in printed, path


def test_mirrors_are_synced_by_units_whatever_is_in_their_names(site: Site) -> None:
    site.commit({"debian-security.yml": MIRROR, "os/x.y_z-1.0.yml": MIRROR})
    said = site.install()
    assert "started skipjack-tick.timer" in said
    for name in ("debian-security", "x.y_z-1.0"):
        site.wait_for(name, "success")
        assert site.box.do("cat", f"/srv/mirror/{name}/hello/file.txt") == "hello"
        assert "success" in site.box.do("journalctl", "--no-pager", "-u", f"skipjack-run@{name}.service")
        assert "success" in site.box.do("journalctl", "--no-pager", "-t", f"skipjack-{name}")
    assert site.box.do("stat", "-c", "%U %a", "/srv/mirror/debian-security/hello/file.txt") == "skipjack 644"


def test_timers_alone_bring_a_change_to_the_disk(site: Site) -> None:
    site.install()
    site.commit({"later.yml": MIRROR})  # without a request: the follow timer finds it
    site.wait_for("later", "success")


def test_installing_again_changes_nothing_and_leaves_a_running_job_alone(site: Site) -> None:
    site.commit({"long.yml": "provider: command\nupstream: x\ncommand: sh -c 'until [ -e go ]; do sleep 0.1; done'\n"})
    site.install()
    site.wait_for("long", "syncing")
    unit = "skipjack-run@long.service"
    pid = site.box.do("systemctl", "show", "--value", "--property=MainPID", unit)
    again = site.install()
    assert not re.search("created|wrote|gave|removed|WARNING", again)
    assert site.box.do("systemctl", "show", "--value", "--property=MainPID", unit) == pid
    site.box.do("touch", "/srv/mirror/long/go")
    assert site.wait_for("long", "success")["id"]


def test_a_worker_that_gets_a_manager_gets_a_courier_and_loses_it_again(site: Site) -> None:
    box, settings = site.box, site.box.path(SETTINGS)
    before = settings.read_text()
    box.write("/etc/skipjack/credentials/token", "secret\n", 0o600)
    settings.write_text(before + REPORTING)
    try:
        site.install()
        active = ("systemctl", "is-active", "skipjack-courier.service")
        wait_until(lambda: box.run(*active).returncode == 0, "the courier runs")
        assert box.do("cat", "/run/credentials/skipjack-courier.service/token") == "secret"
        pid = box.do("systemctl", "show", "--value", "--property=MainPID", "skipjack-courier.service")
        box.do("kill", "-KILL", pid)
        after = ("systemctl", "show", "--value", "--property=MainPID", "skipjack-courier.service")
        wait_until(lambda: box.do(*after) not in (pid, "0"), "it is started again")
    finally:
        settings.write_text(before)
    assert "stopped skipjack-courier.timer" in site.install()
    assert not any("courier" in path for path in ours(box))
    assert box.run("systemctl", "is-active", "skipjack-courier.service").returncode != 0


def test_units_are_sound_and_keep_the_programs_from_everything_else(site: Site) -> None:
    box, settings = site.box, site.box.path(SETTINGS)
    before = settings.read_text()
    settings.write_text(before + REPORTING)
    box.write("/etc/skipjack/manager.yml", "listen: 127.0.0.1:8080\n")
    site.install()
    site.install("--manager")
    paths = [path for path in ours(box) if path.startswith(UNITS) and ".wants/" not in path]
    verified = box.do("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *paths)
    assert verified == ""
    for name in SERVICES:
        path = f"{UNITS}/skipjack-{name}.service"
        judged = box.run("systemd-analyze", "security", "--offline=yes", "--threshold=15", path)
        assert judged.returncode == 0, judged.stdout
    box.do(SKIPJACK, "uninstall", "--manager")
    settings.write_text(before)
    site.install()


def test_a_run_reaches_nothing_but_its_folders(site: Site) -> None:
    box = site.box
    probe = (
        "touch /srv/mirror/probe/mine /var/log/skipjack/probe/mine; "
        "for place in /etc /srv /opt/skipjack /home /root /var/lib /usr; do "
        "touch $place/theirs 2>/dev/null && echo wrote $place; done; "
        "cat /etc/skipjack/token && echo read the token; "
        "nice -n 5 ionice -c3 true && echo may be nice; mkdir -m 2755 /srv/mirror/probe/setgid && echo setgid; "
        "unshare -U true && echo made a namespace; true"
    )
    box.write("/etc/skipjack/token", "secret\n", 0o644)
    settings = box.path(SETTINGS)
    before = settings.read_text()
    settings.write_text(before + "manager: {url: 'http://127.0.0.1:8080', token: {file: /etc/skipjack/token}}\n")
    box.write("/srv/probe.sh", f"#!/bin/sh\n{probe}\n", 0o755)
    try:
        site.install()
        site.commit({"probe.yml": "provider: command\nupstream: x\ncommand: /srv/probe.sh\n"})
        site.wait_for("probe", "success")
    finally:
        settings.write_text(before)
        site.install()
    said = box.do("cat", "/var/log/skipjack/probe/latest")
    assert "wrote" not in said and "read the token" not in said and "made a namespace" not in said
    assert "may be nice" in said and "setgid" in said
    assert box.path("/srv/mirror/probe/mine").exists() and box.path("/var/log/skipjack/probe/mine").exists()


def test_uninstalling_removes_what_was_installed_and_leaves_data_and_running_jobs(site: Site) -> None:
    box = site.box
    site.commit({"last.yml": "provider: command\nupstream: x\ncommand: sh -c 'until [ -e go ]; do sleep 0.1; done'\n"})
    site.install()
    site.wait_for("last", "syncing")
    said = box.do(SKIPJACK, "uninstall")
    assert "skipjack-run@last.service is active and continues until it ends" in said
    assert "kept: the user skipjack, /etc/skipjack/runner.yml" in said
    assert ours(box) == set()
    assert box.do("systemctl", "list-units", "--all", "--failed", "--plain", "--no-legend", "skipjack*") == ""
    assert not box.path("/var/lib/skipjack/launcher").exists()
    assert (
        box.do("systemctl", "list-units", "--all", "--plain", "--no-legend", "skipjack*.timer", "skipjack*.path") == ""
    )
    box.do("touch", "/srv/mirror/last/go")
    site.wait_for("last", "success")
    assert box.do("cat", "/srv/mirror/last/go") == "" and box.do("id", "-un", "skipjack") == "skipjack"


def test_uninstalling_stops_jobs_if_requested(site: Site) -> None:
    site.commit({"end.yml": "provider: command\nupstream: x\ncommand: sh -c 'until [ -e go ]; do sleep 0.1; done'\n"})
    site.install()
    site.wait_for("end", "syncing")
    assert "stopped skipjack-run@end.service" in site.box.do(SKIPJACK, "uninstall", "--stop-jobs")
    assert site.mirrors()["end"]["status"] == "interrupted"


WRONG = [
    (("--settings", "/etc/none.yml"), "root", "/etc/none.yml", "--settings"),
    ((), "nobody", "root", "sudo"),
    (("--user",), "nobody", "systemd user instance", "Log in"),
    (("--settings", "/srv/closed.yml"), "root", "skipjack cannot read", "chgrp skipjack"),
]


@pytest.mark.parametrize(
    ("words", "user", "what", "todo"), WRONG, ids=["no-settings", "no-root", "no-session", "closed"]
)
def test_missing_requirements_are_reported_with_a_remedy(
    site: Site, words: tuple[str, ...], user: str, what: str, todo: str
) -> None:
    site.box.run(SKIPJACK, "uninstall")
    site.box.write("/srv/closed.yml", site.box.path(SETTINGS).read_text(), 0o600)
    settings = words if "--settings" in words else ("--settings", SETTINGS, *words)
    done = site.box.run(SKIPJACK, "install", *settings, user=user)
    assert done.returncode == 1
    assert what in done.stderr and todo in done.stderr and done.stderr.count("\n") == 1


def test_a_second_settings_file_takes_over_nothing_of_the_first(site: Site) -> None:
    box, second = site.box, "/etc/skipjack/second.yml"
    site.install()
    folders = "state_dir: /var/lib/second\nrun_dir: /run/second\n"
    box.write(second, site.box.path(SETTINGS).read_text() + folders)
    before = {path: box.do("cat", path) for path in ours(box)}

    for words in ("install",), ("uninstall",):
        done = box.run(SKIPJACK, *words, "--settings", second)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert f"skipjack-follow.service belongs to the worker with the settings {SETTINGS}. " in done.stderr
    box.write(second, site.box.path(SETTINGS).read_text())
    done = box.run(SKIPJACK, "install", "--cron", "--settings", second)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"the settings {SETTINGS} ({UNITS}/skipjack-follow.service) has the same `state_dir`, " in done.stderr

    assert {path: box.do("cat", path) for path in ours(box)} == before
    assert box.run("systemctl", "is-active", "skipjack-tick.timer").returncode == 0
    box.do(SKIPJACK, "uninstall", "--settings", SETTINGS)
    assert "started skipjack-tick.timer" in box.do(SKIPJACK, "install", "--settings", second)
    box.do(SKIPJACK, "uninstall", "--settings", second)
    box.do("rm", second)


def test_without_polkit_nothing_is_written(site: Site) -> None:
    box = site.box
    box.run(SKIPJACK, "uninstall")
    before = ours(box)
    box.do("mv", "/usr/lib/polkit-1/polkitd", "/usr/lib/polkit-1/away")
    try:
        done = box.run(SKIPJACK, "install")
    finally:
        box.do("mv", "/usr/lib/polkit-1/away", "/usr/lib/polkit-1/polkitd")
    assert done.returncode == 1 and "apt-get install polkitd" in done.stderr
    assert ours(box) == before


def test_an_installation_that_other_users_cannot_run_is_refused(site: Site) -> None:
    box = site.box
    box.do("mkdir", "-m", "700", "/srv/closed")
    box.do("cp", "-a", "/opt/skipjack", "/srv/closed/skipjack")
    box.do("sed", "-i", "1s,/opt/,/srv/closed/,", "/srv/closed/skipjack/bin/skipjack")
    done = box.run("/srv/closed/skipjack/bin/skipjack", "install")
    assert done.returncode == 1
    assert "the user skipjack cannot run /srv/closed/skipjack/bin/skipjack" in done.stderr and "/opt" in done.stderr


@pytest.mark.parametrize("folder", ["/tmp", "/home"])
def test_an_installation_that_units_do_not_see_is_refused_when_it_installs(site: Site, folder: str) -> None:
    box = site.box
    before = ours(box)
    box.shell(f"mkdir -p {folder}/venv; cp -a /opt/skipjack {folder}/venv/skipjack")
    box.shell(f"sed -i 1s,/opt/,{folder}/venv/, {folder}/venv/skipjack/bin/skipjack")
    done = box.run(f"{folder}/venv/skipjack/bin/skipjack", "install")
    assert done.returncode == 1
    assert f"Skipjack is installed in {folder}/venv/skipjack" in done.stderr and "below /opt" in done.stderr
    assert ours(box) == before
    box.do("rm", "-rf", f"{folder}/venv")


def test_uninstalling_needs_no_settings_and_leaves_no_failed_unit(site: Site) -> None:
    box, settings = site.box, site.box.path(SETTINGS)
    site.install()
    site.commit({"bad.yml": "provider: command\nupstream: x\ncommand: /srv/none.sh\n"})
    text = settings.read_text()
    box.shell("systemctl stop 'skipjack-*.timer' 'skipjack-*.path' 'skipjack-*.service'")  # one may have read them
    settings.unlink()
    try:
        box.shell("systemctl start skipjack-follow.service || true")
        assert "skipjack-follow" in box.do("systemctl", "list-units", "--failed", "--plain", "--no-legend", "skipjack*")
        done = box.run(SKIPJACK, "uninstall")
        assert (done.returncode, "default folders" in done.stderr) == (0, True), done.stdout + done.stderr
        assert ours(box) == set()
        assert box.do("systemctl", "list-units", "--all", "--failed", "--plain", "--no-legend", "skipjack*") == ""
    finally:
        settings.write_text(text)


def test_folders_of_other_users_stay_theirs_with_all_that_is_in_them(site: Site) -> None:
    box = site.box
    site.box.write(SETTINGS, "log_dir: /var/log/other\n" + RUNNER)
    site.commit({"a.yml": MIRROR})
    box.shell("mkdir /var/log/other; echo kept >/var/log/other/a.log; chown -R daemon: /var/log/other")

    said = site.install()

    assert "WARNING install: /var/log/other belongs to another user; once" in said
    assert "`chown -R skipjack: /var/log/other`" in said
    wait_until(lambda: box.path("/var/lib/skipjack/agenda").exists(), "units were at work")
    wait_until(lambda: "a" in site.mirrors(), "a run was tried")
    owners = box.do("stat", "-c", "%U", "/var/log/other", "/var/log/other/a.log")
    assert owners.split() == ["daemon", "daemon"]

    box.do("chown", "-R", "skipjack:", "/var/log/other")
    assert "WARNING install: /var/log/other" not in site.install()
    box.do(SKIPJACK, "start", "a")
    site.wait_for("a", "success")
