"""Write tracebacks of bugs to files, and keep the newest few.

A program that a timer starts may meet the same bug every minute.
"""

import contextlib
import os
import stat
import tempfile
import time
import traceback
from collections.abc import Iterable
from pathlib import Path

KEPT = 10
"""Files of one program in a folder at most; the oldest are removed."""

LARGEST = 64 * 1024
"""Bytes of one file at most: a deep recursion, or a value in a message, may be longer. The middle is cut."""


def report(error: BaseException, name: str, folders: Iterable[str | None]) -> str:
    """Write the traceback of a bug to a file, as `keep` does, and return the message for people."""
    text = "".join(traceback.format_exception(error))
    summary = f"This is a bug: {type(error).__name__}: {error}."
    path = keep(text, name, folders)
    if path is None:
        return f"{summary} Its report cannot be written to a file:\n{text}"
    return f"{summary} Please report it with the file {path}."


def keep(text: str, name: str, folders: Iterable[str | None]) -> str | None:
    """Write a traceback to a new file in the first writable folder (None: the temporary one) and return its path.

    Returns None if no folder is writable. Only the owner can read the file, and secrets in addresses are masked.
    """
    # Masked before it is cut: half of an address does not look like one.
    content = _shortened(_without_secrets(text).encode("utf-8", "backslashreplace"))
    for each in folders:
        folder = Path(each or tempfile.gettempdir())
        with contextlib.suppress(OSError):
            path = folder / f"{name}-{time.time_ns()}-{os.getpid()}.txt"
            _write(path, content)
            _remove_old(folder, f"{name}-")
            return str(path)
    return None


def _without_secrets(text: str) -> str:
    from schemas.addresses import without_secrets  # only for a bug: each start imports this module

    return without_secrets(text)


def _shortened(content: bytes) -> bytes:
    if len(content) <= LARGEST:
        return content
    mark = b"\n[...]\n"
    half = (LARGEST - len(mark)) // 2
    return content[:half] + mark + content[-half:]


def _write(path: Path, content: bytes) -> None:
    # O_EXCL, because other users can put a link into the temporary folder.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except OSError:
        path.unlink(missing_ok=True)  # an incomplete report on a full disk
        raise


def _remove_old(folder: Path, prefix: str) -> None:
    """Remove all but the newest files of this user; other users may have files in the temporary folder."""
    dated = []
    for path in folder.glob(f"{prefix}*.txt"):
        with contextlib.suppress(OSError):  # another program has just removed it
            found = path.lstat()
            if found.st_uid == os.getuid() and stat.S_ISREG(found.st_mode):
                dated.append((found.st_mtime_ns, path))
    for _at, path in sorted(dated)[:-KEPT]:
        with contextlib.suppress(OSError):
            path.unlink()
