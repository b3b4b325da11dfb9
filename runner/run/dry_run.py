"""`skipjack run NAME --dry-run`: print what a run would do. Nothing is written to the mirror, and nothing is locked."""

import contextlib
import os
import shlex
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import islice

from runner.base import locks, scratch_folder
from runner.base.output import say
from runner.base.state_dir import StateLayout
from runner.containers import podman
from runner.follow import trial
from runner.hooks import container, container_end, missing_files, previous_name
from runner.plan.deletion_limits import limits_of
from runner.plan.plan import Header, Planned
from runner.plugin_api import SECRETS, Abort, Command, Job
from runner.providers import PROVIDERS, deletion_guard, deletion_record
from runner.providers.deletion_names import Names
from runner.providers.making_way import TRIAL
from runner.run import comparison, processes, progress, sent_files
from runner.run.parts import machine_of, parts_of
from runner.subprocesses import launch, spawn, supervisor, units
from schemas.addresses import without_secrets
from schemas.errors import SkipjackError
from schemas.mirror_record import RSYNC_PROVIDERS
from schemas.names import is_name
from schemas.records import RunnerSettings
from schemas.units import format_duration, format_size

_STDOUT, _STDERR = 1, 2
_FAILED = frozenset({1, 23})  # see rsync(1): a wrong option, and an incomplete transfer
_MOST_COMMANDS = 100
"""Commands of a plug-in that are shown: it may go on for as long as they fail."""

_LOCK_WORDS = {True: "held", False: "free", None: "not readable for this user"}


def dry_run(
    settings: RunnerSettings, name: str, max_delete: int | str | None = None, *, from_empty: bool = False
) -> int:
    """Print commands, environment, locks, limits and paths; for rsync also what it would transfer and delete.

    `max_delete` and `from_empty` are the operator's exceptions for the run. Return 1 if rsync failed, else 0.
    SkipjackError if there is no such mirror or its program cannot be run.
    """
    layout = StateLayout(settings.state_dir)
    with trial.planned(settings) as opened:
        header, planned = opened.header, opened.mirror(name) if is_name(name) else None
        if planned is None:
            raise opened.missing(name)
        # Inside: a temporary plan comes with the pattern files of the repository.
        return _planned_run(layout, header, planned, max_delete, from_empty=from_empty)


def _planned_run(
    layout: StateLayout, header: Header, planned: Planned, max_delete: int | str | None, *, from_empty: bool
) -> int:
    job = Job(planned.mirror, planned.paths, machine_of(layout, header))
    job.limits, job.past = limits_of(planned.mirror, max_delete), trial.past(layout, planned.mirror)
    deletion_record.correct(job)
    # The provider spools names of files there. The state directory may not be writable for the caller.
    job.machine = job.machine._replace(state_dir=tempfile.gettempdir())
    job.from_empty = from_empty
    with scratch_folder.opened() as folder:
        os.chmod(folder, 0o711)  # noqa: S103 - a program that runs rsync as another user reads the copies, as in a run
        sent_files.copies_of(job, os.path.join(folder, "patterns"))
        return _dry_run(layout, header, planned, job)


def _dry_run(layout: StateLayout, header: Header, planned: Planned, job: Job) -> int:
    name = planned.mirror.name
    if planned.mirror.docker_image:
        job.wrap = partial(container.enclosed, job)
    # A dry run has no log of a first pass, which the deletion guard would read.
    is_rsync, is_plugin = planned.mirror.provider in RSYNC_PROVIDERS, planned.mirror.provider not in PROVIDERS
    job.log_file = os.devnull if is_rsync or is_plugin else os.path.join(job.log_dir, f"{name}_DATE_01.log")
    provider, _hooks = parts_of(planned.mirror, header.plugins)
    try:
        commands = list(islice(provider.commands(job), _MOST_COMMANDS))
        job.deletions_judged |= any(command.output for command in commands)
        container.check(job)
        previewed = [processes.with_copies(job, command) for command in commands]
        previous_name.pre_job(job)
        missing_files.pre_job(job)
    except Abort as abort:
        raise SkipjackError(f"a run of {name} would end at once: {abort.reason}.") from abort
    _say_commands(planned, commands, job)
    _say_conditions(layout, header, planned, job)
    return _preview(previewed[-1], job) if is_rsync else 0


def _say_commands(planned: Planned, commands: list[Command], job: Job) -> None:
    say(f"{planned.mirror.name}, as of {planned.revision[:12]}, would run:")
    for number, command in enumerate(commands, 1):
        say(f"  {number}. {shlex.join(map(without_secrets, _shown_words(job, command)))}")
    if any(command.output for command in commands):
        say("  (rsync names the files that it would delete, and Skipjack then deletes them within the limits)")
    variables = commands[-1].env if commands else {}
    if variables:
        words = " in the container" if job.mirror.docker_image else ", in addition to the worker's own"
        say(f"environment{words}:")
    for key, value in sorted(variables.items()):
        say(f"  {key}={'***' if key in SECRETS else without_secrets(value)}")


def _shown_words(job: Job, command: Command) -> list[str]:
    """Return the words of a command with the pattern files themselves instead of their copies."""
    words = job.wrap(command).argv
    return [job.copies.named_as_before(word) for word in words] if job.copies else list(words)


def _say_conditions(layout: StateLayout, header: Header, planned: Planned, job: Job) -> None:
    mirror = planned.mirror
    timeout = "none" if mirror.timeout is None else format_duration(mirror.timeout)
    say(f"directory:  {job.directory}, below {job.mirror_root}")
    say(f"logs:       {job.log_dir}, {mirror.log_keep} of them")
    say(f"attempts:   {mirror.retry}, time-out of each: {timeout}")
    say(f"guards:     free space {format_size(mirror.min_free_space)}, deletions {_deletions(job)}")
    if names := sorted(name for name in mirror.plugins if name != mirror.provider):
        say(f"hooks:      {', '.join(names)}, which a dry run does not call")
    if not job.deletions_judged:
        say(f"compared:   {comparison.described(job)}")
    _say_limits(layout, job)
    if mirror.zpool:
        say(f"dataset:    one below {mirror.zpool}, mounted on the directory")
    if mirror.btrfs_snapshot:
        say(f"snapshot:   {job.snapshot}")
    for kind in ("supervisor", "mirror"):
        path = layout.lock(kind, mirror.name)
        say(f"lock:       {path} ({_LOCK_WORDS[_is_held(path)]})")
    say(f"lock:       {job.directory} ({_directory_lock(job.directory)})")
    held = [_is_held(layout.lock("slot", str(number))) for number in range(header.slots)]
    busy = "an unknown number" if None in held else str(held.count(True))
    say(f"slots:      {busy} of {header.slots} are busy")


def _is_held(path: str) -> bool | None:
    """Return whether a lock is held; None if this user may not read it."""
    try:
        return locks.is_held(path)
    except PermissionError:
        return None


def _directory_lock(directory: str) -> str:
    try:
        return "held" if locks.is_directory_held(directory) else "free"
    except OSError as error:
        return f"cannot be locked: {error.strerror}"


def _deletions(job: Job) -> str:
    """Return the limits of deletions in a few words."""
    limits = job.limits
    floor = f", always {limits.floor} of them" if limits.floor else ""
    size = "" if limits.size is None else f", {format_size(limits.size)}"
    return f"{limits.most}{floor}{size}"


def _say_limits(layout: StateLayout, job: Job) -> None:
    mirror = job.mirror
    limits = {
        "memory": mirror.memory_limit and format_size(mirror.memory_limit),
        "processor": mirror.cpu_limit,
        "weight on the disks": mirror.io_weight,
    }
    listed = ", ".join(f"{what} {much}" for what, much in limits.items() if much)
    if listed:
        say(f"limits:     {listed}; enforced by {_enforcer(layout, job)}")


def _enforcer(layout: StateLayout, job: Job) -> str:
    """Return what enforces the limits of a run."""
    if job.mirror.docker_image:
        return "the container"
    if launch.service_manager(layout):
        return f"systemd, in {units.unit(job.mirror.name)}"
    if job.machine.cgroup:
        return f"the control group {job.machine.cgroup}/{job.mirror.name}, which limits only memory"
    return "nothing: there is neither systemd nor `cgroup` in the machine's settings"


def _preview(command: Command, job: Job) -> int:
    """Run rsync with `--dry-run`, which prints what it would transfer and delete; return its exit code as 0 or 1."""
    say("rsync would change (> transfers, *deleting, c creates, . attributes only):")
    *words, upstream, directory = command.argv
    target = directory if os.path.isdir(job.directory) else job.directory
    trial_run = command._replace(argv=(*words, *TRIAL, upstream, target))
    if not job.mirror.docker_image and not os.path.isdir(job.directory):
        say("(the directory does not exist yet; a run would create it)")
    if command.output is None:
        return _run_preview(trial_run, job)
    with contextlib.closing(Names(tempfile.gettempdir(), place_of=deletion_guard.place_of(job, command))) as names:
        code = _run_preview(trial_run._replace(output=names.output, errors=names.errors.take), job)
        for line in deletion_guard.lines_of(job, names, "deleting"):
            say(line)
        if code == 0 or names.errors.only_obstacles:
            say(f"the run {deletion_guard.forecast(job, names)}")
            return 0
    return code


def _run_preview(trial_run: Command, job: Job) -> int:
    if not job.mirror.docker_image:
        return _print_from(trial_run, job)
    if not os.path.isdir(job.directory):
        # Not started: docker creates the folders of missing volumes.
        say("everything: the directory does not exist yet")
        return 0
    try:
        return _print_from(container.enclosed(job, trial_run, preview=True), job)
    finally:
        ask = podman.asker(job.machine.state_dir, job.machine.home, job.machine.roots)
        container_end.remove(job.machine.container_program, container.name_of(job, preview=True), ask)


def _print_from(command: Command, job: Job) -> int:
    stop = supervisor.Stop()
    stop.listen()
    env = processes.surroundings_of(job, command)
    try:
        # In `/`, since the mirror's directory may not exist yet.
        exited = supervisor.run(command.argv, env, "/", _STDOUT, (), None, stop, _sinks(command))
    except spawn.CannotStart as error:
        raise SkipjackError(f"{error}.", "Install it, or name another program in the definition.") from error
    return 0 if exited.code in (0, *command.goes_on - _FAILED) else 1


def _taken(keep: Callable[[bytes], bytes] | None, lines: bytes) -> bytes:
    """Return the lines of rsync to print, without "created directory", which is not true of a trial."""
    true = b"".join(line for line in lines.splitlines(keepends=True) if not line.startswith(b"created directory "))
    return keep(true) if keep else true


def _sinks(command: Command) -> list[progress.Watcher]:
    """Return the sinks of a command's output and errors: its readers take lines, and the rest is printed."""
    readers = ((_STDOUT, partial(_taken, command.output)), (_STDERR, command.errors))
    return [progress.Watcher(target, "", lambda _progress: None, reader) for target, reader in readers if reader]
