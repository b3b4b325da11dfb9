"""Following a config repository: fetch it, and read its files straight from git's objects.

There is no work tree: nothing of a revision is ever half on disk, no filter or hook of the repository can run, and a
file name cannot lead anywhere. This is the only module that touches git.
"""

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from schemas.errors import SkipjackError
from schemas.problems import printable
from schemas.records import Repository
from schemas.sources import MAX_BYTES, SourceFile, is_config

if TYPE_CHECKING:
    from git import Blob, Commit, Repo

_TIMED_OUT = 124
"""Exit code of timeout(1) when the time was over."""

_FETCHED = "refs/skipjack/fetched"
_LINK_MODE = 0o120000
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "GIT_CONFIG_NOSYSTEM": "1",
}
"""Never wait for a person, and run no transport that is a program named in an address."""


class Revision(NamedTuple):
    """One commit of the config repository with its configuration files; `committed_at` is in seconds UTC."""

    commit: str
    committed_at: float
    files: tuple[SourceFile, ...]


class Rewritten(SkipjackError):  # noqa: N818 - it is what happened to the history
    """The branch's history does not contain the revision that was applied before."""


def fetch(repository: Repository, checkout: Path, applied: str | None = None) -> Revision:
    """Fetch the followed branch into `checkout` (made when missing) and read its newest revision.

    Bounded by the repository's `timeout`. With `applied`, a history that does not contain that commit is refused:
    nobody rewinds a mirror site by a force push. Raises Rewritten then, and SkipjackError for any other reason; the
    former state stays usable.
    """
    _require_git()
    import git

    checkout.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(checkout / "fetch.lock", timeout=repository.timeout), _open(checkout) as repo:
            commit = _fetched(repo, repository)
            if applied is not None and not _contains(repo, commit, applied):
                raise Rewritten(
                    f"The branch `{repository.branch}` of {_shown(repository.url)} no longer contains the revision"
                    f" {applied[:12]} that this machine follows.",
                    "Somebody rewrote the history. If that was meant, run `skipjack follow --accept-rewrite`.",
                )
            return Revision(commit.hexsha, float(commit.committed_date), _files(commit, repository))
    except Timeout as error:
        raise SkipjackError(
            "Another fetch holds the checkout.", f"See what holds {checkout / 'fetch.lock'}."
        ) from error
    except (git.exc.GitError, OSError, ValueError) as error:
        raise SkipjackError(_explain(error, repository), _remedy(repository)) from error


def _require_git() -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]
    if shutil.which("git") is None:
        raise SkipjackError("The program `git` is not installed.", "Install the package `git`.")


def _open(checkout: Path) -> "Repo":
    import git

    folder = checkout / "repository.git"
    if not (folder / "HEAD").exists():
        git.Repo.init(folder, bare=True, mkdir=True).close()
    return git.Repo(folder)


def _fetched(repo: "Repo", repository: Repository) -> "Commit":
    repo.git.update_environment(**_ENVIRONMENT)
    # GitPython's own time-out needs `ps` and ends git alone; this ends its helpers (ssh, https) as well.
    repo.git.execute([
        "timeout", "--kill-after=5", str(repository.timeout), "git", "fetch",
        "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance", "--quiet",
        repository.url, f"+refs/heads/{repository.branch}:{_FETCHED}",
    ])  # fmt: skip
    return repo.commit(_FETCHED)


def _contains(repo: "Repo", commit: "Commit", applied: str) -> bool:
    import git

    try:
        return bool(repo.is_ancestor(repo.commit(applied), commit))
    except (git.exc.ODBError, git.exc.GitCommandError, ValueError):  # the old commit is not even known here
        return False


def _files(commit: "Commit", repository: Repository) -> tuple[SourceFile, ...]:
    from git import Blob

    tree = commit.tree
    for part in [part for part in repository.path.split("/") if part not in ("", ".")]:
        found = next((folder for folder in tree.trees if folder.name == part), None)
        if found is None:
            raise SkipjackError(
                f"The branch `{repository.branch}` of {_shown(repository.url)} has no folder `{repository.path}`.",
                "Set `repository.path` in the settings.",
            )
        tree = found
    prefix = len(f"{tree.path}/") if tree.path else 0
    items = [item for item in tree.traverse() if isinstance(item, Blob)]
    paths = [(str(item.path)[prefix:], item) for item in items]
    files = [SourceFile(printable(path), _read(item)) for path, item in paths if is_config(path)]
    return tuple(sorted(files, key=lambda file: file.path))


def _read(blob: "Blob") -> bytes | None:
    if blob.mode == _LINK_MODE:
        return None
    data: bytes = blob.data_stream.read(MAX_BYTES + 1)  # enough to see that it is too much
    return data


def _shown(url: str) -> str:
    """An address without the user name and password that it may carry."""
    return re.sub(r"(?<=://)[^/\s]*@", "", url)


def _explain(error: Exception, repository: Repository) -> str:
    import git

    reason = str(error)
    if isinstance(error, git.exc.GitCommandError) and error.status in (_TIMED_OUT, -9):
        reason = f"it took longer than {repository.timeout} s"
    elif isinstance(error, git.exc.GitCommandError):
        reason = " ".join(str(error.stderr).split()).removeprefix("stderr: ").strip("'")
    url = _shown(repository.url)
    reason = _shown(reason.replace(repository.url, url))
    return f"The branch `{repository.branch}` of {url} cannot be fetched: {reason[:500].rstrip('.')}."


def _remedy(repository: Repository) -> str:
    return f"Try `git ls-remote {_shown(repository.url)}`; what was applied before stays in force."
