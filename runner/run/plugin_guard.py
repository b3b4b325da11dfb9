"""Call a plug-in's functions, so that whatever its code does wrong ends the run of this mirror alone.

A provider plug-in may have `commands` alone; the defaults of the other functions are here. Its module is imported when
the first function is called: a failed import is then a failed run, with the reason.
"""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

from runner.plugin_api import Abort, Command, Findings, Job, Reader
from runner.plugin_loader import load
from runner.run import plugin_commands
from runner.run.plugin_interruption import LAST, Overdue, PluginLimits
from schemas.errors import SkipjackError
from schemas.mirror_record import Mirror
from schemas.plugins import HOOK, PROVIDER, Plugin, named
from schemas.states import FAILED, INTERRUPTED, REFUSED, TIMED_OUT

_Result = TypeVar("_Result")

_STATUSES = (FAILED, INTERRUPTED, REFUSED, TIMED_OUT)
_UNREACHED = frozenset({75})  # EX_TEMPFAIL of sysexits(3)
_LARGEST, _LARGEST_CODE = 2**62, 255  # what fits into SQLite's integers, and into an exit status
_END = object()


def provider(mirror: Mirror, plugins: Collection[Plugin], limits: PluginLimits | None = None) -> "GuardedProvider":
    """Return the plug-in that syncs a mirror; without `limits`, as for a dry run, nothing interrupts it."""
    own = (each for each in plugins if (each.kind, each.name) == (PROVIDER, mirror.provider))
    return GuardedProvider(next(own, Plugin(PROVIDER, mirror.provider, "", "", "")), limits)


def hooks(mirror: Mirror, plugins: Collection[Plugin], limits: PluginLimits | None = None) -> "tuple[GuardedHook, ...]":
    """Return the hook plug-ins of a mirror, sorted by name."""
    known = {each.name: each for each in plugins if each.kind == HOOK}
    names = sorted(name for name in mirror.plugins if name != mirror.provider)
    return tuple([GuardedHook(known.get(name, Plugin(HOOK, name, "", "", "")), limits) for name in names])


class _Guard:
    """One plug-in of one run."""

    def __init__(self, plugin: Plugin, limits: PluginLimits | None) -> None:
        self.plugin, self._limits = plugin, limits
        self._module: ModuleType | None = None
        self._process = os.getpid()

    @property
    def name(self) -> str:
        """Return the words for the plug-in in messages."""
        return named(self.plugin)

    def module(self) -> ModuleType:
        """Return the plug-in's module; Abort if it cannot be imported."""
        if not self.plugin.module:
            what = f"the plan does not have the {self.plugin.kind} plug-in `{self.plugin.name}`"
            raise Abort(FAILED, f"{what}. Run `skipjack follow --again`")
        if self._module is None:
            try:
                self._module = self._within(self._own_deadline(), partial(load, self.plugin.module, self.plugin.path))
            except Overdue:
                raise
            # Also SystemExit: a plug-in must not end the run before its end is recorded.
            except BaseException as error:
                what = f"{self.name} cannot be imported: {_described(error)}"
                raise Abort(FAILED, f"{what}. Reinstall it; `skipjack follow --again` tries it again") from error
        return self._module

    def _within(self, deadline: float | None, function: Callable[[], _Result], *, watched: bool = False) -> _Result:
        """Call the plug-in's code, which is interrupted at the deadline and after a stop signal."""
        return function() if self._limits is None else self._limits.call(self.name, function, deadline, watched=watched)

    def _own_deadline(self) -> float | None:
        """Return until when a function may run that begins now and gets the whole time-out; None without one."""
        return None if self._limits is None else self._limits.deadline()

    def call(
        self, job: Job, deadline: float | None, function: Callable[[], _Result], *, watched: bool = False
    ) -> _Result:
        """Call the plug-in's code. Raises Abort alone: as it asks for, or because it failed or was interrupted."""
        job.deadline = deadline
        try:
            return self._within(deadline, function, watched=watched)
        except Overdue as overdue:
            _write_traceback(job, overdue.__cause__ or overdue)
            if overdue.status == INTERRUPTED:  # the reason of the run may be another one, as that of an operator
                job.complain(overdue.reason)
            raise
        except Abort as abort:
            raise self._checked_abort(abort) from abort
        except SkipjackError as error:
            raise self.failure(str(error)) from error
        except BaseException as error:
            if os.getpid() == self._process:
                _write_traceback(job, error)
            failure = self.failure(_described(error))
            # Such as one of its commands that was ended.
            raise Abort(INTERRUPTED, failure.reason) if job.stopped() else failure from error
        finally:
            job.deadline = None
            if self._limits is not None and self._limits.undone:
                job.complain(f"{self.name} changed {self._limits.undone}; that was undone")
            if os.getpid() != self._process:  # the plug-in forked: only one process may be this run
                os._exit(1)

    def failure(self, why: str) -> Abort:
        """Return the end of a run in which the plug-in fails."""
        return Abort(FAILED, f"{self.name} failed: {' '.join(why.split())}")

    def _checked_abort(self, abort: Abort) -> Abort:
        if abort.status not in _STATUSES or not isinstance(abort.reason, str):
            return self.failure("it aborted the run with a status that is not one of a failed run")
        return abort


class GuardedHook(_Guard):
    """A hook plug-in, with all functions of a hook."""

    def pre_job(self, job: Job) -> None:
        """Call the plug-in before the first attempt."""
        self._stage("pre_job", job)

    def pre_exec(self, job: Job) -> None:
        """Call the plug-in before each attempt."""
        self._stage("pre_exec", job)

    def post_exec(self, job: Job) -> None:
        """Call the plug-in after the processes of an attempt."""
        self._stage("post_exec", job)

    def post_success(self, job: Job) -> None:
        """Call the plug-in after an attempt that is a success."""
        self._stage("post_success", job)

    def post_fail(self, job: Job) -> None:
        """Call the plug-in after any other attempt."""
        self._stage("post_fail", job)

    def _stage(self, name: str, job: Job) -> None:
        function = getattr(self.module(), name, None)
        if function is not None:
            self.call(job, self._own_deadline(), partial(function, job))


class GuardedProvider(_Guard):
    """A provider plug-in, with all functions of a provider."""

    OPTIONS: frozenset[str] = frozenset()

    def __init__(self, plugin: Plugin, limits: PluginLimits | None) -> None:
        super().__init__(plugin, limits)
        self.UNREACHED = _UNREACHED
        self._failure = ""

    def commands(self, job: Job) -> Iterator[Command]:
        """Yield the plug-in's processes, each after the machine's policy has allowed it."""
        self._failure = ""
        plugin_commands.check_files(job)
        module = self.module()
        until = job.attempt_deadline
        self.UNREACHED = self.call(job, until, lambda: frozenset(getattr(module, "UNREACHED", _UNREACHED)))
        made: Iterator[Any] = self.call(job, until, lambda: iter(module.commands(job)))
        try:
            while (command := self._next(job, made)) is not _END:
                yield self._allowed(job, command)
        finally:
            with contextlib.suppress(BaseException):
                # The plug-in's own `finally` blocks run now, and not when the garbage is collected.
                self._within(_to_judge(job), getattr(made, "close", lambda: None))

    def _next(self, job: Job, made: Iterator[Any]) -> Any:
        """Return the plug-in's next command, _END after the last one."""
        found = self.call(job, job.attempt_deadline, partial(next, made, _END))
        job.deletions_judged, job.contents = False, None  # else the loss of files would not be noticed
        if not isinstance(job.exit_code, int) or abs(job.exit_code) > _LARGEST_CODE:
            job.exit_code = 1
            raise self.failure(f"it set an exit code that is not a number from -{_LARGEST_CODE} to {_LARGEST_CODE}")
        return found

    def argument_lists(self, _mirror: Mirror, _directory: str) -> Iterator[tuple[str, ...]]:
        """Yield nothing: the policy judges each rsync of a plug-in before it starts."""
        yield from ()

    def is_success(self, job: Job, code: int) -> bool:
        """Return whether an exit code means success; False after a function of the plug-in has failed."""
        function = getattr(self.module(), "is_success", None)
        if not self._failure and function is not None:
            success = self.otherwise(job, lambda: bool(function(job, code)), default=False)
        else:
            success = code == 0 or code in job.mirror.success_exit_codes
        if self._failure:
            job.explanation = self._failure
        return success and not self._failure

    def explain(self, code: int) -> str:
        """Return what an exit code means."""
        default = f"the command was ended by signal {-code}" if code < 0 else f"the command exited with {code}"
        function = getattr(self._module, "explain", None)
        if function is None:
            return default
        try:
            text = self._within(self._own_deadline(), lambda: str(function(code)))
            return " ".join(text.split()) or default
        except BaseException as error:
            return f"{default}, and {self.name} failed: {_described(error)}"

    def reader(self, job: Job) -> Reader:
        """Return a reader of the log that does not fail."""
        function = getattr(self._module, "reader", None)
        found = None if function is None else self.otherwise(job, partial(function, job), default=None)
        return _GuardedReader(self, job, found)

    def otherwise(
        self, job: Job, function: Callable[[], _Result], default: _Result, *, watched: bool = False
    ) -> _Result:
        """Return a function's result, or the default after a failure, which `is_success` then reports.

        A `watched` function has no time-out, since the reading of a log limits each line.
        """
        if self._failure:
            return default
        try:
            return self.call(job, None if watched else _to_judge(job), function, watched=watched)
        except Abort as abort:
            self._failure = abort.reason
            return default

    def _allowed(self, job: Job, yielded: object) -> Command:
        try:
            return plugin_commands.allowed(job, self.name, yielded)
        except plugin_commands.WrongCommand as wrong:
            raise self.failure(f"`commands` yielded {wrong}") from wrong


class _GuardedReader:
    """A plug-in's reader of a log; after its first failure it reads nothing more."""

    def __init__(self, guard: GuardedProvider, job: Job, reader: Any) -> None:
        self._guard, self._job, self._reader = guard, job, reader

    def line(self, text: str) -> None:
        """Read the next line."""
        if self._reader is not None:
            self._guard.otherwise(self._job, partial(self._reader.line, text), default=None, watched=True)

    def findings(self) -> Findings:
        """Return the figures; none after a failure."""
        if self._reader is None:
            return Findings()
        return self._guard.otherwise(self._job, self._checked_findings, default=Findings())

    def _checked_findings(self) -> Findings:
        found = self._reader.findings()
        if not isinstance(found, Findings):
            raise TypeError(f"`findings` returned a {type(found).__name__} instead of Findings")
        figures = (found.bytes, found.files, found.size, found.transferred)
        if not all(each is None or (isinstance(each, int) and 0 <= each <= _LARGEST) for each in figures):
            raise ValueError("`findings` returned a figure that is not a number from 0 to 2^62")
        return found._replace(remark=str(found.remark), by_name=bool(found.by_name))


def _to_judge(job: Job) -> float | None:
    """Return until when a function may run that judges an attempt: some seconds, even if its time is over."""
    return None if job.attempt_deadline is None else max(job.attempt_deadline, time.monotonic() + LAST)


def _described(error: BaseException) -> str:
    from runner.plugin_errors import described

    return described(error)


def _write_traceback(job: Job, error: BaseException) -> None:
    """Append an error's traceback to the attempt's log, for the plug-in's author."""
    import traceback  # only after a failure

    if job.log_file:
        with contextlib.suppress(Exception):  # the reason of the run is enough
            job.write("".join(traceback.format_exception(error)))
