"""The bell that wakes a lingering courier: an empty datagram to a socket in the run folder."""

import contextlib
import os
import socket


def path(run_dir: str) -> str:
    """Where the courier listens."""
    return os.path.join(run_dir, "courier.sock")


def ring(run_dir: str) -> None:
    """Say that there is something to deliver. Nobody need be there: a courier looks for itself when it starts."""
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
    ):
        sender.sendto(b"", path(run_dir))
