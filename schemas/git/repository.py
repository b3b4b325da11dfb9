"""Follow a config repository: fetch it, and read its files from git's objects.

There is no work tree: a revision is never half on disk, no filter or hook of the repository can run, and a file name
cannot lead out of a folder. A damaged checkout is fetched again beside the old one; the applied revision does not
depend on it. `schemas.git.git_command` runs git.
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
from schemas.failures import remedy as remedy_of_machine
from schemas.git.checkout import Checkout, is_shallow, keep_own_settings
from schemas.git.git_command import Git, GitFailed, require_git
from schemas.git.git_objects import Commit, Objects
from schemas.git.git_remedies import remedy, user
from schemas.git.slow_remote import FetchTimeout, in_steps, is_begun
from schemas.lock_holders import described
from schemas.problems import shown
from schemas.records import Repository, SignatureRules
from schemas.regular_files import regular
from schemas.units import setting_duration

_FETCHED, _COMING, _PINNED = "refs/skipjack/fetched", "refs/skipjack/coming", "refs/skipjack/pinned"
"""References to the result of the last fetch, to the result so far of a fetch in steps, and to the earlier revision
that was read last, whose objects git must keep."""

_NO_SUCH_REFERENCE = 2
"""Exit code of `git ls-remote --exit-code`."""

_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NO_BRANCH = re.compile(r"couldn't find remote ref|[Rr]emote branch \S+ not found")
_OF_THE_MACHINE = re.compile(
    r"No space left on device|Disk quota exceeded|Read-only file system|Cannot allocate memory|Too many open files"
)
"""Errors that a new checkout would have as well."""


class Revision(NamedTuple):
    """One commit of the config repository with its configuration files; `committed_at` is in seconds UTC.

    `signer` and `signing_key` are the name and the fingerprint that were verified; empty if nothing was. `newest` is
    the newest fetched commit if this is an earlier one; else empty.
    """

    commit: str
    committed_at: float
    files: tuple[SourceFile, ...]
    signer: str = ""
    signing_key: str = ""
    newest: str = ""


class Unfetched(SkipjackError):  # noqa: N818 - it is what happened to the fetch
    """The fetch failed, because of the remote repository, the network, the checkout or this machine."""


class Rewritten(SkipjackError):  # noqa: N818 - it is what happened to the history
    """The branch's history does not contain the revision that was applied before, or cannot show that it does."""


class Missing(SkipjackError):  # noqa: N818 - it is what happened to the revision
    """The checkout does not have the revision that is asked for."""


class Unverified(SkipjackError):  # noqa: N818 - it is what happened to the revision
    """The newest revision is not signed as `verify_signatures` requires. None of its files was read."""

    def __init__(self, commit: Commit, what: str, todo: str) -> None:
        super().__init__(f"the revision {commit.name[:12]} is rejected by `verify_signatures`: {what}", todo)
        self.commit = commit.name
        self.committed_at = commit.committed_at


def fetch(repository: Repository, checkout: Path, applied: str | None = None, contained: str | None = None) -> Revision:
    """Fetch the followed branch into `checkout` (created if missing) and read its newest revision.

    `timeout` of the repository limits each git process. With `applied`, the history must contain that commit, so that a
    force push cannot reset a mirror site. Raises Rewritten if it does not, Unverified if the new commits are not signed
    as `verify_signatures` requires, Unfetched if the fetch fails, and SkipjackError for any other reason; the previous
    state stays usable. A damaged checkout is fetched again.

    If the applied commit is an earlier one, `contained` is the newest that was in force: the history must contain that
    one, and all commits since the applied one are verified.
    """
    with _locked(repository, checkout, applied, contained) as fetching:
        return fetching.revision()


def earlier(repository: Repository, checkout: Path, commit: str) -> Revision:
    """Read an earlier revision from `checkout`, and keep its objects there until another one is read.

    Nothing is verified: it must be one that was in force. Raises Missing if the checkout does not have it, Unfetched if
    the checkout is damaged.
    """
    with _locked(repository, checkout) as fetching:
        return fetching.earlier(commit)


def fetched_last(
    repository: Repository, checkout: Path, applied: str | None = None, contained: str | None = None
) -> Revision:
    """Read the revision of the last fetch from `checkout`, without the remote repository.

    Checks it and raises errors as `fetch` does; a checkout without a valid revision raises Unfetched.
    """
    with _locked(repository, checkout, applied, contained) as fetching:
        return fetching.last()


@contextmanager
def _locked(
    repository: Repository, checkout: Path, applied: str | None = None, contained: str | None = None
) -> "Iterator[_Fetch]":
    """Hold the lock of a checkout, which is created if missing."""
    require_git()
    folder = Checkout(checkout.absolute())
    held: list[int] = []
    try:
        folder.make()
        # git's processes inherit the descriptor, so the lock is held until the last of them has ended.
        # A fetch in another process may take as long as this one.
        with FileLock(folder.lock, timeout=repository.timeout, on_acquired=held.append):
            yield _Fetch(repository, folder, applied, contained or applied, tuple(held))
    except Timeout as error:
        raise SkipjackError(
            f"another fetch holds the checkout: {described(str(folder.lock))}.",
            f"Wait until it ends, or kill the process that holds {folder.lock} if it hangs.",
        ) from error
    except OSError as error:
        raise _unusable(folder, error) from error


class _Fetch:
    """One fetch, by the process that holds the lock."""

    def __init__(
        self,
        repository: Repository,
        folder: Checkout,
        applied: str | None,
        contained: str | None,
        lock: tuple[int, ...],
    ) -> None:
        self._repository = repository
        self._folder = folder
        self._timeout = FetchTimeout(folder.folder, repository.timeout)
        self._applied = applied
        self._contained = contained
        self._lock = lock
        self._shown = without_secrets(repository.url)

    def revision(self) -> Revision:
        """Return the newest revision; a damaged checkout is fetched again if the remote repository is reachable."""
        self._folder.tidy(keep_new=self._is_slow)
        try:
            found = self._newest()
        except GitFailed as failure:
            if failure.timed_out:
                self._timeout.ran_out()
            raise self._error(failure) from failure
        except SkipjackError:  # the fetch was in time, but its content is invalid
            self._timeout.was_enough()
            raise
        self._timeout.was_enough()
        return found

    def _newest(self) -> Revision:
        if not self._folder.repository.exists() or self._folder.unreadable():
            return self._fetch_again()
        return self._update(self._git(self._folder.repository))

    @property
    def _is_slow(self) -> bool:
        """Return whether the last fetch had a timeout, so that its partial result is kept."""
        return self._timeout.failures > 0

    def last(self) -> Revision:
        """Return the revision of the last fetch, without the remote repository."""
        try:
            if (fault := self._folder.unreadable()) is not None:
                raise GitFailed(fault)
            return self._read(self._git(self._folder.repository))
        except GitFailed as failure:
            raise self._error(failure) from failure

    def earlier(self, commit: str) -> Revision:
        """Return an earlier revision, without the remote repository."""
        try:
            if (fault := self._folder.unreadable()) is not None:
                raise GitFailed(fault)
            return self._read_earlier(self._git(self._folder.repository), commit)
        except GitFailed as failure:
            raise self._error(failure) from failure

    def _read_earlier(self, repo: Git, commit: str) -> Revision:
        # Only the name of a commit becomes a word of git's command line.
        if not _NAME.fullmatch(commit) or not repo.succeeds("cat-file", "-e", f"{commit}^{{commit}}"):
            what = f"the checkout {self._folder.folder} does not have the revision {commit[:12]} any more."
            raise Missing(what, "The history was rewritten since then: choose a later revision.")
        repo.run("update-ref", _PINNED, commit)
        with Objects(repo) as objects:
            newest, found = objects.commit(_FETCHED), objects.commit(_PINNED)
            return Revision(commit, found.committed_at, self._files(objects, found), newest=newest.name)

    def _update(self, repo: Git) -> Revision:
        try:
            self._fetch_more(repo)
            found = self._read(repo)
        except GitFailed as failure:
            self._blame(repo, failure)
            return self._fetch_again()
        self._repack(repo)
        return found

    def _fetch_more(self, repo: Git) -> None:
        """Fetch new commits; after a timeout in steps, into a separate reference until they are complete."""
        if not self._is_slow and not is_begun(repo.folder, _COMING):
            return self._fetch(repo)
        if self._in_steps(repo, _COMING):
            repo.run("update-ref", _FETCHED, _COMING)
        else:
            self._fetch(repo)
        # Last, so that a fetch that is killed before this loses none of its steps.
        repo.run("update-ref", "-d", _COMING)
        return None

    def _git(self, folder: Path) -> Git:
        return Git(folder, self._timeout.limit, self._lock)

    def _fetch(self, repo: Git) -> None:
        repo.fetch(self._repository.url, self._branch, _FETCHED)

    @property
    def _branch(self) -> str:
        return f"refs/heads/{self._repository.branch}"

    def _read(self, repo: Git) -> Revision:
        with Objects(repo) as objects:
            commit = objects.commit(_FETCHED)
            if self._contained is not None and commit.name != self._contained:
                self._check_history(repo, commit.name, self._contained)
            if self._repository.verify_signatures is None:
                return Revision(commit.name, commit.committed_at, self._files(objects, commit))
        signer, key = self._signer(repo, commit, self._repository.verify_signatures)
        # A second reader: the time limit of the first one may be over when many commits are verified.
        with Objects(repo) as objects:
            return Revision(commit.name, commit.committed_at, self._files(objects, commit), signer, key)

    def _files(self, objects: Objects, commit: Commit) -> tuple[SourceFile, ...]:
        tree = objects.folder(commit.tree, self._repository.path)
        if tree is None:
            raise SkipjackError(
                f"the branch `{self._repository.branch}` of {self._shown} has no folder `{self._repository.path}`.",
                "Set `repository.path` in the settings.",
            )
        return objects.files(tree)

    def _signer(self, repo: Git, commit: Commit, rules: SignatureRules) -> tuple[str, str]:
        """Verify the signatures of new commits and return the newest signer; empty if there is no new one."""
        from schemas.git import signatures

        place = self._folder.folder
        try:
            since = self._verified_since(repo, commit.name)
            return signatures.signer_of(repo, rules, commit.name, since, place) or ("", "")
        except SkipjackError as error:
            raise Unverified(commit, error.what, error.todo) from error

    def _verified_since(self, repo: Git, commit: str) -> str | None:
        """Return the commit after which all are verified: the applied one, if the history has that.

        It has not if that one is of a history before an accepted rewrite.
        """
        applied, contained = self._applied, self._contained
        if contained == applied or applied is None or contained is None or commit == applied:
            return applied
        if _NAME.fullmatch(applied) and self._reaches(repo, commit, applied):
            return applied
        if commit != contained:
            self._reaches(repo, commit, contained)  # so that the file of `_reaches` names it again
        return contained

    def _check_history(self, repo: Git, commit: str, applied: str) -> None:
        """Check that a commit's history contains the applied one. Raises Rewritten, or GitFailed if it is damaged.

        Only a complete history proves that the applied commit is missing: damaged objects look the same to git.
        """
        # Only the name of a commit becomes a word of git's command line, whatever a damaged plan contains.
        if _NAME.fullmatch(applied) and self._reaches(repo, commit, applied):
            return
        # Fails if an object is missing: then the checkout is damaged, and nothing is known about the history.
        repo.run("rev-list", "--quiet", commit)
        where = f"the branch `{self._repository.branch}` of {self._shown}"
        if is_shallow(repo.folder):
            if repo.folder != self._folder.new:
                raise GitFailed("its history is shallow")
            raise Rewritten(
                f"{where} comes from a shallow clone, which does not show whether it contains the revision"
                f" {applied[:12]} that this machine follows.",
                "Run `git fetch --unshallow` in that repository, or run `skipjack follow --accept-rewrite`.",
            )
        raise Rewritten(
            f"{where} no longer contains the revision {applied[:12]} that this machine follows.",
            "Its history was rewritten. If that was intended, run `skipjack follow --accept-rewrite`.",
        )

    def _reaches(self, repo: Git, commit: str, applied: str) -> bool:
        """Return whether the applied commit is an ancestor of a commit.

        In a shallow clone git would search only to its end, although older commits from earlier fetches are here. So
        its `--shallow-file` names the applied commit as the only end of the history.
        """
        end = repo.folder / "applied"
        try:
            with open(end, "w", encoding="ascii", opener=regular) as file:
                file.write(f"{applied}\n")
        except OSError as error:
            raise GitFailed(f"{end}: {error.strerror}") from error
        return repo.succeeds("--shallow-file", str(end), "merge-base", "--is-ancestor", applied, commit)

    def _blame(self, repo: Git, failure: GitFailed) -> None:
        """Raise the error, unless the checkout may be its cause: not for a timeout, a full disk or a remote failure."""
        if failure.timed_out or _OF_THE_MACHINE.search(failure.reason):
            raise failure
        try:
            repo.list_remote(self._repository.url, self._branch)
        except GitFailed as remote:
            if remote.status == _NO_SUCH_REFERENCE:
                raise failure from None  # it names the branch
            raise remote from failure

    def _fetch_again(self) -> Revision:
        """Fetch into a new repository, check its history, and replace the old one by it."""
        repo = self._git(self._folder.new)
        try:
            self._fetch_all(repo)
            try:
                found = self._read(repo)
            except SkipjackError:  # the repository is fine, its content is invalid
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
        # The remote repository's kind of hashes is known only when a fetch fails with the other one.
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

        return in_steps(limited, self._timeout, self._repository.url, self._branch, into)

    def _repack(self, repo: Git) -> None:
        """Combine the packs of many fetches; git's own maintenance is off, since a timeout could kill it."""
        if not self._folder.has_grown():
            return
        try:
            repo.run("repack", "-a", "-d", "--quiet")
            # At once: no other process writes here while the lock is held.
            repo.run("prune", "--expire=now")
        except GitFailed as failure:
            with suppress(GitFailed, SkipjackError):  # the revision has been read; the next fetch tries again
                self._blame(repo, failure)
                self._fetch_again()

    def _error(self, failure: GitFailed) -> Unfetched:
        branch, reason = self._repository.branch, failure.reason
        if _NO_BRANCH.search(reason):
            return Unfetched(f"the branch `{branch}` does not exist in {self._shown}.", self._other_branch())
        what = f"cannot fetch the branch `{branch}` of {self._shown}: {reason}."
        if failure.timed_out:
            again = f"The next fetch may take {setting_duration(self._timeout.limit)}"
            begun = is_begun(self._folder.new, _FETCHED) or is_begun(self._folder.repository, _COMING)
            kept = ", and continues where this one stopped" if begun else ""
            now = f"now {setting_duration(self._repository.timeout)}"
            todo = f"{again}{kept}. Raise `repository.timeout` in the settings ({now}) if it needs longer."
            return Unfetched(what, todo)
        return Unfetched(what, remedy(reason, self._repository.url, self._folder.folder))

    def _other_branch(self) -> str:
        """Return which branch to set instead of one that does not exist."""
        try:
            default = self._git(self._folder.repository).default_branch(self._repository.url)
        except GitFailed:
            default = None
        if default is None:
            return "Push it, or set `repository.branch` in the settings to an existing one."
        name = shown(default)
        return f"The default branch is `{name}`: set `repository.branch: {name}` in the settings."


_SCARCE = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Errors for a lack of processes, memory or descriptors."""


def _unusable(folder: Checkout, error: OSError) -> Unfetched:
    if error.errno in _SCARCE:
        return Unfetched(f"cannot start git: {error.strerror}.", remedy_of_machine(error.errno))
    if link := dangling(str(folder.folder)):
        return Unfetched(f"cannot use the checkout {folder.folder}: {link}.", LINK_TODO)
    what = f"cannot use the checkout {folder.folder}: {error.filename or folder.folder}: {error.strerror}."
    if _OF_THE_MACHINE.search(str(error.strerror)):
        return Unfetched(what, "Free some space.")
    return Unfetched(what, f"Remove it, or change its owner: `chown -R {user()} {folder.folder}`.")
