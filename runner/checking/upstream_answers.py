"""What a check asks an upstream, and what it may answer."""

from typing import NamedTuple

from runner.checking.findings import ERROR, WARNING
from schemas.problems import printable

FINE, UNASKED = "fine", "unasked"
"""Levels beside `error` and `warning`: the upstream has the files; it could not be asked."""

_LONGEST = 200


class Question(NamedTuple):
    """An upstream to ask, as a mirror reaches it. `family` is 4, 6, or 0 for both; `port` 0 for that of the address.

    `is_exact`: the mirror fetches exactly this address, so that a missing path is an error. `is_direct`: without a
    proxy.
    """

    upstream: str
    family: int = 0
    port: int = 0
    has_password: bool = False
    is_exact: bool = True
    is_direct: bool = True


class UpstreamAnswer(NamedTuple):
    """What the check of an upstream found: a level, what is wrong, and what to do."""

    level: str
    what: str = ""
    todo: str = ""


def missing(question: Question, what: str, todo: str) -> UpstreamAnswer:
    """Return the answer for something that the upstream does not have."""
    return UpstreamAnswer(ERROR if question.is_exact else WARNING, what, todo)


def doubtful(what: str, todo: str = "It may be only now, or only for this machine.") -> UpstreamAnswer:
    """Return the answer for what may be the fault of this machine or of this moment."""
    return UpstreamAnswer(WARNING, what, todo)


def quoted(said: str) -> str:
    """Return what a server said as text for a message: one line, printable, short."""
    text = printable(" ".join(said.split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
