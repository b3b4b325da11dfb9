"""What is wrong with a configuration, where, and what to do about it."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from schemas.addresses import without_queries
from schemas.errors import SkipjackError

_LONGEST = 60

_LOOKED_AT = 2560
"""Characters of a text in which secrets are looked for. Each may take as many steps as the longest secret has."""

_SECRET = 1001
"""Characters of the longest user name with a password that is found."""

_PASSWORD = re.compile(r"(?:(?<=//)[^/\s?#@:]{0,500}|[A-Za-z0-9._+%-]{0,500}):(?!//)(?:\\.|[^\\\"]){0,500}@", re.DOTALL)
"""Where a user name and a password may stand in an address, however wrong the rest of it is.

A quotation mark ends it, unless it is escaped, since JSON is shown as well."""


def printable(text: str) -> str:
    """Text on one line, with everything spelled out that a terminal would obey or no encoding can write."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


_USER = re.compile(r"(?<=://)[^/\s?#@:]*@")
"""A user name without a password: forges take a token there, stores an access key."""


def shown(text: str) -> str:
    """What somebody wrote, fit for a message: printable, not too long, and without the secrets of an address."""
    safe = without_queries(_USER.sub("***@", _PASSWORD.sub("***@", text[:_LOOKED_AT])))
    if len(text) > _LOOKED_AT:  # what stands at the end may be a part of a secret
        safe = f"{safe[:-_SECRET]}…"
    return printable(safe if len(safe) <= _LONGEST else safe[: _LONGEST - 1] + "…")


class Problem(NamedTuple):
    """One problem at one place; lines and columns count from 1."""

    file: str
    line: int
    column: int
    what: str
    todo: str

    @property
    def place(self) -> str:
        """The place in the form that editors and compilers use."""
        return f"{self.file}:{self.line}:{self.column}"

    def __str__(self) -> str:
        return f"{self.place}: {self.what} {self.todo}".rstrip()


class InvalidConfigError(SkipjackError):
    """A file or a whole revision that cannot be used, with every problem found in it."""

    def __init__(self, what: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join([what, *map(str, self.problems)]))
