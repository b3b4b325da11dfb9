"""How serve wakes the publisher: an empty datagram to a socket in the run directory."""

import contextlib
import select
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.errors import SkipjackError

_NAME = "publish.sock"


def send(run_dir: str) -> None:
    """Wake the publisher.

    It may not be running, since it reads everything when it starts. The queue may be full: then it is about to wake.
    """
    with (
        contextlib.suppress(OSError),  # even at the limit of open files: the publisher looks by itself after a while
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
    ):
        sender.sendto(b"", str(Path(run_dir) / _NAME))


class WakeupSocket:
    """The publisher's side. The publisher's lock makes it the only one in its run directory."""

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
                f"cannot create the socket `{path}`: {error}.", "Check `run_dir` in the settings."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def wait(self, seconds: float) -> bool:
        """Sleep until a wake-up comes, for `seconds` at most; returns whether one came."""
        readable, _, _ = select.select([self._socket], [], [], max(0.0, seconds))
        if readable:
            self._drain()
        return bool(readable)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the queue is empty
            while True:
                self._socket.recv(1)
