"""The provider `git`: a bare repository that has the branches and tags of its upstream.

A run can be killed at any moment, so each command may be repeated: `git init` and `git fetch` continue in whatever
directory they find, where `git clone` would fail in one that is not empty.
"""

import os
import re
from collections.abc import Iterator

from runner.plugin_api import Command, Findings, Job, Reader

NO_ANSWER = 75
UNREACHED = frozenset({NO_ANSWER})
"""EX_TEMPFAIL of sysexits(3), set by `commands`: git exits with 128 for every error."""

_GIT = (
    "git",
    "-c", "gc.auto=0",  # a repack would outlive the run, and its fewer files look like a loss
    "-c", "fetch.unpackLimit=1",  # a pack for each fetch, instead of a file for each object
)  # fmt: skip
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "https:http:git",  # no address may start a program or read local files
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",  # `_Reader` reads the messages
}
_DEFAULT_BRANCH = re.compile(r"ref: refs/heads/([A-Za-z0-9._/-]+)\tHEAD\n")


def commands(job: Job) -> Iterator[Command]:
    """Yield the commands of one attempt; each one starts after the one before has succeeded."""
    upstream, branch = job.mirror.upstream, str(job.keys("git").get("branch", ""))
    yield _git(job, "ls-remote", "--symref", "--", upstream, "HEAD")._replace(goes_on=frozenset({128}))
    if job.exit_code:
        job.exit_code = NO_ANSWER
        return
    default = branch or _default_branch(job.log_file)
    yield _git(job, "init", "--quiet", "--bare", "--template=")
    refs = [f"refs/heads/{branch}"] if branch else ["refs/heads/*", "refs/tags/*"]
    yield _git(job, "fetch", *_options(job), "--", upstream, *(f"+{ref}:{ref}" for ref in refs))
    if default:
        yield _git(job, "symbolic-ref", "HEAD", f"refs/heads/{default}")
    yield _git(job, "update-server-info")


def explain(code: int) -> str:
    """Return what an exit code of git means."""
    if code == NO_ANSWER:
        return "the upstream did not answer, or is not a git repository"
    return f"git was ended by signal {-code}" if code < 0 else f"git exited with {code}"


def reader(job: Job) -> Reader:
    """Return a reader of git's messages."""
    return _Reader(job)


def _git(job: Job, *words: str) -> Command:
    env = dict(job.mirror.env) | _ENVIRONMENT | {"GIT_DIR": job.directory}
    return Command((*_GIT, *words), env, job.directory)


def _options(job: Job) -> list[str]:
    """Return the options of `git fetch`; without `depth`, a shallow repository gets the rest of its history."""
    keys = job.keys("git")
    options = ["--prune", "--no-write-fetch-head", *(["--no-tags"] if "branch" in keys else [])]
    if "depth" in keys:
        return [*options, f"--depth={keys['depth']}"]
    is_shallow = os.path.exists(os.path.join(job.directory, "shallow"))
    return [*options, *(["--unshallow"] if is_shallow else [])]


def _default_branch(log_file: str) -> str:
    """Return the branch that clones of the upstream check out, as `git ls-remote` wrote it into the log."""
    try:
        with open(log_file, encoding="utf-8", errors="replace") as log:
            return next((found[1] for line in log if (found := _DEFAULT_BRANCH.fullmatch(line))), "")
    except FileNotFoundError:
        return ""  # a dry run has no log


class _Reader:
    """Counts updated branches and tags as files, and the sizes of new packs as received bytes."""

    _UPDATE = re.compile(r" [ +*t-] .* -> ")

    def __init__(self, job: Job) -> None:
        self._packs = os.path.join(job.directory, "objects", "pack")
        self._since = job.started_at
        self._updates = 0

    def line(self, text: str) -> None:
        """Read the next line."""
        self._updates += self._UPDATE.match(text) is not None

    def findings(self) -> Findings:
        """Return the figures."""
        return Findings(bytes=sum(self._new_packs()), files=self._updates)

    def _new_packs(self) -> Iterator[int]:
        for entry in os.scandir(self._packs) if os.path.isdir(self._packs) else ():
            found = entry.stat(follow_symlinks=False)
            if entry.name.endswith(".pack") and found.st_mtime >= self._since:
                yield found.st_size
