"""The lock that keeps a second publisher away from the same site."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from schemas.errors import SkipjackError


@contextmanager
def publishing(state_dir: str) -> Iterator[None]:
    """Hold the publisher's lock; SkipjackError at once when another one has it. The kernel frees it when we die."""
    path = Path(state_dir) / "publish.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path, timeout=0):
            yield
    except filelock.Timeout as error:
        raise SkipjackError(
            f"Another publisher is at work ({path} is locked).", "End it, or leave the publishing to it."
        ) from error
