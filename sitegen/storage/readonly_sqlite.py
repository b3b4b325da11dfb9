"""Reading SQLite's file where nothing can be written: a failed disk that turned read-only, or a snapshot.

SQLite makes a file beside one in WAL mode, `-shm`, as soon as it reads; where it cannot it reads nothing. If that file
is missing nobody has the database open, so what lies there stands still, and can be read in another way.
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
    """The address under which SQLite can read a database, for as long as it is entered; `mode` is the usual one's."""
    if not _is_stuck(file):
        if _has_content(_beside(file, "-journal")):
            mode = "rw"  # SQLite rolls back what a process that died was writing, and reads nothing before that
        yield f"{file.absolute().as_uri()}?mode={mode}"
    elif not any(_has_content(each) for each in _changes(file)):
        yield f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    else:
        # `immutable` passes over these
        with tempfile.TemporaryDirectory(prefix="skipjack-manager-") as folder:
            yield f"{_copied(file, Path(folder)).as_uri()}?mode=rw"


def _changes(file: Path) -> tuple[Path, Path]:
    """Where SQLite keeps what was committed last, or what was before a transaction in which a process died."""
    return _beside(file, "-wal"), _beside(file, "-journal")


def _is_stuck(file: Path) -> bool:
    return _exists(file) and not _beside(file, "-shm").exists() and _is_read_only(file.absolute().parent)


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # in a folder that is closed to us; what opens the file says so
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
            f"The database {file} is on a disk that is read-only, and cannot be copied to {folder.parent}: "
            f"{error.strerror}.",
            "Set TMPDIR to a folder with room for it.",
        ) from error
    return folder / file.name
