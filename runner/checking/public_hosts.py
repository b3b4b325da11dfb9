"""To which IP addresses may a check of an untrusted upstream connect?

A pull request can name any host. Its check must not become a request to the network of the machine that runs it.
"""

import functools
import ipaddress
import socket
from collections.abc import Iterator

from schemas.errors import SkipjackError
from schemas.problems import shown

_FAMILIES = {0: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}
_NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""The last 32 bits are an IPv4 address (RFC 6052)."""

_REFERENCE = "a.root-servers.net"
"""A name that every name server on the Internet knows."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class HostNotFoundError(SkipjackError):
    """The name of a host has no address; `is_certain` is False if the name server did not answer."""

    def __init__(self, what: str, *, is_certain: bool) -> None:
        super().__init__(what)
        self.is_certain = is_certain


def addresses(host: str, port: int, family: int = 0) -> tuple[str, ...]:
    """Return the IP addresses of a host, in the order in which to try them. `family` is 4, 6, or 0 for both.

    Raises HostNotFoundError.
    """
    try:
        found = socket.getaddrinfo(host, port, _FAMILIES[family], socket.SOCK_STREAM)
    except socket.gaierror as error:
        wanted = f"an IPv{family} address" if family else "an address"
        if error.errno in _NO_SUCH_NAME and _has_name_server():
            raise HostNotFoundError(f"the host `{shown(host)}` does not have {wanted}", is_certain=True) from error
        what = f"this machine cannot resolve the host `{shown(host)}` now: {error.strerror}"
        raise HostNotFoundError(what, is_certain=False) from error
    except (UnicodeError, OverflowError) as error:
        raise HostNotFoundError(f"`{shown(host)}` is not a valid host name", is_certain=True) from error
    return tuple(dict.fromkeys(str(each[4][0]) for each in found))


@functools.cache
def _has_name_server() -> bool:
    """Return whether this machine can resolve names of the Internet; without a name server no name exists for it."""
    try:
        return bool(socket.getaddrinfo(_REFERENCE, None))
    except OSError:
        return False


def is_public(address: str) -> bool:
    """Return whether an IP address, and each IPv4 address inside it, belongs to a host on the Internet."""
    if "%" in address:  # of one link
        return False
    return all(each.is_global and not each.is_multicast for each in _inside(ipaddress.ip_address(address)))


def _inside(address: _Address) -> Iterator[_Address]:
    yield address
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        yield from filter(None, (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())))
