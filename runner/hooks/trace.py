"""Writes a trace file as Debian's mirrors do: `project/trace/HOST` tells when the mirror was last brought up to date.

While an attempt is under way, `Archive-Update-in-Progress-HOST` stands at the mirror's top. What lies in the mirror
comes from its upstream, so no link there is followed. That rsync deletes neither file is its provider's business.
"""

import contextlib
import os
import re
import stat
import time
from collections.abc import Iterator

from runner.plugin_api import Job
from schemas import VERSION

OPTIONS = frozenset({"trace", "upstream"})

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HOST = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?(?:[^/@\s]*@)?(\[[^]/\s]+\]|[^:/@\s]+)")
_SERIAL = re.compile(r"^Archive serial: ([0-9]{1,20})$", re.MULTILINE)
_MASTER_BYTES = 64 * 1024


def pre_exec(job: Job) -> None:
    """Show that the mirror is being changed."""
    if job.mirror.trace:
        with _telling(job, _in_progress(job)), _below(job, ()) as top:
            _write(top, _in_progress(job), _day(time.time()) + "\n")


def post_success(job: Job) -> None:
    """Write the trace file, and no longer show that the mirror is being changed."""
    if job.mirror.trace:
        with _telling(job, f"project/trace/{job.mirror.trace}"), _below(job, ("project", "trace")) as folder:
            _write(folder, job.mirror.trace, _content(job, folder, time.time()))
        _finish(job)


def post_fail(job: Job) -> None:
    """No longer show that the mirror is being changed."""
    if job.mirror.trace:
        _finish(job)


def _finish(job: Job) -> None:
    gone = contextlib.suppress(FileNotFoundError, IsADirectoryError)  # a folder there is the upstream's
    with _telling(job, _in_progress(job)), _below(job, ()) as top, gone:
        os.unlink(_in_progress(job), dir_fd=top)


def _in_progress(job: Job) -> str:
    return f"Archive-Update-in-Progress-{job.mirror.trace}"


@contextlib.contextmanager
def _telling(job: Job, path: str) -> Iterator[None]:
    """A trace that cannot be written is told; it is no failure of the mirror."""
    try:
        yield
    except OSError as error:
        if in_the_way := _in_the_way(job.directory, path.split("/")):
            what = f"cannot write the trace `{path}`: the upstream has {in_the_way} in its way"
            job.complain(f"{what}. Remove `trace:` from the definition, or ask the upstream to make way")
        else:
            where = os.path.join(job.directory, error.filename or "")
            job.complain(f"the trace cannot be written: {where}: {error.strerror}")


def _in_the_way(directory: str, parts: list[str]) -> str:
    """What stands where a folder of a path or its file belongs; empty when nothing does."""
    for number in range(1, len(parts) + 1):
        path = "/".join(parts[:number])
        try:
            mode = os.lstat(os.path.join(directory, path)).st_mode
        except OSError:
            return ""
        if stat.S_ISDIR(mode) == (number == len(parts)):
            kind = "a directory" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "a file"
            return f"{kind} `{path}`"
    return ""


@contextlib.contextmanager
def _below(job: Job, folders: tuple[str, ...]) -> Iterator[int]:
    """A descriptor of a folder below the mirror's, made when it is missing, and reached through no link."""
    with contextlib.ExitStack() as stack:
        # The mirror's own directory may be a link: where that leads was looked at before the run.
        current = os.open(os.path.realpath(job.directory), _FOLDER)
        stack.callback(os.close, current)
        for folder in folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o755, dir_fd=current)
            current = os.open(folder, _FOLDER, dir_fd=current)
            stack.callback(os.close, current)
        yield current


def _write(folder: int, name: str, text: str) -> None:
    """Put a file in the place of whatever has its name; readers see the old one or the new one, never a part."""
    aside = f".{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside, dir_fd=folder)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    try:
        os.replace(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(aside, dir_fd=folder)
        raise


def _content(job: Job, folder: int, now: float) -> str:
    """The lines that Debian's mirror checkers read; the first is what `date -u` prints."""
    fields = {
        "Date": _date(now),
        "Date-Started": _date(job.started_at),
        "Archive serial": _serial(folder),
        "Creator": f"Skipjack {VERSION}",
        "Running on host": os.uname().nodename,
        "Upstream-mirror": _host(job.mirror.upstream),
    }
    return "\n".join([_day(now), *(f"{key}: {value}" for key, value in fields.items() if value), ""])


def _day(moment: float) -> str:
    return time.strftime("%a %b %e %H:%M:%S UTC %Y", time.gmtime(moment))


def _date(moment: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(moment))


def _host(upstream: str) -> str:
    """The upstream's host without user, port and path; nothing for a command's upstream that names none."""
    found = _HOST.match(upstream)
    return found.group(1) if found else ""


def _serial(folder: int) -> str:
    """The archive's serial number, which the trace of the archive's own master tells; nothing where there is none."""
    try:
        master = os.open("master", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with open(master, encoding="utf-8", errors="replace") as file:
            found = _SERIAL.search(file.read(_MASTER_BYTES))
    except OSError:
        return ""
    return found.group(1) if found else ""
