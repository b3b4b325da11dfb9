"""How does rsync read a source or target: as a daemon's address, as a host for a remote shell, or as a path?"""

import re

DAEMON, SHELL, LOCAL = "daemon", "shell", "local"

_URL = "rsync://"
_BRACKETS = re.compile(r"\[[^\]/]+\](?=[/:]|$)")


def transport(word: str) -> str:
    """Return how rsync would reach a source or target: a constant of this module.

    An invalid address of a daemon, such as `rsync://user:secret@host/x/`, is a host named `rsync` for rsync, which it
    reaches by a remote shell.
    """
    if word[: len(_URL)].lower() == _URL and _is_daemon_address(word[len(_URL) :]):
        return DAEMON
    path = _after_host(word)
    if path is None:
        return LOCAL
    return DAEMON if path.startswith(":") else SHELL


def _is_daemon_address(rest: str) -> bool:
    """Return whether the text after `rsync://` is `[user@]host[:port][/path]`."""
    end, sign = _host_end(rest)
    if end is None:
        return False
    if sign != ":":
        return True
    port = rest[end + 1 :].lstrip("0123456789")
    return not port or port.startswith("/")


def _after_host(word: str) -> str | None:
    """Return the text after the first `:` behind a host; None for a path."""
    end, sign = _host_end(word)
    return word[end + 1 :] if end is not None and sign == ":" else None


def _host_end(text: str) -> tuple[int | None, str]:
    """Return where a host ends, and the character there (empty at the end of the text); None if there is no host."""
    start = place = 0
    while place < len(text):
        sign = text[place]
        if sign in ":/":
            return place, sign
        if sign == "@":
            start = place + 1
        elif sign == "[":
            found = _BRACKETS.match(text, place)
            if place != start or found is None:
                return None, ""
            place = found.end()
            continue
        place += 1
    return len(text), ""
