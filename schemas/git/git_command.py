"""Run git on one bare repository: its environment, its time limit, and the reason of a failure.

The path of the repository is always passed, so git never searches the folders above, for any owner and any value of
`safe.bareRepository` and `safe.directory`.
"""

import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

from schemas.addresses import without_secrets
from schemas.errors import SkipjackError
from schemas.git.git_credentials import without_user
from schemas.units import setting_duration

_TIME_IS_OVER = 124
"""Exit code of timeout(1) after a timeout."""

# After `--kill-after` timeout(1) is killed as well, or exits with 128 + 9.
_KILLED = (-9, 137)

_PIPE = -1
"""`subprocess.PIPE`; only the modules that start processes may import `subprocess`."""

_LOCAL_LIMIT = 60
"""Seconds for a command that only touches a repository of this machine."""

_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "GIT_CONFIG_NOSYSTEM": "1",
    # Skipjack looks for references as files: see `is_begun`.
    "GIT_DEFAULT_REF_FORMAT": "files",
}
"""Never ask on a terminal, and run no transport that is a program named in an address."""

_LOCAL = _ENVIRONMENT | {
    # A partial clone would fetch a missing object, with a program that its settings name.
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_CONFIG_GLOBAL": os.devnull,
}
"""The environment for a repository that belongs to a person: it is only read, and nothing is fetched."""

_SETTINGS = (
    "gc.auto=0",
    "maintenance.auto=false",
    "core.hooksPath=/dev/null",
    "fetch.unpackLimit=1",
    "fetch.writeCommitGraph=false",
    "repack.writeBitmaps=false",
)
"""Settings that override those of the user: no program in the background, no hook, and few files, since each fetch
leaves one pack instead of many loose objects."""

_REFERENCES = Path("refs", "skipjack")

_GENERIC = "fatal: Could not read from remote repository"
_HEAD = re.compile(r"^ref: refs/heads/(\S+)\tHEAD$", re.M)
_NOISE = re.compile(r"(?i)\s*(warning:|hint:|@|$)")


class GitFailed(Exception):  # noqa: N818 - what happened to git
    """git has failed. `reason` is its first useful message, without secrets."""

    def __init__(self, reason: str, *, status: int = 0, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.timed_out = timed_out


class GitResult(NamedTuple):
    """The result of a git process: exit code, or minus the signal, and its stdout and stderr."""

    status: int
    printed: str
    said: str


def require_git() -> None:
    """Remove git's own variables from the environment. Raises SkipjackError if git is not installed."""
    # A shell or a hook may have set GIT_DIR and the like, which would lead git to another repository.
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]
    if shutil.which("git") is None:
        raise SkipjackError("the program `git` is not installed.", "Install the package `git`.")


class Git:
    """Runs git on the bare repository at `folder`.

    Its processes inherit the descriptors `lock`: if this program is killed, they hold the lock until they exit. With
    `local` it is a person's own repository, which is only read: git uses no transport.
    """

    def __init__(self, folder: Path, timeout: int, lock: tuple[int, ...], *, local: bool = False) -> None:
        self.folder = folder
        self._timeout = timeout
        self._descriptors = lock
        self._environment = _LOCAL if local else _ENVIRONMENT
        self._settings: tuple[str, ...] = _SETTINGS

    def verifying(self, environment: dict[str, str], settings: Iterable[str]) -> "Git":
        """Return a Git for the same repository that uses no transport and no settings of users, but these."""
        found = Git(self.folder, self._timeout, self._descriptors, local=True)
        found._environment = _LOCAL | environment
        found._settings = (*_SETTINGS, *settings)
        return found

    def beside(self, *words: str, given: Path = Path(os.devnull)) -> GitResult:
        """Run a program that git uses itself, as git would: same environment and time limit. `given` is its stdin.

        Raises GitFailed after a timeout.
        """
        with given.open("rb") as stdin:
            done = self._done([*self._limit, *words], stdin)
        if done.status in (_TIME_IS_OVER, *_KILLED):
            reason = f"`{Path(words[0]).name}` took longer than {setting_duration(self._timeout)}"
            raise GitFailed(reason, status=done.status, timed_out=True)
        return done

    def run(self, *words: str) -> str:
        """Run git for `timeout` seconds at most and return its output. Raises GitFailed."""
        began = time.monotonic()
        done = self._done(self._words(*words))
        if done.status:
            took = time.monotonic() - began
            timed_out = done.status in (_TIME_IS_OVER, *_KILLED) and took >= self._timeout
            reason = f"it took longer than {setting_duration(self._timeout)}" if timed_out else _reason(done)
            raise GitFailed(reason, status=done.status, timed_out=timed_out)
        return done.printed

    def fetch(self, url: str, reference: str, into: str, *options: str) -> None:
        """Fetch a reference of a remote repository into a local one, which is overwritten. Raises GitFailed."""
        self._ask(
            # Only the branch: no tags, no submodules. `--update-shallow` accepts a shallow remote repository.
            url, "fetch", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance",
            "--update-shallow", "--quiet", *options, "{url}", f"+{reference}:{into}",
        )  # fmt: skip

    def succeeds(self, *words: str) -> bool:
        """Run git without a remote repository and return whether it has exited with 0; False after a timeout."""
        return self._done(self._words(*words)).status == 0

    def list_remote(self, url: str, reference: str) -> None:
        """Check that a remote repository is reachable and has the reference. Raises GitFailed."""
        elsewhere = Git(Path("/dev/null"), self._timeout, self._descriptors)
        elsewhere._ask(url, "ls-remote", "--exit-code", "--quiet", "{url}", reference)

    def default_branch(self, url: str) -> str | None:
        """Return the default branch (HEAD) of a remote repository; None if it has none. Raises GitFailed."""
        elsewhere = Git(Path("/dev/null"), self._timeout, self._descriptors)
        head = _HEAD.search(elsewhere._ask(url, "ls-remote", "--symref", "--quiet", "{url}", "HEAD"))
        return head[1] if head else None

    def _ask(self, url: str, *words: str) -> str:
        """Run git with `{url}` replaced by a remote address; its user and password are passed in the environment."""
        address, environment = without_user(url)
        self._environment = _ENVIRONMENT | environment
        return self.run(*(address if word == "{url}" else word for word in words))

    def reader(self) -> Any:
        """Start a git that reads objects: their names on stdin, one per line, their content on stdout.

        It ends after `timeout` seconds at the latest.
        """
        return self._git().execute(
            self._words("cat-file", "--batch"), as_process=True, istream=_PIPE, pass_fds=self._descriptors
        )

    def _words(self, *words: str) -> list[str]:
        settings = (word for each in (*self._settings, self._durability(words[0])) for word in ("-c", each))
        return [*self._limit, _found("git"), f"--git-dir={self.folder}", *settings, *words]

    @property
    def _limit(self) -> tuple[str, ...]:
        # GitPython's own timeout needs `ps` and kills only git; this kills its helpers (ssh, https) as well.
        return _found("timeout"), "--kill-after=5", str(self._timeout)

    def _durability(self, command: str) -> str:
        """Return git's setting for what a command syncs.

        A damaged checkout is fetched again, so a fetch into one with the complete history need not wait for the disk.
        A shallow remote repository cannot provide the history again, and after a power cut an operator would have to
        accept the new one. Then everything is on disk before a reference names it: git syncs a pack twice, its index
        and the reference once. The same holds for a new checkout, whose history is not known yet.
        """
        is_whole = (self.folder / _REFERENCES).exists() and not (self.folder / "shallow").exists()
        return f"core.fsync={'none' if is_whole and command == 'fetch' else 'all'}"

    def _done(self, words: list[str], stdin: IO[bytes] | None = None) -> GitResult:
        from git.exc import GitCommandNotFound

        try:
            status, printed, said = self._git().execute(
                words, with_extended_output=True, with_exceptions=False, pass_fds=self._descriptors, istream=stdin
            )
        except GitCommandNotFound as error:
            raise GitFailed(f"the program `{Path(words[0]).name}` is not installed") from error
        return GitResult(status, printed, said)

    def _git(self) -> Any:
        os.environ["GIT_PYTHON_REFRESH"] = "quiet"  # a git that does not work fails when it is used
        os.environ["GIT_PYTHON_GIT_EXECUTABLE"] = _found("git")
        import git

        found = git.Git(self.folder.parent)
        found.update_environment(**self._environment)
        return found


def begin_repository(folder: Path) -> None:
    """Make a folder a git repository without commits, on the branch `main`. Raises GitFailed."""
    Git(folder / ".git", _LOCAL_LIMIT, ()).run("init", "--quiet", "--initial-branch=main")


def address_of_remote(folder: Path) -> str:
    """Return the address of `origin` in the repository with this work tree; empty if it has none."""
    try:
        return Git(folder / ".git", _LOCAL_LIMIT, ()).run("config", "--get", "remote.origin.url").strip()
    except GitFailed:
        return ""


def _found(program: str) -> str:
    """Return the full path of a program: with a name alone, each start tries every folder of `PATH`."""
    path = shutil.which(program)
    return os.path.abspath(path) if path else program  # noqa: PTH100 - links stay


def _reason(done: GitResult) -> str:
    if done.status < 0:
        return f"git was killed by signal {-done.status}"
    lines = [line.strip() for line in done.said.splitlines() if not _NOISE.match(line)]
    message = _useful(lines) or f"git exited with {done.status}"
    return without_secrets(message)[:500].rstrip(". ")


def _useful(lines: list[str]) -> str:
    """Return the first error, or the line before git's generic one, with the reason from ssh; a colon continues it."""
    places = [place for place, line in enumerate(lines) if line.startswith(("fatal: ", "error: "))]
    place = places[0] if places else len(lines) - 1
    if place > 0 and lines[place].startswith(_GENERIC):
        place -= 1
    return " ".join(lines[place : place + 2] if lines and lines[place].endswith(":") else lines[place : place + 1])
