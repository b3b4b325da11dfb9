"""What keeps a second publisher away from the same site."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import filelock

from schemas.errors import SkipjackError
from schemas.records import ManagerSettings
from sitegen.poke import poke


class Lost(SkipjackError):  # noqa: N818 - it is what happened to the turn
    """The turn to publish is over; nothing may be written any more."""


@contextmanager
def publishing(settings: ManagerSettings, *, wait: bool) -> Iterator[Callable[[], None]]:
    """Have the turn to publish; what is given raises Lost once that is over, and is to be called before writing.

    On PostgreSQL another publisher is waited for, unless that is not wanted; in all other cases it is a SkipjackError.
    """
    if settings.database is None:
        with _file(settings.state_dir):
            yield _always
        return
    from sitegen import dialects, lease

    dialect = dialects.Postgresql(settings.database)
    with lease.Lease(dialect, partial(poke, settings.run_dir), wait=wait) as turn:
        yield turn.check


def _always() -> None:
    """The turn that the file's lock gives lasts as long as we do: the kernel frees it when we die."""


@contextmanager
def _file(state_dir: str) -> Iterator[None]:
    path = Path(state_dir) / "publish.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path, timeout=0):
            yield
    except filelock.Timeout as error:
        raise SkipjackError(
            f"Another publisher is at work ({path} is locked).", "End it, or leave the publishing to it."
        ) from error
