"""Files that directories of the upstream replace, in runs that are killed and while the upstream changes."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.plugin_api import Command
from runner.providers import making_way, uncounted
from runner.providers.deletion_names import Names
from runner.providers.making_way import Way
from tests import prepared
from tests.cases import crossed
from tests.e2e.parts import RsyncDaemon, wait_until

from .journaled_sync import recorded, sync
from .syncing import Site, grow, tree
from .test_making_way import FILES, KINDS, become_files, become_folders, gone, slow, write

__all__ = ["slow"]  # a fixture of these tests as well

BEYOND = "are gone since the last accepted success, most where rsync put directories in the place of files"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A mirror of 80 files of 100 bytes, and its first success."""
    for number in range(FILES):
        write(tmp_path / "upstream/below", number)
    with RsyncDaemon(tmp_path / "daemon", {"files": tmp_path / "upstream"}) as daemon:
        made = Site(tmp_path, daemon.url("files/below"))
        assert sync(made).status == "success"
        yield made


def orphans(site: Site) -> list[int]:
    """The mirror's rsync processes that no run waits for any more."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"rsync" and os.fsencode(f"{site.directory}/") in words:
            found.append(int(place.name))
    return found


def is_stuck(site: Site) -> bool:
    """Whether rsync waits for somebody to read what it prints, or has ended."""
    stacks = [Path(f"/proc/{pid}/stack") for pid in orphans(site)]
    return not stacks or any("pipe_write" in place.read_text() for place in stacks if place.exists())


def kill_before_the_first_count(site: Site, tmp_path: Path, *words: str) -> bool:
    """Kill a sync when it is about to count files that rsync took away, then its rsync when that can go no further.

    False if the sync ended before that.
    """
    command = [sys.executable, "-m", "tests.runner.journaled_sync", str(tmp_path), site.url, "take", *words]
    with prepared.popen(command) as run:
        code = run.wait(300)
    wait_until(lambda: is_stuck(site), "rsync waits")
    for pid in orphans(site):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not orphans(site), "rsync is gone")
    return code == -signal.SIGKILL


@pytest.mark.parametrize(
    ("provider", "limits"), crossed(["rsync", "two-stage-rsync"], [("12", 12), ("50%", 40)], every=2)
)
def test_killed_runs_together_lose_no_more_than_one_may(
    site: Site, tmp_path: Path, provider: str, limits: tuple[str, int]
) -> None:
    limit, most = limits
    become_folders(site, range(FILES))
    kills = 0
    while kill_before_the_first_count(site, tmp_path, provider, limit):
        kills += 1
        assert kills <= gone(site) <= most
    assert kills > 3
    assert gone(site) <= recorded(site).deleted_files <= most
    for _again in range(2):
        assert sync(site, max_delete=most, provider=provider).status == "refused"
        assert gone(site) <= most
    assert sync(site, "100%").status == "success"
    assert tree(site.directory).keys() == tree(site.upstream).keys()
    assert (recorded(site).deleted, recorded(site).uncounted_since) == ((0, 0), None)


def test_files_that_a_trial_named_are_counted_before_they_go(site: Site, tmp_path: Path) -> None:
    become_folders(site, range(1))
    assert kill_before_the_first_count(site, tmp_path, "rsync", "1")
    assert (gone(site), recorded(site).deleted_files) == (1, 1)
    become_folders(site, range(1, 2))
    assert not kill_before_the_first_count(site, tmp_path, "rsync", "1")
    assert (gone(site), recorded(site).deleted_files) == (1, 1)


def test_files_that_a_trial_named_and_that_stayed_do_not_count(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    become_folders(site, range(1))
    restored = site.upstream / "folder-0/00"

    def restore(way: Way, command: Command, names: Names) -> Iterator[Command]:
        yield from trial_run(way, command, names)
        (restored / "in").unlink()
        restored.rmdir()
        write(site.upstream, 0)
        write(site.upstream, FILES)

    trial_run = Way._trial_run
    monkeypatch.setattr(Way, "_trial_run", restore)
    assert sync(site, max_delete=1, fail_on_match="folder-0").status == "failed"
    assert (gone(site), recorded(site).deleted) == (-1, (0, 0))


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(("fields", "limit"), crossed(KINDS, [0, 1, 8], every=3))
def test_an_upstream_that_shows_trials_something_else_takes_two_more_once(
    site: Site, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], limit: int
) -> None:
    def change(way: Way, command: Command, names: Names) -> Iterator[Command]:
        yield from trial_run(way, command, names)
        become_folders(site, range(limit, FILES))

    become_folders(site, range(limit))
    trial_run = Way._trial_run
    monkeypatch.setattr(Way, "_trial_run", change)
    lost = []
    for _again in range(3):
        refused = sync(site, max_delete=limit, **fields)
        assert refused.status == "refused"
        assert BEYOND in refused.reason
        lost.append(gone(site))
        become_files(site, range(limit, FILES))  # what the next trial sees
    assert lost[0] <= recorded(site).deleted_files <= limit + 2
    assert lost == [lost[0]] * 3


def fresh_folder(root: Path, name: str, after: Path) -> Path:
    """A folder that is newer than another path, by the clock of the file system."""
    for number in range(100_000):
        made = root / f"{name}-{number}"
        made.mkdir()
        if made.stat().st_ctime_ns > after.stat().st_ctime_ns:
            return made
        made.rmdir()
    raise AssertionError(after)


def counted(site: Site, since: float, **fields: Any) -> int:
    """What counts as lost in a run that died; all else that the journal knew is of the site's first success."""
    job = site.job(**fields)
    job.past = recorded(site)._replace(uncounted_since=since)
    uncounted.count(job)
    assert job.past.uncounted_since is None
    return job.past.deleted_files


def test_folders_that_are_older_than_the_run_or_hold_older_entries_are_not_lost_files(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uncounted, "_SKEW", 0.0)
    made = fresh_folder(site.directory, "new", site.directory / "folder-0")
    since = made.stat().st_ctime
    assert counted(site, since) == 2  # and one that rsync may have been about to replace
    (made / "inner").mkdir()
    (made / ".~tmp~").mkdir()
    assert counted(site, since) == 3
    write(site.directory, FILES)  # changes a folder with old files
    assert counted(site, since) == 3
    assert counted(site, since, max_delete=2) == 2
    assert counted(site, since, max_delete=1) == 0  # a trial would have named it
    assert counted(site, since, max_delete="100%") == 0
    assert counted(site, since, max_delete="100%", max_delete_bytes=1) == 2
    assert counted(site, since + 10**6) == 8  # the clock was wrong: all by which rsync can have been ahead


def test_nothing_counts_where_nothing_has_changed_since(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fresh_folder(site.state, "probe", site.directory)
    monkeypatch.setattr(uncounted, "_SKEW", 0.0)
    latest = max(path.stat().st_ctime_ns for path in [site.directory, *site.directory.rglob("*")])
    while made.stat().st_ctime_ns <= latest:
        made = fresh_folder(site.state, "probe", made)
    assert counted(site, made.stat().st_ctime) == 0


def test_a_changed_folder_that_cannot_be_read_may_hide_any_loss(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("folder-3"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert counted(site, 0.0) == 8


def test_no_run_but_one_after_a_death_looks_for_losses(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_job: object) -> None:
        raise AssertionError

    monkeypatch.setattr(uncounted, "count", never)
    grow(site.upstream, {"new": "x"})
    assert sync(site, fail_on_match="new").status == "failed"
    assert sync(site).status == "success"
    assert recorded(site).uncounted_since is None


@pytest.mark.parametrize("may_go", [0, 1, 8, 100, 10**7])
def test_no_run_has_more_under_way_than_one_with_all_that_may_go(may_go: int) -> None:
    most = making_way.ahead_in(making_way.pipe_for(may_go))
    assert most <= max(2, may_go // 4)
    assert all(making_way.ahead_in(making_way.pipe_for(left)) <= most for left in (may_go // 2, may_go // 3, 0))
