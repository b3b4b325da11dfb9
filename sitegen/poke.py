"""How serve wakes the publisher: an empty datagram to a socket in the run directory."""

import contextlib
import select
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.errors import SkipjackError

_NAME = "publish.sock"


class Poker:
    """The waking side. Whether somebody listens does not matter: the publisher reads everything when it starts."""

    def __init__(self, run_dir: str) -> None:
        self._path = str(Path(run_dir) / _NAME)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def __call__(self) -> None:
        """Wake the publisher, or do nothing when there is none or when it is about to wake anyway."""
        with contextlib.suppress(OSError):
            self._socket.sendto(b"", self._path)


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
        ready, _, _ = select.select([self._socket], [], [], max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            while ready:
                self._socket.recv(1)
        return bool(ready)
