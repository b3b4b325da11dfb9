"""The pipeline of one run: pre-job once, then for each attempt
pre-exec → run → post-exec → post-success (and the run ends) or post-fail (and the next attempt begins).

pre_* hooks run in the order of their table, post_* in reverse.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from runner import error_boundary
from runner.base import contents
from runner.journal.journal import Ending
from runner.plugin_api import Abort, Job, Outcome, Provider
from runner.run import comparison, progress, verdict
from runner.run.logs import shortened
from runner.run.processes import AttemptProcesses, asker
from runner.subprocesses import spawn, supervisor
from schemas.errors import SkipjackError
from schemas.failures import in_words
from schemas.regular_files import regular
from schemas.states import FAILED, INTERRUPTED, REFUSED, SUCCESS
from schemas.terminal import plain

Pause = Callable[[Job, Ending], Sequence[int] | None]


class Means(NamedTuple):
    """The parts of one run that the pipeline calls.

    `keep` are the lock descriptors that the provider's processes inherit. `on_attempt` gets each attempt's number
    before its process starts, `on_progress` the progress from time to time. `claim` locks the mirror's directory after
    the hooks have prepared it. `check` is called before each attempt, before each process of the provider and after the
    last one: it checks that the path still leads to the locked directory, and returns further descriptors to inherit.
    Both may raise Abort. `pause` waits between two attempts; it gets the job and the end of the last attempt, and
    returns the new `keep`, or None after a stop signal.
    """

    provider: Provider
    hooks: Sequence[object]
    keep: Sequence[int]
    stop: supervisor.Stop
    on_attempt: Callable[[int], None]
    on_progress: Callable[[progress.Progress], None]
    claim: Callable[[], None] = lambda: None
    check: Callable[[], Sequence[int]] = tuple
    pause: Pause | None = None


def run(job: Job, means: Means) -> Ending:
    """Run one job and return how it ended. No failure of a provider, a hook or a file system raises an exception."""
    ending = Ending(FAILED)
    job.ask = asker(job)
    job.stopped = lambda: means.stop.signal is not None
    try:
        # Hooks first: they may create the directory, and only then can it be locked.
        _call(means.hooks, "pre_job", job)
        means.claim()
        keep = means.keep
        comparison.prepare(job)
        while job.attempt < job.mirror.retry:
            if job.attempt:
                inherited = _pause(job, means, ending)
                if inherited is None:
                    reason = "the run received a stop signal between two attempts"
                    ending = ending._replace(status=INTERRUPTED, reason=reason)
                    break
                keep = inherited
            directory = means.check()
            job.attempt += 1
            ending = _attempt(job, means._replace(keep=(*keep, *directory)))
            if ending.status in (SUCCESS, INTERRUPTED, REFUSED):
                break
    except Abort as abort:
        ending = Ending(abort.status, in_words(abort), attempts=job.attempt)
    except (SkipjackError, OSError) as error:
        ending = Ending(FAILED, in_words(error), attempts=job.attempt)
    except Exception as error:  # a run without a recorded end would count as crashed and be retried each minute
        ending = Ending(FAILED, error_boundary.report(error, job.machine.state_dir or None), attempts=job.attempt)
    return _with_complaints(ending, job)


def _pause(job: Job, means: Means, ending: Ending) -> Sequence[int] | None:
    if means.pause is not None:
        return means.pause(job, ending)
    return None if means.stop.wait(job.mirror.retry_delay) else means.keep


def _with_complaints(ending: Ending, job: Job) -> Ending:
    """Add the job's complaints to the tail of the log, since the reason is for the failure of the run itself."""
    tail = "\n".join([ending.log_tail, *job.complaints]).strip()
    return ending._replace(reason=_as_text(ending.reason), log_tail=shortened(_as_text(tail)))


def _as_text(text: str) -> str:
    """Return a text without lone surrogates and control characters.

    Output and file names can hold both. The journal and reports accept no surrogates, and a terminal would execute
    escape sequences.
    """
    return plain(text.encode("utf-8", "replace").decode())


def _attempt(job: Job, means: Means) -> Ending:
    job.explanation, job.deletions_judged, job.contents, job.found = "", False, None, (None, None)
    job.on_disk = None
    job.counted, job.loss_refused, job.log_lost = False, False, ""
    _call(means.hooks, "pre_exec", job)
    means.on_attempt(job.attempt)
    # Appending, since hooks and Skipjack write to the same file. No link is followed: a container can write to the
    # folder of the logs.
    log = regular(job.log_file, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    try:
        processes = AttemptProcesses(job, log, means.keep, means.stop, means.on_progress)
        job.execute = processes.execute
        ending = _execute(job, means, processes)
        # Before the hooks, which read it: no `exec_on_failure` runs after an interruption.
        job.outcome = Outcome(ending.status, ending.reason, ending.exit_code)
        _call(means.hooks, "post_success" if ending.status == SUCCESS else "post_fail", job)
    finally:
        os.close(log)
        if job.copies is not None:
            job.copies.remove()
    return ending


def _execute(job: Job, means: Means, processes: AttemptProcesses) -> Ending:
    try:
        exited = _run_commands(job, means, processes)
    except (spawn.CannotStart, SkipjackError) as error:  # no program, or no secret for it
        reason = in_words(error)
        job.note(reason)
        return Ending(FAILED, reason, attempts=job.attempt, log_tail=reason)
    except Abort as abort:  # a guard of the provider: the attempt is over, and the reason goes into its log
        job.note(abort.reason)
        return verdict.of_abort(job, means.provider, abort)
    _call(means.hooks, "post_exec", job)
    ending = verdict.judge(job, means.provider, exited)
    return _in_place(job, means, _compared(job, means, ending)) if ending.status == SUCCESS else ending


def _in_place(job: Job, means: Means, ending: Ending) -> Ending:
    """Return the end of a successful attempt, or a failure if its directory was replaced: no hook may publish that."""
    try:
        if ending.status == SUCCESS:
            means.check()
    except Abort as abort:
        job.note(abort.reason)
        tail = f"{ending.log_tail}\n{abort.reason}".strip()
        return ending._replace(status=abort.status, reason=abort.reason, size=None, log_tail=tail)
    return ending


def _compared(job: Job, means: Means, ending: Ending) -> Ending:
    """Return the end of a successful attempt, or a refusal if it lost more files than the mirror's limits allow."""
    try:
        found = comparison.compare(job, ending.size, lambda: means.stop.signal is not None)
    except contents.Stopped:
        return ending._replace(
            status=INTERRUPTED, reason="the run received a stop signal while files were counted", size=None
        )
    if not found.reason:
        if found.size is None or not (ending.size is None or ending.by_name):
            return ending
        if ending.size is not None and job.deletions_judged:  # the next sizes are sums over names as well
            return ending._replace(on_disk=found.size)
        return ending._replace(size=found.size, by_name=False)
    job.note(found.reason)
    tail = f"{ending.log_tail}\n{found.reason}".strip()
    return ending._replace(status=REFUSED, reason=found.reason, size=None, log_tail=tail)


def _run_commands(job: Job, means: Means, processes: AttemptProcesses) -> supervisor.Exit:
    """Run the provider's processes as long as each succeeds; the time-out is for all of them together."""
    deadline = None if job.mirror.timeout is None else time.monotonic() + job.mirror.timeout
    job.attempt_deadline = deadline  # for a plug-in that works itself
    exited, job.exit_code = supervisor.Exit(0), 0
    for command in means.provider.commands(job):
        means.check()  # before each process, since the one before may have taken hours
        left = None if deadline is None else deadline - time.monotonic()
        exited = processes.provide(command, left)
        job.exit_code = exited.code
        if exited.cause != supervisor.EXITED:
            break
        if exited.code not in command.goes_on and not means.provider.is_success(job, exited.code):
            break
    return exited if exited.cause != supervisor.EXITED else exited._replace(code=job.exit_code)


def _call(hooks: Sequence[object], stage: str, job: Job) -> None:
    for hook in hooks if stage.startswith("pre_") else hooks[::-1]:
        function = getattr(hook, stage, None)
        if function is not None:
            with _GUARDS.get(stage, contextlib.nullcontext)(job):
                function(job)


@contextlib.contextmanager
def _beside(job: Job) -> Iterator[None]:
    """Report a disk error in a `post_exec` hook beside the run, without effect on how the processes ended."""
    try:
        yield
    except OSError as error:
        job.complain(in_words(error))


@contextlib.contextmanager
def _after(job: Job) -> Iterator[None]:
    """Report any failure of a hook after the result beside the run: other hooks may have published the result."""
    try:
        yield
    except (Abort, SkipjackError, OSError) as error:
        job.complain(in_words(error))
    except Exception as error:
        job.complain(error_boundary.report(error, job.machine.state_dir or None))


_GUARDS: Mapping[str, Callable[[Job], contextlib.AbstractContextManager[None]]] = {
    "post_exec": _beside,
    "post_success": _after,
    "post_fail": _after,
}
