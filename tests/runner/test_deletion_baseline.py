"""What is a loss compared with? With the files that the last success or the first look counted."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner import plugin_api
from runner.base import contents
from runner.journal import journal
from runner.providers import deletion_names
from tests.e2e.parts import RsyncDaemon

from .journaled_sync import book_of, recorded, sync
from .syncing import Site, grow, tree

PROVIDERS = ("rsync", "two-stage-rsync")
ACCEPT = "If that is right, run `skipjack run m --max-delete 100%`"
OLD = {f"old/{number:02}": "xx" for number in range(20)}
OTHER = {f"other/{number}": "x" for number in range(100)}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Return a mirror that was never synced."""
    (tmp_path / "upstream/below").mkdir(parents=True)
    with RsyncDaemon(tmp_path / "daemon", {"files": tmp_path / "upstream"}) as daemon:
        yield Site(tmp_path, daemon.url("files/below"))


def change(site: Site, files: dict[str, str]) -> None:
    """Give the upstream these files and no others."""
    shutil.rmtree(site.upstream)
    grow(site.upstream, files)


def old_files(site: Site) -> int:
    return len([path for path in site.directory.rglob("old/*") if path.is_file()])


def refused_always(site: Site, expected: str, **fields: Any) -> None:
    for _again in range(3):
        assert sync(site, **fields).reason == f"{expected}. {ACCEPT}"
        assert old_files(site) == 20


GONE = "20 of 20 files (40 B) would be deleted; `max_delete: 50%` allows 10"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_files_from_before_the_first_run_are_not_deleted_for_a_wrong_upstream(site: Site, provider: str) -> None:
    grow(site.directory, OLD)
    grow(site.upstream, OTHER)

    refused_always(site, GONE, provider=provider)
    assert recorded(site).first_look == site.url

    assert sync(site, "100%", provider=provider).status == "success"
    assert (old_files(site), recorded(site).files, recorded(site).first_look) == (0, 100, "")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_files_fetched_by_failed_runs_hide_no_loss(site: Site, provider: str) -> None:
    grow(site.directory, OLD)
    grow(site.upstream, OTHER)
    assert sync(site, provider=provider, rsync_options=("--exclude=old",), fail_on_match="other").status == "failed"
    refused_always(site, GONE, provider=provider)


def test_files_fetched_by_earlier_attempts_hide_no_loss(site: Site) -> None:
    grow(site.directory, OLD)
    grow(site.upstream, OTHER)
    assert sync(site, fail_on_match="other", retry=3, retry_delay=0).reason == f"{GONE}. {ACCEPT}"
    assert old_files(site) == 20


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("options", [(), ("--max-size=1k",)], ids=["links", "sizes"])
def test_files_that_options_leave_out_hide_no_loss(site: Site, provider: str, options: tuple[str, ...]) -> None:
    never = {f"never/{number}": "x" * 2000 if options else f"-> /away/{number}" for number in range(100)}
    change(site, OLD | never | {"new": "x"})
    assert sync(site, provider=provider, rsync_options=options).status == "success"
    assert recorded(site).files == 21

    change(site, never | {"new": "x"})
    expected = "20 of 21 files (40 B) would be deleted; `max_delete: 50%` allows 10"
    refused_always(site, expected, provider=provider, rsync_options=options)
    change(site, never)
    expected = "no file would be left: 21 of 21 files (41 B) would be deleted"
    refused_always(site, expected, provider=provider, rsync_options=options)


def test_figures_of_an_older_version_that_counted_listed_files_are_not_used(site: Site) -> None:
    never = {f"never/{number}": f"-> /away/{number}" for number in range(100)}
    change(site, OLD | never | {"new": "x"})
    assert sync(site).status == "success"
    with journal.opened(book_of(site)) as book, book.together() as db:
        db.execute("UPDATE mirror SET accepted_files = 121, counted = 0")
    change(site, never | {"new": "x"})
    refused_always(site, "20 of 21 files (40 B) would be deleted; `max_delete: 50%` allows 10")


def test_a_loss_stays_refused_if_the_times_of_files_change(site: Site, tmp_path: Path) -> None:
    change(site, OLD)
    assert sync(site).status == "success"
    change(site, OTHER)
    assert sync(site).reason == f"{GONE}. {ACCEPT}"
    for number in range(20):
        path = site.directory / f"old/{number:02}"
        os.link(path, tmp_path / f"snapshot-{number}")
        path.chmod(0o600)
    refused_always(site, GONE)


def test_a_first_sync_continues_over_many_runs_while_the_upstream_changes(site: Site) -> None:
    files = {f"old/{number:02}": "xx" for number in range(20)}
    for number in range(4):
        grow(site.upstream, {path: text for path, text in files.items() if int(path[-2:]) // 5 == number})
        (site.upstream / f"old/{number * 5:02}").unlink()
        assert sync(site, fail_on_match="total size is").status == "failed"
        (site.upstream / f"old/{number * 5 + 1:02}").unlink()
    assert sync(site).status == "success"
    assert tree(site.directory).keys() == tree(site.upstream).keys()
    assert (recorded(site).files, recorded(site).counted) == (12, True)


def test_files_fetched_by_a_refused_first_sync_hide_no_loss(site: Site) -> None:
    change(site, OLD)
    assert sync(site, fail_on_match="total size is").status == "failed"
    change(site, OTHER)
    refused_always(site, GONE)


def test_a_mirror_is_counted_without_a_walk_as_long_as_nothing_is_deleted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(site, OLD)
    assert sync(site).status == "success"
    walks: list[str] = []

    def count(directory: str, *words: Any) -> contents.Contents:
        walks.append(directory)
        return original(directory, *words)

    original = contents.count
    monkeypatch.setattr(contents, "count", count)
    monkeypatch.setattr(plugin_api, "count", count)

    grow(site.upstream, OTHER)
    for expected in (120, 120):
        assert sync(site).status == "success"
        assert (recorded(site).files, recorded(site).counted, walks) == (expected, True, [])
    shutil.rmtree(site.upstream / "old")
    (site.upstream / "other").rename(site.upstream / "renamed")
    assert sync(site).status == "refused"
    walks.clear()
    assert sync(site, "100%").status == "success"
    assert (recorded(site).files, len(walks)) == (100, 1)
    for number in range(10):
        (site.upstream / f"renamed/{number}").unlink()
    walks.clear()
    assert sync(site).status == "success"
    assert (recorded(site).files, recorded(site).counted, len(walks)) == (90, True, 1)


def test_a_renamed_tree_within_the_limits_is_a_success(site: Site) -> None:
    change(site, OLD)
    grow(site.upstream, OTHER)
    assert sync(site).status == "success"
    (site.upstream / "old").rename(site.upstream / "renamed")
    assert sync(site).status == "success"
    assert recorded(site).files == 120


LEFT = ("old/.01.AbCdEf", "old/.02.a0a0a0", "old/.hidden.XXXXX9")


def leave(site: Site) -> None:
    """Create the files that killed rsyncs leave."""
    grow(site.directory, dict.fromkeys(LEFT, "part"))
    for path in LEFT:
        (site.directory / path).chmod(0o600)


def test_files_left_by_a_killed_rsync_count_for_no_limit_and_are_deleted(site: Site) -> None:
    change(site, OLD | {"old/.hidden": "x"})
    assert sync(site).status == "success"
    leave(site)
    (site.upstream / "old/19").unlink()

    assert sync(site, max_delete=1).status == "success"

    assert tree(site.directory).keys() == tree(site.upstream).keys()


def test_leftovers_beside_the_only_file_do_not_block_a_mirror(site: Site) -> None:
    change(site, {"one.iso": "x"})
    assert sync(site).status == "success"
    for number in range(3):
        grow(site.directory, {f".one.iso.AbCdE{number}": "part"})
        (site.directory / f".one.iso.AbCdE{number}").chmod(0o600)
    assert sync(site, max_delete="10%").status == "success"
    assert [path.name for path in site.directory.iterdir()] == ["one.iso"]


@pytest.mark.parametrize("other", ["mode", "time", "base", "name", "link"])
def test_a_file_that_only_looks_like_a_leftover_is_one_of_the_mirror(site: Site, tmp_path: Path, other: str) -> None:
    change(site, OLD)
    assert sync(site).status == "success"
    path = {"base": "old/.no.AbCdEf", "name": "old/.01.AbCdEfg"}.get(other, "old/.01.AbCdEf")
    grow(site.directory, {path: "part"})
    (site.directory / path).chmod(0o644 if other == "mode" else 0o600)
    if other == "time":
        os.utime(site.directory / path, (1, 1))
    if other == "link":
        os.link(site.directory / path, tmp_path / "link")
    assert sync(site, max_delete=0).reason.startswith("1 of 2")


@pytest.mark.parametrize("inside", [{}, {"in": "x"}], ids=["empty", "filled"])
def test_files_that_make_way_for_directories_are_deletions(site: Site, inside: dict[str, str]) -> None:
    change(site, OLD | {"one": "x"})
    assert sync(site).status == "success"
    change(site, {"one": "x"})
    for path in OLD:
        (site.upstream / path).mkdir(parents=True)
        grow(site.upstream / path, inside)

    for _again in range(3):
        refused = sync(site, max_delete="10%")
        assert refused.status == "refused"
        # None to two of them are gone when rsync is stopped; the sizes are of those that are still there.
        assert re.search(r"\b20 of 21 files \((36|38|40) B\) ", refused.reason), refused.reason
        assert refused.reason.endswith(f"`max_delete: 10%` allows 2. {ACCEPT}")
    assert recorded(site).deleted_files <= 2

    assert sync(site, "100%").status == "success"
    assert tree(site.directory).keys() == tree(site.upstream).keys()
    assert sync(site, max_delete="10%").status == "success"


def test_a_few_files_may_make_way_for_directories(site: Site) -> None:
    change(site, OLD)
    assert sync(site).status == "success"
    for path in ("old/00", "old/01"):
        (site.upstream / path).unlink()
        (site.upstream / path).mkdir()
    assert sync(site, max_delete="10%").status == "success"
    assert (recorded(site).files, recorded(site).deleted) == (18, (0, 0))


def test_nothing_is_deleted_if_names_do_not_fit_on_the_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    change(site, OLD)
    assert sync(site).status == "success"
    (site.upstream / "old/00").unlink()
    room = SimpleNamespace(f_bavail=1, f_frsize=20)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstatvfs", lambda _file: room)
        assert sync(site).reason.startswith(
            "rsync named 1 files to delete, more than the limits or the space for their"
        )
        room.f_bavail = 1000
        patch.setattr(deletion_names, "_nameless", lambda _folder: os.open("/dev/full", os.O_RDWR))
        failed = sync(site)
    expected = f"cannot keep the names of files to delete in {site.state}: No space left on device; "
    assert (failed.status, failed.reason.startswith(expected)) == ("failed", True)
    assert old_files(site) == 20
    assert sync(site).status == "success"
