"""Interrupt a plug-in's Python code that goes on after a stop signal or a time-out.

An alarm raises an exception in that code, whether it works or waits, and once more if it was caught. If the code still
goes on, the run is given up: its other processes are killed, its end is recorded, and its process ends.

The alarm is set only while a plug-in's code runs. It rings every few seconds: a signal that comes just before a system
call does not interrupt that call, and Python handles it only after the next one.
"""

import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn, TypeVar

from runner.base import process_state
from runner.base.output import log
from runner.journal.journal import Ending
from runner.plugin_api import Abort, Job
from runner.subprocesses import supervisor
from schemas.standard_streams import WARNING, flush
from schemas.states import INTERRUPTED, TIMED_OUT
from schemas.units import setting_duration

_Returned = TypeVar("_Returned")

ASKED = 5.0
"""Seconds after a stop signal that a plug-in has to end by itself: it can ask `job.stopped()`."""

EVERY = 5.0
"""Seconds from one alarm to the next."""

AGAIN = 5.0
"""Seconds after the first exception until the second one."""

LAST = 15.0
"""Seconds after the first exception that a plug-in has to clean up. More than the grace period of its processes."""

SOON = 0.2
"""Seconds until the next try while a function of ours runs, which no exception may leave half done."""

_ENTRANCES = frozenset({__name__, "runner.run.plugin_guard", "runner.plugin_loader"})
"""Our modules that call a plug-in's code."""


class Interruption(BaseException):
    """What is raised in a plug-in's code. Not an Exception, so that a plug-in does not take it for an error."""


class Overdue(Abort):
    """The end of a run whose plug-in was interrupted. Its cause is what the plug-in then raised."""


class PluginLimits:
    """The limits of one run for the code of its plug-ins: a stop signal, and the mirror's time-out.

    `record` records the end of a run that is given up.
    """

    def __init__(self, job: Job, stop: supervisor.Stop, record: Callable[[Ending], None]) -> None:
        self._job, self._stop, self._record = job, stop, record
        self._timeout = job.mirror.timeout
        self._process = os.getpid()
        self._plugin = ""
        self._alarm_at = math.inf
        self._first: float | None = None
        self._cause: Abort | None = None
        self._before: tuple[Any, tuple[float, float]] | None = None
        self.undone = ""
        stop.then = self._on_stop

    def deadline(self) -> float | None:
        """Return when a function that begins now must have ended, by the monotonic clock; None without a time-out."""
        return None if self._timeout is None else time.monotonic() + self._timeout

    def call(
        self, plugin: str, function: Callable[[], _Returned], deadline: float | None, *, watched: bool = False
    ) -> _Returned:
        """Return a function's result; raise Overdue if it was interrupted, else what it raises.

        `plugin` is how messages name the plug-in. The function has until the `deadline`. A `watched` one is called
        thousands of times while another alarm is set, which is enough to notice a stop. What any other one has changed
        of the process is undone, since the run needs it to be stopped; `undone` then has it in words.
        """
        state = None if watched else process_state.current()
        self._alarm_at, self._first, self._cause = math.inf, None, None
        self._plugin = plugin  # from here on a stop signal sets the alarm
        try:
            if not watched:
                self._set_alarm(math.inf if deadline is None else deadline)
            if self._stop.signal is not None:
                self._on_stop()
            result = function()
        except BaseException as error:
            self._leave(error)
            raise
        finally:
            self._plugin = ""
            self._clear_alarm()
            self.undone = "" if state is None else process_state.restore(state)
        self._leave(None)  # it may have caught the exception, and have ended all the same
        return result

    def _leave(self, error: BaseException | None) -> None:
        """Raise the end of the run if the function was interrupted, after the processes that it started have ended."""
        if self._cause is None and self._first is not None and error is not None and not isinstance(error, Abort):
            self._cause = self._end()  # one of its commands was ended at the deadline, so it failed
        if self._cause is not None:
            supervisor.end_descendants()
            raise self._cause from error

    def _set_alarm(self, at: float) -> None:
        self._alarm_at = at
        is_first = self._before is None
        handler = signal.signal(signal.SIGALRM, self._on_alarm)
        # Never 0, which would cancel it.
        left = max(at - time.monotonic(), 0.001)
        timer = signal.setitimer(signal.ITIMER_REAL, min(left, EVERY), EVERY)
        if is_first:
            self._before = handler, timer

    def _clear_alarm(self) -> None:
        """Cancel the alarm; the one of the reading of a log, in which a plug-in's reader is called, goes on."""
        if self._before is not None:
            handler, timer = self._before
            self._before = None
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, *timer)

    def _on_stop(self) -> None:
        """Set the alarm after a stop signal, or at the beginning of a function after one."""
        if self._plugin and self._first is None:
            self._set_alarm(min(self._alarm_at, time.monotonic() + ASKED))

    def _on_alarm(self, _number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._plugin:  # it has just ended
            return
        if now < self._alarm_at:
            self._set_alarm(self._alarm_at)
            return
        self._first = now if self._first is None else self._first
        ends_at = self._first + LAST
        if now >= ends_at:
            self._end_process(frame)
        is_interruptible = _is_of_plugin(frame)
        self._set_alarm(min(now + (AGAIN if is_interruptible else SOON), ends_at))
        if is_interruptible:
            self._cause = self._cause or self._end()
            raise Interruption

    def _end(self) -> Abort:
        """Return the end of the run whose plug-in is interrupted now."""
        if self._stop.signal is not None:
            why = f"{self._plugin} was interrupted, since it went on after the run received a stop signal"
            return Overdue(INTERRUPTED, why)
        limit = setting_duration(round(self._timeout or 0))
        return Overdue(TIMED_OUT, f"{self._plugin} was interrupted, since it took longer than the time-out of {limit}")

    def _end_process(self, frame: FrameType | None) -> NoReturn:
        try:
            if os.getpid() == self._process:  # otherwise the plug-in forked
                cause = self._cause or self._end()
                why = f"{cause.reason}; it did not end then either, so its run was killed"
                self._give_up(Ending(cause.status, why, attempts=self._job.attempt, log_tail=why, died=True), frame)
        finally:
            os._exit(1)

    def _give_up(self, ending: Ending, frame: FrameType | None) -> None:
        """End the run; `frame` is where the plug-in works or waits. The process ends right after, whatever fails."""
        with contextlib.suppress(BaseException):
            import traceback

            self._job.write("".join(traceback.format_stack(frame)))
            self._job.note(ending.reason)
        with contextlib.suppress(BaseException):
            supervisor.end_descendants()
        self._record(ending)
        flush()


def leave_threads(name: str, code: int) -> None:
    """End the process of a run with this exit code if a plug-in has left threads, whose end Python would wait for."""
    threading = sys.modules.get("threading")
    if threading is None or all(each.daemon or each is threading.main_thread() for each in threading.enumerate()):
        return
    log("a plug-in left a thread, which ends with the run", about=name, level=WARNING)
    # `os._exit` flushes nothing.
    flush()
    os._exit(code)


def _is_of_plugin(frame: FrameType | None) -> bool:
    """Return whether a frame belongs to a plug-in, or to what its code has called outside of Skipjack."""
    is_innermost = True
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module in _ENTRANCES:
            return not is_innermost
        if module.partition(".")[0] in ("runner", "schemas"):
            return False
        is_innermost, frame = False, frame.f_back
    return False
