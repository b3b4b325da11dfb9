"""The bytes of a file with several names are lost when its last name inside the mirror is deleted."""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base import contents
from runner.journal import journal
from runner.journal.last_success import Past
from runner.providers import deletion_guard
from runner.providers.deletion_names import Names
from schemas.units import format_size
from tests.e2e.parts import RsyncDaemon

from .journaled_sync import book_of, past, sync
from .syncing import Site, grow, tree
from .test_comparison import compare, had, job_in
from .test_deletion_record import kill_after_deleting

SIZE = 1000
ACCEPT = "If that is right, run `skipjack run m --max-delete 100%`"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Sync a mirror with 10 files of 1,000 bytes; the first two have a second name each."""
    below = tmp_path / "upstream/below"
    grow(below, {f"files/{number}": bytes(SIZE) for number in range(10)})
    (below / "names").mkdir()
    for number in (0, 1):
        os.link(below / f"files/{number}", below / f"names/{number}")
    with RsyncDaemon(tmp_path / "daemon", {"files": tmp_path / "upstream"}) as daemon:
        made = Site(tmp_path, daemon.url("files/below"))
        assert sync(made).status == "success"
        assert (made.directory / "files/0").stat().st_nlink == 2
        yield made


def test_a_run_that_walks_the_directory_needs_no_second_walk_for_the_size(site: Site) -> None:
    with journal.opened(book_of(site)) as book:
        assert not book.needs_size("m", time.time())
        assert book.states()["m"].size == 10 * SIZE
    # The size of a later run is corrected by what the walk found.
    grow(site.upstream, {"files/new": bytes(SIZE)})
    assert sync(site).status == "success"
    with journal.opened(book_of(site)) as book:
        assert book.states()["m"].size == 11 * SIZE


def snapshot(site: Site, tmp_path: Path) -> Path:
    """Give each file of the mirror another name outside of it."""
    target = tmp_path / "snapshot"
    subprocess.run(["cp", "-al", site.directory, target], check=True)
    return target


def lose(site: Site, *paths: str) -> None:
    for path in paths:
        (site.upstream / path).unlink()


LOSSES = [
    (("names/0", "names/1"), 2, 0),
    (("names/0", "files/1"), 2, 0),
    (("files/5", "files/6"), 2, 2 * SIZE),
    (("names/0", "files/0"), 2, SIZE),
    (("names/0", "files/0", "files/1", "files/5"), 4, 2 * SIZE),
    (("names/0", "files/0", "files/1", "names/1"), 4, 2 * SIZE),
]
"""Names that an upstream loses, their number, and the bytes that a mirror loses with them."""


@pytest.mark.parametrize(("provider", "outside"), [("rsync", False), ("rsync", True), ("two-stage-rsync", True)])
@pytest.mark.parametrize(("paths", "files", "lost"), LOSSES)
def test_only_names_inside_a_mirror_keep_the_bytes_of_a_file(
    site: Site, tmp_path: Path, provider: str, paths: tuple[str, ...], files: int, lost: int, *, outside: bool
) -> None:
    before = tree(snapshot(site, tmp_path)) if outside else {}
    lose(site, *paths)
    if lost:
        refused = sync(site, provider=provider, max_delete_bytes=lost - 1)
        figures = f"{files} of 12 files ({format_size(lost)}) would be deleted"
        assert refused.reason == f"{figures}; `max_delete_bytes` allows {format_size(lost - 1)}. {ACCEPT}"
        assert (site.directory / paths[0]).exists()
    assert sync(site, provider=provider, max_delete_bytes=lost).status == "success"
    assert tree(site.directory) == tree(site.upstream)
    if outside:
        assert tree(tmp_path / "snapshot") == before


def test_a_dry_run_shows_the_bytes_that_a_run_would_lose(site: Site, tmp_path: Path) -> None:
    snapshot(site, tmp_path)
    with contextlib.closing(Names(str(tmp_path))) as names:
        lines = [f"delete_item({path}) mode=100644 flags=4" for path in ("names/0", "files/1", "names/1", "files/5")]
        counts = "Number of files: 9 (reg: 8, dir: 1)"
        names.output("\n".join(["delete_in_dir(.)", *lines, counts, ""]).encode())
        names.errors.take(b"Deletions stopped due to --max-delete limit (4 skipped)\n")
        for limit, refused in ((2 * SIZE, False), (2 * SIZE - 1, True)):
            job = site.job(max_delete_bytes=limit)
            job.past = past(site)
            said = deletion_guard.forecast(job, names)
            figures = "4 of 12 files (1.95 KiB)" if refused else "would delete 4 files (1.95 KiB) and"
            assert figures in said


def test_the_tree_is_walked_once_with_and_without_hard_links(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot(site, tmp_path)
    lose(site, "names/0", "files/5")
    walks: list[str] = []
    original = contents.count

    def count(directory: str, *words: object) -> contents.Contents:
        walks.append(directory)
        return original(directory, *words)  # type: ignore[arg-type]

    monkeypatch.setattr("runner.plugin_api.count", count)
    monkeypatch.setattr(contents, "count", count)
    assert sync(site).status == "success"
    assert walks == [str(site.directory)]


@pytest.mark.parametrize("done", [1, 2, 3, 4])
def test_a_killed_run_counts_only_bytes_that_it_deleted(site: Site, tmp_path: Path, done: int) -> None:
    snapshot(site, tmp_path)
    lose(site, "names/0", "files/1", "names/1", "files/5", "files/6")
    kill_after_deleting(tmp_path, site, done)
    left = {path.stat().st_ino for path in site.directory.rglob("*") if path.is_file()}
    assert past(site).deleted == (done, (10 - len(left)) * SIZE)


def test_files_beyond_the_bound_count_as_lost(tmp_path: Path) -> None:
    grow(tmp_path, {f"in/{number}": bytes(SIZE) for number in range(3)})
    shutil.copytree(tmp_path / "in", tmp_path / "in/again", copy_function=os.link)
    links = contents.Links(most=2)
    for each in ("again/0", "again/1"):
        assert links.go(os.lstat(tmp_path / "in" / each)) == SIZE
    for name in ("again/2", "2"):
        assert links.go(os.lstat(tmp_path / "in" / name)) == SIZE, "each name counts"
    assert contents.count(str(tmp_path / "in"), linked=links.see).files == 6
    assert (links.kept, links.lost()) == (2 * SIZE, [])


def linked_tree(root: Path) -> Path:
    """Create four files of 10 bytes with two names each."""
    for number in range(4):
        grow(root, {f"files/{number}": bytes(10), "names/": ""})
        os.link(root / f"files/{number}", root / f"names/{number}")
    return root


@pytest.mark.parametrize(
    ("lost", "limit", "figures"),
    [
        (("names/0", "names/1", "files/2", "files/3"), 0, ""),
        (("names/0", "files/0", "names/1", "files/2"), 9, "4 of 8 files (10 B)"),
        (("names/0", "files/0", "names/1", "files/2"), 10, ""),
        (("names/0", "files/0", "names/1", "files/1"), 19, "4 of 8 files (20 B)"),
    ],
)
def test_a_comparison_counts_the_bytes_of_a_file_once(
    tmp_path: Path, lost: tuple[str, ...], limit: int, figures: str
) -> None:
    directory = linked_tree(tmp_path / "m")
    shutil.copytree(directory, tmp_path / "snapshot", copy_function=os.link)
    job = job_in(directory, max_delete_bytes=limit)
    assert (job.past.files, job.past.bytes, job.past.on_disk) == (8, 80, 40)
    job.past = job.past._replace(first_look="")
    for path in lost:
        (directory / path).unlink()
    assert compare(job).reason.startswith(figures)
    assert bool(compare(job).reason) == bool(figures)


def test_a_sum_over_names_is_compared_with_another_such_sum(tmp_path: Path) -> None:
    """The size that an earlier release, rsync or a log reported is not a loss if files have several names."""
    job = job_in(linked_tree(tmp_path / "m"), had(8, 80), max_delete_bytes=0)
    assert (compare(job).reason, job.on_disk) == ("", 40)
    (tmp_path / "m/names/0").unlink()
    assert compare(job).reason.startswith("1 of 8 files (10 B)")


@pytest.mark.parametrize("size", [None, 100])
def test_the_size_from_a_log_is_not_replaced_by_the_counted_one(tmp_path: Path, size: int | None) -> None:
    job = job_in(linked_tree(tmp_path / "m"), Past(success_at=1.0, bytes=size), max_delete_bytes=19)
    assert (job.past.bytes, job.past.on_disk) == ((80, 40) if size is None else (100, None))
    assert compare(job).reason.startswith("20 B of 100 B" if size else "")


def test_a_first_look_counts_bytes_and_files_of_the_same_names(tmp_path: Path) -> None:
    job = job_in(linked_tree(tmp_path / "m"), Past(files=0, bytes=0, first_look="another", on_disk=0))
    assert (job.past.files, job.past.bytes, job.past.on_disk) == (8, 80, 40)


def test_a_command_after_an_rsync_loses_only_the_bytes_of_last_names(site: Site, tmp_path: Path) -> None:
    snapshot(site, tmp_path)

    def after(command: str, limit: int) -> tuple[str, str]:
        return sync(site, provider="command", command=command, max_delete_bytes=limit)[:2]

    assert (past(site).bytes, past(site).on_disk) == (12 * SIZE, None)
    assert after("true", 0)[0] == "success"
    assert (past(site).bytes, past(site).on_disk) == (12 * SIZE, 10 * SIZE)
    assert after("rm names/0 names/1", 0)[0] == "success"
    gone = "2 of 10 files (1.95 KiB) are gone since the last accepted success; `max_delete_bytes` allows 1.95 KiB"
    for command in ("rm files/0 files/5", "true"):
        assert after(command, 2 * SIZE - 1) == ("refused", f"{gone}. {ACCEPT}")
        assert past(site).on_disk == 10 * SIZE
    assert after("true", 2 * SIZE)[0] == "success"
    assert past(site).on_disk == 8 * SIZE
    assert sync(site).status == "success"
    assert past(site).on_disk is None
