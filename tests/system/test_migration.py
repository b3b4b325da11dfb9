"""The page for those who come from tunasync, command by command: the trial, the move, and the way back."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.box import Box, copy_image, wait_until
from tests.system.site import Site
from tests.system.test_cron import put

PAGE = (Path(__file__).parents[2] / "docs/from-tunasync.md").read_text("utf-8")
LONG = 400.0
"""Seconds after which something counts as never happening; cron looks once a minute."""

PATH = "unset PYTHONDONTWRITEBYTECODE; export PATH=/opt/skipjack/bin:$PATH; cd /root/move; "
CONFIG = """\
[global]
name = "w1"
log_dir = "/var/log/tunasync/{{.Name}}"
mirror_dir = "/srv/mirror"
concurrent = 3
interval = 360

[[mirrors]]
name = "debian"
upstream = "rsync://127.0.0.1/files/hello/"

[[mirrors]]
name = "scripted"
provider = "command"
upstream = "https://example.org/"
command = "/usr/local/bin/sync"

[[mirrors]]
name = "private"
upstream = "rsync://127.0.0.1/private/"
username = "mirror"
password = "open sesame"
"""
SCRIPT = """#!/bin/sh
until [ -e /srv/mirror/scripted/go ]; do sleep 0.2; done
"""
WORKER = """[Service]
User=tunasync
ExecStart=/bin/sh -c 'echo $$$$ >/srv/mirror/.worker; exec sleep infinity'
[Install]
WantedBy=multi-user.target
"""
RSYNCD = "[private]\npath = /srv/upstream\nauth users = mirror\nsecrets file = /etc/rsyncd.secrets\n"
WATCHED = (
    "/srv /var/log/tunasync /var/lib/skipjack /var/log/skipjack /run /etc/skipjack /etc/tunasync /root/move"
    " /opt/skipjack"
)
STATES = "%p|%y|%s|%m|%U:%G|%T@|%C@|%l"


def block(section: str, number: int = 0) -> list[str]:
    """The commands of a section's block of the page, each unchanged."""
    part = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```(?:sh)?\n(.*?)^```", part, re.M | re.S)[number]
    lines = [re.sub(r" +# .*", "", line.removeprefix("$ ")) for line in found.splitlines()]
    return [line for line in lines if re.match(r"(skipjack|git|systemctl|chown|pgrep|rm) ", line)]


def give(box: Box, commands: list[str], user: str = "root") -> str:
    """Give commands of the page one after the other; each must succeed."""
    return "\n".join(box.shell(PATH + command, user=user) for command in commands)


@pytest.fixture
def move(tmp_path: Path, installed: Path) -> Iterator[Site]:
    """A machine of its own on which tunasync's worker is at work."""
    copy_image(installed, tmp_path / "box.img")
    with Box(tmp_path / "box.img") as box:
        site = Site(box)
        site.prepare()
        box.do("rm", "-r", "/etc/skipjack")
        _with_tunasync(box)
        yield site


def _with_tunasync(box: Box) -> None:
    box.do("useradd", "--system", "tunasync")
    box.write("/etc/tunasync/worker.conf", CONFIG)
    box.write("/usr/local/bin/sync", SCRIPT, 0o755)
    box.write("/etc/systemd/system/tunasync-worker.service", WORKER)
    box.write("/etc/rsyncd.secrets", "mirror:open sesame\n", 0o600)
    config = box.path("/etc/box-rsyncd.conf")
    config.write_text(config.read_text() + RSYNCD)
    for name in "abc":
        box.write(f"/srv/upstream/hello/{name}", "the same\n")
        box.write(f"/srv/mirror/debian/{name}", "the same\n")
    box.write("/srv/mirror/debian/old.txt", "old\n")
    box.write("/srv/mirror/scripted/file", "x\n")
    box.write("/var/log/tunasync/debian/latest", "a log\n")
    box.do("chown", "-R", "tunasync:", "/srv/mirror", "/var/log/tunasync")
    box.do("systemctl", "enable", "--now", "tunasync-worker")
    box.do("mkdir", "-p", "/root/move")
    wait_until(lambda: box.path("/srv/mirror/.worker").exists(), "tunasync's worker is at work")


def publish(site: Site) -> None:
    """Import, and publish the folder where the settings expect it."""
    box = site.box
    commands = block("1. Import the configuration")
    box.run("bash", "-c", PATH + commands[0])  # it names what to look at, and exits with 1 then
    give(box, commands[1:])
    init, push = block("1. Import the configuration", 1)
    box.shell(PATH + "git config --global user.name Ada; git config --global user.email ada@mirrors.example")
    give(box, [init, push.replace("git@git.example.org:mirrors.git main", "--force /srv/git/config.git main")])
    box.do("sed", "-i", "s,https://git.example.org/mirrors.git,git://127.0.0.1/config.git,", "/root/move/runner.yml")


def state_of(box: Box) -> dict[str, str]:
    """Everything about each file but when it was read; without what others of the machine write meanwhile.

    Other folders are those of the machine below the box, and not still.
    """
    folders = [folder for folder in WATCHED.split() if box.path(folder).exists()]
    lines = box.do("find", *folders, "-printf", f"{STATES}\n").splitlines()
    skip = re.compile(r"/run/(systemd|log|dbus|udev)\b")
    return {line.partition("|")[0]: line for line in lines if not skip.match(line)}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {path for path in before | after if before.get(path) != after.get(path)}


def test_a_trial_changes_no_file_not_even_a_time(move: Site) -> None:
    box = move.box
    publish(move)
    box.shell("cp /root/move/policy.yml /etc/skipjack/ 2>/dev/null || true; cp /root/move/runner.yml /srv/runner.yml")
    next_, dry = (
        command.replace("runner.yml", "/srv/runner.yml") for command in block("2. Try it: nothing is changed")
    )
    box.do("install", "-d", "-m", "1777", "/opt/tmp")  # other programs of the machine have files in its /tmp
    before = state_of(box)
    for user in ("root", "nobody"):
        shell = PATH.replace("cd /root/move", "cd /") + "\nexport TMPDIR=/opt/tmp\n"
        assert box.shell(shell + next_, user=user).startswith("held: no run starts on this worker")
        said = box.shell(shell + dry, user=user)
        assert "file.txt" in said and "old.txt" in said
    assert changed(before, state_of(box)) == set()
    assert box.do("find", "/opt/tmp", "-mindepth", "1") == ""
    assert box.do("systemctl", "is-active", "tunasync-worker") == "active"


@pytest.mark.parametrize("cron", [False, True], ids=["units", "cron"])
def test_a_site_moves_and_comes_back_by_the_commands_of_the_page(move: Site, cron: bool) -> None:
    box = move.box
    publish(move)
    before = box.do("sha256sum", "/etc/tunasync/worker.conf")
    stop, look = block("3. Stop tunasync's worker")
    give(box, [stop])
    assert box.run("bash", "-c", f"{look} | grep -v daemon").stdout == ""
    box.shell("mkdir -p /etc/skipjack; cp /root/move/runner.yml /etc/skipjack/; cp /root/move/policy.yml /etc/skipjack/"
              " 2>/dev/null || true")  # fmt: skip
    if cron:
        put(box)
        boot = next(
            line for line in box.path("/etc/cron.d/skipjack-boot").read_text().splitlines() if "@reboot" in line
        )
        box.shell(boot.removeprefix("@reboot root ").replace(r"\%", "%"))
        box.do("systemctl", "enable", "--now", "cron.service")
    else:
        assert "WARNING install: skipjack cannot read the secret /etc/skipjack/secrets/private" in give(
            box, ["skipjack install 2>&1"]
        )
    give(box, [line for line in block("4. Install the worker, held", 1) if line.startswith("chown")])
    if not cron:
        assert "cannot read" not in give(box, ["skipjack install 2>&1"])
    wait_until(lambda: box.path("/var/lib/skipjack/plan.db").exists(), "there is a plan", LONG)
    assert give(box, ["skipjack next"]).startswith("held: ")

    give(box, block("4. Install the worker, held", 2))
    assert not box.path("/srv/mirror/debian/old.txt").exists() and box.path("/srv/mirror/debian/file.txt").exists()
    assert set(move.mirrors()) == {"debian"}, "no other mirror began"

    box.reboot()
    move.serve()
    box.shell(
        "cd /root/move/mirrors; echo '# changed' >>_site.yml; git commit -qam Change;"
        " git push -q /srv/git/config.git main"
    )
    head = box.do("git", "-C", "/root/move/mirrors", "rev-parse", "HEAD")
    wait_until(lambda: move.revision() == head, "timers or cron follow", LONG)
    wait_until(lambda: _has_looked(box), "a tick has looked at that plan", LONG)
    assert box.do("stat", "-c", "%U", "/run/skipjack") == "skipjack"
    assert give(box, ["skipjack next"]).startswith("held: ") and len(move.ends("debian")) == 1
    assert set(move.mirrors()) == {"debian"} and move.ends("scripted") == []
    assert box.run("systemctl", "is-active", "tunasync-worker").stdout.strip() == "inactive"

    give(box, block("5. Release the worker"))
    assert " ago by root; nothing was changed" in give(box, block("5. Release the worker"))
    move.wait_for("private", "success", seconds=LONG)
    move.wait_for("scripted", "syncing", seconds=LONG)

    back = block("The way back", int(cron))
    said = give(box, back[:1])
    assert "held: no run starts" in said and "still running: scripted;" in said
    for command in back[1:]:
        if command.startswith("pgrep"):
            _wait_for_none(box, shlex.split(command))
        else:
            give(box, [command.replace("debian", "scripted")])

    assert box.do("systemctl", "is-active", "tunasync-worker") == "active"
    assert box.do("systemctl", "is-enabled", "tunasync-worker") == "enabled"
    owned = box.do("find", "/srv/mirror", "/var/log/tunasync", "!", "-user", "tunasync")
    assert owned == "", "tunasync has all folders again"
    assert box.run("pgrep", "-a", "-u", "skipjack").stdout == ""
    left = box.do("find", "/etc/cron.d", "/etc/systemd/system", "-name", "*skipjack*", "!", "-name", "*.d")
    assert left == "", "nothing of Skipjack starts any more"
    assert box.do("sha256sum", "/etc/tunasync/worker.conf") == before
    assert box.path("/srv/mirror/scripted/file").read_text() == "x\n"
    assert move.mirrors()["scripted"]["status"] in ("paused", "interrupted")


def _has_looked(box: Box) -> bool:
    agenda, plan = (box.path(f"/var/lib/skipjack/{name}") for name in ("agenda", "plan.db"))
    return agenda.exists() and agenda.stat().st_mtime_ns > plan.stat().st_mtime_ns


def _wait_for_none(box: Box, words: list[str]) -> None:
    wait_until(lambda: box.run(*words).returncode == 1, "nothing is at work", LONG)
