"""Bounds how many files rsync takes away by itself, where the upstream has directories in their place.

No option of rsync keeps it from that; all the others it only names (`deletion_guard`). It prints the name of each such
file before it takes it away, so it is ahead of us by no more lines than we have read and not yet counted, and than the
pipe holds. The pipe is chosen for the number of files that may still go, and rsync is ended while all that can be in
there still may. Then, and where so few may go that no pipe is narrow enough, a trial tells how many more it would take
away: if all of them may go, rsync goes on. So a run that takes away few files, as nearly all do, lists the upstream
once, and no run takes away more than the limits allow.

What a trial named is counted before it goes, and its names are kept, so a run that is killed after a trial loses no
count. One that is killed without a trial leaves up to a pipe of files that nobody has counted: see `uncounted`.

A container program, or another program between rsync and us, reads ahead as much as it likes: then more may be gone
when rsync is ended. Where the upstream puts further directories in the place of files after a trial, two more files
than the limits allow may be gone. Then the mirror's next runs are refused before their rsync starts.
"""

import contextlib
from collections.abc import Collection, Iterator

from runner.plan.deletion_limits import Tree
from runner.plugin_api import Command, Job
from runner.providers import deletion_judgement, deletions, rsync_words
from runner.providers.deletion_names import Names
from runner.subprocesses.pipes import ENOUGH, Enough, Pipe, within

TRIAL = ("--dry-run", "--info=progress0", "--no-inc-recursive")
"""Change nothing, and name each item once: as the listing comes in parts otherwise, some are looked at twice."""

_IN_TRIALS = frozenset({rsync_words.USAGE, 23, 24, 25})
"""Exit codes of rsync(1) with which a trial has named what it could: the rsync after it ends with the same, and is
judged by that."""

_SHORTEST = len("delete_item(x) mode=10644 flags=16\n")
"""Bytes of a line about a file at least."""

_NAMES = b"delete_item("
"""What a line has that counts; nobody needs the others at once."""

_SHARE = 8
"""Of the files that may go, one in so many may be in the pipe. Of more, rsync is ended early in more runs that are
within the limits; of fewer, more small mirrors have a pipe that rsync often waits for."""


def pipe_for(may_go: int) -> Pipe:
    """Return the pipe of an rsync that may take away so many files."""
    return within(max(0, may_go) // _SHARE, _SHORTEST, _NAMES)


def ahead_in(pipe: Pipe) -> int:
    """Return how many files rsync can have taken away that are not counted: as many as the pipe holds can have been
    read before."""
    return 2 * pipe.lines(_SHORTEST)


class Way:
    """What one sync takes away by itself, counted in the journal."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._most = deletion_judgement.most(job) if job.accepted is not None and job.accepted.files else None
        self._foretold: set[bytes] | None = None
        """What a trial named and has not gone yet, as rsync prints it; None before a trial."""
        self.pipe = Pipe() if self._left is None else pipe_for(self._left)
        self._ahead = ahead_in(self.pipe)

    @property
    def _left(self) -> int | None:
        """How many files may still go; None for any number."""
        return None if self._most is None else self._most - self._job.past.deleted.files

    def take(self, names: Collection[bytes]) -> None:
        """Count files that rsync has taken away.

        Raises Enough when more can be under way than may go, and Abort when too many have gone.
        """
        from runner.providers import deletion_record  # files rarely become directories

        self._job.kept[deletion_judgement.MADE_WAY] = True
        surprises = len(names) if self._foretold is None else len(set(names) - self._foretold)
        if self._foretold is not None:
            self._foretold.difference_update(names)
        if surprises:
            deletion_record.count(self._job, Tree(surprises, 0), self._job.past.deleting)
            deletion_judgement.require_bearable(self._job)
        if self._is_narrow:
            raise Enough

    @property
    def _is_narrow(self) -> bool:
        """Whether more can be under way than may go."""
        return self._left is not None and self._foretold is None and self._left < self._ahead

    def passes(self, command: Command, names: Names) -> Iterator[Command]:
        """The command, whose names `names` reads, and a trial before it where that is needed; raises Abort after it."""
        if self._left is not None and self._left < 0:
            deletion_judgement.require_bearable(self._job)
        command = command._replace(pipe=self.pipe, goes_on=command.goes_on | {ENOUGH})
        if self._is_narrow:
            yield from self._foretold_passes(command, names)
            return
        yield command
        if self._job.exit_code == ENOUGH:
            self._job.note("rsync was ended to find out how many more files would make way for directories")
            self._job.past = self._job.past._replace(counted=False)  # nobody knows what it had brought
            self._take_off(names)
            yield from self._foretold_passes(command, names)

    def _take_off(self, names: Names) -> None:
        """Take off what rsync had named when it was ended and not yet taken away."""
        from runner.providers import deletion_record

        items = (item._replace(obstacle=False) for item in names.items() if item.for_folder)
        left = deletions.remaining(self._job.directory, items, deletions.exempt(self._job.mirror), set())
        deletion_record.take_off(self._job, Tree(left.files, 0))

    def _foretold_passes(self, command: Command, names: Names) -> Iterator[Command]:
        """A trial, and the command after it, which may take away what the trial named."""
        yield from self._foretelling(command, names)
        are_counted = bool(self._foretold)
        yield command._replace(pipe=pipe_for(0))
        if are_counted:
            from runner.providers import deletion_record

            deletion_record.correct(self._job)

    def _foretelling(self, command: Command, names: Names) -> Iterator[Command]:
        """A trial, after which rsync may take away what it named; raises Abort when that is too much."""
        found = 0
        foretold: set[bytes] = set()

        def keep(named: Collection[bytes]) -> None:
            nonlocal found
            found += len(named)
            if found <= (self._left or 0):  # else none of them may go
                foretold.update(named)

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
        if found:
            from runner.providers import deletion_record

            deletion_judgement.require_bearable(self._job, found)
            deletion_record.foretell(self._job, foretold)
        self._foretold = foretold
