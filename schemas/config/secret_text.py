"""Secrets in a file of the repository, in values and in comments: git keeps them for ever, and everybody reads them.

What is certainly a secret is a problem; what may be one is a warning. No message contains the secret itself.
"""

import re
from collections.abc import Iterator
from itertools import islice

from schemas.config.yaml_file import Document
from schemas.problems import SECRET, Problem

_WORDS = (b"pass", b"token", b"secret", b"key", b"auth", b"curl", b"mysql", b"mariadb", b"lftp")
_SAME = re.sub(rb"[^a]", b" ", re.sub(rb"[A-Za-z0-9_-]", b"a", bytes(range(256))))
_LONG = b"a" * 22
"""No token of a known form is shorter, except those of Amazon; `_SAME` translates what a token can have into this."""

_MOST = 50
"""Secrets of a file that are reported: a hostile file could have thousands."""


def is_suspicious(data: bytes) -> bool:
    """Return whether a file can have a secret at all: a quick test, for which most files are too harmless."""
    if b"@" in data or _LONG in data.translate(_SAME) or b"AKIA" in data or b"ASIA" in data:
        return True
    lower = data.lower()
    return any(word in lower for word in _WORDS)


def with_problems(document: Document, data: bytes) -> Document:
    """Return the document of a suspicious file with a problem for each secret in it."""
    from schemas.config import secret_search  # its patterns take milliseconds, and most repositories need none of them

    found = [each for each, is_certain in _in_text(document.file, data) if is_certain]
    for path, what, todo in islice(secret_search.in_keys(document.value), _MOST):
        found.append(document.problem(path, what, todo)._replace(rule=SECRET))
    once = {(each.line, each.column): each for each in found}.values()
    return document._replace(problems=(*document.problems, *once)) if found else document


def doubts(document: Document, data: bytes) -> list[Problem]:
    """Return each word that may be a secret, unless it has a problem."""
    # The value of a key has its problem at its quote, if it has one.
    reported = {(each.line, each.column + quote) for each in document.problems for quote in (0, 1)}
    found = dict.fromkeys(each for each, is_certain in _in_text(document.file, data) if not is_certain)
    return [each for each in found if (each.line, each.column) not in reported]


def _in_text(file: str, data: bytes) -> Iterator[tuple[Problem, bool]]:
    """Yield the secrets in a file as problems, each with whether it is certain, but only so many."""
    from schemas.config.secret_search import in_text

    text = data.decode("utf-8", "replace")
    for found in islice(in_text(text), _MOST):
        line, column = text.count("\n", 0, found.begin) + 1, found.begin - text.rfind("\n", 0, found.begin)
        yield Problem(file, line, column, found.what, found.todo, SECRET), found.is_certain
