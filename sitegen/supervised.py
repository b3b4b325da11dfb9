"""What a service manager gives a program and is told by it: an open socket, and that the program is ready.

Both follow systemd's documented interface, sd_listen_fds(3) and sd_notify(3), which others speak as well.
"""

import contextlib
import os
import socket
from functools import lru_cache

_FIRST = 3
"""The descriptor of the first socket that is handed over."""


def inherited() -> socket.socket | None:
    """The listening socket that a service manager has opened for this very process, if it has.

    The variables are taken away, so that no child takes the socket for its own.
    """
    meant_for, number = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if meant_for != str(os.getpid()) or not number.isdigit() or int(number) < 1:
        return None
    os.set_inheritable(_FIRST, False)
    return socket.socket(fileno=_FIRST)


NOTIFY_SOCKET = "NOTIFY_SOCKET"
"""The variable that names the service manager's socket. It is for this process alone, so a child goes without it."""


def ready(status: str = "") -> None:
    """Tell the service manager that the program has started and does its work, or what `status` says, from now on."""
    _tell(os.environ.get(NOTIFY_SOCKET), f"READY=1\nSTATUS={status}" if status else "READY=1")


def status(text: str) -> None:
    """Tell the service manager what the program is at; `systemctl status` shows it."""
    _tell(os.environ.get(NOTIFY_SOCKET), f"STATUS={text}")


@lru_cache(maxsize=1)  # what was said last is not said again
def _tell(place: str | None, text: str) -> None:
    """Say something to the service manager, if there is one that wants to know."""
    if not place:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + place[1:] if place.startswith("@") else place)
        sender.sendall(text.encode())
