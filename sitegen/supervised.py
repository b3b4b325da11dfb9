"""The interface to a service manager: the socket it passes (sd_listen_fds(3)), the state it receives (sd_notify(3)).

Both are documented by systemd and spoken by other service managers too.
"""

import contextlib
import os
import socket
from functools import lru_cache

_FIRST = 3
"""The descriptor of the first socket that is passed."""


def inherited() -> socket.socket | None:
    """Return the listening socket that a service manager passed to this process, or None.

    The variables are removed, so that no child takes the socket for its own.
    """
    meant_for, number = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    # A program that was started by a service inherits the variables, but they are not for it.
    if meant_for != str(os.getpid()) or not number.isdigit() or int(number) < 1:
        return None
    # Passed descriptors are inheritable: a child would keep the socket open after this process.
    os.set_inheritable(_FIRST, False)
    return socket.socket(fileno=_FIRST)


NOTIFY_SOCKET = "NOTIFY_SOCKET"
"""The variable with the address of the service manager's socket. It is for one process: children do not get it."""


def ready(status: str = "") -> None:
    """Report to the service manager that the program has started, and optionally its status."""
    _notify(os.environ.get(NOTIFY_SOCKET), f"READY=1\nSTATUS={status}" if status else "READY=1")


def status(text: str) -> None:
    """Report what the program is doing; `systemctl status` shows it."""
    _notify(os.environ.get(NOTIFY_SOCKET), f"STATUS={text}")


@lru_cache(maxsize=1)  # the same state is not sent twice in a row
def _notify(place: str | None, text: str) -> None:
    """Send a state to the service manager, if there is one."""
    if not place:
        return
    # The program works without a service manager, so it must not fail because of one.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + place[1:] if place.startswith("@") else place)  # `@` means an abstract socket
        sender.sendall(text.encode())
