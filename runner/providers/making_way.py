"""Limit the number of files that rsync itself deletes to create directories of the upstream in their place.

No option of rsync prevents that; it only names all other deletions (`deletion_guard`). It prints the name of each such
file before it deletes it. So it can be ahead of us only by the lines that the pipe holds, and by those that we have
read and not yet counted. The size of the pipe is chosen for the number of files that may still be deleted, and rsync is
ended as long as all lines that can be under way are within the limits. Then a trial (`--dry-run`) shows how many more
files it would delete. If the limits allow all of them, rsync is started again. If they allow so few that no pipe is
small enough, the trial comes first. So a run that deletes few such files, as nearly all do, lists the upstream once,
and no run deletes more than the limits allow.

Where bytes are limited, a trial follows as soon as the first such file is deleted, since only a trial shows how large
files are. Files that a trial named are counted before they are deleted, and their names are kept, so a run that is
killed after a trial is counted exactly. A run that is killed without a trial leaves up to a pipe of uncounted files:
see `uncounted`.

A container program, or another program between rsync and us, reads ahead without a limit, so more files may be gone
when rsync is ended. If the upstream replaces further files by directories after a trial, two more files than the limits
allow may be gone. The mirror's next runs are then refused before rsync starts.
"""

import contextlib
from collections.abc import Collection, Iterator

from runner.plan.deletion_limits import Tree
from runner.plugin_api import Command, Job
from runner.providers import deletion_judgement, deletions, rsync_words
from runner.providers.deletion_names import Names
from runner.subprocesses.pipes import ENOUGH, Enough, Pipe, within

TRIAL = ("--dry-run", "--info=progress0", "--no-inc-recursive")
"""Change nothing, and name each item once: with an incremental listing rsync examines some items twice."""

_IN_TRIALS = frozenset({rsync_words.USAGE, 23, 24, 25})
"""Exit codes, see rsync(1), after which a trial has named all that it could. The rsync after it exits with the same
code, which is judged then."""

_SHORTEST = len("delete_item(x) mode=10644 flags=16\n")
"""Length in bytes of the shortest line about a file."""

_NAMES = b"delete_item("
"""The beginning of lines that are counted; the pipe passes other lines on in larger pieces."""

_MOST_FORETOLD = 100_000
"""Limit of the names that are kept of a trial where any number of files may be deleted."""

_SHARE = 8
"""The pipe holds one in so many of the files that may be deleted. With a larger pipe, rsync is ended early in more runs
that are within the limits; with a smaller one, rsync waits for the pipe in more small mirrors."""


def pipe_for(may_go: int) -> Pipe:
    """Return the pipe for an rsync that may delete that number of files."""
    return within(max(0, may_go) // _SHARE, _SHORTEST, _NAMES)


def pipe_of(job: Job, may_go: int | None) -> Pipe:
    """Return the pipe for an rsync of a job that may delete so many files, None for any number.

    Only a trial shows how large files are. So where bytes are limited, the smallest pipe leads to an early trial.
    """
    if job.limits.size is not None:
        return pipe_for(0)
    return Pipe() if may_go is None else pipe_for(may_go)


def ahead_in(pipe: Pipe) -> int:
    """Return the largest number of files that rsync can have deleted and that are not counted.

    These are the lines in the pipe, and as many that we have read at once and not yet counted.
    """
    return 2 * pipe.lines(_SHORTEST)


class Way:
    """Limits and counts the files that one sync deletes by itself."""

    def __init__(self, job: Job) -> None:
        self._job = job
        can_lose = job.accepted is not None and job.accepted.files > 0
        self._most = deletion_judgement.most(job) if can_lose else None
        self._is_by_bytes = can_lose and job.limits.size is not None
        self._from_trial: set[bytes] | None = None
        """Names from a trial of files that are not deleted yet, as rsync prints them; None before a trial."""
        self.pipe = pipe_of(job, self._left) if can_lose else Pipe()
        self._ahead = ahead_in(self.pipe)

    @property
    def _left(self) -> int | None:
        """Return how many files may still be deleted; None for any number."""
        return None if self._most is None else self._most - self._job.past.deleted.files

    def take(self, names: Collection[bytes]) -> None:
        """Count files that rsync has deleted.

        Raises Enough if rsync could delete more than allowed before we read the next line, Abort if it did already.
        """
        from runner.providers import deletion_record  # loaded here, since files rarely become directories

        self._job.kept[deletion_judgement.MADE_WAY] = True
        surprises = len(names) if self._from_trial is None else len(set(names) - self._from_trial)
        if self._from_trial is not None:
            self._from_trial.difference_update(names)
        if surprises:
            deletion_record.count(self._job, Tree(surprises, self._unknown_size()), self._job.past.deleting)
            deletion_judgement.require_within_limits(self._job)
        if self._is_narrow:
            raise Enough

    def _unknown_size(self) -> int:
        """Return what files count that the upstream replaced by directories after a trial: more than may be deleted."""
        size = self._job.limits.size if self._is_by_bytes and self._from_trial is not None else None
        return 0 if size is None else size + 1

    @property
    def _is_narrow(self) -> bool:
        """Return whether more files can be under way than may be deleted, or further ones of unknown sizes."""
        if self._from_trial is not None:
            return False
        has_lost = self._job.past.deleted.files > 0
        return (self._is_by_bytes and has_lost) or (self._left is not None and self._left < self._ahead)

    def passes(self, command: Command, names: Names) -> Iterator[Command]:
        """Yield the command, whose output `names` reads, with a trial if one is needed.

        Raises Abort if the limits are exceeded, before the command or after a trial.
        """
        deletion_judgement.require_within_limits(self._job)  # earlier runs may have exceeded the limits together
        command = command._replace(pipe=self.pipe, goes_on=command.goes_on | {ENOUGH})
        if self._is_narrow:
            yield from self._passes_with_trial(command, names)
            return
        yield command
        if self._job.exit_code == ENOUGH:
            self._job.note("rsync was ended to find out how many more files would make way for directories")
            self._job.past = self._job.past._replace(counted=False)  # the number of files that it fetched is unknown
            self._take_off(names)
            yield from self._passes_with_trial(command, names)

    def _take_off(self, names: Names) -> None:
        """Subtract the files that rsync had named but not yet deleted when it was ended."""
        from runner.providers import deletion_record  # loaded here, since files rarely become directories

        items = (item._replace(obstacle=False) for item in names.items() if item.for_folder)
        left = deletions.remaining(self._job.directory, items, deletions.exempt(self._job.mirror), set())
        deletion_record.take_off(self._job, Tree(left.files, 0))

    def _passes_with_trial(self, command: Command, names: Names) -> Iterator[Command]:
        """Yield a trial, and after it the command, which may delete the files that the trial named."""
        yield from self._trial_run(command, names)
        are_counted = bool(self._from_trial)
        # The smallest pipe, since the upstream may list other files than in the trial.
        yield command._replace(pipe=pipe_for(0))
        if are_counted:
            from runner.providers import deletion_record

            deletion_record.correct(self._job)

    def _trial_run(self, command: Command, names: Names) -> Iterator[Command]:
        """Yield a trial; Abort after it if the limits do not allow the deletion of all files that it named."""
        found = 0
        from_trial: set[bytes] = set()

        def keep(named: Collection[bytes]) -> None:
            nonlocal found
            found += len(named)
            # With more names the run is refused, and none of them is needed.
            if found <= (_MOST_FORETOLD if self._left is None else self._left):
                from_trial.update(named)

        with contextlib.closing(names.another(keep)) as trial:
            yield command._replace(
                argv=rsync_words.with_more(command.argv, TRIAL),
                goes_on=command.goes_on | _IN_TRIALS,
                output=lambda lines: trial.output(lines)[:0],
                errors=trial.errors.take,
                progress=False,
                pipe=Pipe(),
            )
            names.forget()
            # Counted before the command starts: if the run is killed, the next one subtracts files that still exist.
            if found:
                from runner.providers import deletion_record

                measured = deletion_judgement.require_trial_within_limits(self._job, trial, found)
                deletion_record.count_from_trial(self._job, from_trial, measured)
        self._from_trial = from_trial
