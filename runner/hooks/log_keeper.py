"""Keep the logs of a mirror: one file for each attempt, `latest` as a link to the newest; compress and remove old ones.

Each mirror has its own folder, so that logs of different mirrors cannot be confused. Other files there stay untouched.
Old logs are compressed at the end of a run, when no provider waits for it.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from runner.plugin_api import Abort, Job
from schemas.regular_files import regular_itself
from schemas.states import FAILED, INTERRUPTED

OPTIONS = frozenset({"log_keep", "log_max_age", "log_max_size", "log_compress"})

# Names of earlier releases end without the `Z`.
_ENDINGS = r"(_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\dZ?_\d\d)\.log(?:\.fail)?(\.gz)?"
_CHUNK = 256 * 1024
_LEVEL = 1
"""zlib's fastest level: logs still shrink to a tenth, several times faster than with the default."""


_FILE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,63}}{_ENDINGS}|latest|\.latest\.new|\.compressed\.new")


def is_own_file(name: str) -> bool:
    """Return whether a file in a folder of logs has the name of one that this hook writes, for any mirror."""
    return _FILE.fullmatch(name) is not None


class _Log(NamedTuple):
    """A log file: its name, its unique stem (time and attempt), and whether it is compressed."""

    name: str
    stem: str
    is_compressed: bool


def pre_exec(job: Job) -> None:
    """Create the attempt's log, `NAME_2026-01-31_23-59-59Z_01.log` in UTC, and remove old logs."""
    try:
        if not os.path.isdir(job.log_dir):
            os.makedirs(job.log_dir, mode=0o755, exist_ok=True)
        others = _logs(job)
        job.log_file = os.path.join(job.log_dir, _free_stem(job, others) + ".log")
        os.close(os.open(job.log_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        _point_latest(job)
    except OSError as error:
        raise Abort(FAILED, f"cannot write the log {job.log_file or job.log_dir}: {error.strerror}") from error
    _tidy(job, partial(_remove_old, others=others))


def post_success(job: Job) -> None:
    """Compress the logs of earlier attempts."""
    _tidy(job, _compress_others)


def post_fail(job: Job) -> None:
    """Mark the log of a failed attempt; compress the others, unless another attempt follows or the run was stopped."""
    failed = f"{job.log_file}.fail"
    os.replace(job.log_file, failed)
    job.log_file = failed
    _point_latest(job)
    if job.is_last_attempt and job.outcome.status != INTERRUPTED:
        _tidy(job, _compress_others)


def _tidy(job: Job, step: Callable[[Job], None]) -> None:
    """Do a step that concerns only old logs; its failure is reported beside the run."""
    try:
        step(job)
    except OSError as error:
        job.complain(f"cannot compress or remove old logs in {job.log_dir}: {error.strerror}")


def _logs(job: Job) -> list[_Log]:
    """Return the mirror's logs, oldest first: regular files with exactly such names, for its current or an old name."""
    names = "|".join(map(re.escape, (job.mirror.name, *job.mirror.formerly)))
    pattern = re.compile(f"(?:{names}){_ENDINGS}")
    found = []
    with os.scandir(job.log_dir) as entries:
        for entry in entries:
            match = pattern.fullmatch(entry.name)
            if match and entry.is_file(follow_symlinks=False):
                found.append(_Log(entry.name, match.group(1), bool(match.group(2))))
    return sorted(found, key=lambda log: (log.stem, log.name))


def _free_stem(job: Job, others: list[_Log]) -> str:
    """Return the stem of a log that begins now, or at the next free second if one attempt follows another quickly."""
    taken = {log.stem for log in others}
    moment = time.time()
    while True:
        stamp = time.strftime("%Y-%m-%d_%H-%M-%SZ", time.gmtime(moment))
        stem = f"_{stamp}_{job.attempt:02d}"
        if stem not in taken:
            return job.mirror.name + stem
        moment += 1


def _point_latest(job: Job) -> None:
    """Point the link `latest` to the attempt's log, by a rename: a reader always finds one."""
    aside = os.path.join(job.log_dir, ".latest.new")
    _remove(aside)
    os.symlink(os.path.basename(job.log_file), aside)
    os.replace(aside, os.path.join(job.log_dir, "latest"))


def _others(job: Job) -> list[_Log]:
    """Return all logs except the attempt's own, which is the newest even if the clock was set back."""
    own = os.path.basename(job.log_file)
    return [log for log in _logs(job) if log.name != own]


def _remove_old(job: Job, others: list[_Log]) -> None:
    """Remove logs beyond the number or the age to keep; one that exists both plain and compressed counts once."""
    kept = sorted({log.stem for log in others}, reverse=True)[: job.mirror.log_keep - 1]
    for log in others:
        path = os.path.join(job.log_dir, log.name)
        if log.stem not in kept or _is_too_old(path, job.mirror.log_max_age):
            os.unlink(path)


def _is_too_old(path: str, most: int | None) -> bool:
    return most is not None and time.time() - os.lstat(path).st_mtime > most


def _compress_others(job: Job) -> None:
    if job.mirror.log_compress:
        for log in _others(job):
            if not log.is_compressed:
                _compress(os.path.join(job.log_dir, log.name), os.path.join(job.log_dir, ".compressed.new"))


def _compress(path: str, aside: str) -> None:
    """Replace the log at `path` by `PATH.gz`; if it is interrupted, the next run does it again."""
    _remove(aside)
    try:
        _pack(path, aside)
        os.replace(aside, f"{path}.gz")
    except OSError:
        _remove(aside)  # the disk may be full because of it
        raise
    os.unlink(path)  # last, and after the fsync of the copy: a crash never leaves the log without its contents


def _pack(path: str, aside: str) -> None:
    import zlib  # loaded here, since many runs have nothing to compress

    packer = zlib.compressobj(_LEVEL, wbits=16 + zlib.MAX_WBITS)  # 16 more selects the gzip format
    with open(path, "rb", buffering=0, opener=regular_itself) as plain, open(aside, "xb") as packed:
        while data := plain.read(_CHUNK):
            packed.write(packer.compress(data))
        packed.write(packer.flush())
        packed.flush()
        status = os.fstat(plain.fileno())
        os.fchmod(packed.fileno(), status.st_mode & 0o777)
        os.utime(packed.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))  # `log_max_age` counts from it
        os.fsync(packed.fileno())  # the plain log is deleted next


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
