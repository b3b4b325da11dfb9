"""When does a worker first run a mirror that it gets? In words without times, which would differ with each forecast."""

from schemas.mirror_record import Mirror
from schemas.records import SyncWindows, Worker


def words(mirror: Mirror, worker: Worker) -> str:
    """Return when a worker starts a mirror that never ran there."""
    windows = [found for found in (mirror.sync_windows, worker.sync_windows) if found is not None]
    limits = [text for found in windows if (text := _within(found))]
    if mirror.cron:
        begin = f"at the next time of `{mirror.cron}`"
    else:
        begin = "in the next sync window" if limits else "at once"
    after = [f"after {', '.join(mirror.after)}"] if mirror.after else []
    return ", ".join([begin, *limits, *after])


def _within(windows: SyncWindows) -> str:
    allowed, forbidden = " or ".join(windows.allowed), " or ".join(windows.forbidden)
    parts = (f"within {allowed}" if allowed else "", f"not within {forbidden}" if forbidden else "")
    return ", ".join(filter(None, parts))
