"""Deletions of runs that did not end as a success add up until the operator accepts them or a run succeeds."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.providers import deletion_record, deletions
from runner.providers.deletion_names import Item
from schemas.errors import SkipjackError
from schemas.records import Mirror
from tests import prepared
from tests.cases import some
from tests.e2e.parts import RsyncDaemon

from .journaled_sync import SUBJECT, book_of, past, recorded, sync
from .syncing import Site, grow, tree

FILES = 20
ACCEPT = "If that is right, run `skipjack run m --max-delete 100%`"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Return a mirror of 20 files of 2 bytes after its first success."""
    module = tmp_path / "upstream"
    grow(module / "below", {f"folder-{number % 4}/{number:02}": "xx" for number in range(FILES)})
    with RsyncDaemon(tmp_path / "daemon", {"files": module}) as daemon:
        made = Site(tmp_path, daemon.url("files/below"))
        assert sync(made).status == "success"
        yield made


def files(folder: Path) -> int:
    return len([path for path in folder.rglob("*") if path.is_file()])


def lose(site: Site, *numbers: int) -> None:
    for number in numbers:
        (site.upstream / f"folder-{number % 4}/{number:02}").unlink()


def killed(tmp_path: Path, site: Site, step: int, provider: str = "rsync") -> bool:
    """Sync until that step; return False if there are fewer steps."""
    words = [sys.executable, "-m", "tests.runner.journaled_sync", str(tmp_path), site.url, str(step), provider]
    with prepared.popen(words) as run:
        code = run.wait(300)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def kill_after_deleting(tmp_path: Path, site: Site, count: int, new: int = 0) -> None:
    """Kill a sync when it has deleted that many files: two steps before it for rsync, two each to write the names and
    to count them, and two for each file."""
    before = files(site.directory)
    corrects = 2 * bool(recorded(site).deleting)
    assert killed(tmp_path, site, 2 + corrects + 4 + 2 * count - 1)
    assert files(site.directory) == before - count + new


def test_killed_runs_together_delete_no_more_than_one_run_may(site: Site, tmp_path: Path) -> None:
    lose(site, 0, 1, 2, 3, 4)
    kill_after_deleting(tmp_path, site, 4)
    assert past(site).deleted == (4, 8)
    lose(site, 5, 6, 7)
    kill_after_deleting(tmp_path, site, 4)
    assert past(site).deleted == (8, 16)

    lose(site, 8, 9, 10)
    for _again in range(2):
        refused = sync(site)
        assert refused.status == "refused"
        with_others = "would be deleted, with up to 8 that runs since the last accepted success deleted"
        assert refused.reason == f"11 of 20 files (22 B) {with_others}; `max_delete: 50%` allows 10. {ACCEPT}"
        assert files(site.directory) == 12

    assert sync(site, "100%").status == "success"
    assert tree(site.directory) == tree(site.upstream)
    assert past(site).deleted == (0, 0)
    assert recorded(site).accepted == (9, 18)


def test_files_that_a_first_stage_restores_stay_counted(site: Site, tmp_path: Path) -> None:
    lose(site, *range(7))
    kill_after_deleting(tmp_path, site, 7)
    grow(site.upstream, {f"folder-{number % 4}/{number:02}": "xx" for number in range(7)})
    lose(site, 8, 9, 10, 11)
    refused = sync(site, provider="two-stage-rsync")
    assert refused.reason.startswith("11 of 20 files (22 B) would be deleted, with up to 7 that ")


def test_a_success_begins_the_count_again(site: Site, tmp_path: Path) -> None:
    lose(site, 0, 1, 2, 3, 4)
    kill_after_deleting(tmp_path, site, 4)
    lose(site, 5, 6)
    assert sync(site).status == "success"
    assert (recorded(site).deleted, recorded(site).accepted) == ((0, 0), (13, 26))
    lose(site, 7, 8, 9, 10, 11, 12)
    assert sync(site).status == "success"


def test_files_that_a_killed_run_did_not_delete_are_not_counted_twice(site: Site, tmp_path: Path) -> None:
    lose(site, *range(10))
    for _again in range(3):
        kill_after_deleting(tmp_path, site, 1)
    assert sync(site).status == "success"
    assert files(site.directory) == 10


def test_other_files_in_the_place_of_deleted_ones_do_not_hide_them(site: Site, tmp_path: Path) -> None:
    for first in (0, 5):
        lose(site, *range(first, first + 5))
        grow(site.upstream, {f"renamed/{number}": "xx" for number in range(first, first + 5)})
        kill_after_deleting(tmp_path, site, 5, new=5)
    lose(site, 10)
    assert sync(site).reason.startswith("11 of 20 files (22 B) would be deleted, with up to 10 ")
    assert files(site.directory) == 20


@pytest.mark.parametrize("stride", some([3, 1], every=2))
@pytest.mark.parametrize(("before", "provider"), [(0, "rsync"), (3, "rsync"), (3, "two-stage-rsync")])
def test_a_kill_at_any_step_leaves_the_count_exact(
    site: Site, tmp_path: Path, before: int, provider: str, stride: int
) -> None:
    lose(site, *range(7))
    if before:
        kill_after_deleting(tmp_path, site, before)
    copies = tmp_path / "copies"
    for each in (site.directory, site.state):
        shutil.copytree(each, copies / each.name, symlinks=True, copy_function=os.link)
    step = 0
    while True:
        for each in (site.directory, site.state):
            shutil.rmtree(each)
            shutil.copytree(copies / each.name, each, symlinks=True)
        if not killed(tmp_path, site, step, provider):
            break
        assert past(site).deleted_files == FILES - files(site.directory), f"killed at step {step}"
        step += stride
    assert step > 12
    assert past(site).deleted == (0, 0)
    assert tree(site.directory).keys() == tree(site.upstream).keys()


def test_attempts_and_failures_after_deletions_add_up(site: Site) -> None:
    fields = {"fail_on_match": "deletes", "max_delete": "30%"}
    for number in (0, 3):
        lose(site, number, number + 1, number + 2)
        assert sync(site, **fields).status == "failed"
    lose(site, 6)
    assert sync(site, **fields).reason.startswith(
        "7 of 20 files (14 B) would be deleted, with up to 6 that runs since "
    )
    assert files(site.directory) == 14


def test_bytes_of_killed_runs_add_up_and_hard_links_count_with_the_last_one(site: Site, tmp_path: Path) -> None:
    grow(site.upstream, {"big": "x" * 5000})
    os.link(site.upstream / "big", site.upstream / "other")
    assert sync(site).status == "success"
    (site.upstream / "big").unlink()
    (site.upstream / "other").unlink()
    kill_after_deleting(tmp_path, site, 1)
    assert past(site).deleted == (1, 0)
    refused = sync(site, max_delete_bytes=4999)
    assert refused.reason.startswith("2 of 22 files (4.88 KiB) would be deleted, with up to 1 ")
    assert sync(site, max_delete_bytes=5000).status == "success"


def test_without_the_names_all_files_to_delete_count(site: Site, tmp_path: Path) -> None:
    lose(site, *range(7))
    kill_after_deleting(tmp_path, site, 2)
    (site.state / ".deletions.m").write_text("of another deletion\n0 100644 folder-0/00\n")
    assert past(site).deleted == (7, 14)
    (site.state / ".deletions.m").write_bytes(f"{recorded(site).deleting}\n".encode() + bytes(9) + b"\n")
    assert past(site).deleted == (7, 14)
    (site.state / ".deletions.m").unlink()
    assert past(site).deleted == (7, 14)


def test_a_restored_journal_refuses_again_what_was_accepted_since(site: Site, tmp_path: Path) -> None:
    shutil.copytree(site.state, tmp_path / "backup")
    lose(site, *range(12))
    assert sync(site, "100%").status == "success"
    shutil.rmtree(site.state)
    shutil.copytree(tmp_path / "backup", site.state)
    figures = "12 of 20 files (24 B) are gone since the last accepted success; `max_delete: 50%` allows 10"
    for _again in range(2):
        assert sync(site).reason == f"{figures}. {ACCEPT}"
    assert sync(site, "100%").status == "success"
    assert sync(site).status == "success"


def test_killed_runs_add_up_after_an_upgrade_from_a_version_without_figures(site: Site, tmp_path: Path) -> None:
    with journal.opened(book_of(site)) as book, book.together() as db:
        db.execute("UPDATE mirror SET files_in = NULL, accepted_files = NULL, accepted_bytes = NULL")
    lose(site, *range(8))
    kill_after_deleting(tmp_path, site, 8)
    lose(site, 8, 9, 10)
    assert sync(site).reason.startswith("11 of 20 files (22 B) would be deleted, with up to 8 that runs since ")


def test_a_renamed_mirror_finds_the_names(site: Site, tmp_path: Path) -> None:
    lose(site, *range(7))
    kill_after_deleting(tmp_path, site, 2)
    job = site.job(formerly=("m",))
    job.mirror = job.mirror._replace(name="new")
    job.past = recorded(site)
    deletion_record.correct(job)
    assert job.past.deleted == (2, 4)


def test_nothing_is_deleted_if_it_cannot_be_counted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(site, 0)

    def full(*_words: object) -> None:
        raise SkipjackError("cannot count deletions in the journal: database or disk is full.", "Make room.")

    monkeypatch.setattr(journal.Journal, "deleting", full)
    assert sync(site).reason == "cannot count deletions in the journal: database or disk is full. Make room."
    assert files(site.directory) == FILES


def test_a_run_without_deletions_writes_no_further_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_words: object) -> None:
        raise AssertionError

    grow(site.upstream, {"new": "x"})
    monkeypatch.setattr(journal.Journal, "deleting", never)
    monkeypatch.setattr(journal.Journal, "deleted_less", never)
    assert sync(site).status == "success"
    assert not list(site.state.glob(".deletions*"))


def test_from_empty_resets_the_count(site: Site, tmp_path: Path) -> None:
    lose(site, *range(7))
    kill_after_deleting(tmp_path, site, 2)
    with journal.opened(book_of(site)) as book:
        book.allow_empty_start(SUBJECT.name)
    assert (past(site).deleted, past(site).deleting) == ((0, 0), "")


def test_a_failure_to_delete_counts_only_what_was_deleted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(site, *range(7))
    original = os.unlink

    def unlink(path: str | bytes, *, dir_fd: int | None = None) -> None:
        if path in (b"00", b"01"):
            raise PermissionError(1, "Operation not permitted")
        original(path, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        assert sync(site).reason.startswith("cannot delete 2 items")
    assert past(site).deleted == (5, 10)
    assert sync(site).status == "success"


def test_files_that_count_for_no_limit_are_not_subtracted(tmp_path: Path) -> None:
    """After a killed run only files that it counted and did not delete are subtracted."""
    grow(tmp_path, {"project/trace/host": "x", "a/.~tmp~/part": "part", "left": "xx"})
    paths = (b"project/trace/host", b"a/.~tmp~/part", b"left", b"gone")
    items = [Item(path, is_folder=False, nested=False, obstacle=False) for path in paths]
    mirror = Mirror("m", "w1", "rsync", "rsync://up.example.org/m/", trace="host")

    assert deletions.remaining(str(tmp_path), items, deletions.exempt(mirror), set()) == (1, 2)
    override = mirror._replace(rsync_override=("-a", "--delete"))
    assert deletions.remaining(str(tmp_path), items, deletions.exempt(override), set()) == (2, 6)


def test_the_record_of_one_mirror_is_never_that_of_another_while_it_is_written(tmp_path: Path) -> None:
    layout = StateLayout(str(tmp_path))
    for name in ("m", "m.new", "~m", "~m.new", "gone", "~gone", "gone.new"):
        (tmp_path / f".deletions.{name}").touch()
    layout.forget_deletions({"m", "m.new"})
    assert {path.name.removeprefix(".deletions.") for path in tmp_path.iterdir()} == {"m", "m.new", "~m", "~m.new"}
