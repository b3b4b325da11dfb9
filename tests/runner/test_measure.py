"""The size on disk."""

import os
from pathlib import Path

from runner.contents import count


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
    """As for rsync, and on every file system: what a file takes up there depends on its compression and on when it was
    written."""
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(10**9)

    found = count(str(tmp_path))
    assert (found.files, found.bytes, found.on_disk) == (1, 10**9, 10**9)


def test_a_missing_directory_has_no_size(tmp_path: Path) -> None:
    assert count(str(tmp_path / "none")).on_disk == 0
