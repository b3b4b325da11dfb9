"""The pipeline of one run: pre-job once, then for each attempt
pre-exec → run → post-exec → post-success (and the run ends) or post-fail (and the next attempt begins).

pre_* hooks run in the order of their table, post_* in reverse.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import NamedTuple

from runner import error_boundary
from runner.base import contents, environment
from runner.base.output import head
from runner.base.state_dir import StateLayout
from runner.journal.journal import Ending
from runner.plugin_api import Abort, Ask, CannotRun, Command, Execute, Findings, Job, Outcome, Provider
from runner.run import bounded_log, comparison, progress
from runner.run.logs import Digest, digest, shortened
from runner.subprocesses import spawn, supervisor
from schemas.errors import SkipjackError
from schemas.regular_files import regular
from schemas.states import FAILED, INTERRUPTED, REFUSED, SUCCESS, TIMED_OUT
from schemas.terminal import plain
from schemas.units import setting_duration

Rest = Callable[[Job, Ending], Sequence[int] | None]


class Means(NamedTuple):
    """What a pipeline works with.

    `keep` are the lock descriptors that the provider's processes inherit; `on_attempt` is told each attempt's number
    before its process starts, `on_progress` now and then how far it is. `claim` locks the mirror's directory once the
    hooks have prepared it. `check` is called before each attempt, before each process of the provider and after the
    last one; it sees whether that still is the directory, and returns more descriptors to inherit. Both may raise
    Abort. `rest` waits between two attempts, with the job and how the last one ended, and returns what then stands in
    the place of `keep`, or None when the run was told to stop.
    """

    provider: Provider
    hooks: Sequence[ModuleType]
    keep: Sequence[int]
    stop: supervisor.Stop
    on_attempt: Callable[[int], None]
    on_progress: Callable[[progress.Progress], None]
    claim: Callable[[], None] = lambda: None
    check: Callable[[], Sequence[int]] = tuple
    rest: Rest | None = None


def run(job: Job, means: Means) -> Ending:
    """Take one job through the pipeline. Never raises for anything that a provider, a hook or a file system does."""
    ending = Ending(FAILED)
    job.ask = _asker(job)
    job.stopped = lambda: means.stop.signal is not None
    try:
        _call(means.hooks, "pre_job", job)
        means.claim()
        keep = means.keep
        comparison.prepare(job)
        while job.attempt < job.mirror.retry:
            if job.attempt:
                rested = _rest(job, means, ending)
                if rested is None:
                    ending = ending._replace(status=INTERRUPTED, reason="the run was told to stop between two attempts")
                    break
                keep = rested
            directory = means.check()
            job.attempt += 1
            ending = _attempt(job, means._replace(keep=(*keep, *directory)))
            if ending.status in (SUCCESS, INTERRUPTED, REFUSED):
                break
    except Abort as abort:
        ending = Ending(abort.status, abort.reason, attempts=job.attempt)
    except (SkipjackError, OSError) as error:
        ending = Ending(FAILED, " ".join(str(error).split()), attempts=job.attempt)
    except Exception as error:  # else it would count as cut off, and be tried again each minute
        ending = Ending(FAILED, error_boundary.report(error, job.machine.state_dir or None), attempts=job.attempt)
    return _with_complaints(ending, job)


def _rest(job: Job, means: Means, ending: Ending) -> Sequence[int] | None:
    if means.rest is not None:
        return means.rest(job, ending)
    return None if means.stop.wait(job.mirror.retry_delay) else means.keep


def _asker(job: Job) -> Ask:
    """What hooks ask short programs of the system with."""

    def ask(argv: Sequence[str], timeout: float) -> tuple[int, str]:
        from runner.containers import podman  # most runs ask nothing

        return podman.asker(job.machine.state_dir, job.machine.home, job.machine.roots)(argv, timeout)

    return ask


def _with_complaints(ending: Ending, job: Job) -> Ending:
    """Show what went wrong beside the run where its log is shown, since the reason is for the run's own failure."""
    tail = "\n".join([ending.log_tail, *job.complaints]).strip()
    return ending._replace(reason=_as_text(ending.reason), log_tail=shortened(_as_text(tail)))


def _as_text(told: str) -> str:
    """Without what the output of a program or the name of a file may hold that is no text: neither the journal nor a
    report could take it, and a terminal that shows it would obey."""
    return plain(told.encode("utf-8", "replace").decode())


def _attempt(job: Job, means: Means) -> Ending:
    job.explanation, job.deletions_judged, job.contents, job.found = "", False, None, (None, None)
    job.on_disk = None
    job.counted, job.loss_refused, job.log_lost = False, False, ""
    _call(means.hooks, "pre_exec", job)
    means.on_attempt(job.attempt)
    log = regular(job.log_file, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    try:
        job.execute = _executor(job, means, log)
        ending = _execute(job, means, log)
        job.outcome = Outcome(ending.status, ending.reason, ending.exit_code)
        _call(means.hooks, "post_success" if ending.status == SUCCESS else "post_fail", job)
    finally:
        os.close(log)
    return ending


def _execute(job: Job, means: Means, log: int) -> Ending:
    try:
        exited = _run_commands(job, means, log)
    except (spawn.CannotStart, SkipjackError) as error:  # no program, or no secret for it
        reason = " ".join(str(error).split())
        job.note(reason)
        return Ending(FAILED, reason, attempts=job.attempt, log_tail=reason)
    except Abort as abort:  # a provider's own guard: the attempt is over, and its log tells why
        job.note(abort.reason)
        read = _read_log(job, means.provider, "")
        exited = supervisor.Exit(job.exit_code)
        return _ending(abort.status, abort.reason, exited, job, read.findings._replace(size=None), read.tail)
    _call(means.hooks, "post_exec", job)
    ending = _judge(job, means.provider, exited)
    return _in_place(job, means, _compared(job, means, ending)) if ending.status == SUCCESS else ending


def _in_place(job: Job, means: Means, ending: Ending) -> Ending:
    """Let no attempt be a success whose directory has been exchanged, before any hook publishes that."""
    try:
        if ending.status == SUCCESS:
            means.check()
    except Abort as abort:
        job.note(abort.reason)
        tail = f"{ending.log_tail}\n{abort.reason}".strip()
        return ending._replace(status=abort.status, reason=abort.reason, size=None, log_tail=tail)
    return ending


def _compared(job: Job, means: Means, ending: Ending) -> Ending:
    """Let no attempt be a success that lost more files than the mirror may."""
    try:
        verdict = comparison.compare(job, ending.size, lambda: means.stop.signal is not None)
    except contents.Stopped:
        return ending._replace(
            status=INTERRUPTED, reason="the run was told to stop while files were counted", size=None
        )
    if not verdict.reason:
        if verdict.size is None or not (ending.size is None or ending.by_name):
            return ending
        return ending._replace(size=verdict.size, by_name=False)
    job.note(verdict.reason)
    tail = f"{ending.log_tail}\n{verdict.reason}".strip()
    return ending._replace(status=REFUSED, reason=verdict.reason, size=None, log_tail=tail)


def _run_commands(job: Job, means: Means, log: int) -> supervisor.Exit:
    """Run the provider's processes while each succeeds; the time-out is for all of them together."""
    deadline = None if job.mirror.timeout is None else time.monotonic() + job.mirror.timeout
    exited, job.exit_code = supervisor.Exit(0), 0
    for command in means.provider.commands(job):
        means.check()
        left = None if deadline is None else deadline - time.monotonic()
        exited = _start_wrapped(command, job, means, log, left)
        job.exit_code = exited.code
        if exited.cause != supervisor.EXITED:
            break
        if exited.code not in command.goes_on and not means.provider.is_success(job, exited.code):
            break
    return exited if exited.cause != supervisor.EXITED else exited._replace(code=job.exit_code)


def _start_wrapped(command: Command, job: Job, means: Means, log: int, timeout: float | None) -> supervisor.Exit:
    try:
        return _start(job, job.wrap(command), means, log, timeout, *_watchers(job, command, means, log))
    finally:
        job.unwrap()


def _watchers(job: Job, command: Command, means: Means, log: int) -> list[supervisor.Sink]:
    """What takes a command's output and its errors: whoever reads them, or what only writes them to the log."""
    pattern = job.mirror.progress_pattern
    watchers: list[supervisor.Sink] = []
    if command.progress or pattern or command.output or command.errors:
        watchers.append(progress.Watcher(log, pattern, means.on_progress, command.output))
    if command.errors:
        watchers.append(progress.Watcher(log, "", means.on_progress, command.errors))
    return [_bounded(job, log, sink) for sink in watchers or [partial(_copy, job, log)]]


def _copy(job: Job, log: int, data: bytes) -> None:
    """Write output to the log; when the disk is full the program goes on, and the attempt is no success."""
    try:
        while data:
            data = data[os.write(log, data) :]
    except OSError as error:
        job.log_lost = str(error.strerror)


def _bounded(job: Job, log: int, sink: supervisor.Sink) -> supervisor.Sink:
    """The sink, after which the log is cut when it is too large."""

    def write(data: bytes) -> None:
        sink(data)
        _trim(job, log)

    return write


def _trim(job: Job, log: int) -> None:
    with contextlib.suppress(OSError):
        _bound(job).trim(log)


def _bound(job: Job) -> bounded_log.BoundedLog:
    """What bounds the attempt's log; one for all that is written to it."""
    key = f"bounded-log {job.log_file}"
    if key not in job.kept:
        job.kept[key] = bounded_log.BoundedLog(job.log_file, job.mirror.log_max_size)
    bound: bounded_log.BoundedLog = job.kept[key]
    return bound


def _start(
    job: Job, command: Command, means: Means, log: int, timeout: float | None, *sinks: supervisor.Sink
) -> supervisor.Exit:
    env = surroundings_of(job, command)
    return supervisor.run(
        command.argv,
        env,
        command.cwd,
        log,
        means.keep,
        timeout,
        means.stop,
        sinks,
        partial(_trim, job, log),
        command.pipe,
    )


def surroundings_of(job: Job, command: Command) -> dict[str, str]:
    """The whole environment of a run's program."""
    machine = job.machine
    in_container = job.mirror.docker_image and command.argv[0] == machine.container_program
    if not in_container:
        return environment.environment(machine.home, machine.roots, machine.env, command.env)
    from runner.containers import podman

    names = (*machine.env, *environment.OF_CONTAINER_PROGRAMS)
    ours = podman.runtime_folder(StateLayout(machine.state_dir)) if podman.is_podman(command.argv[0]) else {}
    return environment.environment(machine.home, machine.roots, names, command.env) | ours


def _executor(job: Job, means: Means, log: int) -> Execute:
    """What hooks run their commands with."""

    def execute(command: Command, timeout: float | None) -> int:
        if means.stop.signal is not None:
            raise CannotRun(f"{command.argv[0]} was not started, since the run was told to stop")
        try:
            exited = _start(job, command, means, log, timeout, _bounded(job, log, partial(_copy, job, log)))
        except spawn.CannotStart as error:
            raise CannotRun(str(error)) from error
        if exited.cause == supervisor.TIMED_OUT:
            limit = setting_duration(round(timeout or 0))
            raise CannotRun(f"{command.argv[0]} took longer than its time-out of {limit}")
        if exited.cause == supervisor.INTERRUPTED:
            raise CannotRun(f"{command.argv[0]} was ended, since the run was told to stop")
        return exited.code

    return execute


def _read_log(job: Job, provider: Provider, fail_on_match: str) -> Digest:
    """What the attempt's log says; a log that its command has removed or replaced keeps the attempt from success."""
    reader = provider.reader(job)
    try:
        return digest(job.log_file, reader, fail_on_match)
    except OSError as error:
        todo = "Let the command write to the log, and not replace it."
        why = f"the attempt's log {job.log_file} cannot be read: {error.strerror}. {todo}"
        return Digest(reader.findings(), "", None, why)


def _judge(job: Job, provider: Provider, exited: supervisor.Exit) -> Ending:
    """Turn how the process ended and what its log says into how the attempt ended."""
    read = _read_log(job, provider, job.mirror.fail_on_match)
    status, reason, unreached = _verdict(job, provider, exited, read)
    if reason:
        job.note(reason)
    if status == SUCCESS and read.findings.remark:
        job.complain(read.findings.remark)
    found = read.findings if status == SUCCESS else read.findings._replace(size=None)
    ending = _ending(status, reason, exited, job, found, f"{read.tail}\n{reason}".strip())
    return ending._replace(unreached=unreached)


class _Verdict(NamedTuple):
    """How an attempt ended and why; `unreached` says that its upstream could not be reached or had no connection."""

    status: str
    reason: str = ""
    unreached: bool = False


def _verdict(job: Job, provider: Provider, exited: supervisor.Exit, read: Digest) -> _Verdict:
    if exited.cause == supervisor.INTERRUPTED:
        return _Verdict(INTERRUPTED, "the run was told to stop, by a shutdown or by hand")
    if exited.cause == supervisor.TIMED_OUT:
        limit = setting_duration(job.mirror.timeout or 0)
        return _Verdict(TIMED_OUT, f"the attempt took longer than its time-out of {limit}")
    if read.stuck:
        return _Verdict(FAILED, read.stuck)
    if read.forbidden is not None:
        return _Verdict(FAILED, f"a line of the log matches `fail_on_match`: {head(read.forbidden, 200)}")
    if provider.is_success(job, exited.code):
        lost = f"output of the command could not be written to its log: {job.log_lost}"
        return _Verdict(FAILED, lost) if job.log_lost else _Verdict(SUCCESS)
    return _Verdict(FAILED, job.explanation) if job.explanation else _explained(job, provider, exited.code)


def _explained(job: Job, provider: Provider, code: int) -> _Verdict:
    """Why the process failed: what its exit code means, and the line of the log that names the error.

    An rsync daemon's own refusal takes the place of the meaning, which would only guess.
    """
    from runner.run.error_lines import DAEMON  # only failures pay for these
    from runner.run.log_errors import is_unreached, shortened, whole_error_line

    whole = whole_error_line(job.log_file)
    line, unreached = shortened(whole), code in provider.UNREACHED or is_unreached(whole)
    meaning = provider.explain(code)
    if not line:
        return _Verdict(FAILED, meaning, unreached)
    if line.startswith(DAEMON.decode()):
        return _Verdict(FAILED, f"{meaning.partition(':')[0]}: {line}", unreached)
    return _Verdict(FAILED, f"{meaning}. The log says: {line}", unreached)


def _ending(status: str, reason: str, exited: supervisor.Exit, job: Job, found: Findings, tail: str) -> Ending:
    figures = found.bytes, found.files, found.size
    return Ending(
        status, reason, exited.code, job.attempt, *figures, tail, by_name=found.by_name, transferred=found.transferred
    )


def _call(hooks: Sequence[ModuleType], stage: str, job: Job) -> None:
    for hook in hooks if stage.startswith("pre_") else hooks[::-1]:
        function = getattr(hook, stage, None)
        if function is not None:
            with _GUARDS.get(stage, contextlib.nullcontext)(job):
                function(job)


@contextlib.contextmanager
def _beside(job: Job) -> Iterator[None]:
    """What a disk does to a hook after the processes have ended is told, and changes nothing about how they ended."""
    try:
        yield
    except OSError as error:
        job.complain(str(error))


@contextlib.contextmanager
def _after(job: Job) -> Iterator[None]:
    """Whatever goes wrong in a hook once the result is known is shown beside it: other hooks may have published it."""
    try:
        yield
    except (Abort, SkipjackError, OSError) as error:
        job.complain(str(error))
    except Exception as error:
        job.complain(error_boundary.report(error, job.machine.state_dir or None))


_GUARDS: Mapping[str, Callable[[Job], contextlib.AbstractContextManager[None]]] = {
    "post_exec": _beside,
    "post_success": _after,
    "post_fail": _after,
}
