"""A remote repository that is too slow for a fetch: the next one gets more time, and continues."""

import functools
import random
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from schemas.git.checkout import is_shallow
from schemas.git.repository import Rewritten, Unfetched, fetch, fetched_last
from schemas.git.slow_remote import MOST, FetchTimeout, _next_step
from schemas.records import Repository

from .conftest import Origin
from .damage import git

COMMITS, SIZE = 60, 50_000
MOST_AT_ONCE = 1_500_000
"""Bytes of a pack that the narrow remote sends; for a larger one it never sends anything."""

NARROW = """#!/bin/sh
pack=$(mktemp "$0.XXXXXX")
"$@" > "$pack"
size=$(wc -c < "$pack")
if [ "$size" -gt {most} ]; then echo "stuck $size" >> "{log}"; sleep 10000; fi
echo "sent $size" >> "{log}"
cat "$pack"
rm "$pack"
"""


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The log of a narrow remote: git's packs pass through a program that drops large ones."""
    hook, log, home = tmp_path / "narrow", tmp_path / "sent", tmp_path / "gitconfig"
    hook.write_text(NARROW.format(most=MOST_AT_ONCE, log=log))
    hook.chmod(0o755)
    home.write_text(f"[uploadpack]\n\tpackObjectsHook = {hook}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    home.rename(tmp_path / ".gitconfig")
    log.touch()
    return log


def grown(origin: Origin) -> str:
    """Many commits, none of which can be made smaller."""
    noise = random.Random(1)
    for number in range(COMMITS):
        (origin.work / f"blob-{number}").write_bytes(noise.randbytes(SIZE))
        commit = origin.commit()
        (origin.work / f"blob-{number}").unlink()
    return commit


def test_a_history_that_takes_too_long_as_a_whole_comes_in_steps_and_none_comes_twice(
    origin: Origin, sent: Path
) -> None:
    commit = grown(origin)
    first = origin.git("rev-list", "--max-parents=0", "HEAD")
    slow, reported = origin.record._replace(timeout=2), []
    for _ in range(20):
        try:
            found = fetch(slow, origin.checkout, first)
            break
        except Unfetched as error:
            reported.append(str(error))
    assert found.commit == commit, reported
    assert "it took longer than 2s. The next fetch may take 4s. Raise `repository.timeout`" in reported[0]
    passed = [int(line.split()[1]) for line in sent.read_text().splitlines() if line.startswith("sent")]
    assert sum(passed) < 2 * COMMITS * SIZE, "nothing that was kept came again"
    assert sorted(path.name for path in origin.checkout.iterdir()) == ["fetch.lock", "repository.git"]
    repository = origin.checkout / "repository.git"
    assert git(repository, "rev-list", "--count", commit) == str(COMMITS + 1)
    git(repository, "fsck", "--strict")
    latest = origin.commit({"debian.yml": "retry: 9\n"})
    assert fetch(origin.record, origin.checkout, commit).commit == latest


def test_a_large_new_part_of_a_history_comes_in_steps_into_a_checkout_that_is_there(origin: Origin, sent: Path) -> None:
    applied = fetch(origin.record, origin.checkout).commit
    commit = grown(origin)
    slow, reported = origin.record._replace(timeout=2), []
    for _ in range(20):
        try:
            found = fetch(slow, origin.checkout, applied)
            break
        except Unfetched as error:
            reported.append(str(error))
            assert fetched_last(slow, origin.checkout, applied).commit == applied, "what was there can be read"
    assert found.commit == commit, reported
    assert "it took longer than 2s. The next fetch may take 4s. Raise `repository.timeout`" in reported[0]
    passed = [int(line.split()[1]) for line in sent.read_text().splitlines() if line.startswith("sent")]
    assert sum(passed) < 2 * COMMITS * SIZE, "nothing that was kept came again"
    repository = origin.checkout / "repository.git"
    assert (git(repository, "rev-list", "--count", commit), is_shallow(repository)) == (str(COMMITS + 1), False)
    assert git(repository, "for-each-ref", "--format=%(refname)") == "refs/skipjack/fetched"
    git(repository, "fsck", "--strict")
    latest = origin.commit({"debian.yml": "retry: 9\n"})
    assert fetch(origin.record, origin.checkout, commit).commit == latest


def test_a_fetch_succeeds_after_a_killed_step_and_after_the_remote_moved_on(origin: Origin) -> None:
    applied = fetch(origin.record, origin.checkout).commit
    for number in range(40):
        origin.commit({"debian.yml": f"retry: {number}\n"})
    repository = origin.checkout / "repository.git"
    source, into = origin.work.as_uri(), "+refs/heads/main:refs/skipjack/coming"
    git(repository, "fetch", "--quiet", "--depth=3", source, into)
    (repository / "shallow.lock").touch()
    latest = origin.commit({"debian.yml": "retry: 99\n"})
    assert fetched_last(origin.record, origin.checkout, applied).commit == applied
    assert fetch(origin.record, origin.checkout, applied).commit == latest
    assert (git(repository, "rev-list", "--count", latest), is_shallow(repository)) == ("42", False)
    assert git(repository, "for-each-ref", "--format=%(refname)") == "refs/skipjack/fetched"


def test_partial_results_are_reported_and_continued(origin: Origin, deaf: int) -> None:
    commit = origin.commit({"debian.yml": "retry: 2\n"})
    half = origin.checkout / "repository.git.new"
    half.mkdir(parents=True)
    git(half, "init", "--quiet", "--bare")
    git(half, "fetch", "--quiet", "--depth=1", origin.work.as_uri(), "+refs/heads/main:refs/skipjack/fetched")
    (half / "shallow.lock").touch()
    (origin.checkout / "slow").write_text("1\n")
    with pytest.raises(Unfetched) as caught:
        fetch(Repository(f"git://127.0.0.1:{deaf}/x", timeout=1), origin.checkout)
    assert "it took longer than 2s. The next fetch may take 4s, and continues where this one stopped." in str(
        caught.value
    )
    assert is_shallow(half)
    first = origin.git("rev-list", "--max-parents=0", "HEAD")
    assert fetch(origin.record, origin.checkout, first).commit == commit
    assert not is_shallow(origin.checkout / "repository.git")


@pytest.mark.parametrize(
    ("took", "left", "following"), [(0.0, 100.0, 32), (1.0, 100.0, 32), (10.0, 20.0, 16), (10.0, 5.0, 4), (9.0, 0.1, 1)]
)
def test_a_step_should_need_half_of_the_time_that_is_left(took: float, left: float, following: int) -> None:
    assert _next_step(16, took, left) == following


def test_a_remote_repository_that_only_has_files_is_fetched_as_a_whole(origin: Origin) -> None:
    """A plain web server does not support shallow fetches."""
    git(origin.work / ".git", "update-server-info")
    origin.checkout.mkdir()
    (origin.checkout / "slow").write_text("1\n")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(origin.work))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = fetch(Repository(f"http://127.0.0.1:{server.server_port}/.git", timeout=300), origin.checkout)
        server.shutdown()
    assert [file.path for file in found.files] == ["debian.yml"]
    assert sorted(path.name for path in origin.checkout.iterdir()) == ["fetch.lock", "repository.git"]


def test_a_history_that_was_rewritten_is_refused_after_steps_as_well(origin: Origin) -> None:
    applied = origin.commit({"debian.yml": "retry: 2\n"})
    origin.git("reset", "--quiet", "--hard", "HEAD~1")
    origin.commit({"debian.yml": "retry: 3\n"})
    origin.checkout.mkdir()
    (origin.checkout / "slow").write_text("1\n")
    with pytest.raises(Rewritten, match="no longer contains"):
        fetch(origin.record, origin.checkout, applied)
    assert not (origin.checkout / "slow").exists()


def test_each_fetch_that_took_too_long_doubles_the_time_of_the_next_one_and_halves_its_first_step(
    tmp_path: Path,
) -> None:
    limits, steps = [], []
    for _ in range(7):
        patience = FetchTimeout(tmp_path, 120)
        limits.append(patience.limit)
        steps.append(patience.first_step)
        patience.ran_out()
    assert limits == [120, 240, 480, MOST, MOST, MOST, MOST]
    assert steps == [16, 16, 8, 4, 2, 1, 1]
    assert FetchTimeout(tmp_path, 900).limit == 900, "never less than the settings say"
    FetchTimeout(tmp_path, 120).was_enough()
    assert (FetchTimeout(tmp_path, 120).limit, [*tmp_path.iterdir()]) == (120, [])


@pytest.mark.parametrize("text", ["", "x", "-5", "9" * 30])
def test_a_damaged_record_of_slow_fetches_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / "slow").write_text(text)
    assert 120 <= FetchTimeout(tmp_path, 120).limit <= MOST


def test_a_damaged_partial_repository_is_fetched_again(origin: Origin) -> None:
    half = origin.checkout / "repository.git.new"
    (half / "refs/skipjack").mkdir(parents=True)
    (half / "refs/skipjack/fetched").write_text("nonsense\n")
    (origin.checkout / "slow").write_text("1\n")
    with pytest.raises(Unfetched):
        fetch(origin.record, origin.checkout)
    assert fetch(origin.record, origin.checkout).files
