"""The deletion guard for providers that do not judge deletions before they happen.

After an attempt that would succeed, the tree is compared with that of the last accepted success, which the journal
keeps. A loss beyond the mirror's limits refuses the run. Deletions of failed and refused runs count as well, since such
runs do not change the accepted figures. The tree is walked once, which also measures the size on disk.

A file with several names counts its bytes once. If the size of the accepted success was a sum over names (from rsync, a
log or an earlier release), the bytes are compared with such a sum.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from runner.base import contents
from runner.base.mirror_paths import is_missing_or_empty
from runner.journal.last_success import Past
from runner.plan.deletion_limits import EVERYTHING, Loss, Tree, refusal, refusal_of_bytes, with_remedy
from runner.plugin_api import Job
from runner.providers import deletion_baseline
from schemas.mirror_record import RSYNC_PROVIDERS, Mirror
from schemas.units import format_size

# These providers count the directory themselves before they delete; a second walk would cost as much again.
_LOOK_THEMSELVES = RSYNC_PROVIDERS
_NOTHING_LEFT = "no file is left"


class Comparison(NamedTuple):
    """Why a run is refused (empty if it is not), and the size on disk in bytes (None if the tree was not walked)."""

    reason: str = ""
    size: int | None = None


def prepare(job: Job) -> None:
    """Record before the first attempt what can be lost; the tree is walked before the first run only."""
    if is_walked(job.mirror) and job.mirror.provider not in _LOOK_THEMSELVES:
        deletion_baseline.look_first(job)
    if not job.limits.are_off:
        job.had_files = job.past.had_files or bool(contents.any_file(job.directory, job.own_files))


def compare(job: Job, logged: int | None, stopped: Callable[[], bool]) -> Comparison:
    """Judge the tree after an attempt; `logged` is the size from its log. Raises contents.Stopped if `stopped` is true.

    A tree whose loss the operator accepts is counted as well: the next runs are compared with it.
    """
    if job.deletions_judged and not job.limits.are_off:
        verdict = _judged_before(job, stopped)
        job.found = job.contents or _known(job, None, None)
        job.on_disk = None if job.contents else job.past.on_disk  # rsync reports bytes by name
        return verdict
    if unreadable := _unreadable(job.directory):
        return Comparison(unreadable)
    own = job.own_files
    if not is_walked(job.mirror):
        has_files = contents.any_file(job.directory, own)
        files, size = (0, 0) if has_files is False else (None, logged)
        return Comparison(_judged(job, files, size, has_files=bool(has_files)))
    found = contents.count(job.directory, stopped, own)
    if found.unreadable:
        job.complain(f"cannot judge a loss of files: folders that cannot be read: {found.unreadable}")
        reason = _judged(job, None, None, has_files=found.files > 0) or _in_sight(job, found.files, found)
        return Comparison(reason, found.on_disk)
    job.counted = True
    reason = _judged(job, found.files, found.bytes, found.on_disk, has_files=found.files > 0)
    return Comparison(reason, found.on_disk)


def _judged_before(job: Job, stopped: Callable[[], bool]) -> Comparison:
    """Judge the tree of a provider that limits its own deletions, for files that were lost in another way.

    The upstream then lists fewer files than were accepted, although no such number of deletions was allowed. In that
    case the tree is walked, since files that the definition no longer names may still be there. It is also walked if it
    is unknown how many of the listed files are on disk, because the next runs are compared with that number.
    """
    listed = job.contents
    is_loss = job.past.refused if listed is None else _loses_files(job, listed.files)
    if not is_loss:
        if listed is not None and not job.counted and is_walked(job.mirror):
            found = contents.count(job.directory, stopped, job.own_files, job.apart)
            job.contents, job.counted = _on_disk(listed, found), True
            return Comparison(size=None if found.unreadable else found.on_disk)
        return Comparison()
    found = contents.count(job.directory, stopped, job.own_files, job.apart)
    files = found.files if listed is None else max(listed.files, found.files)
    is_loss = listed is None or _loses_files(job, files)
    if found.unreadable:
        job.complain(f"cannot judge a loss of files: folders that cannot be read: {found.unreadable}")
        reason = _unaccepted(job, None, None) or (_in_sight(job, files, found) if is_loss else "")
        return Comparison(reason, found.on_disk)
    reason = _refusal(job, files, found.bytes, found.on_disk) if is_loss else ""
    job.loss_refused = bool(reason)
    if listed is not None:
        job.contents, job.counted = _on_disk(listed, found), True
    return Comparison(reason, found.on_disk)


def _in_sight(job: Job, files: int, found: contents.Contents) -> str:
    """Return why a loss is refused although some folders cannot be read: the missing files may be in these.

    An upstream chooses the modes of its folders, so one unreadable folder must not hide a loss.
    """
    if job.past.files is None:
        return ""
    happens = f"{_happens(job.past)}, or in folders that cannot be read"
    reason = _refusal(job, files, found.bytes, found.on_disk, happens)
    job.loss_refused = job.loss_refused or bool(reason)
    return reason


def _on_disk(listed: Tree, found: contents.Contents) -> Tree:
    """Return the listed files that can be on disk: options leave some of them out, such as links out of the tree."""
    return listed if found.unreadable else listed._replace(files=min(listed.files, found.files))


def _loses_files(job: Job, files: int) -> bool:
    return bool(_refusal(job, files, None))


def _judged(job: Job, files: int | None, size: int | None, on_disk: int | None = None, *, has_files: bool) -> str:
    """Return why an attempt with these figures is refused, and store in the job the figures for the next runs."""
    reason = _unaccepted(job, files, size) or _refusal(job, files, size, on_disk)
    job.loss_refused = bool(reason)
    known, known_size = _known(job, files, size)
    job.found = (None if files is None and has_files and known == 0 else known, known_size)
    job.on_disk = job.past.on_disk if on_disk is None and not _accepts_any(job) else on_disk
    return reason


def _unaccepted(job: Job, files: int | None, size: int | None) -> str:
    """Return why unknown figures cannot end a refusal; empty if they can, or if the last run was not refused."""
    past = job.past
    if not past.refused or _accepts_any(job):
        return ""
    unknown = (past.files is not None and files is None) or (past.bytes is not None and size is None)
    if not unknown and (files, size) != (None, None):
        return ""
    what = "the figures are unknown, and the loss of the last refused run is still not accepted"
    return with_remedy(what, job.mirror.name)


def _known(job: Job, files: int | None, size: int | None) -> tuple[int | None, int | None]:
    """Return the figures that the next runs are compared with: one that this run did not have keeps its old value.

    Otherwise a script that breaks before it prints a size would make any loss accepted.
    """
    if _accepts_any(job):
        return files, size
    return job.past.files if files is None else files, job.past.bytes if size is None else size


def _accepts_any(job: Job) -> bool:
    """Return whether the operator (for this run) or the definition allows the loss of any number of files and bytes."""
    return job.limits.are_off or (job.mirror.max_delete == EVERYTHING and job.mirror.max_delete_bytes is None)


def is_walked(mirror: Mirror) -> bool:
    """Return whether the tree is walked after a run: not if the definition turns off all that needs the figures."""
    return mirror.measure_size and not (mirror.max_delete == EVERYTHING and mirror.max_delete_bytes is None)


def described(job: Job) -> str:
    """Return what a run will be compared with, in a few words for `--dry-run`."""
    if job.limits.are_off:
        return "with nothing: any loss is accepted"
    past = job.past
    size = past.on_disk if past.on_disk is not None and is_walked(job.mirror) else past.bytes
    figures = [
        *([f"{past.files} files"] if past.files is not None else []),
        *([format_size(size)] if size is not None else []),
    ]
    before = "the directory before the first success" if past.first_look else "the last accepted success"
    what = f"{before} ({', '.join(figures)})" if figures else "no success, since no figures are known"
    how = "" if is_walked(job.mirror) else "; by the size in the log, without counting files"
    return f"after the run, with {what}{how}"


def _happens(past: Past) -> str:
    return f"are gone since {'the first look at the directory' if past.first_look else 'the last accepted success'}"


def _refusal(job: Job, files: int | None, size: int | None, on_disk: int | None = None, happens: str = "") -> str:
    past, limits, name = job.past, job.limits, job.mirror.name
    if limits.are_off:
        return ""
    lost = None if past.files is None or files is None else past.files - files
    had, left = (past.bytes, size) if past.on_disk is None or on_disk is None else (past.on_disk, on_disk)
    lost_bytes = 0 if had is None or left is None else max(0, had - left)
    if past.files is not None and files is not None and lost is not None:
        emptied = f"{_NOTHING_LEFT} that can be read" if happens else _NOTHING_LEFT
        loss = Loss(Tree(past.files, had or 0), Tree(lost, lost_bytes), files)
        if reason := refusal(limits, loss, name, happens or _happens(past), emptied):
            return reason
    if files == 0 and (past.files is None or past.first_look) and job.had_files:
        return with_remedy(f"{_NOTHING_LEFT}, although the directory had some", name)
    if lost is not None and 0 < lost <= limits.floor:  # a few files may always go, however large they are
        return ""
    return refusal_of_bytes(limits, had or 0, lost_bytes, name, happens or _happens(past))


def _unreadable(directory: str) -> str:
    try:
        with os.scandir(directory):
            return ""
    except OSError as error:
        return "" if is_missing_or_empty(directory) else f"{directory} cannot be read after the run: {error.strerror}"
