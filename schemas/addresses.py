"""Which parts of an address may be shown, and which forms of address are sound. Knows no files and no settings.

An address is shown without its user name, password, query and fragment. Its path is always shown, so a secret does not
belong there.
"""

import re

_HIDDEN = "***"

_USER = re.compile(r"(?<=://)(?:\\.|[^/\s?#\"<>\\])*@")
"""User name and password. A quotation mark ends them, unless it is escaped, since JSON is shown as well."""

_BROKEN_USER = re.compile(r"(?<=://)[^/\s?#@\":]*:(?![0-9]*(?:[/?#\s\"]|$))[^\s\"@]*@")
"""A password with a character that should have been written as `%2F`, `%3F` or `%23`."""

_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s?#\"'<>`]*[?#])[^\s\"'<>`]+")

_REMOTE_SHELL_USER = re.compile(r"(?<![^\s\"'`(=<])([A-Za-z0-9._+-]+):(?!//)[^\s@\"'`]*@(?=[A-Za-z0-9\[][^\s\"'`/]*:)")
"""`user:password@host:path`, which programs take for a path on the host `user`."""

_NAMED = re.compile(r"((?:passw(?:or)?d|token|secret|api_?key)=)[^&\s\"'`,;]+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Return a text in which no address has a user name, a password, a query or a fragment."""
    if "@" in text:
        text = _REMOTE_SHELL_USER.sub(rf"\1:{_HIDDEN}@", _BROKEN_USER.sub("", _USER.sub("", text)))
    return without_queries(text)


def without_queries(text: str) -> str:
    """Return a text in which the queries and fragments of addresses, and values such as `token=`, are hidden."""
    if "?" in text or "#" in text:
        text = _QUERY.sub(rf"\1{_HIDDEN}", text)
    return _NAMED.sub(rf"\1{_HIDDEN}", text) if "=" in text else text
