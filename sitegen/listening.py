"""The socket that serve listens on: passed by a service manager, or opened here."""

import logging
import socket

from schemas.errors import SkipjackError
from sitegen import supervised

_UNUSABLE = (OSError, OverflowError, UnicodeError)
"""Raised for an address that cannot be bound, a port out of range and an invalid host name."""

_log = logging.getLogger(__name__)


def listen(address: str) -> socket.socket:
    """Return the socket that a service manager passed, or open one.

    uvicorn would open one too, but only log a failure; this raises SkipjackError.
    """
    given = supervised.inherited()
    if given is not None:
        _compare(given, address)
        return given
    try:
        family, kind, protocol, _, place = _resolved(address)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections may be in TIME_WAIT
        listener.bind(place)
    except _UNUSABLE as error:
        raise SkipjackError(
            f"cannot listen on {address}: {error}.", "Check `listen` in the settings, and which program uses that port."
        ) from error
    return listener


def place_of(listener: socket.socket) -> str:
    """Return the address on which a socket listens, in the form of the settings."""
    place = listener.getsockname()
    if not isinstance(place, tuple):  # a Unix socket, which a service manager may pass
        return str(place)
    host, port = place[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _compare(given: socket.socket, address: str) -> None:
    """Warn when the service manager's socket has another address than the settings, which changed after `install`."""
    try:
        # Host and port; an IPv6 address has a flow and a scope as well.
        wanted = {found[4][:2] for found in _resolved(address)}
    except _UNUSABLE:
        wanted = set()
    if given.getsockname()[:2] not in wanted:
        _log.warning(
            "systemd's socket listens on %s, not on %s as `listen` in the settings: run `skipjack install --manager` "
            "to change the socket",
            place_of(given),
            address,
        )


def _resolved(address: str) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]:
    # From the right, because an IPv6 address has colons of its own.
    host, _, port = address.rpartition(":")
    return [*socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)]
