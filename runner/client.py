"""Talking with the manager: what is asked of it, and how its answers are taken."""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from runner.transport import Line, Patience, Reply, Unreachable
from schemas.addresses import without_secrets
from schemas.errors import SkipjackError
from schemas.records import ManagerAddress
from schemas.secrets import read_secret

TIMEOUT = Patience(5.0, 30.0)
"""For anything but waiting for commands."""

_REPORTS, _COMMANDS, _RESULTS = "/api/v1/reports", "/api/v1/commands", "/api/v1/commands/results"


class Answer(NamedTuple):
    """What the manager says to a batch: the last number that it has committed, and what it wants besides.

    `revision` is the commit of the configuration that it has accepted, if it tells one.
    """

    acknowledged: int
    want: str | None
    revision: str | None = None


class Command(NamedTuple):
    """What somebody wants of this worker, under its number."""

    number: int
    kind: str
    mirrors: tuple[str, ...]
    force: bool
    issued_by: str


class Commands(NamedTuple):
    """Commands after a number, ascending, and the newest number that there is for this worker."""

    commands: tuple[Command, ...]
    newest: int


class Result(NamedTuple):
    """What became of a command: `done`, or `refused` with a reason."""

    number: int
    outcome: str
    reason: str


class TooLarge(SkipjackError):  # noqa: N818 - it is what happened to the request, and reads so at every raise
    """The manager, or what stands before it, takes no request of this size."""


class NoCommands(SkipjackError):  # noqa: N818 - as above
    """The manager is of an earlier release, which gives no commands."""


class Client:
    """A connection to one manager, for one thread."""

    def __init__(self, address: ManagerAddress) -> None:
        self._url = without_secrets(address.url.rstrip("/"))
        self._token = address.token
        self._line = Line(address.url, address.ca_cert)

    def send(self, envelope: dict[str, Any]) -> Answer:
        """Send one envelope; SkipjackError when it was not taken, whatever the cause. The token is read each time."""
        reply = self._ask("POST", _REPORTS, TIMEOUT, envelope)
        if reply.status == 413:
            raise TooLarge(f"{self._at(_REPORTS)} answered {_error(reply)}.", _LARGER)
        plain = self._decoded(reply, _REPORTS)
        try:
            revision = plain.get("revision")
            return Answer(int(plain["acknowledged"]), plain.get("want"), revision if _is_commit(revision) else None)
        except (ValueError, KeyError, TypeError) as error:
            raise self._stranger(_REPORTS) from error

    def commands(self, worker: str, after: int, wait: float) -> Commands:
        """The commands after a number; while there are none the manager may take `wait` seconds for its answer.

        NoCommands when it gives none at all, SkipjackError when it did not answer.
        """
        path = f"{_COMMANDS}?worker={worker}&after={after}&wait={wait:.0f}"
        plain = self._decoded(self._ask("GET", path, TIMEOUT._replace(answer=TIMEOUT.answer + wait)), _COMMANDS)
        try:
            return Commands(tuple(map(_command, plain["commands"])), int(plain["newest"]))
        except (ValueError, KeyError, TypeError) as error:
            raise self._stranger(_COMMANDS) from error

    def answer(self, worker: str, results: Sequence[Result]) -> None:
        """Tell what became of commands; as `commands`, when that was not taken."""
        body = {"worker": worker, "results": [result._asdict() for result in results]}
        self._decoded(self._ask("POST", _RESULTS, TIMEOUT, body), _RESULTS)

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def _ask(self, method: str, path: str, patience: Patience, content: Any = None) -> Reply:
        headers = {"Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {read_secret(self._token)}"
        body = None
        if content is not None:
            body = json.dumps(content, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        try:
            return self._line.exchange(method, path, patience, body=body, headers=headers)
        except Unreachable as error:
            raise SkipjackError(f"The manager at {self._url} cannot be reached: {error}.", _LATER) from error

    def _decoded(self, reply: Reply, path: str) -> dict[str, Any]:
        if reply.status != 200:
            kind = NoCommands if reply.status in (404, 405) and path != _REPORTS else SkipjackError
            raise kind(f"{self._at(path)} answered {_error(reply)}.", _remedy(reply.status))
        try:
            plain = json.loads(reply.body)
        except ValueError as error:
            raise self._stranger(path) from error
        if not isinstance(plain, dict):
            raise self._stranger(path)
        return plain

    def _at(self, path: str) -> str:
        return f"The manager at {self._url}{path}"

    def _stranger(self, path: str) -> SkipjackError:
        what = f"What answers at {self._url}{path} is no manager of Skipjack."
        return SkipjackError(what, "Check `manager.url` in the settings.")


_LATER = "Nothing is lost: the reports wait here and are sent later."
_LARGER = f"Let it, and any proxy before it, take larger requests (`body_limit`). {_LATER}"


def _is_commit(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{40,64}", value) is not None


def _command(plain: dict[str, Any]) -> Command:
    mirrors = tuple(map(str, plain.get("mirrors") or ()))
    by = str(plain.get("issued_by") or "the manager")
    return Command(int(plain["number"]), str(plain["kind"]), mirrors, plain.get("force") is True, by)


def _error(reply: Reply) -> str:
    try:
        return f"{reply.status}: {str(json.loads(reply.body)['error'])[:500]}".rstrip(".")
    except (ValueError, KeyError, TypeError):
        return str(reply.status)


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "Make a token with `skipjack-manager token add WORKER` and put it where `manager.token` points."
    return _LATER
