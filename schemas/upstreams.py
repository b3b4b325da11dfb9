"""Addresses of upstreams, by their form alone."""

import re

REMOTE = re.compile(
    r"rsync://[^-/\s@][^/\s@]*(@[^-/\s@][^/\s@]*)?/[^/\s]\S*|"
    r"([A-Za-z0-9_][^/\s@:]*@)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][^/\s@:]*):(:[^/:\s]|(?!//)[^:\s])\S*"
)
"""`rsync://host/module/`, `host::module/` or `user@host:path/`; never an option (nor a host that ssh would take for
one), a local path, two words, or a host alone, of which rsync would only list what it has."""

WEB = re.compile(r"https?://[^/\s@?#]+(/[^\s?#]*)?")
"""A folder on a web server, without a password."""

_CREDENTIALS = re.compile(r"(?<=://)[^/\s\"'<>?#]*@")


def without_credentials(text: str) -> str:
    """A text in which no address has a user name or a password, which are nobody's business."""
    return _CREDENTIALS.sub("", text) if "@" in text else text
