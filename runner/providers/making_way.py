"""Bounds how many files rsync takes away by itself, where the upstream has directories in their place.

No option of rsync keeps it from that; all the others it only names (`deletion_guard`). It prints the name of each such
file before it takes it away, so it is ahead of us by no more lines than we have read and not yet counted, and than the
pipe holds. The pipe is chosen for the number of files that may still go, and rsync is ended while all that can be in
there still may. Then, and where so few may go that no pipe is narrow enough, a trial tells how many more it would take
away: if all of them may go, rsync goes on. So a run that takes away few files, as nearly all do, lists the upstream
once, and no run takes away more than the limits allow.

A container program, or another program between rsync and us, reads ahead as much as it likes: then more may be gone
when rsync is ended. So may be where the upstream puts further directories in the place of files after a trial. When the
run itself is killed, rsync waits at a full pipe, but nobody counts what is in there.
"""

import contextlib
from collections.abc import Iterator

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


class Way:
    """What one sync takes away by itself, counted in the journal."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._most = deletion_judgement.most(job) if job.accepted is not None and job.accepted.files else None
        self._is_foretold = False
        self.pipe = Pipe() if self._most is None else within((self._left or 0) // _SHARE, _SHORTEST, _NAMES)
        # As much as it holds can have been read and not yet counted.
        self._ahead = 2 * self.pipe.lines(_SHORTEST)

    @property
    def _left(self) -> int | None:
        """How many files may still go; None for any number."""
        return None if self._most is None else self._most - self._job.past.deleted.files

    def take(self, count: int) -> None:
        """Count files that rsync has taken away.

        Raises Enough when more can be under way than may go, and Abort when too many have gone.
        """
        from runner.providers import deletion_record  # files rarely become directories

        self._job.kept[deletion_judgement.MADE_WAY] = True
        deletion_record.count(self._job, Tree(count, 0))
        deletion_judgement.require_bearable(self._job)
        if self._is_narrow:
            raise Enough

    @property
    def _is_narrow(self) -> bool:
        """Whether more can be under way than may go."""
        return self._left is not None and not self._is_foretold and self._left < self._ahead

    def passes(self, command: Command, names: Names) -> Iterator[Command]:
        """The command, whose names `names` reads, and a trial before it where that is needed; raises Abort after it."""
        command = command._replace(pipe=self.pipe, goes_on=command.goes_on | {ENOUGH})
        if self._is_narrow:
            yield from self._foretelling(command, names)
        yield command
        if self._job.exit_code == ENOUGH:
            self._job.note("rsync was ended to find out how many more files would make way for directories")
            self._job.past = self._job.past._replace(counted=False)  # nobody knows what it had brought
            self._take_off(names)
            yield from self._foretelling(command, names)
            yield command

    def _take_off(self, names: Names) -> None:
        """Take off what rsync had named when it was ended and not yet taken away."""
        from runner.providers import deletion_record

        items = (item._replace(obstacle=False) for item in names.items() if item.for_folder)
        left = deletions.remaining(self._job.directory, items, deletions.exempt(self._job.mirror), set())
        deletion_record.take_off(self._job, Tree(left.files, 0))

    def _foretelling(self, command: Command, names: Names) -> Iterator[Command]:
        """A trial, after which rsync may take away what it named; raises Abort when that is too much."""
        found = 0

        def count(files: int) -> None:
            nonlocal found
            found += files

        with contextlib.closing(names.another(count)) as foretold:
            yield command._replace(
                argv=rsync_words.with_more(command.argv, TRIAL),
                goes_on=command.goes_on | _IN_TRIALS,
                output=lambda lines: foretold.output(lines)[:0],
                errors=foretold.errors.take,
                progress=False,
                pipe=Pipe(),
            )
        names.forget()
        if found:
            deletion_judgement.require_bearable(self._job, found)
        self._is_foretold = True
