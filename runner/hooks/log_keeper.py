"""Keeps the logs: a file of its own for each attempt, `latest` pointing to the newest, the old ones compressed and at
last removed.

Each mirror has a folder of its own, so that one mirror's logs are never taken for another's. Whatever else lies there
is left alone. Old logs are compressed when a run is over: then no provider waits for it.
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

_ENDINGS = r"(_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\dZ?_\d\d)\.log(?:\.fail)?(\.gz)?"
_CHUNK = 256 * 1024
_LEVEL = 1
"""Of zlib: logs shrink to a tenth even so, at several times the speed."""


class _Log(NamedTuple):
    """One log file: its name, its time and attempt, which no other log shares, and whether it is compressed."""

    name: str
    stem: str
    is_compressed: bool


def pre_exec(job: Job) -> None:
    """Create the attempt's log, `NAME_2026-01-31_23-59-59Z_01.log` in UTC, and remove the old ones."""
    try:
        if not os.path.isdir(job.log_dir):
            os.makedirs(job.log_dir, mode=0o755, exist_ok=True)
        others = _logs(job)
        job.log_file = os.path.join(job.log_dir, _free_stem(job, others) + ".log")
        os.close(os.open(job.log_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        _point_latest(job)
    except OSError as error:
        raise Abort(FAILED, f"the log {job.log_file or job.log_dir} cannot be written: {error.strerror}") from error
    _tidy(job, partial(_remove_old, others=others))


def post_success(job: Job) -> None:
    """Compress what earlier attempts left."""
    _tidy(job, _compress_others)


def post_fail(job: Job) -> None:
    """Mark the log of a failed attempt, and compress the others unless another attempt or a shutdown waits."""
    failed = f"{job.log_file}.fail"
    os.replace(job.log_file, failed)
    job.log_file = failed
    _point_latest(job)
    if job.is_last_attempt and job.outcome.status != INTERRUPTED:
        _tidy(job, _compress_others)


def _tidy(job: Job, step: Callable[[Job], None]) -> None:
    """Take a step that concerns old logs alone, so that its failure is none of the run's."""
    try:
        step(job)
    except OSError as error:
        job.complain(f"the old logs in {job.log_dir} could not be tidied up: {error.strerror}")


def _logs(job: Job) -> list[_Log]:
    """The mirror's logs, oldest first: plain files named exactly as they are named here, now or formerly."""
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
    """The name of a log that begins now; of the next second that has none, should runs follow upon each other fast."""
    taken = {log.stem for log in others}
    moment = time.time()
    while True:
        stamp = time.strftime("%Y-%m-%d_%H-%M-%SZ", time.gmtime(moment))
        stem = f"_{stamp}_{job.attempt:02d}"
        if stem not in taken:
            return job.mirror.name + stem
        moment += 1


def _point_latest(job: Job) -> None:
    aside = os.path.join(job.log_dir, ".latest.new")
    _remove(aside)
    os.symlink(os.path.basename(job.log_file), aside)
    os.replace(aside, os.path.join(job.log_dir, "latest"))


def _others(job: Job) -> list[_Log]:
    """All logs but the attempt's own, which is the newest whatever the clock said before."""
    own = os.path.basename(job.log_file)
    return [log for log in _logs(job) if log.name != own]


def _remove_old(job: Job, others: list[_Log]) -> None:
    """Remove what is too much or too old; a log that is there both plain and compressed counts once."""
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
    """Put `PATH.gz` in the place of the log at `path`; whenever this is cut short, the next time does it again."""
    _remove(aside)
    try:
        _pack(path, aside)
        os.replace(aside, f"{path}.gz")
    except OSError:
        _remove(aside)  # what it takes up may be just what the disk lacks
        raise
    os.unlink(path)


def _pack(path: str, aside: str) -> None:
    import zlib  # not in the memory of a run that has nothing to compress

    packer = zlib.compressobj(_LEVEL, wbits=16 + zlib.MAX_WBITS)  # gzip's own form
    with open(path, "rb", buffering=0, opener=regular_itself) as plain, open(aside, "xb") as packed:
        while data := plain.read(_CHUNK):
            packed.write(packer.compress(data))
        packed.write(packer.flush())
        packed.flush()
        status = os.fstat(plain.fileno())
        os.fchmod(packed.fileno(), status.st_mode & 0o777)
        os.utime(packed.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fsync(packed.fileno())


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
