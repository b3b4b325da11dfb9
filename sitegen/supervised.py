"""What a service manager gives a program and is told by it: an open socket, and that the program is ready.

Both follow systemd's documented interface, sd_listen_fds(3) and sd_notify(3), which others speak as well.
"""

import contextlib
import os
import socket

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


def ready() -> None:
    """Tell the service manager, if there is one that wants to know, that the program does its work from now on."""
    place = os.environ.pop("NOTIFY_SOCKET", "")
    if not place:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + place[1:] if place.startswith("@") else place)
        sender.sendall(b"READY=1")
