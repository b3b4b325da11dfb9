"""Start the processes of one attempt: with copies of their pattern files, in which environment, with their output in
the attempt's log and within its limit.
"""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from functools import partial

from runner.base import environment
from runner.base.state_dir import StateLayout
from runner.plugin_api import Ask, CannotRun, Command, Job
from runner.run import bounded_log, progress
from runner.subprocesses import spawn, supervisor
from schemas.mirror_record import RSYNC_PROVIDERS
from schemas.units import setting_duration


class AttemptProcesses:
    """Starts the processes of one attempt, one after the other.

    `log` is the descriptor of the attempt's log, `keep` are those that the processes inherit beside it, and `publish`
    gets their progress.
    """

    def __init__(
        self,
        job: Job,
        log: int,
        keep: Sequence[int],
        stop: supervisor.Stop,
        publish: Callable[[progress.Progress], None],
    ) -> None:
        self._job, self._log, self._keep, self._stop, self._publish = job, log, keep, stop, publish
        self._limit = bounded_log.BoundedLog(job.log_file, job.mirror.log_max_size)

    def provide(self, command: Command, timeout: float | None) -> supervisor.Exit:
        """Run a process of the provider to its end; raises CannotStart, and Abort if it may not start."""
        try:
            given = self._job.wrap(with_copies(self._job, command))
            return self._run(given, timeout, self._watchers(command) or [self._copy])
        finally:
            self._job.unwrap()

    def execute(self, command: Command, timeout: float | None) -> int:
        """Run a command of a definition for a hook and return its exit code; raises CannotRun."""
        if self._stop.signal is not None:
            raise CannotRun(f"{command.argv[0]} was not started, since the run received a stop signal")
        command = _line_with_copies(self._job, command)
        if self._job.deadline is not None:
            left = self._job.deadline - time.monotonic()
            timeout = left if timeout is None else min(timeout, left)
        try:
            exited = self._run(command, timeout, [self._copy])
        except spawn.CannotStart as error:
            raise CannotRun(str(error)) from error
        if exited.cause == supervisor.TIMED_OUT:
            limit = setting_duration(round(timeout or 0))
            raise CannotRun(f"{command.argv[0]} took longer than its time-out of {limit}")
        if exited.cause == supervisor.INTERRUPTED:
            raise CannotRun(f"{command.argv[0]} was ended, since the run received a stop signal")
        return exited.code

    def _run(self, command: Command, timeout: float | None, sinks: Sequence[supervisor.Sink]) -> supervisor.Exit:
        return supervisor.run(
            command.argv,
            surroundings_of(self._job, command),
            command.cwd,
            self._log,
            self._keep,
            timeout,
            self._stop,
            [partial(self._pass_on, sink) for sink in sinks],
            self._trim,
            command.pipe,
        )

    def _watchers(self, command: Command) -> list[supervisor.Sink]:
        """Return the sinks of a command's output and, if they are read apart, its errors; both write to the log."""
        pattern = self._job.mirror.progress_pattern
        watchers: list[supervisor.Sink] = []
        if command.progress or pattern or command.output or command.errors:
            watchers.append(progress.Watcher(self._log, pattern, self._publish, command.output))
        if command.errors:
            watchers.append(progress.Watcher(self._log, "", self._publish, command.errors))
        return watchers

    def _copy(self, data: bytes) -> None:
        """Write output to the log. On a full disk the program continues, but the attempt does not succeed."""
        try:
            while data:
                data = data[os.write(self._log, data) :]
        except OSError as error:
            self._job.log_lost = str(error.strerror)

    def _pass_on(self, sink: supervisor.Sink, data: bytes) -> None:
        """Pass output on to what writes it, and then limit the size of the log."""
        sink(data)
        self._trim()

    def _trim(self) -> None:
        with contextlib.suppress(OSError):  # a log that stays too large is not a failure of the mirror
            self._limit.trim(self._log)


def asker(job: Job) -> Ask:
    """Return the function with which hooks run short system commands, whose output is not logged."""

    def ask(argv: Sequence[str], timeout: float) -> tuple[int, str]:
        from runner.containers import podman  # loaded here, since most runs need no such command

        return podman.asker(job.machine.state_dir, job.machine.home, job.machine.roots)(argv, timeout)

    return ask


def with_copies(job: Job, command: Command) -> Command:
    """Return a provider's command with copies of its pattern files; Abort if one may not be sent to the upstream."""
    shows_file = job.mirror.docker_image and job.mirror.exclude_file is not None
    is_rsync = job.mirror.provider in RSYNC_PROVIDERS or spawn.is_rsync(command.argv)
    if not shows_file and not (is_rsync and _sends_files(command)):
        return command
    from runner.run import sent_files  # loaded here, since most mirrors have no pattern files

    return sent_files.of_provider(job, command)


def _line_with_copies(job: Job, command: Command) -> Command:
    """Return a hook's command with copies of its pattern files; CannotRun if one may not be sent."""
    if not job.machine.judged or not spawn.is_rsync(command.argv) or not _sends_files(command):
        return command
    from runner.run import sent_files  # loaded here for the same reason

    return sent_files.of_line(job, command)


def _sends_files(command: Command) -> bool:
    from schemas.rsync import rsync_options  # loaded here, since other providers start no rsync

    return rsync_options.sends_files(command.argv[1:])


def surroundings_of(job: Job, command: Command) -> dict[str, str]:
    """Return the whole environment of a program of a run."""
    machine = job.machine
    in_container = job.mirror.docker_image and command.argv[0] == machine.container_program
    if not in_container:
        return environment.environment(machine.home, machine.roots, machine.env, command.env)
    from runner.containers import podman  # loaded here, since most mirrors use no container

    names = (*machine.env, *environment.OF_CONTAINER_PROGRAMS)
    ours = podman.runtime_folder(StateLayout(machine.state_dir)) if podman.is_podman(command.argv[0]) else {}
    return environment.environment(machine.home, machine.roots, names, command.env) | ours
