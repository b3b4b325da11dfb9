"""The socket in the run directory that wakes a lingering courier by an empty datagram."""

import contextlib
import os
from _socket import AF_UNIX, SOCK_DGRAM, SOCK_NONBLOCK, socket  # `socket` itself would cost each run 3 ms


def path(run_dir: str) -> str:
    """Return the path of the courier's socket."""
    return os.path.join(run_dir, "courier.sock")


def wake_courier(run_dir: str) -> None:
    """Wake the courier to deliver reports. If none runs, nothing is lost: it reads the outbox when it starts."""
    with (
        contextlib.suppress(OSError),
        contextlib.closing(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK)) as sender,
    ):
        sender.sendto(b"", path(run_dir))
