"""Which parts of an address may be shown, and which addresses are valid? Knows no files and no settings.

An address is shown without its password, query, fragment and parameters, and without its user name: each may be an
access key or a token. Only the user of `user@host:path` is shown, if there is no password. The path is shown: it should
contain no secret.
"""

import re
from collections.abc import Iterator

_HIDDEN = "***"

_USER = re.compile(r"(?<=://)(?:\\.|[^/\s?#\"<>\\])*@")
"""User name and password. A quotation mark ends them unless it is escaped, since messages quote JSON as well."""

_BREAK = re.compile(r"[\s\"]")
"""Characters that end an address."""

_BROKEN_USER = re.compile(r"(?<=://)[^/?#:]*:(?![0-9]*[/?#])")
"""The start of a password, before an `@`, with a character that should be encoded as `%2F`, `%3F` or `%23`."""

_INNER = r"[\"'<>`]+(?=[\w%])"
"""A quotation mark inside a secret: one that ends an address is not followed by a letter."""

_PART = r"[^\s?#;\"'<>`]"
_QUERY = re.compile(rf"(?<!{_PART})((?>{_PART}*?[A-Za-z][0-9+.-]*://){_PART}*+[?#;])(?:[^\s\"'<>`]|{_INNER})++")
"""Query, fragment, or parameters, which begin with `;`.

Matches from the start of a part of a word and never backtracks, so the time is linear for hostile texts as well."""

_WORD_END = re.compile(r"[\s\"'`]")

_SHELL_USER = re.compile(r"(?<![^\s\"'`(=<])[A-Za-z0-9._+-]+:(?!//)")
_SHELL_HOST = re.compile(r"@[A-Za-z0-9\[][^\s\"'`/:]*:")
"""User and host of `user:password@host:path`, which programs read as a path on the host `user`."""

_NAMED = re.compile(rf"((?:passw(?:or)?d|token|secret|api_?key)=)(?:[^&\s\"'<>`,;]|{_INNER})++", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Return a text in which no address has a user name, a password, a query or a fragment."""
    # A quick test first: each text of a report comes through here, and nearly all have no address.
    if "@" in text:
        *before, last = _USER.sub("", text).split("@")
        text = _without_shell_users("".join([*map(_without_broken_user, before), last]))
    return without_queries(text)


def _without_broken_user(before: str) -> str:
    """Return the text before an `@` with that sign, without a password at its end.

    Each word is searched once: one expression for the whole text would take quadratic time.
    """
    word = _BREAK.split(before)[-1]
    found = _BROKEN_USER.search(word)
    return f"{before}@" if found is None else before[: len(before) - len(word) + found.start()]


def _without_shell_users(text: str) -> str:
    parts, shown = [], 0
    for begin, end in _shell_users(text):
        parts += [text[shown:begin], _HIDDEN]
        shown = end
    return "".join([*parts, text[shown:]])


def _shell_users(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start of each `user:password` and the place of its `@`. Each word is searched once, as above."""
    begin = 0
    for sign in re.finditer("@", text):
        end = sign.start()
        word = max((found.end() for found in _WORD_END.finditer(text, begin, end)), default=begin)
        user = _SHELL_USER.search(text, word, end)
        if user and _SHELL_HOST.match(text, end):
            yield user.start(), end
        begin = sign.end()


def without_queries(text: str) -> str:
    """Return a text in which queries, fragments, parameters and values such as `token=` are masked."""
    if "?" in text or "#" in text or ";" in text:
        text = _QUERY.sub(rf"\1{_HIDDEN}", text)
    return _NAMED.sub(rf"\1{_HIDDEN}", text) if "=" in text else text


_URL_PASSWORD = re.compile(r"//[^/?#]*:")


def holds_password(text: str) -> bool:
    """Return whether an address in a text contains a password before its host.

    Each word before an `@` is searched once, as above: the text may be hostile.
    """
    if "@" not in text:
        return False
    words = (_BREAK.split(before)[-1] for before in text.split("@")[:-1])
    return any(map(_URL_PASSWORD.search, words)) or any(True for _ in _shell_users(text))


_HIGHEST_PORT = 65535
# The parts of RFC 3986, appendix B, with a scheme. Each part is judged below.
_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(.*)")
_SERVER = re.compile(r"(?:\w(?:[\w.-]*[\w.])?|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\])(?::([0-9]{1,5}))?")


def is_server(text: str) -> bool:
    """Return whether a text is a host or `host:port`; an IPv6 address is in brackets."""
    found = _SERVER.fullmatch(text)
    return found is not None and (found[1] is None or 0 < int(found[1]) <= _HIGHEST_PORT)


def is_plain(text: str) -> bool:
    """Return whether a text contains neither spaces nor invisible characters."""
    return text.isprintable() and " " not in text


def query_trouble(text: str) -> str:
    """Return the problem of an address's query or fragment as a predicate ("contains …"); empty if there is none."""
    found = _PARTS.fullmatch(text)
    wrong = _QUOTES.search(found[4]) if found else None
    return f"contains `{wrong[0]}` in its query, which must be written as `%{ord(wrong[0]):02X}`" if wrong else ""


# Masking may end at one of these, so that the rest of a secret would be shown.
_QUOTES = re.compile(r"[\"'<>`]")


def web_trouble(text: str, *, whole: bool = True) -> str:
    """Return why a text is not a valid http or https URL as a predicate ("contains …"); empty if it is one.

    With `whole`, the URL may have a query and a fragment.
    """
    found = _PARTS.fullmatch(text)
    if not is_plain(text):
        return "contains a space or an invisible character"
    if found is None or found[1] not in ("http", "https"):
        return "does not begin with `http://` or `https://`"
    _scheme, server, _path, more = found.groups()
    if "@" in server:
        return "contains a user name or a password"
    if not is_server(server):
        return "has no valid host and port"
    return "has a query or a fragment" if more and not whole else query_trouble(text)


# The transports that `schemas/git/git_command.py` allows.
_GIT_SCHEMES = ("file", "git", "http", "https", "ssh")
_GIT_SHELL = re.compile(r"(?:[^\s/@:]+@)?([^/:@\[]+|\[[^/\]]*\]):.*")


def repository_trouble(text: str) -> str:
    """Return why a text is not a valid address of a git repository as a predicate; empty if it is one."""
    found = _PARTS.fullmatch(text)
    if not text.isprintable() or (" " in text and ("://" in text or not text.startswith("/"))):
        return "contains a space or an invisible character"
    if text.startswith("-"):
        return "begins with `-`, so git would read it as an option"
    # `HELPER::ADDRESS` starts git-remote-HELPER; with `ext::` the address is a command line (gitremote-helpers(7)).
    if re.match(r"[A-Za-z0-9+.-]+::", text):
        return "names a program that git would run"
    if found is None:
        return _shell_trouble(text)
    if trouble := query_trouble(text):
        return trouble
    scheme, server, path, _more = found.groups()
    if scheme not in _GIT_SCHEMES:
        return "does not begin with " + ", ".join(f"`{each}://`" for each in _GIT_SCHEMES)
    user, _at, server = server.rpartition("@")
    if ":" in user and not scheme.startswith("http"):
        return f"contains a password, which {scheme} does not support"
    if scheme == "file" and not server:
        return "" if path.strip("/") else "has no path"
    return "" if is_server(server) and not user.startswith("-") else "has no valid host and port"


def _shell_trouble(text: str) -> str:
    """Return the same for `host:path` and for a path on this machine."""
    if holds_password(text):
        return "contains a password, which ssh does not support"
    found = _GIT_SHELL.fullmatch(text)
    if text.startswith("/") or ":" not in text.partition("/")[0]:
        return ""
    return "" if found and is_server(found[1]) else "has no valid host"
