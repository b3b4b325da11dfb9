"""Write files of a person's folder: all of them or none, never through a link, and never over a file of theirs.

Each file is written aside, synced and put in its place, so a crash leaves no half of one.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from schemas.errors import SkipjackError
from schemas.problems import printable
from schemas.regular_files import regular

_ASIDE = ".skipjack-new"


class Created(NamedTuple):
    """The paths of files that were created, and of those that existed and stay as they are."""

    created: list[str]
    kept: list[str]


class _Undo:
    """Files and folders to remove if the rest cannot be written; later ones may be in earlier ones."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.folders: list[str] = []

    def remove(self) -> None:
        for remove, paths in ((os.unlink, self.files), (os.rmdir, self.folders)):
            for path in reversed(paths):
                with contextlib.suppress(OSError):
                    remove(path)


def create(files: Mapping[str, str], *, below: str, mode: int | None = None) -> Created:
    """Create files by absolute path, with their folders; those that exist stay, also broken links.

    Folders below the folder `below` must not be links, which could lead elsewhere. `mode` overrides the user's umask.
    Raises SkipjackError, and leaves everything as it was, if one of them cannot be created.
    """
    check_folders(files, below)
    kept = [path for path in files if os.path.lexists(path)]
    new = {path: text for path, text in files.items() if path not in kept}
    with _undone() as undo:
        for folder in dict.fromkeys(os.path.dirname(path) for path in new):
            _make_folder(folder, undo)
        for path, text in new.items():
            _write_aside(path, text, mode, undo)
        for path in new:
            if not _place(path):
                kept.append(path)
                continue
            undo.files.append(path)
        _sync(os.path.dirname(path) for path in new)
    return Created([path for path in new if path not in kept], kept)


def replace(files: Mapping[str, str], *, below: str) -> None:
    """Write files by absolute path, over existing ones, with their folders. Raises SkipjackError."""
    check_folders(files, below)
    for path in files:
        if os.path.isdir(path) and not os.path.islink(path):
            raise SkipjackError(f"{printable(path)} is a folder.", "Move it away.")
    with _undone() as undo:
        for folder in dict.fromkeys(map(os.path.dirname, files)):
            _make_folder(folder, undo)
        for path, text in files.items():
            _write_aside(path, text, None, undo)
        for path in files:
            os.replace(_aside(path), path)
        _sync(map(os.path.dirname, files))


def check_folders(paths: Iterable[str], below: str) -> None:
    """Raise SkipjackError if a folder between `below` and one of the paths is a link or another kind of file."""
    for folder in dict.fromkeys(each for path in paths for each in _between(below, path)):
        if os.path.islink(folder):
            what = f"{printable(folder)} is a symbolic link, and links are not followed."
            raise SkipjackError(what, "Replace it by a folder, or remove it.")
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise SkipjackError(f"{printable(folder)} is not a folder.", "Move it away.")


def _between(below: str, path: str) -> list[str]:
    parts = os.path.relpath(path, below).split("/")[:-1]
    return [os.path.join(below, *parts[:count]) for count in range(1, len(parts) + 1)]


@contextlib.contextmanager
def _undone() -> Iterator[_Undo]:
    """Remove what was written if the rest fails, and always what is still aside."""
    undo = _Undo()
    try:
        yield undo
    except OSError as error:
        undo.remove()
        what = f"cannot write {printable(str(error.filename))}: {error.strerror}."
        raise SkipjackError(what, "Nothing was changed. Check the folder's owner and its disk.") from error
    except BaseException:
        undo.remove()
        raise


def _make_folder(folder: str, undo: _Undo) -> None:
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for each in reversed(missing):
        os.mkdir(each)
        undo.folders.append(each)


def _aside(path: str) -> str:
    return os.path.join(os.path.dirname(path), f".{os.path.basename(path)}{_ASIDE}")


def _write_aside(path: str, text: str, mode: int | None, undo: _Undo) -> None:
    undo.files.append(_aside(path))
    try:
        descriptor = regular(_aside(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW)
        with open(descriptor, "w", encoding="utf-8") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:  # of the end of `with` as well: it writes again, and its errors name no file
        raise OSError(error.errno, error.strerror, path) from error


def _place(path: str) -> bool:
    """Move a new file to its place; False if there is a file by now, which stays."""
    try:
        os.link(_aside(path), path)
    except FileExistsError:
        os.unlink(_aside(path))
        return False
    except OSError:  # some file systems have no hard links
        if os.path.lexists(path):
            os.unlink(_aside(path))
            return False
        os.rename(_aside(path), path)
        return True
    os.unlink(_aside(path))
    return True


def _sync(folders: Iterable[str]) -> None:
    """Sync folders, so that a power cut does not undo the renames."""
    for folder in dict.fromkeys(folders):
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
