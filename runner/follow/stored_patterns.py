"""Store the pattern files of the config repository in the state directory, and remove those that nothing uses.

A file is written aside, synced and renamed, and never changed: another content has another name. So a run that began
with a file keeps it whatever is merged meanwhile.
"""

import os
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress

from runner.base import repository_patterns
from runner.base.output import log
from runner.base.repository_patterns import is_stored
from runner.base.state_dir import StateLayout
from runner.plan.plan import Header, Planned
from schemas.config.sources import SourceFile
from schemas.errors import SkipjackError
from schemas.standard_streams import WARNING

_GRACE = 3600
"""Seconds for which a file stays at least that left the plan: a run that has read the plan may not be recorded yet."""


def stored(
    layout: StateLayout, sources: Iterable[SourceFile], header: Header, mirrors: Iterable[Planned]
) -> tuple[Header, list[Planned]]:
    """Store the pattern files of a new plan; return it with their paths in the place of those in the repository.

    Runs may read the folder then. SkipjackError if a file cannot be written.
    """
    files = [source for source in sources if source.has_patterns and source.data is not None]
    by_path, by_blob = {each.path: each for each in files}, {each.blob: each for each in files}
    left = []
    for each in mirrors:
        path = each.mirror.exclude_file or ""
        # A definition that was kept names the file as it was stored, which may be lost since.
        source = by_blob.get(os.path.basename(path)) if is_stored(path) else by_path.get(path)
        if source is not None:
            each = each._replace(mirror=each.mirror._replace(exclude_file=_stored(layout, source)))
        left.append(each)
    if any(is_stored(each.mirror.exclude_file) for each in left):
        folder = os.path.realpath(layout.repository_patterns)
        header = header._replace(pattern_files=(*header.pattern_files, folder))
    return header, left


def _stored(layout: StateLayout, source: SourceFile) -> str:
    """Return where a file is stored, after writing it if it is missing or altered."""
    path = os.path.join(layout.repository_patterns, source.blob)
    if not is_intact(path):
        _write(path, source.data or b"")
    return path


def is_intact(path: str) -> bool:
    """Return whether a stored file exists with the content that its name stands for."""
    try:
        return not repository_patterns.fault(path)
    except OSError:
        return False


def named_by(mirrors: Iterable[Planned]) -> set[str]:
    """Return the stored files that the mirrors of a plan name."""
    found = (each.mirror.exclude_file for each in mirrors)
    return {path for path in found if path is not None and is_stored(path)}


def _write(path: str, data: bytes) -> None:
    folder, aside = os.path.dirname(path), f"{path}.new"
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        with suppress(FileNotFoundError):
            os.unlink(aside)  # left by a follow that was killed
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(aside, path)
        _sync(folder)
    except OSError as error:
        what = f"cannot store a pattern file of the repository at {path}: {error.strerror}."
        raise SkipjackError(what, f"Check the disk and the owner of {folder}; the plan was not changed.") from error


def _sync(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def forget(
    layout: StateLayout, named: Collection[str], before: Collection[str], oldest_run: Callable[[], float]
) -> None:
    """Remove the stored files that neither the plan nor a run uses.

    `named` are those of the plan, `before` those of the plan before it. `oldest_run` returns when the oldest active run
    began, in seconds since 1970, or now without one. What cannot be removed stays for the next follow, with a warning.
    """
    left = [path for path in _existing(layout) if path not in named]
    if not left:
        return
    for path in left:
        if path in before:  # its time is when it left the plan
            with suppress(OSError):
                os.utime(path, follow_symlinks=False)
    unused_since = min(oldest_run(), time.time()) - _GRACE
    for path in left:
        try:
            if os.lstat(path).st_mtime < unused_since:
                os.unlink(path)
        except OSError as error:
            log(f"cannot remove the pattern file {path}: {error.strerror}", about="follow", level=WARNING)


def _existing(layout: StateLayout) -> list[str]:
    try:
        return [os.path.join(layout.repository_patterns, name) for name in os.listdir(layout.repository_patterns)]
    except OSError:  # most repositories have no pattern file
        return []
