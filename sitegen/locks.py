"""The locks that allow one publisher per site, and one serve per SQLite file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import filelock

from schemas import wakeup
from schemas.errors import SkipjackError
from schemas.records import ManagerSettings
from sitegen.lease import Lease
from sitegen.storage.dialects import Postgresql


@contextmanager
def publishing(
    settings: ManagerSettings, *, wait: bool, standing_by: Callable[[str], None] = lambda _why: None
) -> Iterator[Callable[[], None]]:
    """Hold the publisher's lock. Call the yielded function before each write: it raises LeaseLost without the lock.

    On PostgreSQL this waits for another publisher if `wait`, and calls `standing_by` with the reason. Otherwise
    another publisher is a SkipjackError.
    """
    if settings.database is None:
        with _alone(settings.state_dir, "publish", "another publisher is running", _ONE_PUBLISHES):
            yield _always
        return
    dialect = Postgresql(settings.database)
    with Lease(
        dialect, partial(wakeup.send, settings.run_dir, wakeup.PUBLISHER), wait=wait, standing_by=standing_by
    ) as lease:
        yield lease.check


def _always() -> None:
    """Do nothing: the lock on a file is held until this process ends, when the kernel frees it."""


@contextmanager
def serving(settings: ManagerSettings) -> Iterator[None]:
    """Be the only serve of an SQLite file; SkipjackError when another one runs.

    Each caches what the other one changes, and holds requests that the other one cannot wake.
    """
    if settings.database is not None:
        yield
        return
    with _alone(settings.state_dir, "serve", "another `skipjack-manager serve` is running", _ONE_SERVES):
        yield


_ONE_PUBLISHES = "Stop it, or let it publish."
_ONE_SERVES = "Stop it first: only PostgreSQL allows several."


@contextmanager
def _alone(state_dir: str, program: str, taken: str, remedy: str) -> Iterator[None]:
    """Hold a lock that the kernel frees when this process ends, however it ends."""
    path = Path(state_dir) / f"{program}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(path).acquire(timeout=0)  # a second process is a mistake, so it fails at once
    except filelock.Timeout as error:
        raise SkipjackError(f"{taken}: `{path}` is locked.", remedy) from error
    except OSError as error:
        raise SkipjackError(
            f"cannot lock `{path}`: {error.strerror}.",
            "Check that the manager's user owns the file and its folder, and that the disk is writable.",
        ) from error
    with held:
        yield
