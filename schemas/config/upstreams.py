"""Is an address of an upstream well-formed? Judged by its syntax alone, without the network.

rsync(1) reads an address that is not `rsync://HOST:PORT/MODULE` as `HOST:PATH` and starts ssh: for
`rsync://user:password@host/m/` to a host called `rsync`, for `user:password@host::m/` to a host called `user` (the
functions `check_for_hostspec` and `parse_hostspec` of its options.c).
"""

import re

from schemas.addresses import is_plain, is_server

_HOST = r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\])"
_USER = r"[^-\s/@:\[][^\s/@:\[]*@"

REMOTE = re.compile(
    rf"rsync://(?:{_USER})?{_HOST}(?::[0-9]{{1,5}})?/[^/\s]\S*|"
    rf"(?:{_USER})?{_HOST}::[^/:\s]\S*|"
    rf"(?!(?:rsync|https?|ftps?|sftp|ssh|file|git):)(?:{_USER})?{_HOST}:(?!//)(?![^/\s]*@)[^:\s]\S*"
)
"""`rsync://host/module/`, `host::module/` or `user@host:path/`. Never an option (nor a host that ssh would read as
one), a local path, two words, a user with a password, or only a host, whose modules rsync would merely list.

Only the last form makes rsync start ssh."""

WEB = re.compile(
    r"https?://[^/\s@?#:\[\]]+(?::[0-9]{1,5})?(/[^\s?#]*)?|https?://\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?(/[^\s?#]*)?"
)
"""A folder on a web server, without a password."""

_ELSEWHERE = re.compile(r"(?:ftps?|git|https?|rsync|s3|sftp|ssh)://[^/\s?#][^\s]*", re.IGNORECASE)
_SHELL = re.compile(rf"(?:{_USER})?{_HOST}:[^:\s]+")
_OWN_SCHEMES = re.compile(r"(?:cdrom|copy|ext|fd|file|local|url):", re.IGNORECASE)
"""Prefixes that apt, curl, git or rclone read as a path or another resource of this machine."""

_SERVER = re.compile(r"(?:rsync|https?)://(?:[^/@]*@)?([^/]*)")
_PASSWORD = re.compile(r"(?:rsync://)?([^\s/@:]+):([^/]*)@([^/:@]+|\[[^/\]]*\])((?::[0-9]+)?/|::?)(.*)", re.DOTALL)


def is_remote(upstream: str) -> bool:
    """Return whether rsync can fetch from an address and reads it as its author means it."""
    return REMOTE.fullmatch(upstream) is not None and is_plain(upstream) and _has_port(upstream)


def is_web(upstream: str) -> bool:
    """Return whether an address is that of a folder on a web server."""
    return WEB.fullmatch(upstream) is not None and is_plain(upstream) and _has_port(upstream)


def is_elsewhere(text: str) -> bool:
    """Return whether every program reads a text as an address on a remote host, never as a local path."""
    if "://" in text:
        return _ELSEWHERE.fullmatch(text) is not None
    if _OWN_SCHEMES.match(text) or not is_remote(text.lower()):
        return False
    return _SHELL.fullmatch(text) is not None or daemon_host(text) is not None


def _has_port(upstream: str) -> bool:
    found = _SERVER.match(upstream)
    return found is None or is_server(found[1])


_DAEMON = re.compile(rf"rsync://(?:{_USER})?({_HOST})(?::[0-9]{{1,5}})?/.*|(?:{_USER})?({_HOST})::.*")


def daemon_host(upstream: str) -> str | None:
    """Return the host of an rsync daemon, in lower case and without brackets; None for any other address."""
    found = _DAEMON.fullmatch(upstream) if is_remote(upstream) else None
    return plain_host(found[1] or found[2]) if found else None


def plain_host(host: str) -> str:
    """Return a host in the normal form for comparisons."""
    return host.strip("[]").rstrip(".").lower()


def password_apart(upstream: str) -> str | None:
    """Return an rsync address without its user and password; None if it holds no password."""
    found = _PASSWORD.fullmatch(upstream)
    if found is None:
        return None
    _user, _password, host, separator, path = found.groups()
    scheme = "rsync://" if upstream.startswith("rsync://") else ""
    return f"{scheme}{host}{separator}{path}"
