"""What has changed in a work tree since a revision? Asks git, and reads no file itself.

git's own program, because the library that fetches repositories takes longer to load than all of this.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from schemas.errors import SkipjackError
from schemas.problems import shown

_TIMEOUT = 120.0
"""Seconds for each git process."""

_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch what is missing
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
_SETTINGS = ("core.fsmonitor=false", "core.hooksPath=/dev/null", "diff.ignoreSubmodules=all")

_LOOSE = 8
"""Objects in one of the 256 folders from which on most of the repository is not packed."""

_FETCH = "Fetch it: set `fetch-depth: 0` for the checkout in CI (`GIT_DEPTH: 0` in GitLab), or run `git fetch origin`."
_WHOLE = "Fetch the whole history: set `fetch-depth: 0` for the checkout in CI (`GIT_DEPTH: 0` in GitLab)."


class BaseFile(NamedTuple):
    """A file that has changed: the name of its content at the base, empty if it is new, and whether it was a link."""

    blob: str
    is_link: bool


class TextLine(NamedTuple):
    """A line of a file, or the lines after one, that `lines_with` has found."""

    path: str
    text: bytes


class WorkTree:
    """A folder of a work tree, compared with its common commit with `revision`, the base of a change.

    Paths are relative to the folder. All methods raise SkipjackError, also for an unknown revision.
    """

    def __init__(self, top: Path, below: str, revision: str) -> None:
        self._top, self._prefix, self._revision = top, f"{below}/" if below else "", revision
        # Without `--git-dir`, so that git refuses the repository of another user, whose settings name programs.
        self._environment = {**_without_git(os.environ), **_ENVIRONMENT, "GIT_CEILING_DIRECTORIES": str(top.parent)}

    def changed(self) -> dict[str, BaseFile]:
        """Return the files that differ from the base, without those that git does not track."""
        options = ("--raw", "-z", "--no-color", "--no-abbrev", "--no-renames", "--no-ext-diff")
        status, printed, said = self._run(("diff", *options, "--merge-base", self._revision, "--", self._below()))
        if status and "multiple merge bases" in said:
            base = self._git("merge-base", self._revision, "HEAD").decode().strip()
            status, printed, said = self._run(("diff", *options, base, "--", self._below()))
        if status:
            raise self._without_base(said)
        fields = os.fsdecode(printed).split("\0")[:-1]
        found = {}
        for facts, path in zip(fields[::2], fields[1::2], strict=True):
            old_mode, _mode, blob, *_ = facts[1:].split(" ")
            found[path[len(self._prefix) :]] = BaseFile(blob.strip("0") and blob, old_mode == "120000")
        return found

    def untracked(self) -> list[str]:
        """Return the files that git does not track, ignored ones as well."""
        return self._listed("--others", self._below())

    def tracked(self) -> list[str]:
        """Return all files that git tracks, some of which may be removed."""
        return self._listed("--cached", self._below())

    def tracked_as(self, names: Iterable[str]) -> list[str]:
        """Return the tracked YAML files with these names, or with names that begin so, in any case and folder."""
        return self._listed("--cached", *(self._below(f"{_escaped(name)}.y*ml*") for name in names))

    def lines_with(self, words: Iterable[str], after: int) -> Iterator[TextLine]:
        """Yield the lines of YAML files with one of the words, each with so many lines `after` it.

        Where most objects are packed, git's index is searched, since that is faster than opening all files; it differs
        only in files that have changed.
        """
        where = ["--cached"] if self._is_packed else []
        patterns = [each for word in words for each in ("-e", word)]
        options = ("-z", "-a", "-F", "--no-color", "--no-line-number", "--no-column", "--threads=1", f"-A{after}")
        printed = self._git("grep", *where, *options, *patterns, "--", self._below("*.y*ml*"), fine=(0, 1))
        start = len(self._prefix)
        for line in printed.split(b"\n"):
            path, found, text = line.partition(b"\0")
            if found:
                yield TextLine(os.fsdecode(path)[start:], text)

    def contents(self, blobs: Sequence[str]) -> Iterator[bytes | None]:
        """Yield the content of each blob; None for one that is not here."""
        asked = "".join(f"{blob}\n" for blob in blobs).encode()
        printed, place = self._git("cat-file", "--batch", stdin=asked) if blobs else b"", 0
        for _blob in blobs:
            end = printed.index(b"\n", place)
            _name, *kind = printed[place:end].split(b" ")
            size = int(kind[1]) if kind[0] == b"blob" else -1
            yield printed[end + 1 : end + 1 + size] if size >= 0 else None
            place = end + 1 + (size + 1 if size >= 0 else 0)

    def _listed(self, kind: str, *pathspecs: str) -> list[str]:
        start = len(self._prefix)
        listed = os.fsdecode(self._git("ls-files", "-z", kind, "--", *pathspecs)).split("\0")[:-1]
        return [path[start:] for path in listed]

    @property
    def _is_packed(self) -> bool:
        """Whether most objects are packed. Linked work trees, whose objects are elsewhere, count as such."""
        try:
            return len(os.listdir(self._top / ".git/objects/17")) <= _LOOSE
        except OSError:
            return True

    def _without_base(self, said: str) -> SkipjackError:
        if "unknown revision" in said or "bad revision" in said:
            return SkipjackError(f"this clone has no revision `{shown(self._revision)}`.", _FETCH)
        if "no merge base" in said:
            what = f"this clone has no common history of `{shown(self._revision)}` and the work tree."
            is_shallow = self._git("rev-parse", "--is-shallow-repository").strip() == b"true"
            return SkipjackError(what, _WHOLE if is_shallow else "Name the branch that the change is for.")
        if "unknown option" in said or "ot a git repository" in said:  # as for any folder without a repository
            return self._unreadable()
        return SkipjackError(f"cannot compare with `{shown(self._revision)}`: {_reason(said)}.", "Name a commit.")

    def _below(self, names: str = "") -> str:
        """Return the folder, or the files in it whose names match, as git writes that on its command line."""
        magic = "glob,icase" if names else "literal"
        folder = self._prefix if not names else _escaped(self._prefix) + "**/"
        return f":({magic}){folder}{names}"

    def _unreadable(self) -> SkipjackError:
        """Return the error for a repository that git does not use, with the reason."""
        _status, _printed, said = self._run(("rev-parse", "--git-dir"))
        if "dubious ownership" in said:
            what = f"git does not use the repository {self._top}: it belongs to another user."
            return SkipjackError(what, f"If you trust it, run `git config --global --add safe.directory {self._top}`.")
        what = f"cannot read the git repository {self._top}{f': {_reason(said)}' if said else ''}."
        return SkipjackError(what, "Run `git status` in it. `--changed-since` needs git 2.30 or later.")

    def _git(self, *words: str, stdin: bytes = b"", fine: Sequence[int] = (0,)) -> bytes:
        status, printed, said = self._run(words, stdin)
        if status not in fine:
            what = f"cannot read the git repository {self._top}: {_reason(said)}."
            raise SkipjackError(what, "Run `git fsck` in it.")
        return printed

    def _run(self, words: Sequence[str], stdin: bytes = b"") -> tuple[int, bytes, str]:
        from runner.subprocesses import spawn

        settings = [word for each in _SETTINGS for word in ("-c", each)]
        try:
            return spawn.capture(["git", *settings, *words], self._environment, str(self._top), _TIMEOUT, stdin)
        except spawn.CannotStart as error:
            raise SkipjackError(f"{error}.", "`--changed-since` needs git.") from error


def _without_git(environment: Iterable[str]) -> dict[str, str]:
    """Return the environment without git's variables, with which a hook would lead git to another repository."""
    return {name: os.environ[name] for name in environment if not name.startswith("GIT_")}


def _reason(said: str) -> str:
    lines = [line for line in said.splitlines() if line.startswith(("fatal: ", "error: "))] or ["git has failed"]
    return shown(lines[0].partition(": ")[2] or lines[0]).rstrip(".")


def _escaped(folder: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[\\" else letter for letter in folder)
