"""The commands of the documents, each page's in order and unchanged, on a machine of its own with systemd.

A command that is added to a page is run by these tests as well, and fails them when it does not work. What stands in
for others' machines is named in STAND_INS, what is not run in NOT_RUN, with the reason.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.docs.pages import blocks, commands
from tests.system import engines
from tests.system.box import CGROUPS, Box, Failed, copy_image, wait_until
from tests.system.conftest import WHEELS, copy_source, install_version
from tests.system.postgresql import Server
from tests.system.site import RUNNER, SETTINGS, SKIPJACK, Site, is_active

SOURCE = "/root/skipjack"
CREDENTIAL = "/etc/skipjack/credentials/token"
DEBIAN = {"debian.yml": "upstream: rsync://127.0.0.1/files/hello/\n"}
FAILS = {"fails.yml": "provider: command\nupstream: x\ncommand: 'false'\n"}

STAND_INS = {
    "https://git.example.org/mirrors.git": "git://127.0.0.1/config.git",
    "https://manager.example.org": "http://127.0.0.1:8080",
}
"""Machines of others that the pages name, and what is there instead of them."""

NOT_RUN = {"make ": "`.ci/run` runs the targets, and these tests are of one; tests/docs asks make whether each is one"}
"""How commands begin that are not run, and why."""

EXPECTED = {"systemctl status skipjack-run@debian": (0, 3)}  # 3: the unit has ended, systemctl(1)
"""Commands that end with another number than 0 and do what the page says."""

EDITOR = """#!/bin/sh
case $1 in */systemd/*) sed -i "2a [Slice]\\nMemoryMax=64G" "$1" ;; esac
"""
"""An editor that adds a limit where `systemctl edit` expects it: below its two lines of comments."""

_KEEPS = re.compile(r"([A-Z]+=\S+|cd \S+)")
"""What has an effect on the commands after it."""

Step = Callable[[str], object]


class PageReader:
    """A reader who enters the commands of a page one after the other, in a folder with Skipjack's source."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.given: list[str] = []
        self._before = (
            f"export PIP_NO_INDEX=1 PIP_FIND_LINKS={WHEELS} PIP_DISABLE_PIP_VERSION_CHECK=1 EDITOR=/srv/editor"
            f" DEBIAN_FRONTEND=noninteractive; export PATH=/usr/local/bin:/opt/skipjack/bin:$PATH; cd {SOURCE}"
        )
        copy_source(box.path(SOURCE))
        box.write("/srv/editor", EDITOR, 0o755)

    def give(self, command: str, first: str = "") -> str:
        """Give a command of a page, which must succeed, and return what it says; `first` is what it reads."""
        self.given.append(command)
        for there, here in STAND_INS.items():
            command = command.replace(there, here)
        if _KEEPS.fullmatch(command):
            self._before += f"; {command}"
        if command.startswith("systemctl edit "):
            command = f"script -qec {shlex.quote(command)} /dev/null"  # it wants a terminal
        script = f"{first} | {{ {command}; }}" if first else command
        done = self.box.run("bash", "-c", f"{self._before}; set -o pipefail; {script}")
        if done.returncode not in EXPECTED.get(self.given[-1], (0,)):
            raise Failed(f"{command} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def follow(self, page: str, instead: Mapping[str, Step]) -> None:
        """Give all commands of a page; for some there is something to do `instead`, before or after giving them.

        Each of these must stand on the page.
        """
        left = set(instead)
        for block in blocks(page, "sh"):
            for command in commands(block):
                step = instead.get(command, self.give)
                left.discard(command)
                if not command.startswith(tuple(NOT_RUN)):
                    step(command)
        assert not left, f"{page} has no such commands any more: {left}"

    def write(self, page: str, path: str) -> None:
        """Write the file that a page shows."""
        [text] = [block.text for block in blocks(page, "yaml") if block.first == f"# {path}"]
        for there, here in STAND_INS.items():
            text = text.replace(there, here)
        self.box.path(path).write_text(f"{text}\n")  # a command before it must have made the folder


@pytest.fixture
def site(tmp_path: Path, installed: Path) -> Iterator[Site]:
    """A machine for one page, with an upstream and a config repository."""
    copy_image(installed, tmp_path / "box.img")
    with Box(tmp_path / "box.img") as box:
        site = Site(box)
        site.prepare()
        site.commit(DEBIAN)
        yield site


def answers(box: Box) -> None:
    """Wait until the manager answers."""
    url = "http://127.0.0.1:8080/jobs"
    wait_until(lambda: box.run("curl", "-sf", url).returncode == 0, "the manager answers")


def test_a_site_is_installed_and_used_by_the_readme(site: Site) -> None:
    box, page = site.box, "README.md"
    box.shell("rm -rf /opt/skipjack /etc/skipjack")
    reader = PageReader(box)
    token: list[str] = []

    def manager(command: str) -> None:
        reader.write(page, "/etc/skipjack/manager.yml")
        reader.give(command)
        answers(box)

    def add(command: str) -> None:
        token.append(reader.give(command).split()[0])

    def credentials(command: str) -> None:
        reader.write(page, "/etc/skipjack/runner.yml")
        reader.give(command)

    def start(command: str) -> None:
        reader.give(command)
        site.wait_for("debian", "success")

    def once(command: str) -> None:
        """As on a machine without systemd, where no unit can be given a credential."""
        box.do("/usr/local/bin/skipjack", "uninstall", "--stop-jobs")
        box.shell(f"install -m 600 -o skipjack {CREDENTIAL} /etc/skipjack/token")
        box.shell(f"sed -i 's,credential: token,file: /etc/skipjack/token,' {SETTINGS}")
        reader.give(command)

    reader.follow(
        page,
        {
            "skipjack install --manager": manager,
            "skipjack-manager token add w1": add,
            "install -d -m 700 /etc/skipjack/credentials": credentials,
            f"install -m 600 /dev/stdin {CREDENTIAL}": lambda command: reader.give(command, f"echo {token[0]}"),
            "skipjack start debian": start,
            "skipjack once": once,
        },
    )
    assert box.path("/srv/mirror/debian/file.txt").read_text() == "hello\n"
    jobs = json.loads(box.do("curl", "-sf", "http://127.0.0.1:8080/jobs"))
    assert [(job["name"], job["status"]) for job in jobs] == [("debian", "success")]
    assert box.path("/var/www/skipjack/index.html").exists()


def test_units_are_installed_used_and_upgraded_by_their_page(site: Site) -> None:
    box, page = site.box, "docs/systemd.md"
    box.shell("rm -rf /opt/skipjack /etc/skipjack")
    reader = PageReader(box)

    def edit(command: str) -> None:
        box.path(SETTINGS).write_text(RUNNER)
        reader.give(command)

    def look(command: str) -> None:
        site.commit(FAILS)
        site.wait_for("debian", "success")
        site.wait_for("fails", "failed")
        reader.give(command)

    def failed(command: str) -> None:
        assert "skipjack-run@fails.service" in reader.give(command)

    def stopped(command: str) -> None:
        """The page has ended a run before, which is tried again a minute later."""
        site.wait_for("debian", "success")
        reader.give(command)

    def back(command: str) -> None:
        """As if a migration had left a copy, and the release before lay beside this one."""
        install_version(box, "/opt/skipjack-1.2")
        wait_until(lambda: not is_active(box, "skipjack-run@*"), "every run has ended")
        copy = "import sqlite3; sqlite3.connect('journal.db').execute(\"VACUUM INTO 'journal.db-of-version-12'\")"
        box.shell(f"cd /var/lib/skipjack; /opt/skipjack/bin/python -c {shlex.quote(copy)}", user="skipjack")
        reader.give(command)

    def confirm(command: str) -> None:
        box.do("install", "-d", "-o", "skipjack", "/var/log/skipjack/gone")
        digest = re.search(r"[0-9a-f]{16}", reader.give("skipjack prune"))
        assert digest, "`prune` shows the digest of the list"
        reader.give(command.replace("0123456789abcdef", digest[0]))

    every = [each for block in blocks(page, "sh") for each in commands(block)]
    [way_back] = [each for each in every if "of-version-" in each]
    stop_all = every[every.index(way_back) - 1]
    assert stop_all.startswith("systemctl stop 'skipjack-courier.*'")
    reader.follow(
        page,
        {
            f"$EDITOR {SETTINGS}": edit,
            "systemctl list-timers 'skipjack*'": look,
            "systemctl list-units --failed 'skipjack-run@*'": failed,
            "skipjack prune --confirm 0123456789abcdef": confirm,
            stop_all: stopped,
            way_back: back,
        },
    )
    assert box.do("readlink", "/opt/skipjack") == "/opt/skipjack-1.2"
    assert "/opt/skipjack-1.2/" in box.do("systemctl", "show", "--value", "--property=ExecStart", "skipjack-tick")
    assert site.mirrors()["debian"]["status"] == "success", "the copy of the journal is in use"
    assert "MemoryMax=64G" in box.do("systemctl", "cat", "skipjack.slice")


def test_images_are_loaded_by_the_page_about_containers(site: Site) -> None:
    box, page = site.box, "docs/containers.md"
    engines.make_image(box.path("/srv/image.tar"))
    box.write("/etc/containers/containers.conf", engines.PODMAN.replace('tmp_dir = "{folder}/tmp"\n', ""))
    store = '[storage]\ndriver = "vfs"\ngraphroot = "/srv/store"\nrunroot = "/run/store"\n'
    box.write("/etc/containers/storage.conf", store)
    box.write("/etc/skipjack/policy.yml", f"images: [{engines.IMAGE}]\n")
    box.write(SETTINGS, RUNNER + "container_program: podman\n")
    box.shell("umount --lazy /proc/sys; umount --lazy /proc/sys/net")
    site.install("--containers")
    box.do("podman", "import", "/srv/image.tar", engines.IMAGE)
    reader = PageReader(box)

    def load(command: str) -> None:
        assert reader.give(command) == f"loaded {engines.IMAGE}\n"

    reader.follow(page, {"skipjack container load tools.tar": load})
    text = f"docker_image: {engines.IMAGE}\ncommand: cat /etc/image\nprovider: command\nupstream: x\n"
    site.commit({"inside.yml": f"{text}docker_options: [--network=none, --pull=never]\n"})
    site.wait_for("inside", "success")


def test_a_token_is_handed_over_by_the_managers_page_and_its_driver_is_installed(site: Site, server: Server) -> None:
    box, page = site.box, "docs/manager.md"
    # The worker's machine is this one.
    box.write("/usr/local/bin/ssh", '#!/bin/sh\n[ "$1" = root@w1 ] && exec sh -c "$2"\n', 0o755)
    box.shell("rm -rf /etc/skipjack/credentials")
    box.write("/etc/skipjack/manager.yml", blocks(page, "yaml")[0].text)
    PageReader(box).follow(page, {})
    assert box.do("stat", "-c", "%a %U %s", CREDENTIAL).startswith("600 root ")
    assert len(box.do("cat", CREDENTIAL)) > 20
    box.do("/opt/skipjack/bin/python", "-c", "import psycopg")
    [statements] = blocks(page, "sql")
    server.execute("DROP ROLE IF EXISTS skipjack")
    for statement in filter(str.strip, statements.text.split(";")):
        server.execute(statement)
    [[owner]] = server.execute(
        "SELECT rolname FROM pg_database JOIN pg_roles r ON r.oid = datdba WHERE datname = 'skipjack'"
    )
    assert owner == "skipjack"
    server.execute("DROP DATABASE skipjack")


def test_nginx_serves_the_site_and_passes_on_the_rest_by_the_managers_page(site: Site) -> None:
    box = site.box
    [block] = blocks("docs/manager.md", "nginx")
    box.write("/etc/skipjack/manager.yml", "listen: 127.0.0.1:8080\ntrusted_proxies: [127.0.0.1]\n")
    site.unit("manager", f"{SKIPJACK}-manager", "serve", "--publish")
    answers(box)
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=mirrors.example.org"
    box.do("openssl", *words.split(), "-keyout", "/etc/skipjack/tls.key", "-out", "/etc/skipjack/tls.crt")
    box.write(block.first.removeprefix("# "), block.text)
    box.do("nginx", "-t")
    site.unit("nginx", "nginx", "-g", "daemon off;")
    get = ("curl", "-s", "--cacert", "/etc/skipjack/tls.crt", "--resolve", "mirrors.example.org:443:127.0.0.1")

    def code(path: str, *more: str) -> str:
        words = ("-o", "/dev/null", "-w", "%{http_code}", *more, f"https://mirrors.example.org{path}")
        return box.run(*get, *words).stdout

    def is_served(path: str) -> bool:
        return code(path) == "200"

    for path in ("/", "/index.html", "/workers.html", "/status.json", "/static/tunasync.json"):
        wait_until(partial(is_served, path), f"nginx serves {path}")
    for path in ("/api/v1/mirrors", "/jobs", "/workers", "/ping", "/metrics"):
        assert code(path) == "200", path
    assert code("/api/v1/reports", "-d", "{}") == "401"
    large = box.run("dd", "if=/dev/zero", "of=/srv/large", "bs=1M", "count=2")
    assert large.returncode == 0
    assert code("/api/v1/reports", "--data-binary", "@/srv/large") == "401", "nginx lets a large report pass"


def test_a_command_is_given_by_the_page_of_the_api(site: Site) -> None:
    box, page = site.box, "docs/api.md"
    box.write("/etc/skipjack/manager.yml", "listen: 127.0.0.1:8080\n")
    manager = f"{SKIPJACK}-manager"
    box.write(CREDENTIAL, box.do(manager, "token", "add", "w1") + "\n", 0o600)
    site.unit("manager", manager, "serve")
    answers(box)
    box.write(SETTINGS, RUNNER + "manager: {url: 'http://127.0.0.1:8080', token: {credential: token}}\n")
    site.install()
    site.wait_for("debian", "success")
    wait_until(lambda: "debian" in box.do("curl", "-sf", "http://127.0.0.1:8080/jobs"), "the manager has its report")
    before = len(site.ends("debian"))
    reader = PageReader(box)
    reader.give(f"TOKEN={box.do(manager, 'token', 'add', 'alice', '--scope', 'operator')}")
    [curl] = commands(blocks(page, "sh")[0])
    said = reader.give(curl)
    assert '"error"' not in said and '"commands"' in said
    assert len(blocks(page, "sh")) == 1
    wait_until(lambda: len(site.ends("debian")) > before, "the worker has done it")


@pytest.mark.skipif(not (CGROUPS / "memory").is_dir(), reason="the page's command is for control groups of version 1")
def test_a_control_group_is_made_by_the_page_about_settings(site: Site) -> None:
    box = site.box
    box.do("useradd", "--system", "skipjack")
    PageReader(box).follow("docs/settings.md", {})
    assert box.do("stat", "-c", "%U", "/sys/fs/cgroup/memory/skipjack/cgroup.procs") == "skipjack"
    box.do("rmdir", "/sys/fs/cgroup/memory/skipjack")
