"""What are deletions compared with until a success is accepted? With the files that were there before."""

from runner.base.mirror_paths import is_missing_or_empty
from runner.plugin_api import Job


def look_first(job: Job) -> None:
    """Count what a mirror without an accepted success can lose; once, before the first attempt.

    If that was nothing, all files come from our own runs, until another upstream replaces them.
    """
    past = job.past
    if past.files is not None and (past.files or past.first_look in ("", job.mirror.upstream)):
        return
    found = job.walk()
    if not found.unreadable:
        size: int = found.bytes
        on_disk: int | None = found.on_disk
        if past.files is None and past.bytes is not None:  # from an accepted success whose log had a size
            size, on_disk = past.bytes, None
        compare_with(job, found.files, size, on_disk)


def count_unaccepted(job: Job) -> None:
    """Let this run also lose only a share of the files that runs before the first accepted success have brought.

    Nothing is recorded, since each such run brings more of them, until one is refused: see `keep_unaccepted`.
    """
    if job.past.first_look and not job.past.files and not is_missing_or_empty(job.directory):
        found = job.walk()
        job.past = job.past._replace(files=found.files, bytes=found.bytes, on_disk=found.on_disk, counted=False)
        job.unaccepted = job.past.accepted


def keep_unaccepted(job: Job) -> None:
    """Record what `count_unaccepted` found: what a refused run has brought makes no later loss smaller."""
    if job.unaccepted is not None:
        compare_with(job, *job.unaccepted)


def compare_with(job: Job, files: int, size: int, on_disk: int | None = None) -> None:
    """Record what this run and the next ones are compared with until a success is accepted."""
    upstream = job.mirror.upstream
    job.first_look(upstream, files, size, on_disk)
    job.past = job.past._replace(files=files, bytes=size, on_disk=on_disk, first_look=upstream, counted=False)
