"""Can the manager's socket be opened? Asked before anything is changed: systemd names neither address nor holder."""

import contextlib
import errno
import re
import socket

from runner.install import machine
from runner.install.setup import Setup
from schemas.errors import SkipjackError

_SOCKET, _SERVICE = "skipjack-manager.socket", "skipjack-manager.service"


def require_free(setup: Setup) -> None:
    """SkipjackError when systemd could not listen where the settings say, unless our own manager is what listens."""
    reason = _why_not(setup.listen) if setup.listen else None
    if reason is None or (reason.errno == errno.EADDRINUSE and _is_ours(setup)):
        return
    holder = _holder(_port(setup.listen)) if reason.errno == errno.EADDRINUSE else ""
    what = f"The manager cannot listen on {setup.listen}: {reason.strerror}{holder and f' by {holder}'}."
    raise SkipjackError(what, f"Change `listen` in {setup.settings}, or stop what listens there. No unit was changed.")


def _why_not(listen: str) -> OSError | None:
    """Why nothing can listen at an address and port."""
    host = listen.rpartition(":")[0].strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, _port(listen)))
            listener.listen()
    except OSError as error:
        return error
    return None


def _is_ours(setup: Setup) -> bool:
    """Whether our own socket has that port, at whatever address, or our service, which may have opened one itself."""
    shown = machine.tried(*setup.systemctl, "show", "--property=ActiveState,Listen", _SOCKET)[1]
    if "ActiveState=active" in shown.splitlines():
        return re.search(rf"(?m)^Listen=.*:{_port(setup.listen)} ", shown) is not None
    return machine.tried(*setup.systemctl, "is-active", _SERVICE)[0]


def _holder(port: int) -> str:
    """The program that listens at a port, as far as `ss` is there and may tell."""
    said = machine.tried("ss", "-Hltnp", f"sport = :{port}")[1]
    found = re.search(r'users:\(\("([^"]*)",pid=(\d+)', said)
    return f"{found[1]} (process {found[2]})" if found else ""


def _port(listen: str) -> int:
    with contextlib.suppress(ValueError):
        return int(listen.rpartition(":")[2])
    return 0
