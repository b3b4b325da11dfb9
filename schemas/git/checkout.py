"""The folder with the fetched config repository: its files, leftovers of killed processes, and its replacement.

Callers hold the lock of the folder.
"""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from schemas.problems import shown
from schemas.regular_files import read_beginning

_LEFT_BEHIND = ("*.lock", "*.keep", "tmp_*", ".tmp-*", "incoming-*")
"""Leftover files and folders of a killed git."""

KEY_FOLDER = "signatures-"
"""Begins the name of a folder with copies of keys, which only the verification of signatures uses."""

_OWN_CONFIG = re.compile(
    r"\s*(\[core\]|\[extensions\]|(repositoryformatversion|filemode|bare|symlinks|ignorecase|precomposeunicode) = \w+"
    r"|objectformat = sha(1|256))?\s*",
    re.IGNORECASE,
)
"""A line that `git init` writes. Any other could make git start a program, or include settings that do."""

_ELSEWHERE = {
    "commondir": "another folder with settings",
    "objects/info/alternates": "another folder with objects",
    "objects/info/http-alternates": "another place with objects",
}
"""Files that lead git out of a repository, where it may wait forever for a named pipe. Skipjack writes none."""

_MOST_CONFIG = 64 * 1024

_MOST_PACKS = 30
_MOST_LOOSE = 8
"""Objects in one of the 256 folders at most: about 2000 in all, since they are spread evenly."""


class Checkout:
    """The paths of a checkout. `repository` is always a complete fetch, `new` a fetch in progress."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / "fetch.lock"
        self.repository = folder / "repository.git"
        self.new = folder / "repository.git.new"

    def make(self) -> None:
        """Create the folder. A file in its place is removed as damage; a link stays, since its disk may be missing."""
        with suppress(OSError):
            if not stat.S_ISDIR(kind := self.folder.lstat().st_mode) and not stat.S_ISLNK(kind):
                self.folder.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)

    def tidy(self, *, keep_new: bool = False) -> None:
        """Remove leftovers of killed programs: git's locks and partial files, a partial fetch, damaged repositories.

        With `keep_new` the repository of the fetch in progress stays, unless git must not read it.
        """
        keep_new = keep_new and self.unreadable(self.new) is None
        for path in self._leftovers(keep_new=keep_new):
            _remove(path)

    def unreadable(self, folder: Path | None = None) -> str | None:
        """Return why git must not use the repository (default: the current one), with the path; None if it may.

        git opens everything that has the name of one of its files; on a named pipe or a device it would wait forever.
        It also starts the programs that a repository's settings name.
        """
        folder = folder or self.repository
        try:
            return next(_not_of_git(folder), None) or _foreign_settings(folder)
        except OSError as error:
            return f"{error.filename}: {error.strerror}"

    def _leftovers(self, *, keep_new: bool) -> Iterator[Path]:
        # A cut-off new repository, and damaged ones that could not be removed so far.
        yield from (path for path in self.folder.glob("repository.git.*") if not (keep_new and path == self.new))
        yield from self.folder.glob(f"{KEY_FOLDER}*")
        yield from _of_a_killed_git(self.repository)
        if keep_new:
            yield from _of_a_killed_git(self.new)

    def take_over(self) -> None:
        """Replace the repository by the new one, and remove the old one."""
        if self.repository.exists() or self.repository.is_symlink():
            self.repository.rename(self._free_name())
        self.new.rename(self.repository)
        self.tidy()

    def _free_name(self) -> Path:
        """Return a free name for a damaged repository; one with files of another user cannot be removed."""
        number = 1
        while (path := self.folder / f"repository.git.damaged-{number}").exists():
            number += 1
        return path

    def has_grown(self) -> bool:
        """Return whether there are so many packs and loose objects that they should be repacked."""
        objects = self.repository / "objects"
        # One of the 256 folders is enough to count, as in git's own gc: hashes are spread evenly.
        packs, loose = (objects / "pack").glob("*.pack"), (objects / "17").glob("*")
        return sum(1 for _ in packs) > _MOST_PACKS or sum(1 for _ in loose) > _MOST_LOOSE


def _of_a_killed_git(repository: Path) -> Iterator[Path]:
    if not repository.is_dir():
        return
    folders = [repository, repository / "objects", *_below(repository / "refs")]
    for folder in [*folders, repository / "objects/info", repository / "objects/pack"]:
        for pattern in _LEFT_BEHIND:
            yield from folder.glob(pattern)


def is_shallow(repository: Path) -> bool:
    """Return whether the history in a repository is shallow."""
    try:
        return bool(read_beginning(repository / "shallow", 1024).strip())
    except (OSError, ValueError):
        return False


def _not_of_git(path: Path) -> Iterator[str]:
    """Yield a message for everything at and below a path that is neither a file nor a directory, following links."""
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return  # removed meanwhile, or a dangling link: git handles both
    if stat.S_ISDIR(kind):
        if path.is_symlink():
            yield f"{path} is a link to a directory"  # it may lead to a folder above
            return
        with os.scandir(path) as entries:
            below = sorted(entry.path for entry in entries)
        for each in below:
            yield from _not_of_git(Path(each))
    elif not stat.S_ISREG(kind):
        yield f"{path} is not a regular file"


def keep_own_settings(repository: Path) -> None:
    """Remove unknown settings from a new repository: the user's `init.*` settings may have added some."""
    path = repository / "config"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if _OWN_CONFIG.fullmatch(line)), "utf-8")


def _foreign_settings(repository: Path) -> str | None:
    """Return a message about a setting in a repository that Skipjack did not write; None if there is none."""
    for name, what in _ELSEWHERE.items():
        if os.path.lexists(path := repository / name):
            return f"{path} names {what}"
    path = repository / "config"
    try:
        lines = read_beginning(path, _MOST_CONFIG).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return None  # git reports it
    foreign = next((line.strip() for line in lines if not _OWN_CONFIG.fullmatch(line)), None)
    return None if foreign is None else f"{path} has the line `{shown(foreign)}`, which Skipjack did not write"


def _below(folder: Path) -> Iterator[Path]:
    yield folder
    for path in folder.glob("*"):
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)


def _remove(path: Path) -> None:
    """Remove a file or folder as far as permissions allow; the rest may stay."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            _open_up(path)
            shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _open_up(folder: Path) -> None:
    """Make folders writable for their owner, so that their content can be removed."""
    with suppress(OSError):
        folder.chmod(0o700)
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                _open_up(path)
