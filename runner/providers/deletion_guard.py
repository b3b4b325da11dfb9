"""The deletion guard of the rsync providers: an upstream that suddenly is empty must not empty the mirror.

rsync transfers everything and deletes nothing; it names the files that it would delete (`deletion_names`). Skipjack
judges all of them together (`deletion_judgement`) and then deletes exactly these (`deletions`). So the upstream is
listed once, and everything that is deleted was judged. If the run dies in between, the next one deletes the rest.
"""

import contextlib
import os
from collections.abc import Callable, Generator, Iterator

from runner.plan.deletion_limits import Tree
from runner.plugin_api import Abort, Command, Job
from runner.providers import deletion_baseline, deletion_judgement, deletions, rsync_words
from runner.providers.deletion_names import Counts, Errors, Item, Listing, Names, shown
from runner.providers.making_way import TRIAL, Way
from schemas.states import FAILED, INTERRUPTED
from schemas.units import format_size

_PARTIAL, _VANISHED, _DELETIONS_LEFT = 23, 24, 25  # see EXIT VALUES in rsync(1)

GUARD = ("--debug=del2", "--outbuf=L", "--max-delete=0")
"""Delete nothing, and name each item that would be deleted in a line that is written by a separate call.

They come after all other options, since the last one applies.
"""

_REMEDY = "Let it pass on rsync's output and errors, apart and unchanged"

_SHOWN = 100
"""Largest number of deletions that a log names; of the others it shows the number."""


def begin(job: Job) -> None:
    """Record the files that can be lost, before rsync transfers anything.

    If the last run died during its deletions, its count is reduced to the files that it did delete.
    """
    job.keeps_parts_apart = rsync_words.keeps_partials_apart(job.mirror)
    deletion_baseline.look_first(job)
    deletion_baseline.count_unaccepted(job)
    if job.past.deleting:
        from runner.providers import deletion_record  # loaded here, since few runs begin after a killed one

        deletion_record.correct(job)
    if job.past.uncounted_since is not None and not job.limits.are_off:
        from runner.providers import uncounted  # loaded here for the same reason

        uncounted.count(job)


def guarded(job: Job, full: Command, brought: int = 0) -> Iterator[Command]:
    """Yield a sync that deletes only what the limits allow; Abort after the transfer if there is more to delete.

    `brought` is the number of files that the attempt has created before.
    """
    deletes = rsync_words.deletes(full)
    if job.limits.are_off or not deletes or rsync_words.makes_backups(full):
        # A program of the definition in place of rsync may delete without such options.
        job.deletions_judged = job.limits.are_off or not (deletes or job.mirror.command)
        yield from _plain(job, full)
        return
    way = Way(job)
    with contextlib.closing(Names(_folder(job), deletion_judgement.most(job), way.take, place_of(job, full))) as names:
        yield from way.passes(asking(full, names), names)
        if job.exit_code == rsync_words.USAGE and not names.in_force:
            yield from rsync_words.falling_back(job, full, GUARD)
        elif names.in_force:
            yield from _after(job, full, names, brought)
        else:
            _without_names(job, full)


def _plain(job: Job, full: Command) -> Iterator[Command]:
    """Yield a sync in which rsync itself deletes, or nothing is deleted."""
    if not rsync_words.deletes(full):
        listed = yield from without_deletions(job, full)
        if job.exit_code == rsync_words.USAGE:
            yield from rsync_words.falling_back(job, full, GUARD)
        elif job.deletions_judged and listed is not None:  # the limits of the next runs apply to these figures
            job.contents = Tree(listed.files, listed.size)
        return
    listing = Listing()
    yield from rsync_words.unguarded(job, full._replace(output=listing.take))
    if job.deletions_judged and listing.counts is not None:
        job.contents = Tree(listing.counts.files, listing.counts.size)


def without_deletions(job: Job, made: Command) -> Generator[Command, None, Counts | None]:
    """Yield an rsync without deleting options; it still replaces files by directories of the upstream.

    Return the numbers of listed files. The caller handles a usage error.
    """
    way = Way(job)
    with contextlib.closing(Names(_folder(job), 0, way.take)) as names:
        goes_on = made.goes_on | {rsync_words.USAGE}
        if job.limits.are_off or rsync_words.makes_backups(made):
            yield made._replace(goes_on=goes_on, output=names.output)
        else:
            yield from way.passes(asking(made, names)._replace(goes_on=goes_on, errors=made.errors), names)
        return names.listed


def _folder(job: Job) -> str:
    """Return the folder for the file of names, which no container can see."""
    return job.machine.state_dir or job.log_dir


def place_of(job: Job, full: Command) -> Callable[[bytes], bytes] | None:
    """Return where items are whose paths rsync prints; None for a command that follows no links in the mirror."""
    return deletions.behind_links(job.directory) if rsync_words.keeps_dirlinks(full) else None


def asking(full: Command, names: Names) -> Command:
    """Return the command that transfers and names files to delete, but does not delete them."""
    goes_on = frozenset({_DELETIONS_LEFT, _PARTIAL, rsync_words.USAGE})
    argv = rsync_words.with_more(full.argv, GUARD)
    return full._replace(argv=argv, goes_on=goes_on, output=names.output, errors=lambda lines: names.errors.take(lines))


def argument_lists(full: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of all passes that a sync with these arguments may need."""
    yield full
    yield rsync_words.with_more(full, GUARD)
    yield rsync_words.with_more(full, (*GUARD, *TRIAL))


def first_passes(lists: Iterator[tuple[str, ...]], directory: str) -> Iterator[tuple[str, ...]]:
    """Yield the arguments with which each sync of `argument_lists` begins."""
    for full, guarded_pass, _trial in zip(lists, lists, lists, strict=True):
        makes_backups = rsync_words.makes_backups(Command(("rsync", *full), {}, directory))
        yield full if makes_backups else guarded_pass


def _after(job: Job, full: Command, names: Names, brought: int) -> Iterator[Command]:
    """Judge the deletions after rsync has done everything else, and make them."""
    job.deletions_judged = True
    code = job.exit_code = _without_deletions(job.exit_code, names.errors)
    if names.io_error or not _is_complete(job, code):
        job.write(names.errors.held())
        return
    try:
        judged = deletion_judgement.judge(job, names, brought)
    except deletion_judgement.TooMuch:
        _show(job, names, "would delete")
        raise
    found = judged.found
    obstacles = [item.path for item in names.items() if item.obstacle and item.is_folder] if names.obstacles else []
    if found.limit_hits or obstacles:
        _log_deletions(job, names, found)
        times = deletions.times_above(job.directory, obstacles)
        _delete(job, names, found)
        yield from _replace(job, full, obstacles, names.errors)
        deletions.set_times(job.directory, times)
    job.contents, job.counted = judged.left, judged.counted


def _without_names(job: Job, full: Command) -> None:
    """Handle a program that named no deletions: the tree is compared after the run; Abort after exit code 25."""
    program = full.argv[0]
    if job.exit_code == _DELETIONS_LEFT:
        what = f"cannot judge deletions: `{program}` exited with 25, so it skipped deletions, but printed none of them"
        raise Abort(FAILED, f"{what}. Expected lines such as `delete_item(…)` on its standard output. {_REMEDY}")
    if job.exit_code == 0:
        what = f"`{program}` printed no lines for `--debug=del2`, so this run has no guard before deletions"
        job.note(f"{what}. {_REMEDY}, or it deletes nothing")


def _without_deletions(code: int, errors: Errors) -> int:
    """Return the exit code that rsync would have had without anything to delete."""
    if code == _PARTIAL and errors.only_obstacles:
        return _VANISHED if errors.vanished else 0
    return 0 if code == _DELETIONS_LEFT else code


def _is_complete(job: Job, code: int) -> bool:
    """Return whether everything except deletions was done, according to the exit codes that the definition accepts."""
    return code in (0, _VANISHED, *job.mirror.success_exit_codes, *job.mirror.rsync_success_exit_codes)


def _figures(found: deletions.Measured) -> str:
    return f"{found.lost.files} files ({format_size(found.lost.size)}) and {found.folders} directories"


def forecast(job: Job, names: Names) -> str:
    """Return what a run would do after it transferred everything, in one line; for a dry run of `asking`."""
    there = os.path.isdir(job.directory)
    if there and not names.in_force and job.mirror.command:
        return f"cannot show its deletions: `{job.mirror.command}` did not print them. {_REMEDY}"
    if not names.in_force or names.io_error or not there:
        return "would delete nothing"
    try:
        found = deletion_judgement.judge(job, names, 0, trial=True).found
    except Abort as abort:
        return f"would be refused: {abort.reason}"
    return f"would delete {_figures(found)}"


def _deletions(job: Job, names: Names) -> Iterator[Item]:
    """Return the items to delete; those of the trace hook only if the upstream has another type in their place."""
    kept = deletions.exempt(job.mirror).own
    if not kept:
        return names.items()
    places = [item.path for item in names.items() if item.path in kept and item.obstacle and item.is_folder]
    kept = frozenset(path for path in kept if not any((path + b"/").startswith(place + b"/") for place in places))
    return (item for item in names.items() if item.path not in kept)


def _log_deletions(job: Job, names: Names, found: deletions.Measured) -> None:
    _show(job, names, "deleting")
    if found.lost.files or found.folders:
        job.note(f"deletes {_figures(found)}")


def _show(job: Job, names: Names, verb: str) -> None:
    """Write the first deletions into the log, and the number of the others."""
    lines, number = [], 0
    for line in lines_of(job, names, verb):
        number += 1
        if number <= _SHOWN:
            lines.append(line)
    if number > _SHOWN:
        lines.append(f"*{verb}   {number - _SHOWN} more")
    job.write("".join(f"{line}\n" for line in lines))


def lines_of(job: Job, names: Names, verb: str) -> Iterator[str]:
    """Yield a line for each deletion, in the form of rsync's own lines."""
    for item in _deletions(job, names):
        if not _is_done(item):
            yield f"*{verb}   {shown(item.path)}{'/' if item.is_folder else ''}"


def _is_done(item: Item) -> bool:
    """Return whether rsync removed an item itself: a file in the place of another type."""
    return item.obstacle and not item.is_folder


def _delete(job: Job, names: Names, found: deletions.Measured) -> None:
    from runner.providers import deletion_record  # loaded here, since most runs delete nothing

    deletion_record.begin(job, names, found)
    try:
        failures = deletions.delete(job.directory, _deletions(job, names), job.stopped)
    except deletions.Interrupted as error:
        reason = "the run received a stop signal while it deleted files; the next run deletes the rest"
        raise Abort(INTERRUPTED, reason) from error
    if failures:
        path, reason = failures[0]
        what = f"cannot delete {len(failures)} items, the first of them `{shown(path)}`: {reason}"
        raise Abort(FAILED, f"{what}. {_owners(job.directory, path)}Check the owner of the files and the mount options")
    deletion_record.finish(job)


def _owners(directory: str, path: bytes) -> str:
    """Return a sentence about the owner of an item's folder, empty if that is the worker's user."""
    try:
        owner = os.stat(os.path.dirname(os.path.join(os.fsencode(directory), path))).st_uid
    except OSError:
        return ""
    if owner == os.geteuid():
        return ""
    whose = f"Its folder belongs to the user {owner}, and the worker runs as the user {os.geteuid()}"
    return f"{whose}. Let rsync run as the worker's user in a container as well. "


def _replace(job: Job, full: Command, obstacles: list[bytes], errors: Errors) -> Iterator[Command]:
    """Yield an rsync that fetches the items of the upstream in whose place directories were deleted."""
    directory = os.fsencode(job.directory)
    blocked = [path for path in obstacles if os.path.isdir(os.path.join(directory, path))]
    missing = deletions.free_places(job.directory, obstacles)
    if missing:
        code = job.exit_code
        # In the folder of the logs, which a container can see as well.
        list_file = os.path.join(job.log_dir, f".{job.mirror.name}.fetch")
        try:
            yield rsync_words.fetching(job, full, missing, list_file)
        finally:
            with contextlib.suppress(OSError):  # the next run replaces it
                os.unlink(list_file)
        job.exit_code = job.exit_code or code
    if blocked:
        job.write(errors.held())
        job.exit_code = _PARTIAL
        job.explanation = _why_blocked(job.directory, blocked[0])


def _why_blocked(directory: str, path: bytes) -> str:
    """Return why a directory could not be replaced: rsync's filters protect a file in it."""
    where = os.fsencode(directory)
    walk = os.walk(os.path.join(where, path))
    left = next((os.path.join(folder, files[0]) for folder, _folders, files in walk if files), None)
    what = f"`{shown(path)}` is a directory with protected files here, and of another type at the upstream"
    which = f"`{shown(os.path.relpath(left, where))}`" if left else "them"
    return f"{what}. Remove {which}, or the filter that protects it"
