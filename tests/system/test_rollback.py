"""A rollback to a release whose journal has other tables, by the commands of docs/systemd.md and with that release."""

import io
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from runner.journal.migrations import MIGRATIONS
from tests.docs.pages import blocks, commands
from tests.system.box import Box, wait_until
from tests.system.conftest import CHECKOUT
from tests.system.site import Site, is_active
from tests.system.test_upgrade import programs, versioned

PACKAGES = ("runner", "schemas", "sitegen")
STEPS = ("runner/journal/migrations.py", "runner/migrations.py")
"""Where the tables of the journal are today, and in older releases."""

COUNT = """
import sys
sys.path.insert(0, sys.argv[1])
try:
    from runner.journal.migrations import MIGRATIONS
except ImportError:  # an older release
    from runner.migrations import MIGRATIONS
print(len(MIGRATIONS))
"""
VERSION = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(*(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "journal_mode")))
"""


def git(*words: str) -> bytes:
    call = ["git", "-c", f"safe.directory={CHECKOUT}", "-C", str(CHECKOUT), *words]
    return subprocess.run(call, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the newest release before the last change of the journal's tables, from our own history."""
    try:
        commits = git("log", "--format=%H", "--max-count=20", "--", *STEPS).decode().split()
        before = [f"{commit}~1" for commit in commits]
        assert before and git("rev-parse", "--verify", before[0])
    except (OSError, AssertionError, subprocess.CalledProcessError):
        pytest.skip("this copy of the source has no history; `git fetch --unshallow` brings it")
    for commit in before:
        folder = tmp_path_factory.mktemp("older")
        with tarfile.open(fileobj=io.BytesIO(git("archive", commit, *PACKAGES))) as archive:
            archive.extractall(folder, filter="data")
        found = subprocess.run(["python3", "-c", COUNT, str(folder)], check=True, capture_output=True, text=True)
        if int(found.stdout) < len(MIGRATIONS):
            return folder
    raise LookupError("no release has an older journal")


def put_older(box: Box, older: Path, folder: str) -> int:
    """Install an older release's packages instead; returns the version of its journal."""
    (packages,) = box.path(folder).glob("lib/python*/site-packages")
    for name in PACKAGES:
        subprocess.run(["rm", "-r", str(packages / name)], check=True)
        subprocess.run(["cp", "-r", str(older / name), str(packages / name)], check=True)
    python = f"{folder}/bin/python"
    return int(box.do(python, "-c", COUNT, ""))


def way_back(version: int, folder: str) -> list[str]:
    """The documented commands, for this version of the journal and this release."""
    (block,) = (each for each in blocks("docs/systemd.md", "sh") if "of-version-" in each.text)
    found = [re.sub(r"of-version-\d+", f"of-version-{version}", command) for command in commands(block)]
    assert "/opt/skipjack-1.2 " in found[-1]
    return [command.replace("/opt/skipjack-1.2 ", f"{folder} ") for command in found]


def test_the_documented_commands_lead_back_to_a_release_with_an_older_journal(site: Site, older: Path) -> None:
    box, journal = site.box, "/var/lib/skipjack/journal.db"
    mirror = "upstream: rsync://127.0.0.1/files/hello/\n"
    site.commit({"a.yml": mirror, "b.yml": mirror})
    box.do("rm", "-rf", "/opt/skipjack")
    versioned(box, "1.2")
    version = put_older(box, older, "/opt/skipjack-1.2")
    assert version < len(MIGRATIONS)
    site.install()
    for name in ("a", "b"):
        site.wait_for(name, "success")
    box.do("skipjack", "disable", "b")
    assert box.do("python3", "-c", VERSION, journal) == f"{version} wal"

    versioned(box, "1.3")
    site.install()
    box.do("skipjack", "run", "a")
    assert box.do("python3", "-c", VERSION, journal) == f"{len(MIGRATIONS)} wal"
    box.do("skipjack", "disable", "a")
    wait_until(lambda: "a  " in box.do("skipjack", "next"), "the new release answers")
    assert box.run("/opt/skipjack-1.2/bin/skipjack", "next").returncode == 1
    said = box.run("/opt/skipjack-1.2/bin/skipjack", "next").stderr
    assert f"journal.db-of-version-{version}" in said and "newer version" in said

    go_back(box, version)

    assert "/opt/skipjack-1.2/" in programs(box, "skipjack-follow.service")
    assert box.do("python3", "-c", VERSION, journal) == f"{version} wal"
    assert box.do("stat", "--format=%U", journal) == "skipjack"
    states = {name: mirror["status"] for name, mirror in site.mirrors().items()}
    assert states == {"a": "success", "b": "disabled"}, "what was so before the upgrade"
    box.write("/srv/upstream/hello/later.txt", "later\n")
    box.do("skipjack", "start", "a")
    wait_until(lambda: box.path("/srv/mirror/a/later.txt").exists(), "the older release's units sync")
    site.wait_for("a", "success")

    box.do("ln", "-sfT", "/opt/skipjack-1.3", "/opt/skipjack")  # and forward again
    site.install()
    box.do("skipjack", "run", "a")
    assert box.do("python3", "-c", VERSION, journal) == f"{len(MIGRATIONS)} wal"
    first = kept(box)
    assert len(first) == 1

    go_back(box, version)

    assert box.do("python3", "-c", VERSION, journal) == f"{version} wal"
    second = kept(box)
    assert len(second) == 2 and second.items() > first.items(), "the newer journal of the first time is as it was"
    assert {mirror["status"] for name, mirror in site.mirrors().items() if name == "b"} == {"disabled"}


def go_back(box: Box, version: int) -> None:
    """Give the documented commands, which wait for no run."""
    wait_until(lambda: not is_active(box, "skipjack-run@*"), "every run has ended")
    box.shell("\n".join(way_back(version, "/opt/skipjack-1.2")))


def kept(box: Box) -> dict[str, bytes]:
    """The newer journals that going back has moved away, by their folders."""
    return {path.parent.name: path.read_bytes() for path in box.path("/var/lib/skipjack").glob("newer-*/journal.db")}
