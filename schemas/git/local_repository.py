"""Read revisions of a git repository on this machine, such as a clone in which somebody works.

Only its objects are read: no work tree, no filter, no hook, no transport, and no variable of git's from outside. Each
object must have the hash that names it, as in `schemas.git.repository`.
"""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.config.sources import SourceFile
from schemas.errors import SkipjackError
from schemas.git.checkout import is_shallow
from schemas.git.git_command import Git, GitFailed, require_git
from schemas.git.git_objects import Commit, Objects
from schemas.problems import printable, shown
from schemas.regular_files import read_beginning

_TIMEOUT = 120
"""Seconds for each git process."""

_LONGEST_LINK = 4096
_NONE = 1
"""Exit code of `git rev-parse --quiet` and `git merge-base` that there is no such commit; others are errors."""


class LocalRepository:
    """A repository whose objects are read. `root` is the folder of its work tree; None if it has none."""

    def __init__(self, repo: Git, objects: Objects, root: Path | None) -> None:
        self._repo = repo
        self._objects = objects
        self.root = root

    def commit(self, revision: str) -> Commit:
        """Return the commit of a revision as git names it: a branch, a tag, a hash, `HEAD~2`.

        SkipjackError if there is none, or if it is damaged.
        """
        try:
            found = self._repo.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except GitFailed as failure:
            what = f"cannot find the revision `{shown(revision)}` in {self._repo.folder}"
            why = "" if failure.status == _NONE else f": {failure.reason}"
            raise SkipjackError(f"{what}{why}.", self._missing()) from failure
        with _reading(self._repo.folder):
            return self._objects.commit(found.strip())

    @property
    def is_shallow(self) -> bool:
        """Whether older commits are missing, as in a clone with a depth."""
        return is_shallow(_common(self._repo.folder))

    def merge_base(self, one: Commit, other: Commit) -> Commit:
        """Return the newest common commit of two histories. SkipjackError if they have none."""
        try:
            found = self._repo.run("merge-base", one.name, other.name)
        except GitFailed as failure:
            if failure.status != _NONE:
                raise _unreadable(self._repo.folder, failure) from failure
            what = f"{one.name[:12]} and {other.name[:12]} have no common history in {self._repo.folder}."
            raise SkipjackError(what, self._unrelated()) from failure
        with _reading(self._repo.folder):
            return self._objects.commit(found.strip())

    def folders_with(self, commit: Commit, name: str) -> list[str]:
        """Return the folders of a commit that have a file `name`, sorted; the top one is empty."""
        with _reading(self._repo.folder):
            return self._objects.folders_with(commit.tree, name)

    def files(self, commit: Commit, folder: str) -> tuple[SourceFile, ...] | None:
        """Return the configuration files below a folder of a commit, sorted; None if it has no such folder."""
        with _reading(self._repo.folder):
            tree = self._objects.folder(commit.tree, folder)
            return None if tree is None else self._objects.files(tree)

    def _missing(self) -> str:
        if self.is_shallow:
            return "This clone is shallow: run `git fetch --unshallow`, or let the job fetch the whole history."
        return "Check the name, or fetch it: `git fetch origin`."

    def _unrelated(self) -> str:
        if self.is_shallow:
            return "This clone is shallow: run `git fetch --unshallow`, or let the job fetch the whole history."
        return "Workers refuse a history without the revision that they follow. Check both names."


@contextmanager
def opened(folder: Path) -> Iterator[LocalRepository]:
    """Open the repository that a folder is in. SkipjackError if there is none, or git is not installed."""
    require_git()
    if not folder.is_dir():
        name = printable(str(folder))
        what = f"{name} is not a folder" if folder.exists() else f"the folder {name} does not exist"
        raise SkipjackError(f"{what}.", "Name the folder of a clone with `--repo DIR`.")
    directory, root = _found(folder.absolute())
    repo = Git(directory, _TIMEOUT, (), local=True)
    with Objects(repo) as objects:
        yield LocalRepository(repo, objects, root)


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except GitFailed as failure:
        raise _unreadable(folder, failure) from failure


def _unreadable(folder: Path, failure: GitFailed) -> SkipjackError:
    return SkipjackError(f"cannot read the repository {folder}: {failure.reason}.", "Run `git fsck` in it.")


def _found(folder: Path) -> tuple[Path, Path | None]:
    """Return the git directory of the repository that a folder is in, and the folder of its work tree."""
    for each in (folder, *folder.parents):
        inside = each / ".git"
        kind = _kind(inside)
        if stat.S_ISDIR(kind):
            return inside, each
        if stat.S_ISREG(kind):
            return _linked(inside), each
        if all(_kind(each / name) for name in ("HEAD", "objects", "refs")):
            return each, None
    raise SkipjackError(f"{folder} is not in a git repository.", "Name the folder of a clone with `--repo DIR`.")


def _kind(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


def _linked(file: Path) -> Path:
    """Return the git directory that the file `.git` of a linked work tree names."""
    key, _colon, place = _text(file).partition(":")
    if key != "gitdir" or not place.strip():
        raise SkipjackError(f"cannot read {file}: it names no git directory.", "Run `git worktree repair`.")
    return (file.parent / place.strip()).absolute()


def _common(directory: Path) -> Path:
    """Return the git directory that linked work trees share."""
    link = directory / "commondir"
    return directory / _text(link) if _kind(link) else directory


def _text(file: Path) -> str:
    try:
        return read_beginning(file, _LONGEST_LINK).decode("utf-8", "replace").strip()
    except OSError as error:
        raise SkipjackError(f"cannot read {file}: {error.strerror}.", "Check its permissions.") from error
