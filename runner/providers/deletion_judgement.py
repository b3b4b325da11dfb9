"""Judge the files that rsync would delete, before Skipjack deletes them.

A limit in percent applies to the files that were there before and would be missed. No single source has their number:
an upstream lists files that options leave out, the directory may hold files that the upstream never had, and files
that were just fetched are not old ones. So the smallest of these numbers counts. If it is wrong, a loss is refused that
could be allowed, never the other way round.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from runner.base.contents import Contents
from runner.plan.deletion_limits import EVERYTHING, Limits, Loss, Tree, allowed, refusal
from runner.plugin_api import Abort, Job
from runner.providers import deletion_baseline, deletions, rsync_words
from runner.providers.deletion_names import Counts, Item, Names, shown
from schemas.states import FAILED, INTERRUPTED, REFUSED

NOTHING = Tree(0, 0)
_DELETED = "would be deleted"
MADE_WAY = "files made way for directories"
"""A key of `Job.kept`, set when files made way for directories."""


class TooMuch(Abort):
    """A loss beyond the limits."""


class Judged(NamedTuple):
    """The allowed deletions, the tree that remains after them, and whether its files are known to be on disk."""

    found: deletions.Measured
    left: Tree
    counted: bool


def judge(job: Job, names: Names, brought: int, *, trial: bool = False) -> Judged:
    """Return the deletions; Abort if they are too many, or differ from the number that rsync reports as skipped.

    `brought` is the number of files that the attempt has created before this rsync. In a `trial` nothing was created.
    """
    _require_names(job, names)
    found = _measured(job, names.items())
    hits = names.errors.limits_hit
    # rsync's own count is the check on the names: a malicious server can send lines that look like names.
    if sum(hits) != found.limit_hits or len(hits) > 1:
        raise _refused(job, f"rsync skipped {sum(hits)} deletions, but named {found.limit_hits}")
    if names.listed is None:
        raise _refused(job, "rsync did not report how many files the upstream has")
    listed = names.listed._replace(new=names.listed.new + brought)
    here = None
    if found.lost.files or found.made_way:
        here = _walked(job, found)
        found = found.without_kept()
    if here is not None and trial:  # the numbers after rsync had created and replaced files
        here = here._replace(files=here.files + listed.new - found.made_way)
    gone = _sum(job.past.deleted, Tree(found.made_way if trial else 0, 0))
    _require_allowed(job, found, listed, here, gone)
    return _judged(job, found, listed, here)


def _walked(job: Job, found: deletions.Measured) -> Contents:
    """Count the directory, with sizes only where `_require_allowed` or the hard links to delete need them."""
    if found.links:
        return job.walk(found.links.see)
    return job.walk(sizes=not _is_known(job))


def _is_known(job: Job) -> bool:
    """Return whether the last accepted success had files."""
    return job.accepted is not None and job.accepted.files > 0


def most(job: Job) -> int | None:
    """Return the largest number of deleted files that the limits could allow; None if any number is possible."""
    known = job.accepted.files if job.accepted is not None else 0
    limits = [each for each in _limits(job) if isinstance(each.most, int) or (known and each.most != EVERYTHING)]
    return min((allowed(each, known) for each in limits), default=None)


def require_trial_within_limits(job: Job, trial: Names, files: int) -> deletions.Measured:
    """Measure the files that a trial named for directories in their place; raises Abort if the limits forbid them.

    The sizes of such files that were deleted before are unknown, so the bytes that the upstream lists less count too.
    """
    is_by_bytes = job.limits.size is not None
    if is_by_bytes:
        _require_names(job, trial)
    found = _measured(job, (item._replace(obstacle=False) for item in trial.items() if item.for_folder))
    if is_by_bytes and found.links:
        job.walk(found.links.see)
        found = found.without_kept()
    size = found.lost.size
    if is_by_bytes and job.accepted is not None and trial.listed is not None:
        size = max(size, job.accepted.size - trial.listed.size - job.past.deleted.size)
    require_within_limits(job, Tree(files, size))
    return found._replace(lost=Tree(files, found.lost.size))


def require_within_limits(job: Job, from_trial: Tree = NOTHING) -> None:
    """Raise Abort if more files were deleted since the last accepted success than the limits allow.

    `from_trial` are further files that rsync would replace by directories.
    """
    if job.accepted is None or not job.accepted.files:
        return
    loss = Loss(job.accepted, _sum(job.past.deleted, from_trial), 1)
    happens = "are gone since the last accepted success, most where rsync put directories in the place of files"
    if from_trial.files:
        gone = job.past.deleted.files
        with_gone = f", with up to {gone} that are gone since the last accepted success" if gone else ""
        happens = f"would make way for directories of the upstream{with_gone}"
    for limits in _limits(job):
        if reason := refusal(limits, loss, job.mirror.name, happens):
            deletion_baseline.keep_unaccepted(job)
            raise TooMuch(REFUSED, reason)


def _require_names(job: Job, names: Names) -> None:
    """Raise Abort if not all names could be kept: then nothing is deleted."""
    if names.fault:
        what = f"cannot keep the names of files to delete {names.fault}; nothing was deleted"
        raise Abort(FAILED, f"{what}. Make room there, and run it again")
    if names.are_too_many:
        what = f"rsync named {names.files} files to delete, more than the limits or the space for their names allow"
        raise TooMuch(
            REFUSED,
            f"{what}; nothing was deleted. If that is right, run `skipjack run {job.mirror.name} --max-delete 100%`",
        )


def _measured(job: Job, items: Iterable[Item]) -> deletions.Measured:
    try:
        exempt, success_at = deletions.exempt(job.mirror), job.past.success_at
        return deletions.measure(job.directory, items, exempt, job.stopped, success_at)
    except deletions.Interrupted as error:
        raise Abort(INTERRUPTED, "the run received a stop signal before it deleted anything") from error
    except deletions.Outside as outside:
        raise _refused(job, f"rsync named `{shown(outside.args[0])}`, which it must not delete") from outside


def _refused(job: Job, what: str) -> Abort:
    reason = f"{what}; Skipjack deleted nothing. Check the log and the upstream"
    if program := job.mirror.command:
        reason += f", and let `{program}` pass on rsync's output and errors, apart and unchanged"
    return Abort(REFUSED, reason)


def _require_allowed(job: Job, found: deletions.Measured, listed: Counts, here: Contents | None, gone: Tree) -> None:
    """Raise Abort if the limits do not allow the deletions, together with those of runs since the last success."""
    emptied = "the upstream lists no files"
    if not listed.files and not found.lost.files and not _is_accepted_as_empty(job):
        raise Abort(REFUSED, f"{emptied}. If that is right, run `skipjack run {job.mirror.name} --max-delete 100%`")
    known = _is_known(job)
    if not found.lost.files and not (gone.files and known):
        return
    before = _before(found, listed, here) + gone.files
    files = job.accepted.files if known and job.accepted else before
    had = Tree(min(before, files) if found.lost.files else files, listed.size + found.lost.size)
    left = listed.files if here is None or here.unreadable else min(listed.files, here.files - found.lost.files)
    loss = Loss(had, _all_lost(job, found, listed, gone), max(left, 0))
    emptied = "no file would be left" if listed.files else emptied
    reasons = (refusal(limits, loss, job.mirror.name, _happens(found.lost, gone), emptied) for limits in _limits(job))
    if reason := next(filter(None, reasons), ""):
        deletion_baseline.keep_unaccepted(job)
        if not known and before and here is not None:  # otherwise files that this run fetched would hide a later loss
            deletion_baseline.compare_with(job, before, here.bytes)
        raise TooMuch(REFUSED, reason)


def _all_lost(job: Job, found: deletions.Measured, listed: Counts, gone: Tree) -> Tree:
    """Return the files to delete together with those that are gone.

    The size of files that made way for directories is unknown, so the decrease of the upstream's total size counts.
    """
    both = _sum(found.lost, gone)
    if job.accepted is None or not (found.made_way or MADE_WAY in job.kept):
        return both
    return both._replace(size=max(both.size, job.accepted.size - listed.size))


def _is_accepted_as_empty(job: Job) -> bool:
    """Return whether a success without any file was accepted."""
    return job.accepted is not None and not job.accepted.files and not job.past.first_look


def _before(found: deletions.Measured, listed: Counts, here: Contents | None) -> int:
    """Return the largest possible number of files before the attempt that the upstream lists or would delete."""
    before = listed.files - listed.new - found.obstacles + found.lost.files
    return max(0, before if here is None else min(before, here.files - listed.new))


def _limits(job: Job) -> Iterator[Limits]:
    own = rsync_words.own_limit(job.mirror)
    if own is not None and not job.limits.named:
        yield job.limits._replace(most=own[0], source=own[1])
    yield job.limits


def _judged(job: Job, found: deletions.Measured, listed: Counts, here: Contents | None) -> Judged:
    """Return the tree after the deletions, from the walk or from the figures of the last success."""
    files, counted = listed.files, False
    if here is not None:
        counted = not here.unreadable
        files = min(files, here.files - found.lost.files) if counted else files
    elif job.past.counted and job.accepted is not None and job.attempt <= 1:
        files, counted = min(files, job.accepted.files + listed.new), True
    return Judged(found, Tree(max(files, 0), listed.size), counted)


def _sum(one: Tree, other: Tree) -> Tree:
    return Tree(one.files + other.files, one.size + other.size)


def _happens(lost: Tree, gone: Tree) -> str:
    """Return the verb of a refusal, also if runs without success have deleted some of the files.

    "Up to", since `uncounted` counts the largest number that a killed run can have deleted.
    """
    if not gone.files:
        return _DELETED
    if not lost.files:
        return "were deleted by runs since the last accepted success"
    return f"{_DELETED}, with up to {gone.files} that runs since the last accepted success deleted"
