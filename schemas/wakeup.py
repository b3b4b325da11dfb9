"""Wake-up sockets: an empty datagram to a socket in the run directory ends the pause of a lingering program.

A sender needs no receiver: courier and publisher read everything when they start. Each run of a mirror imports this,
so it uses `_socket`; the module `socket` itself would cost each run 3 ms.
"""

import contextlib
import os
from _socket import AF_UNIX, SOCK_DGRAM, SOCK_NONBLOCK, socket

from schemas.errors import SkipjackError

COURIER, PUBLISHER = "courier.sock", "publish.sock"
"""The names of the sockets in the run directory."""


def send(run_dir: str, name: str) -> None:
    """Wake the program that listens at a socket. A full queue is not an error: then it is about to wake."""
    with (
        contextlib.suppress(OSError),  # even at the limit of open files: the program looks by itself after a while
        contextlib.closing(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK)) as sender,
    ):
        sender.sendto(b"", os.path.join(run_dir, name))


class WakeupSocket:
    """The receiving side. The program's lock makes it the only one in its run directory."""

    def __init__(self, run_dir: str, name: str) -> None:
        """Create the socket, and the run directory if it is missing; SkipjackError when that fails."""
        path = os.path.join(run_dir, name)
        self._socket = socket(AF_UNIX, SOCK_DGRAM)
        try:
            os.makedirs(run_dir, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # left by a killed program: the lock proves that no other one is running
            self._socket.bind(path)
        except OSError as error:
            self.close()
            what = f"cannot create the socket `{path}`: {error.strerror or error}."
            raise SkipjackError(what, "Check `run_dir` in the settings.") from error

    def wait(self, seconds: float) -> bool:
        """Sleep until a wake-up comes, for `seconds` at most; return whether one came."""
        woken, timeout = False, max(0.0, seconds)
        while self._receive(timeout):  # further wake-ups that are in the queue have no effect
            woken, timeout = True, 0.0
        return woken

    def _receive(self, timeout: float) -> bool:
        self._socket.settimeout(timeout)
        try:
            self._socket.recv(1)
        except (TimeoutError, BlockingIOError):
            return False
        return True

    def close(self) -> None:
        """Close the socket; its file stays until the next program replaces it."""
        self._socket.close()
