"""Following a config repository: fetch it, and read its files straight from git's objects.

There is no work tree: nothing of a revision is ever half on disk, no filter or hook of the repository can run, and a
file name cannot lead anywhere. A checkout that is damaged is made anew beside the old one; what was applied before
does not depend on it. git itself is run by `schemas.git.git_command`.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from schemas.addresses import without_secrets
from schemas.config.sources import SourceFile
from schemas.errors import SkipjackError
from schemas.failures import LINK_TODO, dangling
from schemas.git.checkout import Checkout, is_shallow, keep_own_settings
from schemas.git.git_command import Git, GitFailed, require_git
from schemas.git.git_objects import Objects
from schemas.git.git_remedies import remedy, user
from schemas.git.slow_remote import FetchTimeout, in_steps, is_begun
from schemas.lock_holders import described
from schemas.problems import shown
from schemas.records import Repository
from schemas.regular_files import regular
from schemas.units import setting_duration

_FETCHED, _COMING = "refs/skipjack/fetched", "refs/skipjack/coming"
"""What the last fetch brought, and what has come so far of one that takes too long."""

_NO_SUCH_REFERENCE = 2
"""Exit code of `git ls-remote --exit-code`."""

_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NO_BRANCH = re.compile(r"couldn't find remote ref|[Rr]emote branch \S+ not found")
_OF_THE_MACHINE = re.compile(
    r"No space left on device|Disk quota exceeded|Read-only file system|Cannot allocate memory|Too many open files"
)
"""What a new checkout would meet as well."""


class Revision(NamedTuple):
    """One commit of the config repository with its configuration files; `committed_at` is in seconds UTC."""

    commit: str
    committed_at: float
    files: tuple[SourceFile, ...]


class Unfetched(SkipjackError):  # noqa: N818 - it is what happened to the fetch
    """The newest revision cannot be had: the remote repository, the network, the checkout or this machine fails."""


class Rewritten(SkipjackError):  # noqa: N818 - it is what happened to the history
    """The branch's history does not contain the revision that was applied before, or cannot show that it does."""


def fetch(repository: Repository, checkout: Path, applied: str | None = None) -> Revision:
    """Fetch the followed branch into `checkout` (made when missing) and read its newest revision.

    Each git is bounded by the repository's `timeout`. With `applied`, a history that does not contain that commit is
    refused: nobody rewinds a mirror site by a force push. Raises Rewritten then, Unfetched when it cannot be had, and
    SkipjackError for any other reason; the former state stays usable. A damaged checkout is fetched anew.
    """
    with _locked(repository, checkout, applied) as fetching:
        return fetching.revision()


def fetched_last(repository: Repository, checkout: Path, applied: str | None = None) -> Revision:
    """Read the revision that the last fetch brought into `checkout`, without the remote repository.

    It is checked as in `fetch`, which says what is raised; a checkout without a sound revision raises Unfetched.
    """
    with _locked(repository, checkout, applied) as fetching:
        return fetching.last()


@contextmanager
def _locked(repository: Repository, checkout: Path, applied: str | None) -> "Iterator[_Fetch]":
    """Hold the lock of a checkout, which is made when missing."""
    require_git()
    folder = Checkout(checkout.absolute())
    held: list[int] = []
    try:
        folder.make()
        with FileLock(folder.lock, timeout=repository.timeout, on_acquired=held.append):
            yield _Fetch(repository, folder, applied, tuple(held))
    except Timeout as error:
        raise SkipjackError(
            f"Another fetch holds the checkout: {described(str(folder.lock))}.",
            f"Wait for its end, or end what holds {folder.lock} if it hangs.",
        ) from error
    except OSError as error:
        raise _unusable(folder, error) from error


class _Fetch:
    """One fetch, by whoever holds the lock."""

    def __init__(self, repository: Repository, folder: Checkout, applied: str | None, lock: tuple[int, ...]) -> None:
        self._repository = repository
        self._folder = folder
        self._patience = FetchTimeout(folder.folder, repository.timeout)
        self._applied = applied
        self._lock = lock
        self._shown = without_secrets(repository.url)

    def revision(self) -> Revision:
        """The newest revision; a checkout that cannot be used is made anew if the remote repository can be."""
        self._folder.tidy(keep_new=self._is_slow)
        try:
            found = self._newest()
        except GitFailed as failure:
            if failure.timed_out:
                self._patience.ran_out()
            raise self._told(failure) from failure
        except SkipjackError:  # it came in time; what is in it cannot be used
            self._patience.was_enough()
            raise
        self._patience.was_enough()
        return found

    def _newest(self) -> Revision:
        if not self._folder.repository.exists() or self._folder.unreadable():
            return self._anew()
        return self._again(self._git(self._folder.repository))

    @property
    def _is_slow(self) -> bool:
        """Whether the last fetch took too long, so that what it has brought is kept."""
        return self._patience.failures > 0

    def last(self) -> Revision:
        """The revision that was fetched last; the remote repository is not asked."""
        try:
            if (fault := self._folder.unreadable()) is not None:
                raise GitFailed(fault)
            return self._read(self._git(self._folder.repository))
        except GitFailed as failure:
            raise self._told(failure) from failure

    def _again(self, repo: Git) -> Revision:
        try:
            self._fetch_more(repo)
            found = self._read(repo)
        except GitFailed as failure:
            self._blame(repo, failure)
            return self._anew()
        self._repack(repo)
        return found

    def _fetch_more(self, repo: Git) -> None:
        """Fetch what is new; after one that took too long in steps, into a reference of its own until all is here."""
        if not self._is_slow and not is_begun(repo.folder, _COMING):
            return self._fetch(repo)
        if self._in_steps(repo, _COMING):
            repo.run("update-ref", _FETCHED, _COMING)
        else:
            self._fetch(repo)
        repo.run("update-ref", "-d", _COMING)
        return None

    def _git(self, folder: Path) -> Git:
        return Git(folder, self._patience.limit, self._lock)

    def _fetch(self, repo: Git) -> None:
        repo.fetch(self._repository.url, self._branch, _FETCHED)

    @property
    def _branch(self) -> str:
        return f"refs/heads/{self._repository.branch}"

    def _read(self, repo: Git) -> Revision:
        with Objects(repo) as objects:
            commit = objects.commit(_FETCHED)
            if self._applied is not None and commit.name != self._applied:
                self._check_history(repo, commit.name, self._applied)
            tree = objects.folder(commit.tree, self._repository.path)
            if tree is None:
                raise SkipjackError(
                    f"The branch `{self._repository.branch}` of {self._shown} has no folder `{self._repository.path}`.",
                    "Set `repository.path` in the settings.",
                )
            return Revision(commit.name, commit.committed_at, objects.files(tree))

    def _check_history(self, repo: Git, commit: str, applied: str) -> None:
        """See that a commit's history contains the applied one; raises Rewritten, or GitFailed when it is damaged.

        Only a whole history proves that the applied commit is not in it: damaged objects make git say so, too.
        """
        if _NAME.fullmatch(applied) and self._reaches(repo, commit, applied):
            return
        repo.run("rev-list", "--quiet", commit)
        where = f"The branch `{self._repository.branch}` of {self._shown}"
        if is_shallow(repo.folder):
            if repo.folder != self._folder.new:
                raise GitFailed("its history is cut off")
            raise Rewritten(
                f"{where} comes from a shallow clone, so it cannot be checked that it contains the revision"
                f" {applied[:12]} that this machine follows.",
                "Run `git fetch --unshallow` in that repository, or run `skipjack follow --accept-rewrite`.",
            )
        raise Rewritten(
            f"{where} no longer contains the revision {applied[:12]} that this machine follows.",
            "Somebody rewrote the history. If that was meant, run `skipjack follow --accept-rewrite`.",
        )

    def _reaches(self, repo: Git, commit: str, applied: str) -> bool:
        """Whether the applied commit is found on the way back from a commit.

        Of a shallow clone git would look at nothing beyond its end, though what was fetched before still lies here. So
        it is told that the history ends at the applied commit, and nowhere else.
        """
        end = repo.folder / "applied"
        try:
            with open(end, "w", encoding="ascii", opener=regular) as file:
                file.write(f"{applied}\n")
        except OSError as error:
            raise GitFailed(f"{end}: {error.strerror}") from error
        return repo.succeeds("--shallow-file", str(end), "merge-base", "--is-ancestor", applied, commit)

    def _blame(self, repo: Git, failure: GitFailed) -> None:
        """Raise what went wrong, unless it may be the checkout: no time or disk is left, or the remote fails."""
        if failure.timed_out or _OF_THE_MACHINE.search(failure.reason):
            raise failure
        try:
            repo.list_remote(self._repository.url, self._branch)
        except GitFailed as remote:
            if remote.status == _NO_SUCH_REFERENCE:
                raise failure from None  # which names the branch
            raise remote from failure

    def _anew(self) -> Revision:
        """Fetch into a new repository, check the history there, and put it in the place of the old one."""
        repo = self._git(self._folder.new)
        try:
            self._fetch_all(repo)
            try:
                found = self._read(repo)
            except SkipjackError:  # the repository is sound, what it holds is not
                self._folder.take_over()
                raise
        except GitFailed as failure:
            self._folder.tidy(keep_new=self._is_slow and failure.timed_out)
            raise
        self._folder.take_over()
        return found

    def _fetch_all(self, repo: Git) -> None:
        if is_begun(repo.folder, _FETCHED):
            return self._fetch_slowly(repo)
        self._folder.tidy()
        for kind in ("sha1", "sha256"):
            repo.run("init", "--bare", "--quiet", "--template=", f"--object-format={kind}")
            keep_own_settings(repo.folder)
            try:
                return self._fetch_slowly(repo) if self._is_slow else self._fetch(repo)
            except GitFailed as failure:
                if "mismatched algorithms" not in failure.reason or kind == "sha256":
                    raise
            self._folder.tidy()
        return None

    def _fetch_slowly(self, repo: Git) -> None:
        if not self._in_steps(repo, _FETCHED):
            self._fetch(repo)

    def _in_steps(self, repo: Git, into: str) -> bool:
        def limited(seconds: float) -> Git:
            return Git(repo.folder, int(seconds), self._lock)

        return in_steps(limited, self._patience, self._repository.url, self._branch, into)

    def _repack(self, repo: Git) -> None:
        """Make one pack of many fetches; git's own time for that is switched off, since it may be killed in it."""
        if not self._folder.has_grown():
            return
        try:
            repo.run("repack", "-a", "-d", "--quiet")
            repo.run("prune", "--expire=now")
        except GitFailed as failure:
            with suppress(GitFailed, SkipjackError):  # the revision has been read; the next fetch tries again
                self._blame(repo, failure)
                self._anew()

    def _told(self, failure: GitFailed) -> Unfetched:
        branch, reason = self._repository.branch, failure.reason
        if _NO_BRANCH.search(reason):
            return Unfetched(f"There is no branch `{branch}` in {self._shown}.", self._other_branch())
        what = f"The branch `{branch}` of {self._shown} cannot be fetched: {reason}."
        if failure.timed_out:
            again = f"The next fetch may take {setting_duration(self._patience.limit)}"
            begun = is_begun(self._folder.new, _FETCHED) or is_begun(self._folder.repository, _COMING)
            kept = ", and goes on with what is here" if begun else ""
            now = f"now {setting_duration(self._repository.timeout)}"
            todo = f"{again}{kept}. Raise `repository.timeout` in the settings ({now}) if it only needs longer."
            return Unfetched(what, todo)
        return Unfetched(what, remedy(reason, self._repository.url, self._folder.folder))

    def _other_branch(self) -> str:
        """Which branch to set instead of one that the remote repository does not have."""
        try:
            default = self._git(self._folder.repository).default_branch(self._repository.url)
        except GitFailed:
            default = None
        if default is None:
            return "Push it, or set `repository.branch` in the settings to one that is there."
        name = shown(default)
        return f"The default branch there is `{name}`: set `repository.branch: {name}` in the settings."


_SCARCE = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Processes, memory and descriptors."""


def _unusable(folder: Checkout, error: OSError) -> Unfetched:
    if error.errno in _SCARCE:
        todo = "See what uses up the limits of the user `{}`."
        return Unfetched(f"git cannot be started: {error.strerror}.", todo.format(user()))
    if link := dangling(str(folder.folder)):
        return Unfetched(f"The checkout {folder.folder} cannot be used: {link}.", LINK_TODO)
    what = f"The checkout {folder.folder} cannot be used: {error.filename or folder.folder}: {error.strerror}."
    if _OF_THE_MACHINE.search(str(error.strerror)):
        return Unfetched(what, "Free some space.")
    return Unfetched(what, f"Remove it, or give it to the user: `chown -R {user()} {folder.folder}`.")
