"""The size on disk."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.base import contents
from runner.base.contents import count
from schemas.report import HIGHEST


def test_files_count_once_and_links_not_at_all(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"x" * 1000)
    os.link(deep / "file", tmp_path / "the same file")
    (tmp_path / "other").write_bytes(b"y" * 10)
    (tmp_path / "link").symlink_to(deep / "file")
    (tmp_path / "folder link").symlink_to(deep)
    os.mkfifo(tmp_path / "pipe")

    assert count(str(tmp_path)).on_disk == 1010


def test_a_file_with_holes_counts_with_its_length(tmp_path: Path) -> None:
    """As for rsync, and on every file system: the space of a file depends on its compression and on when it was
    written."""
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(10**9)

    found = count(str(tmp_path))
    assert (found.files, found.bytes, found.on_disk) == (1, 10**9, 10**9)


def test_files_with_holes_have_no_more_bytes_than_the_journal_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On XFS, for example, a single sparse file can have 8 EiB."""
    for name in ("a", "b"):
        (tmp_path / name).touch()
    monkeypatch.setattr(contents, "_regular", lambda _entry: SimpleNamespace(st_size=2**63 - 1, st_nlink=1))
    assert count(str(tmp_path)) == (2, HIGHEST, HIGHEST, 0)


def test_a_missing_directory_has_no_size(tmp_path: Path) -> None:
    assert count(str(tmp_path / "none")).on_disk == 0


def test_inodes_differ_by_number_and_file_system() -> None:
    inodes = contents._Inodes()
    numbers = [(dev, ino) for dev in (1, 2, 2**32) for ino in (0, 1, 63, 64, 127, 2**63, 2**64 - 1)]
    for expected in (True, False):
        added = [inodes.add(SimpleNamespace(st_dev=dev, st_ino=ino)) for dev, ino in numbers]  # type: ignore[arg-type]
        assert added == [expected] * len(numbers)
