"""The deletion guard of the rsync providers: an upstream that suddenly went empty must not empty the mirror.

A first pass with `--max-delete=0` transfers everything, deletes nothing and tells how many deletions it left out. If
there were any and they are few enough, a second pass deletes them. (`--max-delete=N` alone deletes N and then stops.)
"""

import re
from collections.abc import Iterator

from runner.api import Abort, Command, Job, Loss, Tree, refusal
from schemas.states import REFUSED

DELETIONS_LEFT = 25
"""rsync's exit code when `--max-delete` stopped deletions, after rsync(1)."""

_TAIL_BYTES = 64 * 1024
_SKIPPED = re.compile(rb"Deletions stopped due to --max-delete limit \(([0-9]+) skipped\)")
_FILES = re.compile(rb"^Number of files: ([0-9,]+)", re.M)


def guarded(job: Job, full: Command) -> Iterator[Command]:
    """The passes of a sync that deletes. Raises Abort, once all is transferred, when there is too much to delete."""
    if job.limits.are_off or job.mirror.rsync_override_only or _has_own_limit(full):
        yield full
        return
    yield full._replace(argv=_without_deletions(full.argv), goes_on=frozenset({DELETIONS_LEFT}))
    if _may_delete(job):
        yield full


def argument_lists(full: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The arguments of all passes that a sync with these arguments may need."""
    yield full
    yield _without_deletions(full)


def _without_deletions(words: tuple[str, ...]) -> tuple[str, ...]:
    *words_before, upstream, directory = words
    return (*words_before, "--max-delete=0", upstream, directory)


def _has_own_limit(full: Command) -> bool:
    return any(word.startswith("--max-delete") for word in full.argv)


def _may_delete(job: Job) -> bool:
    """Whether the first pass left deletions; its log tells, since files that vanished hide them in the exit code."""
    with open(job.log_file, "rb") as log:
        log.seek(max(0, log.seek(0, 2) - _TAIL_BYTES))
        tail = log.read()
    skipped, files = _last(_SKIPPED, tail), _last(_FILES, tail)
    job.deletions_judged = True
    if skipped is None and job.exit_code != DELETIONS_LEFT:
        return False
    if skipped is None or files is None:
        raise Abort(REFUSED, "there is something to delete, but rsync did not tell how much; nothing was deleted")
    loss = Loss(Tree(files + skipped, 0), Tree(skipped, 0), files)
    if reason := refusal(job.limits, loss, job.mirror.name):
        raise Abort(REFUSED, reason)
    return True


def _last(pattern: re.Pattern[bytes], text: bytes) -> int | None:
    found = pattern.findall(text)
    return int(found[-1].replace(b",", b"")) if found else None
