"""Client addresses, and the networks that the settings list."""

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Parse addresses and networks of the settings, which were checked when those were read."""
    # Not strict, so that host bits are accepted, as in 192.0.2.7/24.
    return tuple([ipaddress.ip_network(text, strict=False) for text in texts])


def unmapped(host: str) -> str:
    """Return an address without its zone, and an IPv4-mapped IPv6 address as IPv4.

    A server on `[::]` sees `192.0.2.7` as `::ffff:192.0.2.7`.
    """
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(address.ipv4_mapped or address)


def contains(network: Network, host: str) -> bool:
    """Return whether a host is an address in a network."""
    try:
        return ipaddress.ip_address(unmapped(host)) in network
    except ValueError:
        return False
