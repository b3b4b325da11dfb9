"""Reads SQLite's file on a read-only file system, such as a failed disk or a snapshot.

To read a file in WAL mode SQLite creates the file `-shm` beside it, and fails if it cannot. If `-shm` is missing, no
process has the database open, so it does not change and can be read in another way.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import SkipjackError


@contextmanager
def readable(file: Path, mode: str = "ro") -> Iterator[str]:
    """Return an address by which SQLite can read a database while the context is open; `mode` is the normal mode."""
    if not _is_stuck(file):
        if _has_content(_beside(file, "-journal")):
            mode = "rw"  # SQLite must first roll back the transaction of a process that died
        yield f"{file.absolute().as_uri()}?mode={mode}"
    elif not any(_has_content(each) for each in _changes(file)):
        yield f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    else:
        # `immutable` ignores these files, so a copy is opened instead
        with tempfile.TemporaryDirectory(prefix="skipjack-manager-") as folder:
            yield f"{_copied(file, Path(folder)).as_uri()}?mode=rw"


def _changes(file: Path) -> tuple[Path, Path]:
    """Return the files with recent commits, and with the rollback data of a transaction whose process died."""
    return _beside(file, "-wal"), _beside(file, "-journal")


def _is_stuck(file: Path) -> bool:
    return _exists(file) and not _beside(file, "-shm").exists() and _is_read_only(file.absolute().parent)


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # in a folder without access; opening the file reports it
        return False


def _is_read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _beside(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)


def _has_content(file: Path) -> bool:
    return _exists(file) and file.stat().st_size > 0


def _copied(file: Path, folder: Path) -> Path:
    try:
        for each in (file, *filter(_has_content, _changes(file))):
            shutil.copyfile(each, folder / each.name)
    except OSError as error:
        raise SkipjackError(
            f"cannot copy the database `{file}`, which is on a read-only disk, to `{folder.parent}`: {error.strerror}.",
            "Set TMPDIR to a folder with enough space.",
        ) from error
    return folder / file.name
