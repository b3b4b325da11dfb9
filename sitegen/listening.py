"""The socket that serve listens on: a service manager's, or one of its own."""

import logging
import socket

from schemas.errors import SkipjackError
from sitegen import supervised

_UNUSABLE = (OSError, OverflowError, UnicodeError)
"""What becomes of an address that cannot be had, a port out of range, and a name that is none."""

_log = logging.getLogger(__name__)


def listen(address: str) -> socket.socket:
    """The socket that a service manager holds for us, or one that we open: uvicorn would only log why it cannot."""
    given = supervised.inherited()
    if given is not None:
        _compare(given, address)
        return given
    try:
        family, kind, protocol, _, place = _resolved(address)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
    except _UNUSABLE as error:
        raise SkipjackError(
            f"The manager cannot listen on {address}: {error}.", "Check `listen` in the settings, and what runs there."
        ) from error
    return listener


def place_of(listener: socket.socket) -> str:
    """Where a socket really listens, as the settings write it."""
    place = listener.getsockname()
    if not isinstance(place, tuple):
        return str(place)
    host, port = place[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _compare(given: socket.socket, address: str) -> None:
    """Warn when the service manager's socket is elsewhere than the settings say: they changed after an installation."""
    try:
        wanted = {found[4][:2] for found in _resolved(address)}
    except _UNUSABLE:
        wanted = set()
    if given.getsockname()[:2] not in wanted:
        _log.warning(
            "systemd's socket listens on %s, and `listen` in the settings is %s: run `skipjack install --manager`, "
            "which changes the socket",
            place_of(given),
            address,
        )


def _resolved(address: str) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]:
    host, _, port = address.rpartition(":")
    return [*socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)]
