"""Addresses of clients and the networks that settings list."""

import ipaddress
from collections.abc import Iterable

from schemas.errors import SkipjackError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Iterable[str], key: str) -> tuple[Network, ...]:
    """Read addresses and networks; SkipjackError names the key of the settings that has a wrong one."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError as error:
            raise SkipjackError(f"`{text}` in `{key}` is no network: {error}.", "Write `192.0.2.0/24`.") from error
    return tuple(found)


def unmapped(host: str) -> str:
    """An address without its zone, and as version 4 where version 6 only carries that.

    Who listens on `[::]`, or has a web server in front that does, meets `192.0.2.7` as `::ffff:192.0.2.7`.
    """
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(address.ipv4_mapped or address)


def contains(network: Network, host: str) -> bool:
    """Whether an address is in a network; what is no address is in none."""
    try:
        return ipaddress.ip_address(unmapped(host)) in network
    except ValueError:
        return False
