"""What the pages name in their lines: commands of systemd, git, rsync and PostgreSQL, and settings of units."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, commands_in_lines, unit_lines
from tests.system.box import Box, copy_image
from tests.system.postgresql import BINARIES, Server
from tests.system.site import SKIPJACK, Site
from tests.system.test_documents import EDITOR

STATE = "/var/lib/skipjack"
OF_POSTGRESQL = ("pg_dump ", "pg_restore ")
PLACES = {
    "sqlite3 ": STATE,
    "rm -rf -- journal.db": STATE,
    "git fetch --unshallow": "/srv/shallow",
    "git diff main...": "/srv/tree",
}
"""Where a command is given, as its page says."""

NAMES = {"NAME": "debian", "HOST": "127.0.0.1", "FOLDER": "/srv/git/config.git"}
"""What a reader writes in the place of a word in capitals."""

FIGURE = re.compile(r"Overall exposure level for \S+: ([0-9.]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Iterator[Site]:
    image = tmp_path_factory.mktemp("lines") / "box.img"
    copy_image(installed, image)
    with Box(image) as box:
        site = Site(box)
        site.prepare()
        site.commit({"debian.yml": "upstream: rsync://127.0.0.1/files/hello/\n"})
        site.install()
        box.write("/etc/skipjack/manager.yml", "listen: 127.0.0.1:8080\n")
        box.do(SKIPJACK, "install", "--manager")
        site.wait_for("debian", "success")
        box.do("useradd", "--create-home", "ada")
        box.write("/srv/editor", EDITOR.replace("[Slice]", "[Service]"), 0o755)
        box.do("git", "clone", "-q", "--depth=1", "file:///srv/git/config.git", "/srv/shallow")
        yield site


def given(box: Box, command: str) -> str:
    """Enter a command with names in the place of words in capitals, on a terminal if it needs one."""
    place = next((place for begin, place in PLACES.items() if command.startswith(begin)), "/")
    for word, name in NAMES.items():
        command = re.sub(rf"\b{word}\b", name, command)
    if command.startswith("sqlite3 "):  # by Python, which has it in any case; both read the same statements
        statement = shlex.split(command)[2]
        command = shlex.join(["python3", "-c", f"import sqlite3; sqlite3.connect('journal.db').execute({statement!r})"])
    if command.startswith("systemctl edit "):
        command = f"script -qec {shlex.quote(command)} /dev/null"
    return box.shell(f"export EDITOR=/srv/editor; cd {place}; {command}")


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_in_the_lines_of_a_page_work(site: Site, page: str) -> None:
    """The last one of docs/systemd.md starts with an empty journal, as that page says, and the worker continues."""
    box = site.box
    for command in commands_in_lines(page):
        if command.startswith(OF_POSTGRESQL):
            continue
        if command.startswith("rm -rf -- journal.db"):
            box.do("systemctl", "stop", "skipjack-*.timer", "skipjack-*.path", "skipjack-tick.service")
        said = given(box, command)
        if command.startswith("systemd-analyze security"):
            figures = [float(figure) for figure in FIGURE.findall(said)]
            assert figures and max(figures) <= 1.5, said
        if command.startswith("systemctl edit "):
            assert "MemoryMax=64G" in box.do(
                "systemctl", "cat", f"skipjack-run{'@debian' if 'NAME' in command else '@'}"
            )
        if command.startswith("rm -rf -- journal.db"):
            box.do(SKIPJACK, "install")
            box.do(SKIPJACK, "follow", "--start")
            site.wait_for("debian", "success")


def test_settings_of_units_that_a_page_names_are_known_to_systemd(site: Site) -> None:
    box = site.box
    lines = unit_lines("docs/systemd.md")
    assert {"ProtectHome=no", "MemoryDenyWriteExecute=no", "ReadWritePaths=/srv/other"} <= {*lines}
    for line in [*lines, "ProtectHom=no"]:
        line = line.replace(":FILE", ":/srv/file")
        box.write("/etc/systemd/system/skipjack-run@.service.d/page.conf", f"[Service]\n{line}\n")
        done = box.run("systemd-analyze", "verify", "skipjack-run@debian.service")
        assert ("page.conf" in done.stdout + done.stderr) == (line == "ProtectHom=no"), line
    box.do("rm", "/etc/systemd/system/skipjack-run@.service.d/page.conf")


def test_a_database_is_copied_and_put_back_by_the_managers_page(tmp_path: Path, server: Server) -> None:
    dump, restore = (each for each in commands_in_lines("docs/manager.md") if each.startswith(OF_POSTGRESQL))
    server.database("copied")
    server.execute("CREATE TABLE kept (n integer)", database="copied")
    server.execute("INSERT INTO kept VALUES (7)", database="copied")
    url = f"postgresql://postgres@127.0.0.1:{server.port}/copied"
    for command in (dump, restore):
        program, *options = command.split()
        options = [option.replace("FILE", str(tmp_path / "file")).replace("URL", url) for option in options]
        subprocess.run([str(BINARIES[-1] / program), *options], check=True)
        if command == dump:
            server.execute("DROP TABLE kept", database="copied")
    assert server.execute("SELECT n FROM kept", database="copied") == [(7,)]
