"""Check that the manager's socket can be opened, before anything is changed.

systemd's own error names neither the address nor the program that uses it.
"""

import contextlib
import errno
import re
import socket

from runner.install import machine
from runner.install.setup import Setup
from schemas.errors import SkipjackError

_SOCKET, _SERVICE = "skipjack-manager.socket", "skipjack-manager.service"


def require_free(setup: Setup) -> None:
    """Raise SkipjackError if systemd cannot listen at `listen` of the settings, unless our manager does so."""
    reason = _why_not(setup.listen) if setup.listen else None
    if reason is None or (reason.errno == errno.EADDRINUSE and _is_ours(setup)):
        return
    holder = _holder(_port(setup.listen)) if reason.errno == errno.EADDRINUSE else ""
    what = f"the manager cannot listen on {setup.listen}: {reason.strerror}{holder and f' by {holder}'}."
    raise SkipjackError(what, f"Change `listen` in {setup.settings}, or stop that program. No unit was changed.")


def _why_not(listen: str) -> OSError | None:
    """Return the error of listening at an address and port; None if it succeeds."""
    host = listen.rpartition(":")[0].strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            # As systemd does: connections of the manager before may still be in TIME_WAIT.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, _port(listen)))
            listener.listen()
    except OSError as error:
        return error
    return None


def _is_ours(setup: Setup) -> bool:
    """Return whether the port is that of our own socket, at any address, or of our active service."""
    shown = machine.tried(*setup.systemctl, "show", "--property=ActiveState,Listen", _SOCKET)[1]
    if "ActiveState=active" in shown.splitlines():
        return re.search(rf"(?m)^Listen=.*:{_port(setup.listen)} ", shown) is not None
    return machine.tried(*setup.systemctl, "is-active", _SERVICE)[0]


def _holder(port: int) -> str:
    """Return the program that listens at a port; empty if `ss` is missing or may not see it."""
    said = machine.tried("ss", "-Hltnp", f"sport = :{port}")[1]
    found = re.search(r'users:\(\("([^"]*)",pid=(\d+)', said)
    return f"{found[1]} (process {found[2]})" if found else ""


def _port(listen: str) -> int:
    with contextlib.suppress(ValueError):
        return int(listen.rpartition(":")[2])
    return 0
