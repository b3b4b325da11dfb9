"""Run the provider's programs in a container, with docker or podman, if a mirror names a `docker_image`.

A container outlives the program that started it and holds none of our locks. Its name replaces them: an attempt begins
only when no container has that name, and each container is removed by its name in the end. A marker file shows the next
tick that there may be a container, in case the run is killed.
"""

import contextlib
import os
import re
from _blake2 import blake2b  # hashlib would load OpenSSL in each run
from collections.abc import Iterator
from functools import partial

from runner.base import pattern_files
from runner.base.mirror_paths import is_within
from runner.hooks.container_end import remove, remove_marker, with_remedy, write_marker
from runner.hooks.container_left import marker_of
from runner.plugin_api import SECRETS, Abort, Command, Job
from schemas.regular_files import regular_itself
from schemas.states import FAILED, REFUSED
from schemas.units import format_size

OPTIONS = frozenset({"docker_image", "docker_volumes", "docker_options", "memory_limit", "cpu_limit", "exclude_file"})

_STOP_TIMEOUT = 2
"""Seconds between TERM and KILL when a container is removed. The processes of a stopped run had their grace before."""

NO_LIMITS = (
    "podman without root has no limits on control groups of version 1; boot the machine with"
    " `systemd.unified_cgroup_hierarchy=1`, or use docker"
)

_TAIL_BYTES = 4096  # bytes at the log's end in which the container program explains its exit code
# See docker-run(1), EXIT STATUS. 137 is 128 + SIGKILL.
_COULD_NOT_START, _NOT_EXECUTABLE, _NOT_FOUND, _KILLED = 125, 126, 127, 137
_SAID_BY_CLIENT = r"(?m)^(?:docker|Error): (.+)"


def pre_exec(job: Job) -> None:
    """Remove a container with the mirror's name; then let all commands of the attempt run in a new one."""
    check(job)
    limits = [key for key in ("memory_limit", "cpu_limit") if getattr(job.mirror, key)]
    if limits and not limits_hold(job.machine.container_program):
        job.complain(f"`{'` and `'.join(limits)}` {'is' if len(limits) == 1 else 'are'} not enforced: {NO_LIMITS}")
    program = job.machine.container_program
    if reason := remove(program, name_of(job), job.ask):
        raise Abort(FAILED, f"cannot use {program}: {reason}")
    job.wrap, job.unwrap = partial(_begin, job), partial(_finish, job)


def limits_hold(program: str) -> bool:
    """Return whether the limits of containers of this user are enforced.

    Rootless podman needs control groups of version 2 for that. With version 1 it ignores limits with a warning.
    """
    if not _is_rootless_podman(program):
        return True
    from runner.hooks import control_group  # loaded here, since few runs need it

    return control_group.is_unified()


def _is_rootless_podman(program: str) -> bool:
    return os.path.basename(program) == "podman" and os.geteuid() != 0


def post_exec(job: Job) -> None:
    """Explain an exit code that is not the command's but the container program's own."""
    if not job.explanation:
        job.explanation = _explanation(job)


def name_of(job: Job, *, preview: bool = False) -> str:
    """Return the name of the mirror's container, or of its dry run's; it is unique among all workers of the machine.

    Each worker has its own state directory, whose path is hashed. A marker file of an earlier release keeps its name.
    """
    worker = blake2b(os.path.realpath(job.machine.state_dir).encode(errors="surrogateescape"), digest_size=4)
    return f"{'skipjack_preview' if preview else 'skipjack'}-{job.mirror.name}-{worker.hexdigest()}"


def enclosed(job: Job, command: Command, *, preview: bool = False) -> Command:
    """Return the command that runs a command in a container; with `preview` it has another name and cannot write.

    Variables are passed on the command line, so that none affects the container program itself. Secrets are passed
    through its environment instead, because every user can read command lines.
    """
    mirror = job.mirror
    # `--log-driver none`: the output is in the attempt's log, and docker would keep a second copy on its own disk.
    argv = (
        job.machine.container_program, "run", "--rm", "--attach", "stdout", "--attach", "stderr",
        "--log-driver", "none", "--stop-timeout", str(_STOP_TIMEOUT), "--name", name_of(job, preview=preview),
        "--workdir", command.cwd, *_user(job), *_limits(job), *_volumes(job, preview=preview),
        *_environment(command), *mirror.docker_options, mirror.docker_image, *command.argv,
    )  # fmt: skip
    return command._replace(argv=argv, env={key: value for key, value in command.env.items() if key in SECRETS})


def host_side(volume: str, directory: str, log_dir: str) -> str:
    """Return the path on the machine of a volume; `{directory}` and `{log_dir}` stand for those of the mirror."""
    source = volume.partition(":")[0]
    return {"{directory}": directory, "{log_dir}": log_dir}.get(source, source)


def check(job: Job) -> None:
    """Refuse volumes that cannot be mounted, or that the policy denies now: a sync may have created links since."""
    if not job.mirror.docker_image:
        return
    for path in (job.directory, job.log_dir, job.mirror.exclude_file or ""):
        _require_mountable(path)
    for volume in job.mirror.docker_volumes:
        if not os.path.exists(path := _real_source(job, volume)):
            raise Abort(FAILED, f"{path}, which `docker_volumes` names, does not exist; create it")
    _check_exclude_file(job)


def _real_source(job: Job, volume: str) -> str:
    """Return the path of a volume with all links followed; Abort if the policy denies that to containers."""
    path = host_side(volume, job.directory, job.log_dir)
    real = os.path.realpath(path)
    if not any(is_within(real, os.path.realpath(each)) for each in (job.directory, job.log_dir, *job.machine.volumes)):
        what = f"{path} in `docker_volumes` is really {real}"
        raise Abort(REFUSED, f"{what}, which this machine's policy does not allow in containers; correct the link")
    _require_mountable(real)
    return real


def _require_mountable(path: str) -> None:
    if ":" in path:
        raise Abort(REFUSED, f"{path} has a colon, which no container program can mount; choose another place")


def _check_exclude_file(job: Job) -> None:
    """Check the pattern file, which every container of a mirror sees, whatever its provider does with it."""
    path = job.mirror.exclude_file
    if path is None:
        return
    try:
        why = pattern_files.refusal(path, None, job.machine.pattern_files)
    except OSError as error:
        raise Abort(FAILED, f"cannot show the `exclude_file` {path} to the container: {error.strerror}") from error
    if why:
        raise Abort(REFUSED, f"the `exclude_file` {path} {why}; the container would see it, so restore the file")


def _begin(job: Job, command: Command) -> Command:
    try:
        write_marker(marker_of(job), job.machine.container_program, name_of(job))
    except OSError as error:
        # Without the marker a killed run would leave a container that no tick finds.
        raise Abort(FAILED, f"cannot write the file {marker_of(job)}: {error.strerror}") from error
    return enclosed(job, command)


def _finish(job: Job) -> None:
    reason = remove(job.machine.container_program, name_of(job), job.ask)
    if reason:
        job.complain(f"cannot remove the container {name_of(job)}: {reason}; the next tick tries again")
    else:
        remove_marker(marker_of(job))


def _user(job: Job) -> Iterator[str]:
    """Yield the options for the user in the container: the worker's own, who must own the synced files."""
    yield from ("--user", f"{os.geteuid()}:{os.getegid()}")
    if _is_rootless_podman(job.machine.container_program):
        yield from ("--userns", "keep-id")  # otherwise the same id inside is another user outside


def _limits(job: Job) -> Iterator[str]:
    if job.mirror.memory_limit is not None:
        yield from ("--memory", str(job.mirror.memory_limit))
    if job.mirror.cpu_limit:
        wanted = int(job.mirror.cpu_limit.rstrip("%")) / 100
        yield from ("--cpus", f"{min(wanted, os.cpu_count() or 1):g}")  # docker rejects more than the machine has


def _volumes(job: Job, *, preview: bool) -> Iterator[str]:
    own = [job.directory] if preview else [job.directory, job.log_dir]
    if not preview and job.log_file.startswith(f"{job.log_dir}/"):
        # A mount of its own cannot be replaced by a link, which we would follow outside of the container.
        own.append(job.log_file)
    found = [(path, path, "") for path in own]
    files = _pattern_files(job)
    found += [(copy, path, "ro") for path, copy in files.items()]
    for volume in job.mirror.docker_volumes:
        _source, target, mode = f"{volume}:".split(":")[:3]
        if target in files:
            continue
        # Links are followed before each container, and the path that is checked is the one that is mounted: the
        # container before may have created other links.
        found.append((_real_source(job, volume), target, mode))
    for source, target, mode in found:
        words = (source, target, "ro" if preview else mode)
        yield from ("--volume", ":".join(word for word in words if word))


def _pattern_files(job: Job) -> dict[str, str]:
    """Return the pattern files that the container sees, each with the file of the machine that it gets for it."""
    own = job.mirror.exclude_file
    files = {} if own is None else {own: own}
    return files | dict(job.copies.items() if job.copies else ())


def _environment(command: Command) -> Iterator[str]:
    for key, value in command.env.items():
        yield from ("--env", key if key in SECRETS else f"{key}={value}")


def _explanation(job: Job) -> str:
    program, limit, code = job.machine.container_program, job.mirror.memory_limit, job.exit_code
    if code == _KILLED:
        limited = limit is not None and limits_hold(program)
        why = f"over its `memory_limit` of {format_size(limit or 0)}?" if limited else "by hand or for lack of memory"
        return f"the container was killed (137), {why}; see the kernel's messages, or raise the limit"
    said = _said_by_client(job)
    if code == _COULD_NOT_START:
        return with_remedy(f"{program} did not start the container (125): {said or 'see the log'}")
    if code in (_NOT_EXECUTABLE, _NOT_FOUND) and "OCI" in said:  # otherwise it is the exit code of the command
        return with_remedy(f"{program} could not start the program in the container ({code}): {said}")
    return ""


def _said_by_client(job: Job) -> str:
    """Return the last line of the log that the container program itself wrote."""
    from schemas.addresses import without_secrets  # loaded here, since few runs have such a line

    found: list[str] = []
    with contextlib.suppress(OSError), open(job.log_file, "rb", opener=regular_itself) as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
        found = re.findall(_SAID_BY_CLIENT, log.read().decode("utf-8", "replace"))
    return without_secrets(found[-1].strip().rstrip("."))[:500] if found else ""
