"""Which words of a text, and which values of a definition, are secrets?

Each pattern is linear in time: it begins with fixed letters or at the start of a word, and its repetitions are limited.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from schemas import secret_shapes
from schemas.config.judgeable_keys import KeyPath

_REVOKE = "Revoke it, since git keeps it for ever."
_BY_PROGRAM = f"{_REVOKE} Let the program read it from a file on the worker."
_OF_RSYNC = f"{_REVOKE} Write `password: {{file: /etc/skipjack/secrets/NAME}}`."

_LONGEST = 200
"""Characters of a value that are judged."""

_VALUE = rf"([^\s\"'`,;&<>|(){{}}\[\]]{{1,{_LONGEST}}})"
_USER = re.compile(r"://[^\s/?#\"'<>@:]{0,100}:([^\s/?#\"'<>@]{1,100})@")
_DAEMON = re.compile(r"(?<![A-Za-z0-9._+-])[A-Za-z0-9._+-]{1,60}:([^\s/@:\"']{1,100})@[A-Za-z0-9.-]{1,100}::")
_HEADER = re.compile(
    r"(?i)(?<![a-z0-9_-])"
    r"(?:Authorization:\s?(?:Bearer|Basic|token)|(?:PRIVATE|JOB|DEPLOY)-TOKEN:|X-(?:Auth-Token|Api-Key):)"
    rf"\s{{0,3}}{_VALUE}"
)
_CURL = re.compile(rf"curl(?=\s)[^\n]{{0,300}}?\s(?:-u|--user)[ =]?[\"']?[^\s:\"']{{1,60}}:{_VALUE}")
_LOGIN = re.compile(
    r"(?<![A-Za-z0-9_-])"
    r"(?:sshpass(?=\s)[^\n]{0,60}?\s-p ?|(?:mysql|mysqldump|mariadb|mariadb-dump)(?=\s)[^\n]{0,200}?\s-p"
    rf"|lftp(?=\s)[^\n]{{0,200}}?\s-u ?[^\s,]{{1,60}},)[\"']?{_VALUE}"
)
"""Programs whose short options take a password."""

_ASSIGNED = re.compile(rf"(?<![A-Za-z0-9_-])(?:--)?([A-Za-z][A-Za-z0-9_-]{{2,60}})=(?=[\"']?{_VALUE})")
_OPTION = re.compile(rf"(?<![A-Za-z0-9_-])--([a-z][a-z0-9_-]{{2,60}})[ ]{{1,3}}[\"']?(?!-){_VALUE}")
_PROSE = re.compile(
    r"(?i)(?<![a-z0-9_-])(?:[a-z0-9]{1,20}[_-])?(password|passwd|passphrase|token|secret|api[ _-]?key)"
    rf"(?: is|:)\s{{1,3}}[\"']?{_VALUE}"
)

_OF_ADDRESS_RULES = re.compile(r"(?:upstream|homepage|url|contact)[\"']?\s{0,9}:\s{0,9}[\"']?[a-z+]{0,12}$")
"""The text before `://` in a key whose address `address_rules` judges."""

_STAND_INS = re.compile(
    r"(?i)[$%{<~@/*:.\\].*|.*(?:\*\*\*|\.\.\.|…|example|[$]\{|changeme|redacted).*|(.)\1*|your.*|my.{0,2}(?:password|token)"
    r"|(?:the|a|an|some|user)?[_-]?(?:password|passwd|pass|passphrase|secret|token|key|pw|apikey|api[_-]key)"
    r"|none|null|true|false|yes|no|on|off|required|optional|file|credential|[0-9]{1,3}",
    re.DOTALL,
)
"""What stands in the place of a secret: a path, a variable, a word of an example, a switch."""


class FoundSecret(NamedTuple):
    """A secret: its place in the text, what it is, and what to do; `is_certain` is False for what may be none."""

    begin: int
    secret: str
    what: str
    todo: str
    is_certain: bool = True


def in_text(text: str) -> Iterator[FoundSecret]:
    """Yield the secrets in a text, certain and doubtful ones."""
    for token in secret_shapes.KNOWN.finditer(text):
        if not token[0].endswith("EXAMPLE"):  # Amazon's own documents
            yield FoundSecret(token.start(), token[0], "The file contains an access token.", _BY_PROGRAM)
    for key in secret_shapes.PRIVATE_KEY.finditer(text):
        yield FoundSecret(key.start(), key[0], "The file contains a private key.", _BY_PROGRAM)
    for pattern in (_USER, _DAEMON):
        for user in pattern.finditer(text):
            if _is_secret(user[1]) and not _OF_ADDRESS_RULES.search(text[max(0, user.start() - 40) : user.start()]):
                what = "The file contains an address with a password."
                yield FoundSecret(user.start(1), user[1], what, _BY_PROGRAM)
    for pattern in (_HEADER, _CURL):
        for sent in pattern.finditer(text):
            if _is_secret(sent[1]):
                what = "The file contains the password or token of a request."
                yield FoundSecret(sent.start(1), sent[1], what, _BY_PROGRAM)
    for login in _LOGIN.finditer(text):
        if _is_secret(login[1]):
            yield FoundSecret(login.start(1), login[1], "The file contains the password of a program.", _BY_PROGRAM)
    yield from _assigned(text)


def _assigned(text: str) -> Iterator[FoundSecret]:
    """Yield the values of options, variables and words whose names are those of secrets."""
    for pattern in (_ASSIGNED, _OPTION, _PROSE):
        for found in pattern.finditer(text):
            name, value = found.groups()
            # `--secret=NAME` of podman names a secret that the machine has.
            is_named = secret_shapes.NAME.fullmatch(name) and not found[0].startswith("--secret=")
            if not (is_named and _is_secret(value)):
                continue
            if pattern is _ASSIGNED:
                what = f"The file contains a secret: the value of `{name}`."
                yield FoundSecret(found.start(2), value, what, _remedy(name))
            elif _is_mixed(value):
                what, todo = f"The value of `{name}` may be a secret.", _remedy(name)
                todo = f"If it is one, {todo[0].lower()}{todo[1:]}"
                yield FoundSecret(found.start(2), value, what, todo, is_certain=False)


def _remedy(name: str) -> str:
    return _OF_RSYNC if name == "RSYNC_PASSWORD" else _BY_PROGRAM


def _is_secret(value: str) -> bool:
    return _STAND_INS.fullmatch(value[:_LONGEST]) is None


def _is_mixed(value: str) -> bool:
    """Return whether a word looks like a secret and not like one of a sentence: long, with letters and digits."""
    return len(value) >= 8 and re.search("[0-9]", value) is not None and re.search("[A-Za-z]", value) is not None


def in_keys(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str, str]]:
    """Yield the path of each variable, and of each `password`, that has a secret as its value; the message; the remedy.

    Variables can be those of a mirror, of one of its workers, and in the defaults of a worker.
    """
    if not isinstance(value, dict):
        return
    for key, below in value.items():
        is_scalar = isinstance(below, str | int) and not isinstance(below, bool)
        is_variable = path[-1:] == ("env",) and secret_shapes.NAME.fullmatch(key) is not None
        if is_scalar and (is_variable or key == "password") and _is_secret(str(below)):
            what = f"The value of `{key}` is a secret, which everybody with access to the repository can read."
            yield (*path, key), what, _OF_RSYNC if key == "password" else _remedy(key)
        yield from in_keys(below, (*path, key))
