"""Write a trace file as Debian's mirrors do: `project/trace/HOST` shows when the mirror was last updated.

During an attempt the file `Archive-Update-in-Progress-HOST` is at the top of the mirror. The mirror's contents come
from its upstream, so no link in it is followed. The rsync providers protect both files from deletion.
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
    """Create the file that shows an update in progress."""
    if job.mirror.trace:
        with _complaining(job, _in_progress(job)), _below(job, ()) as top:
            _write(top, _in_progress(job), _day(time.time()) + "\n")


def post_success(job: Job) -> None:
    """Write the trace file, and remove the file that shows an update in progress."""
    if job.mirror.trace:
        with _complaining(job, f"project/trace/{job.mirror.trace}"), _below(job, ("project", "trace")) as folder:
            _write(folder, job.mirror.trace, _content(job, folder, time.time()))
        _finish(job)


def post_fail(job: Job) -> None:
    """Remove the file that shows an update in progress."""
    if job.mirror.trace:
        _finish(job)


def _finish(job: Job) -> None:
    gone = contextlib.suppress(FileNotFoundError, IsADirectoryError)  # a folder there is the upstream's
    with _complaining(job, _in_progress(job)), _below(job, ()) as top, gone:
        os.unlink(_in_progress(job), dir_fd=top)


def _in_progress(job: Job) -> str:
    return f"Archive-Update-in-Progress-{job.mirror.trace}"


@contextlib.contextmanager
def _complaining(job: Job, path: str) -> Iterator[None]:
    """Report a trace that cannot be written beside the run: the mirror itself is up to date."""
    try:
        yield
    except OSError as error:
        if in_the_way := _in_the_way(job.directory, path.split("/")):
            what = f"cannot write the trace `{path}`: the upstream has {in_the_way} in its way"
            job.complain(f"{what}. Remove `trace:` from the definition, or ask the upstream to remove it")
        else:
            where = os.path.join(job.directory, error.filename or "")
            job.complain(f"cannot write the trace: {where}: {error.strerror}")


def _in_the_way(directory: str, parts: list[str]) -> str:
    """Return the entry of another type that is in the place of a folder of the path or its file; empty if none is."""
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
    """Open a folder below the mirror's directory, created if it is missing and reached through no link."""
    with contextlib.ExitStack() as stack:
        # The mirror's own directory may be a link, whose target was checked before the run.
        current = os.open(os.path.realpath(job.directory), _FOLDER)
        stack.callback(os.close, current)
        for folder in folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o755, dir_fd=current)
            # Fails for a link or a file in the folder's place, whichever the upstream has put there.
            current = os.open(folder, _FOLDER, dir_fd=current)
            stack.callback(os.close, current)
        yield current


def _write(folder: int, name: str, text: str) -> None:
    """Replace the file of that name by a rename; readers see the old or the new one, never a part."""
    aside = f".{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside, dir_fd=folder)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)  # otherwise a crash of the machine could leave an empty file under the final name
    try:
        os.replace(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(aside, dir_fd=folder)
        raise


def _content(job: Job, folder: int, now: float) -> str:
    """Return the lines that Debian's mirror checkers read; the first is in the format of `date -u`."""
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
    """Return the upstream's host without user, port and path; empty if a command's upstream names none."""
    found = _HOST.match(upstream)
    return found.group(1) if found else ""


def _serial(folder: int) -> str:
    """Return the archive's serial number from the trace of its master; empty if there is none."""
    try:
        # Not through a link, and without waiting for the other end of a pipe: the upstream chooses what this is.
        master = os.open("master", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with open(master, encoding="utf-8", errors="replace") as file:
            found = _SERIAL.search(file.read(_MASTER_BYTES))
    except OSError:
        return ""
    return found.group(1) if found else ""
