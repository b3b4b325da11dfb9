"""How serve wakes the publisher: an empty datagram to a socket in the run directory."""

import contextlib
import select
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.errors import SkipjackError

_NAME = "publish.sock"


def poke(run_dir: str) -> None:
    """Wake the publisher.

    Whether there is one does not matter, since it reads everything when it starts; nor does a full queue, since it is
    about to wake then.
    """
    with (
        contextlib.suppress(OSError),  # even that no more files can be opened: it looks by itself after a while
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
    ):
        sender.sendto(b"", str(Path(run_dir) / _NAME))


class Listener:
    """The publisher's side; one per run directory, which the publisher's lock sees to."""

    def __init__(self, run_dir: str) -> None:
        path = Path(run_dir) / _NAME
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            self._socket.bind(str(path))
        except OSError as error:
            self._socket.close()
            raise SkipjackError(
                f"The socket {path} cannot be made: {error}.", "Check `run_dir` in the settings."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def wait(self, seconds: float) -> bool:
        """Sleep until poked or until the time is over; tells whether it was a poke."""
        poked, _, _ = select.select([self._socket], [], [], max(0.0, seconds))
        if poked:
            self._drain()
        return bool(poked)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):  # no more are waiting
            while True:
                self._socket.recv(1)
