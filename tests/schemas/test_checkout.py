"""A damaged checkout is repaired by the next fetch, and a rewritten history is still rejected."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import SkipjackError
from schemas.git import checkout as checkouts
from schemas.git.repository import Rewritten, Unfetched, fetch, fetched_last

from .conftest import Origin
from .damage import DAMAGE, PIPES, PROGRAMS, Damage, git, unpack

LEFT_BEHIND = [
    "index.lock", "HEAD.lock", "config.lock", "shallow.lock", "packed-refs.lock", "refs/skipjack/fetched.lock",
    "objects/info/commit-graph.lock", "objects/pack/tmp_pack_x", "objects/pack/pack-x.keep",
    "objects/tmp_objdir-incoming-x/pack/x",
]  # fmt: skip


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory, begun: Path) -> Origin:
    """An origin of two commits and its checkout, with a copy of both beside them: git takes twenty processes for it."""
    folder = tmp_path_factory.mktemp("fetched")
    made = Origin(folder / "now", begun)
    made.commit({"os/gnu.yml": "retry: 5\n"})
    fetch(made.record, made.checkout)
    shutil.copytree(folder / "now", folder / "sound", symlinks=True)
    return made


@pytest.fixture
def origin(request: pytest.FixtureRequest, tmp_path: Path, begun: Path) -> Origin:
    """A repository of one commit with one file, or that of the checkout of a test that needs one."""
    if "repository" not in request.fixturenames:
        return Origin(tmp_path, begun)
    made: Origin = request.getfixturevalue("fetched")
    shutil.rmtree(made.work.parent)
    shutil.copytree(made.work.parent.with_name("sound"), made.work.parent, symlinks=True)
    return made


@pytest.fixture
def repository(origin: Origin) -> Path:
    """The repository of a checkout with one revision."""
    return origin.checkout / "repository.git"


def head(origin: Origin) -> str:
    return origin.git("rev-parse", "HEAD")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkout_takes_the_next_commit(
    origin: Origin, repository: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = head(origin)
    damage(repository)
    commit = origin.commit({"debian.yml": "retry: 2\n"})
    for _ in range(2):
        revision = fetch(origin.record, origin.checkout, applied)
        assert revision.commit == commit
        assert [(file.path, file.data) for file in revision.files] == [
            ("debian.yml", b"retry: 2\n"),
            ("os/gnu.yml", b"retry: 5\n"),
        ]
    assert names(origin.checkout) == ["fetch.lock", "repository.git"]
    monkeypatch.setattr(checkouts, "_MOST_PACKS", -1)
    assert fetch(origin.record, origin.checkout, applied).commit == commit
    git(repository, "fsck", "--strict")  # at the latest when packs become one, damage that did not matter is gone


@pytest.mark.parametrize("damage", PROGRAMS.values(), ids=PROGRAMS)
def test_no_program_that_a_checkout_names_is_started(
    origin: Origin, repository: Path, damage: Damage, dead_port: int
) -> None:
    damage(repository)
    with pytest.raises(Unfetched, match="Connection refused"):
        fetch(origin.record._replace(url=f"git://127.0.0.1:{dead_port}/x"), origin.checkout, head(origin))
    with pytest.raises(Unfetched, match=r"which Skipjack did not write|names another folder"):
        fetched_last(origin.record, origin.checkout, head(origin))
    assert fetch(origin.record, origin.checkout, head(origin)).commit == head(origin)
    assert not (origin.checkout.parent / "started").exists()


def test_settings_that_git_adds_to_a_new_repository_are_removed(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text("[core]\n\tsharedRepository = group\n\tlogAllRefUpdates = always\n")
    fetch(origin.record, origin.checkout)
    inode = (origin.checkout / "repository.git").stat().st_ino
    commit = origin.commit({"debian.yml": "retry: 2\n"})
    assert fetch(origin.record, origin.checkout).commit == commit
    assert (origin.checkout / "repository.git").stat().st_ino == inode, "it was not created again"


UNSEEN = ("empty objects", "objects swapped", "folder's tree gone", "file gone", "flipped bits in a pack", "HEAD gone")
"""Damage that a fetch without anything new does not always notice."""


@pytest.mark.parametrize("damage", [DAMAGE[name] for name in UNSEEN], ids=UNSEEN)
def test_a_damaged_checkout_still_gives_the_revision_in_force(origin: Origin, repository: Path, damage: Damage) -> None:
    damage(repository)
    revision = fetch(origin.record, origin.checkout, head(origin))
    assert [file.path for file in revision.files] == ["debian.yml", "os/gnu.yml"]
    assert revision.commit == head(origin)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(damage, id=name, marks=pytest.mark.release if number % 3 else ())
        for number, (name, damage) in enumerate(DAMAGE.items())
    ],
)
def test_a_rewritten_history_is_refused_by_a_damaged_checkout_too(
    origin: Origin, repository: Path, damage: Damage
) -> None:
    applied = head(origin)
    damage(repository)
    origin.git("reset", "--quiet", "--hard", "HEAD~1")
    commit = origin.commit({"debian.yml": "retry: 9\n"})
    for _ in range(2):
        with pytest.raises(Rewritten, match=f"no longer contains the revision {applied[:12]}"):
            fetch(origin.record, origin.checkout, applied)
    assert fetch(origin.record, origin.checkout).commit == commit


@pytest.mark.parametrize("damage", PIPES.values(), ids=PIPES)
def test_no_git_reads_a_repository_that_would_keep_it_waiting(
    origin: Origin, repository: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(repository)
    away = origin.work.rename(origin.work.with_name("away"))
    asked: list[Path] = []
    monkeypatch.setattr("schemas.git.git_command.Git.reader", lambda git: asked.append(git.folder))
    why = r"repository\.git.* (is (not a regular file|a link to a directory)|names another (folder|place) with objects)"
    with pytest.raises(Unfetched, match=why):
        fetched_last(origin.record, origin.checkout)
    with pytest.raises(Unfetched, match="does not appear to be a git repository"):
        fetch(origin.record, origin.checkout)
    assert asked == []
    monkeypatch.undo()
    away.rename(origin.work)
    assert fetch(origin.record, origin.checkout, head(origin)).commit == head(origin)


def test_a_git_that_waits_all_the_same_is_ended(repository: Path, tmp_path: Path) -> None:
    program = tmp_path / "git"
    program.write_text('#!/bin/sh\n[ "$1" != version ] || exec echo git version 2.39.5\nexec sleep 10000\n')
    program.chmod(0o755)
    code = WAITING.format(folder=repository, programs=tmp_path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stdout) == (0, "no\nthe commit x^{commit} is missing or damaged\n"), done.stderr


WAITING = """
import os
from pathlib import Path
from schemas.git.git_command import Git, GitFailed
from schemas.git.git_objects import Objects
os.environ["PATH"] = "{programs}:" + os.environ["PATH"]
git = Git(Path("{folder}"), 1, ())
print("yes" if git.succeeds("status") else "no")
try:
    with Objects(git) as objects:
        objects.commit("x")
except GitFailed as failure:
    print(failure)
"""


def test_a_repaired_checkout_is_not_fetched_again(origin: Origin, repository: Path) -> None:
    (repository / "HEAD").write_bytes(b"")
    before = repository.stat().st_ino
    fetch(origin.record, origin.checkout)
    healed = repository.stat().st_ino
    origin.commit({"debian.yml": "retry: 2\n"})
    fetch(origin.record, origin.checkout)
    assert before != healed == repository.stat().st_ino


def test_a_rewritten_history_is_not_fetched_each_time(origin: Origin, repository: Path) -> None:
    applied = head(origin)
    shutil.rmtree(repository)
    origin.git("reset", "--quiet", "--hard", "HEAD~1")
    inodes = set()
    for _ in range(3):
        with pytest.raises(Rewritten):
            fetch(origin.record, origin.checkout, applied)
        inodes.add(repository.stat().st_ino)
    assert len(inodes) == 1


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_leftovers_of_a_killed_git_are_removed(origin: Origin, repository: Path, name: str) -> None:
    path = repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    inode = repository.stat().st_ino
    commit = origin.commit({"debian.yml": "retry: 2\n"})
    assert fetch(origin.record, origin.checkout).commit == commit
    assert not path.exists()
    assert repository.stat().st_ino == inode, "nothing was damaged"


FETCH = """
import sys
from pathlib import Path
from schemas.records import Repository
from schemas.git.repository import fetch
fetch(Repository(sys.argv[1], timeout=300), Path(sys.argv[2]))
"""


def program_that_fetches(url: str, checkout: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", FETCH, url, str(checkout)]
    return subprocess.Popen(words, cwd=Path(__file__).parents[2], start_new_session=True)


@pytest.mark.usefixtures("repository")
def test_locks_stay_as_long_as_the_git_of_a_killed_program_is_at_work(origin: Origin, deaf: int) -> None:
    with program_that_fetches(f"http://127.0.0.1:{deaf}/x.git", origin.checkout) as program:
        child = next(iter(_timeouts_below(program.pid)))
        program.send_signal(signal.SIGKILL)
    try:
        with pytest.raises(SkipjackError, match=r"another fetch holds the checkout: process [0-9]+ \("):
            fetch(origin.record._replace(timeout=1), origin.checkout)
    finally:
        os.kill(child, signal.SIGTERM)
    assert fetch(origin.record, origin.checkout).commit == head(origin)


def _timeouts_below(pid: int) -> Iterator[int]:
    """Return the `timeout` processes of the program's git, as soon as there are some."""
    while True:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "timeout":
                yield int(child)
        time.sleep(0.01)


def test_a_killed_first_fetch_leaves_nothing_that_counts(origin: Origin) -> None:
    half = origin.checkout / "repository.git.new"
    half.mkdir(parents=True)
    (half / "HEAD").touch()
    damaged = origin.checkout / "repository.git.damaged-1"
    damaged.mkdir()
    assert fetch(origin.record, origin.checkout).commit == head(origin)
    assert names(origin.checkout) == ["fetch.lock", "repository.git"]


def test_many_fetches_become_one_pack(origin: Origin, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkouts, "_MOST_PACKS", 3)
    applied = head(origin)
    counts = []
    for number in range(9):
        applied = origin.commit({"debian.yml": f"retry: {number}\n"})
        assert fetch(origin.record, origin.checkout, applied).commit == applied
        counts.append(len(list((repository / "objects/pack").glob("*.pack"))))
    assert max(counts) == 3 and counts[-1] < 3
    git(repository, "fsck", "--strict")


def test_the_small_objects_of_an_older_checkout_become_one_pack(
    origin: Origin, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        origin.commit({f"{number}.yml": f"retry: {number}\n"})
    fetch(origin.record, origin.checkout)
    unpack(repository)
    (repository / "objects/17").mkdir(exist_ok=True)
    monkeypatch.setattr(checkouts, "_MOST_LOOSE", -1)
    fetch(origin.record, origin.checkout)
    assert not list((repository / "objects").glob("??/*"))
    assert len(list((repository / "objects/pack").glob("*.pack"))) == 1


def test_an_old_object_that_is_damaged_is_found_when_packs_become_one(
    origin: Origin, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = origin.git("rev-parse", "HEAD:debian.yml")
    origin.commit({"debian.yml": "retry: 2\n"})
    fetch(origin.record, origin.checkout)
    unpack(repository)
    path = repository / "objects" / blob[:2] / blob[2:]
    path.chmod(0o600)
    path.write_bytes(b"")
    assert fetch(origin.record, origin.checkout).commit == head(origin), "it is not needed"
    monkeypatch.setattr(checkouts, "_MOST_LOOSE", -1)
    assert fetch(origin.record, origin.checkout).commit == head(origin)
    git(repository, "fsck", "--strict")


def test_no_repair_is_tried_from_a_missing_remote(origin: Origin, repository: Path) -> None:
    (repository / "HEAD").write_bytes(b"")
    away = origin.work.rename(origin.work.with_name("away"))
    with pytest.raises(SkipjackError, match="does not appear to be a git repository"):
        fetch(origin.record, origin.checkout)
    away.rename(origin.work)
    assert fetch(origin.record, origin.checkout).commit == head(origin)


@pytest.mark.parametrize("delay", [0.1, 0.2, 0.3, 0.4, 0.5])
def test_a_fetch_that_is_killed_at_any_moment_harms_nothing(origin: Origin, repository: Path, delay: float) -> None:
    applied = head(origin)
    commit = origin.commit({f"{number}.yml": f"retry: {number}\n" for number in range(200)})
    with program_that_fetches(origin.record.url, origin.checkout) as program:
        time.sleep(delay)
        for group in [program.pid, *_groups_of(program.pid)]:
            os.killpg(group, signal.SIGKILL)
    assert fetch(origin.record, origin.checkout, applied).commit == commit
    git(repository, "fsck", "--strict")


def _groups_of(pid: int) -> list[int]:
    """The groups that `timeout` made of the program's children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if os.getpgid(int(child)) == int(child)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_reported_and_with_space_the_fetch_works_again(origin: Origin, disk: Path) -> None:
    first = fetch(origin.record, disk / "checkout").commit
    commit = origin.commit({"large.yml": os.urandom(200_000)})
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    with pytest.raises(SkipjackError, match=r"No space left on device.*Free some space below"):
        fetch(origin.record, disk / "checkout", first)
    filler.unlink()
    assert fetch(origin.record, disk / "checkout", first).commit == commit


def test_a_checkout_whose_disk_is_missing_names_the_link_that_leads_there(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "checkout").symlink_to(tmp_path / "not mounted")
    with pytest.raises(SkipjackError, match=r"cannot use the checkout .*checkout is a link to .*not mounted"):
        fetch(origin.record, origin.checkout)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENOMEM])
def test_a_failure_to_start_git_is_not_damage(
    origin: Origin, repository: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_words: object, **_more: object) -> None:
        raise OSError(number, os.strerror(number), "timeout")

    with monkeypatch.context() as patch:
        patch.setattr("git.Git.execute", fail)
        with pytest.raises(SkipjackError, match=f"cannot start git: {os.strerror(number)}. [A-Z].*raise the limit"):
            fetch(origin.record, origin.checkout)
    inode = repository.stat().st_ino
    assert fetch(origin.record, origin.checkout).commit == head(origin)
    assert repository.stat().st_ino == inode


def test_a_checkout_that_is_not_a_folder_is_created_again(origin: Origin, tmp_path: Path) -> None:
    checkout = tmp_path / "other/checkout"
    checkout.parent.mkdir()
    origin.commit({"os/gnu.yml": "retry: 5\n"})
    revision = fetch(origin.record, tmp_path / "sound")
    for spoil in (lambda: checkout.write_text("x"), lambda: os.mkfifo(checkout)):
        spoil()
        assert fetch(origin.record, checkout) == revision
        shutil.rmtree(checkout)
    checkout.symlink_to(tmp_path / "not mounted")
    with pytest.raises(SkipjackError):
        fetch(origin.record, checkout)
    assert checkout.is_symlink()


def test_a_folder_for_the_lock_is_reported(origin: Origin) -> None:
    (origin.checkout / "fetch.lock").mkdir(parents=True)
    with pytest.raises(SkipjackError, match=r"fetch\.lock: Is a directory. Remove it, or change its owner"):
        fetch(origin.record, origin.checkout)
