"""Which parts of an address may be shown, and which addresses are sound. Knows no files and no settings.

An address is shown without its password, query, fragment and parameters, and without its user name: access keys and
tokens stand there. Only the user of `user@host:path`, without a password, is shown. So is the path: a secret does not
belong there.
"""

import re
from collections.abc import Iterator

_HIDDEN = "***"

_USER = re.compile(r"(?<=://)(?:\\.|[^/\s?#\"<>\\])*@")
"""User name and password. A quotation mark ends them, unless it is escaped, since JSON is shown as well."""

_BREAK = re.compile(r"[\s\"]")
"""What ends an address."""

_BROKEN_USER = re.compile(r"(?<=://)[^/?#:]*:(?![0-9]*[/?#])")
"""Begins, in a word before an `@`, a password with a character that should be written as `%2F`, `%3F` or `%23`."""

_INNER = r"[\"'<>`]+(?=[\w%])"
"""A quotation mark that a secret goes on after: what ends an address is not followed by a letter."""

_PART = r"[^\s?#;\"'<>`]"
_QUERY = re.compile(rf"(?<!{_PART})((?>{_PART}*?[A-Za-z][0-9+.-]*://){_PART}*+[?#;])(?:[^\s\"'<>`]|{_INNER})++")
"""Query, fragment, or parameters, which `;` begins.

Begins where a part of a word does, and never goes back in it: a hostile text takes no longer for its length."""

_WORD_END = re.compile(r"[\s\"'`]")

_SHELL_USER = re.compile(r"(?<![^\s\"'`(=<])[A-Za-z0-9._+-]+:(?!//)")
_SHELL_HOST = re.compile(r"@[A-Za-z0-9\[][^\s\"'`/:]*:")
"""`user:password@host:path`, which programs take for a path on the host `user`: its user and its host."""

_NAMED = re.compile(rf"((?:passw(?:or)?d|token|secret|api_?key)=)(?:[^&\s\"'<>`,;]|{_INNER})++", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Return a text in which no address has a user name, a password, a query or a fragment."""
    if "@" in text:
        *before, last = _USER.sub("", text).split("@")
        text = _without_shell_users("".join([*map(_without_broken_user, before), last]))
    return without_queries(text)


def _without_broken_user(before: str) -> str:
    """The text before an `@`, and that sign, or neither's part that is a password.

    Each word is looked at once: one expression for a whole text would take a time that grows with its square.
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
    """Where each `user:password` begins, and where the `@` behind it stands. Each word is looked at once, as above."""
    begin = 0
    for sign in re.finditer("@", text):
        end = sign.start()
        word = max((found.end() for found in _WORD_END.finditer(text, begin, end)), default=begin)
        user = _SHELL_USER.search(text, word, end)
        if user and _SHELL_HOST.match(text, end):
            yield user.start(), end
        begin = sign.end()


def without_queries(text: str) -> str:
    """Return a text in which queries, fragments, parameters, and values such as `token=`, are hidden."""
    if "?" in text or "#" in text or ";" in text:
        text = _QUERY.sub(rf"\1{_HIDDEN}", text)
    return _NAMED.sub(rf"\1{_HIDDEN}", text) if "=" in text else text


_URL_PASSWORD = re.compile(r"//[^/?#]*:")


def holds_password(text: str) -> bool:
    """Tell whether an address in a text has a password before its host.

    Each word before an `@` is looked at once, as above: anybody may write the text.
    """
    if "@" not in text:
        return False
    words = (_BREAK.split(before)[-1] for before in text.split("@")[:-1])
    return any(map(_URL_PASSWORD.search, words)) or any(True for _ in _shell_users(text))


_HIGHEST_PORT = 65535
_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(.*)")
_SERVER = re.compile(r"(?:\w(?:[\w.-]*[\w.])?|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\])(?::([0-9]{1,5}))?")


def is_server(text: str) -> bool:
    """Tell whether a text is a host, or `host:port`; an address of IPv6 stands in brackets."""
    found = _SERVER.fullmatch(text)
    return found is not None and (found[1] is None or 0 < int(found[1]) <= _HIGHEST_PORT)


def is_plain(text: str) -> bool:
    """Tell whether a text has neither spaces nor characters that cannot be seen."""
    return text.isprintable() and " " not in text


def query_trouble(text: str) -> str:
    """Say what an address must not have in its query or fragment, after the words "it"; empty when it has nothing."""
    found = _PARTS.fullmatch(text)
    wrong = _QUOTES.search(found[4]) if found else None
    return f"holds `{wrong[0]}` in its query, where `%{ord(wrong[0]):02X}` must stand" if wrong else ""


_QUOTES = re.compile(r"[\"'<>`]")


def web_trouble(text: str, *, whole: bool = True) -> str:
    """Say why a text is not the address of something on a web server, after the words "it"; empty when it is one.

    With `whole`, the address may have a query and a fragment.
    """
    found = _PARTS.fullmatch(text)
    if not is_plain(text):
        return "holds a space or a character that cannot be seen"
    if found is None or found[1] not in ("http", "https"):
        return "does not begin with `http://` or `https://`"
    _scheme, server, _path, more = found.groups()
    if "@" in server:
        return "holds a user name or a password"
    if not is_server(server):
        return "has no valid host and port"
    return "has a query or a fragment" if more and not whole else query_trouble(text)


_GIT_SCHEMES = ("file", "git", "http", "https", "ssh")
_GIT_SHELL = re.compile(r"(?:[^\s/@:]+@)?([^/:@\[]+|\[[^/\]]*\]):.*")


def repository_trouble(text: str) -> str:
    """Say why a text is not the address of a git repository, after the words "it"; empty when it is one."""
    found = _PARTS.fullmatch(text)
    if not text.isprintable() or (" " in text and ("://" in text or not text.startswith("/"))):
        return "holds a space or a character that cannot be seen"
    if text.startswith("-"):
        return "begins with `-`, so git would take it for an option"
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
        return f"holds a password, which {scheme} does not take"
    if scheme == "file" and not server:
        return "" if path.strip("/") else "has no path"
    return "" if is_server(server) and not user.startswith("-") else "has no valid host and port"


def _shell_trouble(text: str) -> str:
    """The same of `host:path`, and of a path on this machine."""
    if holds_password(text):
        return "holds a password, which ssh does not take"
    found = _GIT_SHELL.fullmatch(text)
    if text.startswith("/") or ":" not in text.partition("/")[0]:
        return ""
    return "" if found and is_server(found[1]) else "has no valid host"
