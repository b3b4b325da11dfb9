"""Judges what rsync would delete, before Skipjack deletes it.

A share is one of the files that were there and would be missed. No single source tells how many these are: an upstream
lists files that the options leave out, the directory holds files that the upstream does not have, and files that were
fetched since are no old ones. So the smallest of these numbers counts, and where they are wrong a loss is refused that
could be allowed, never the other way round.
"""

from collections.abc import Iterator
from typing import NamedTuple

from runner.base.contents import Contents
from runner.plan.deletion_limits import EVERYTHING, Limits, Loss, Tree, allowed, refusal
from runner.plugin_api import Abort, Job
from runner.providers import deletion_baseline, deletions, rsync_words
from runner.providers.deletion_names import Counts, Names, shown
from schemas.states import FAILED, INTERRUPTED, REFUSED

_DELETED = "would be deleted"
MADE_WAY = "files made way for directories"
"""A key of `Job.kept` that is there once that has happened."""


class TooMuch(Abort):
    """A loss that the limits do not allow."""


class Judged(NamedTuple):
    """What may be deleted, the tree that is left then, and whether its files are known to be on disk."""

    found: deletions.Measured
    left: Tree
    counted: bool


def judge(job: Job, names: Names, brought: int, *, trial: bool = False) -> Judged:
    """Return what there is to delete; raises Abort when that is too much, or is not what rsync says it left out.

    `brought` is the number of files that the attempt has created before this rsync. In a `trial` nothing was created.
    """
    _require_names(job, names)
    found = _measured(job, names)
    hits = names.errors.limits_hit
    if sum(hits) != found.limit_hits or len(hits) > 1:
        raise _refused(job, f"rsync left out {sum(hits)} deletions, but named {found.limit_hits}")
    if names.listed is None:
        raise _refused(job, "rsync did not report how many files the upstream has")
    listed = names.listed._replace(new=names.listed.new + brought)
    here = None
    if found.lost.files or found.made_way:
        here = job.walk(found.links.see if found.links else None)
        found = found.without_kept()
    if here is not None and trial:  # as if rsync had done its part
        here = here._replace(files=here.files + listed.new - found.made_way)
    gone = _sum(job.past.deleted, Tree(found.made_way if trial else 0, 0))
    _require_allowed(job, found, listed, here, gone)
    return _judged(job, found, listed, here)


def most(job: Job) -> int | None:
    """How many files the limits could allow at most to be deleted; None where any number is possible."""
    known = job.accepted.files if job.accepted is not None else 0
    limits = [each for each in _limits(job) if isinstance(each.most, int) or (known and each.most != EVERYTHING)]
    return min((allowed(each, known) for each in limits), default=None)


def require_bearable(job: Job, foretold: int = 0) -> None:
    """Raise Abort when what was deleted since the last accepted success is more than the limits allow.

    `foretold` is the number of files that rsync would take away besides, for directories in their place.
    """
    if job.accepted is None or not job.accepted.files:
        return
    loss = Loss(job.accepted, _sum(job.past.deleted, Tree(foretold, 0)), 1)
    happens = "are gone since the last accepted success, most where rsync put directories in the place of files"
    if foretold:
        gone = job.past.deleted.files
        with_gone = f", with {gone} that are gone since the last accepted success" if gone else ""
        happens = f"would make way for directories of the upstream{with_gone}"
    for limits in _limits(job):
        if reason := refusal(limits, loss, job.mirror.name, happens):
            deletion_baseline.keep_unaccepted(job)
            raise TooMuch(REFUSED, reason)


def _require_names(job: Job, names: Names) -> None:
    """Raise Abort when not all names could be kept: then nothing is deleted."""
    if names.fault:
        what = f"cannot keep the names of what would be deleted {names.fault}; nothing was deleted"
        raise Abort(FAILED, f"{what}. Make room there, and run it again")
    if names.are_too_many:
        what = f"rsync named {names.files} files to delete, more than the limits or the room for their names allow"
        raise TooMuch(
            REFUSED,
            f"{what}; nothing was deleted. If that is right, run `skipjack run {job.mirror.name} --max-delete 100%`",
        )


def _measured(job: Job, names: Names) -> deletions.Measured:
    try:
        exempt, success_at = deletions.exempt(job.mirror), job.past.success_at
        return deletions.measure(job.directory, names.items(), exempt, job.stopped, success_at)
    except deletions.Interrupted as error:
        raise Abort(INTERRUPTED, "the run was told to stop before it deleted anything") from error
    except deletions.Outside as outside:
        raise _refused(job, f"rsync named `{shown(outside.args[0])}`, which it must not delete") from outside


def _refused(job: Job, what: str) -> Abort:
    reason = f"{what}; nothing was deleted. Check the log and the upstream"
    if program := job.mirror.command:
        reason += f", and let `{program}` pass on rsync's output and errors, apart and unchanged"
    return Abort(REFUSED, reason)


def _require_allowed(job: Job, found: deletions.Measured, listed: Counts, here: Contents | None, gone: Tree) -> None:
    """Raise Abort when the limits do not allow what is to be deleted, with what runs have deleted since a success."""
    emptied = "the upstream lists no files"
    if not listed.files and not found.lost.files and not _is_accepted_as_empty(job):
        raise Abort(REFUSED, f"{emptied}. If that is right, run `skipjack run {job.mirror.name} --max-delete 100%`")
    known = job.accepted is not None and job.accepted.files > 0
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
        if not known and before and here is not None:  # what this run has fetched makes no later loss smaller
            deletion_baseline.compare_with(job, before, here.bytes)
        raise TooMuch(REFUSED, reason)


def _all_lost(job: Job, found: deletions.Measured, listed: Counts, gone: Tree) -> Tree:
    """What is to be deleted and what is gone.

    Nobody knows the size of files that made way for directories, so what the upstream lists less than before counts.
    """
    both = _sum(found.lost, gone)
    if job.accepted is None or not (found.made_way or MADE_WAY in job.kept):
        return both
    return both._replace(size=max(both.size, job.accepted.size - listed.size))


def _is_accepted_as_empty(job: Job) -> bool:
    """Whether a success without any file was accepted."""
    return job.accepted is not None and not job.accepted.files and not job.past.first_look


def _before(found: deletions.Measured, listed: Counts, here: Contents | None) -> int:
    """How many files there were at most before the attempt, of those that the upstream lists or would take away."""
    before = listed.files - listed.new - found.obstacles + found.lost.files
    return max(0, before if here is None else min(before, here.files - listed.new))


def _limits(job: Job) -> Iterator[Limits]:
    own = rsync_words.own_limit(job.mirror)
    if own is not None and not job.limits.named:
        yield job.limits._replace(most=own[0], source=own[1])
    yield job.limits


def _judged(job: Job, found: deletions.Measured, listed: Counts, here: Contents | None) -> Judged:
    """What is left once the deletions are made, from the walk or from what the last success left."""
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
    """What a sentence says of files when runs that were no success have deleted some of them."""
    if not gone.files:
        return _DELETED
    if not lost.files:
        return "were deleted by runs since the last accepted success"
    return f"{_DELETED}, with {gone.files} that runs since the last accepted success deleted"
