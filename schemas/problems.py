"""Problems of a configuration: the place, the message, and what to do."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from schemas.addresses import without_queries
from schemas.errors import SkipjackError

_LONGEST = 60

_LOOKED_AT = 2560
"""Characters of a text that are searched for secrets. Each may take as many steps as the longest secret has."""

_SECRET = 1001
"""Characters of the longest user name with a password that is found."""

_NAMED = r"(?:(?<=//)[^/\s?#@:]{0,500}|[A-Za-z0-9._+%-]{0,500}):(?!//)"
_PASSWORD = re.compile(_NAMED + r".{0,500}@", re.DOTALL)
"""A user name and a password in an address, however malformed the rest of it is."""

_PASSWORD_IN_JSON = re.compile(_NAMED + r"(?:\\.|[^\\\"]){0,500}@", re.DOTALL)
"""The same in JSON, where a quotation mark ends it unless it is escaped."""

_SCHEME = r"\s*[A-Za-z][A-Za-z0-9+.-]*://"
_QUERY = re.compile(rf"\A({_SCHEME}[^?#;]*[?#;]).*", re.DOTALL)
"""A value that is an address: its query, fragment or parameters end where it ends, also if they contain a space."""

_QUERY_IN_JSON = re.compile(rf'("{_SCHEME}[^?#;"\\]*[?#;])(?:\\.|[^"\\])*', re.DOTALL)


def printable(text: str) -> str:
    """Return text on one line, with control characters, and those that cannot be encoded, as escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


_USER = re.compile(r"(?<=://)[^/?#:]*@")
"""A user name without a password: forges accept a token there, object stores an access key."""


def shown(text: str) -> str:
    """Return a value from a file as text for a message: printable, short, with the secrets of addresses masked."""
    from schemas.secret_shapes import (
        masked,
    )  # to compile its patterns takes milliseconds, and few programs print values

    is_json = text[:1] in ('"', "[", "{")
    password, query = (_PASSWORD_IN_JSON, _QUERY_IN_JSON) if is_json else (_PASSWORD, _QUERY)
    safe = _USER.sub("***@", password.sub("***@", masked(text[:_LOOKED_AT])))
    safe = without_queries(query.sub(r"\1***", safe))
    if len(text) > _LOOKED_AT:  # the end may be a part of a secret
        safe = f"{safe[:-_SECRET]}…"
    return printable(safe if len(safe) <= _LONGEST else safe[: _LONGEST - 1] + "…")


YAML, SCHEMA, DEFINITION, CONFLICT = "yaml", "schema", "definition", "conflict"
FILE_NAME, PLUGIN_SCHEMA, SECRET = "file-name", "plugin-schema", "secret"
"""Rules: the stable names of what a file breaks, one for each step of the checks. Programs may compare them."""


class Problem(NamedTuple):
    """One problem at one place; lines and columns count from 1."""

    file: str
    line: int
    column: int
    what: str
    todo: str
    rule: str = DEFINITION

    @property
    def place(self) -> str:
        """The place as editors and compilers write it, `FILE:LINE:COLUMN`."""
        return f"{self.file}:{self.line}:{self.column}"

    def __str__(self) -> str:
        return f"{self.place}: {self.what} {self.todo}".rstrip()


class InvalidConfigError(SkipjackError):
    """An invalid file or revision, with all of its problems."""

    def __init__(self, what: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join([what, *map(str, self.problems)]))
