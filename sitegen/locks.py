"""What keeps a second publisher away from the same site, and a second serve from the same SQLite file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import filelock

from schemas.errors import SkipjackError
from schemas.records import ManagerSettings
from sitegen.wakeup import poke


class Lost(SkipjackError):  # noqa: N818 - it is what happened to the turn
    """The turn to publish is over; nothing may be written any more."""


@contextmanager
def publishing(
    settings: ManagerSettings, *, wait: bool, standing_by: Callable[[str], None] = lambda _why: None
) -> Iterator[Callable[[], None]]:
    """Have the turn to publish; what is given raises Lost once that is over, and is to be called before writing.

    On PostgreSQL another publisher is waited for, unless that is not wanted, and `standing_by` is told why; in all
    other cases it is a SkipjackError.
    """
    if settings.database is None:
        with _alone(settings.state_dir, "publish", "Another publisher is at work", _ONE_PUBLISHES):
            yield _always
        return
    from sitegen import lease
    from sitegen.storage import dialects

    dialect = dialects.Postgresql(settings.database)
    with lease.Lease(dialect, partial(poke, settings.run_dir), wait=wait, standing_by=standing_by) as turn:
        yield turn.check


def _always() -> None:
    """The turn that the file's lock gives lasts as long as we do: the kernel frees it when we die."""


@contextmanager
def serving(settings: ManagerSettings) -> Iterator[None]:
    """Be the only one that serves from an SQLite file; a SkipjackError when somebody else does.

    Two would each remember what the other changes, and hold requests that the other should wake.
    """
    if settings.database is not None:
        yield
        return
    with _alone(settings.state_dir, "serve", "Another `skipjack-manager serve` is at work", _ONE_SERVES):
        yield


_ONE_PUBLISHES = "End it, or leave the publishing to it."
_ONE_SERVES = "End it first: only one may serve from a file of SQLite, while PostgreSQL takes several."


@contextmanager
def _alone(state_dir: str, program: str, taken: str, remedy: str) -> Iterator[None]:
    """Hold a lock that the kernel frees when we die, however that happens."""
    path = Path(state_dir) / f"{program}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(path).acquire(timeout=0)
    except filelock.Timeout as error:
        raise SkipjackError(f"{taken} ({path} is locked).", remedy) from error
    except OSError as error:
        raise SkipjackError(
            f"The lock {path} cannot be taken: {error.strerror}.",
            "Give the file and its folder to the user that runs the manager, on a disk that can be written.",
        ) from error
    with held:
        yield
