"""Talking with the manager: what is asked of it, and how its answers are taken."""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from runner.base.output import head, masked
from runner.courier import unreached
from schemas import json_text
from schemas.addresses import without_secrets
from schemas.errors import SkipjackError
from schemas.http_client import (
    LARGEST,
    ExchangeFailed,
    HttpClient,
    NotHttp,
    Response,
    ResponseTooLarge,
    Timeouts,
)
from schemas.mirror_record import Secret
from schemas.problems import printable
from schemas.records import ManagerAddress
from schemas.secrets import read_token

TIMEOUTS = Timeouts(5.0, 30.0)
"""For anything but waiting for commands."""

AT_ONCE = 100
"""Commands that are taken at once."""

LARGEST_COMMANDS = 4 * 1024**2
"""Bytes of an answer with commands that are read at most; each of them may name every mirror of the worker."""

_VALUES = 1_000
"""Values in any other answer at most; those of the manager have fewer than ten."""

_COMMAND_VALUES = 200_000
"""Values in an answer with commands at most."""

NOTE = 500
"""Characters of a command's note that are kept."""

MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading an answer may raise that is not what it should be; deep JSON exhausts the stack."""

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
    note: str = ""


class Commands(NamedTuple):
    """Commands after a number, ascending, and the newest number that there is for this worker."""

    commands: tuple[Command, ...]
    newest: int


class Result(NamedTuple):
    """What became of a command: `done`, or `refused` with a reason."""

    number: int
    outcome: str
    reason: str


class Rejected(SkipjackError):  # noqa: N818 - it is what happened to the request, and reads so at every raise
    """The manager, or what stands before it, does not take what this request holds, whoever sends it."""


class TooLarge(Rejected):
    """It takes no request of this size."""


class Misbehaves(SkipjackError):  # noqa: N818 - as above
    """What answers does not keep to the protocol, so asking again soon is of no use."""


class BadToken(SkipjackError):  # noqa: N818 - as above
    """The worker's token cannot be read, or the manager refuses it; only a person can change that."""


class NoCommands(SkipjackError):  # noqa: N818 - as above
    """The manager is of an earlier release, which gives no commands."""


class Client:
    """A connection to one manager, for one thread."""

    def __init__(self, address: ManagerAddress) -> None:
        self._url = without_secrets(address.url.rstrip("/"))
        self._address, self._token = address, address.token
        self._http = HttpClient(address.url, address.ca_cert)

    def send(self, envelope: dict[str, Any]) -> Answer:
        """Send one envelope; SkipjackError when it was not taken, whatever the cause, Rejected when another one may
        be. The token is read each time."""
        response = self._ask("POST", _REPORTS, TIMEOUTS, envelope)
        plain = self._decoded(response, _REPORTS, _VALUES)
        try:
            return _answer(plain)
        except MALFORMED as error:
            raise self._stranger(_REPORTS) from error

    def commands(self, worker: str, after: int, wait: float) -> Commands:
        """The commands after a number; while there are none the manager may take `wait` seconds for its answer.

        NoCommands when it gives none at all, SkipjackError when it did not answer.
        """
        path = f"{_COMMANDS}?worker={worker}&after={after}&wait={wait:.0f}"
        response = self._ask("GET", path, TIMEOUTS._replace(exchange=TIMEOUTS.exchange + wait), most=LARGEST_COMMANDS)
        plain = self._decoded(response, _COMMANDS, _COMMAND_VALUES)
        try:
            return _commands(plain)
        except MALFORMED as error:
            raise self._stranger(_COMMANDS) from error

    def answer(self, worker: str, results: Sequence[Result]) -> None:
        """Tell what became of commands; as `commands`, when that was not taken."""
        body = {"worker": worker, "results": [result._asdict() for result in results]}
        plain = self._decoded(self._ask("POST", _RESULTS, TIMEOUTS, body), _RESULTS, _VALUES)
        try:
            _number(plain["taken"])
        except MALFORMED as error:
            raise self._stranger(_RESULTS) from error

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _ask(self, method: str, path: str, timeouts: Timeouts, content: Any = None, most: int = LARGEST) -> Response:
        headers = {"Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {_read(self._token)}"
        body = None
        if content is not None:
            body = json.dumps(content, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        try:
            return self._http.exchange(method, path, timeouts, body=body, headers=headers, most=most)
        except ResponseTooLarge as error:
            raise self._stranger(path.partition("?")[0]) from error
        except ExchangeFailed as error:
            what = f"The manager at {self._url} cannot be reached: {error}."
            raise SkipjackError(what, after(error, self._address)) from error

    def _decoded(self, response: Response, path: str, values: int) -> dict[str, Any]:
        if response.status != 200:
            raise self._refusal(response, path)
        try:
            plain = json_text.parse(response.body, values)
        except MALFORMED as error:
            raise self._stranger(path) from error
        if not isinstance(plain, dict):
            raise self._stranger(path)
        return plain

    def _refusal(self, response: Response, path: str) -> SkipjackError:
        what = f"{self._at(path)} answered {_error(response)}."
        if response.status == 413:
            return TooLarge(what, _LARGER)
        if is_of_content(response):
            return Rejected(what, _LATER)
        if response.status in (401, 403):
            return BadToken(what, _token_todo(self._token))
        kind = NoCommands if response.status in (404, 405) and path != _REPORTS else SkipjackError
        return kind(what, remedy(response.status, response.body))

    def _at(self, path: str) -> str:
        return f"The manager at {self._url}{path}"

    def _stranger(self, path: str) -> SkipjackError:
        what = f"What answers at {self._url}{path} is no manager of Skipjack."
        return Misbehaves(what, "Check `manager.url` in the settings.")


def _read(token: Secret) -> str:
    try:
        return read_token(token)
    except SkipjackError as error:
        raise BadToken(error.what, error.todo) from error


def _token_todo(token: Secret | None) -> str:
    if token is None or token.file:
        return _NEW_TOKEN
    return f"{_NEW_TOKEN} Then restart the courier, which has a copy: `systemctl restart skipjack-courier`."


_NEW_TOKEN = (
    "Make a token with `skipjack-manager token add WORKER` and put it where `manager.token` of the settings points."  # noqa: S105
)
_LATER = "Nothing is lost: the reports wait here and are sent later."
_LARGER = f"Let it, and any proxy before it, take larger requests (`body_limit`). {_LATER}"


_OF_THE_CONTENT = (400, 413, 422)
"""Answers that are about what a request holds. Any other says that this worker, this address or this moment is wrong:
then nothing is ever given up."""

_ELSEWHERE = (301, 302, 303, 307, 308, 404, 405)
"""Answers of what is no manager, or not at this address."""


def _is_commit(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{40,64}", value) is not None


def _answer(plain: dict[str, Any]) -> Answer:
    want, revision = plain.get("want"), plain.get("revision")
    if want is not None and not isinstance(want, str):
        raise TypeError("want")
    return Answer(_number(plain["acknowledged"]), want, revision if _is_commit(revision) else None)


def _commands(plain: dict[str, Any]) -> Commands:
    """The commands of an answer, ascending, no number twice; at most AT_ONCE, since the next answer has the others."""
    if not isinstance(plain["commands"], list):
        raise TypeError("commands")
    newest = _number(plain["newest"])
    found = {command.number: command for command in map(_command, plain["commands"])}
    if any(number > newest for number in found):
        raise ValueError("newest")
    return Commands(tuple(found[number] for number in sorted(found)[:AT_ONCE]), newest)


def _command(plain: dict[str, Any]) -> Command:
    mirrors = tuple(_text(name) for name in plain.get("mirrors") or ())
    by = masked(_text(plain.get("issued_by") or "the manager"))
    note = head(" ".join(_text(plain.get("note") or "").split()), NOTE)
    return Command(_number(plain["number"]), _text(plain["kind"]), mirrors, plain.get("force") is True, by, note)


def _number(value: object) -> int:
    """A number as the journal can keep it."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("not a number that is counted")
    return value


def _text(value: object) -> str:
    """A text as the journal can keep it, and as it may be shown."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return printable(value)


def _error(response: Response) -> str:
    try:
        said = str(json_text.parse(response.body, _VALUES)["error"])
        return f"{response.status}: {printable(head(said, 500))}".rstrip(".")
    except MALFORMED:
        return str(response.status)


def after(error: ExchangeFailed, address: ManagerAddress) -> str:
    """What to do about a manager that could not be reached."""
    if isinstance(error, NotHttp) and not address.url.startswith("https:"):
        return f"{unreached.WRITE_HTTPS} {_LATER}"
    todo = unreached.remedy(error.__cause__, has_ca=address.ca_cert is not None)
    return f"{todo} {_LATER}"


def _is_of_tls(status: int, body: bytes) -> bool:
    """Whether this is what a web server says to plain HTTP on a port of TLS; it says nothing of what was sent."""
    return status == 400 and (b"HTTPS" in body or b"TLS" in body)


def is_of_content(response: Response) -> bool:
    """Whether an answer is about what the request holds, so that another one may be taken."""
    return response.status in _OF_THE_CONTENT and not _is_of_tls(response.status, response.body)


def remedy(status: int, body: bytes) -> str:
    """Return what to do about an answer that is no success."""
    if _is_of_tls(status, body):
        return f"{unreached.WRITE_HTTPS} {_LATER}"
    if status in _ELSEWHERE:
        return f"Check `manager.url` in runner.yml, and what the proxy before the manager does with this path. {_LATER}"
    return _LATER
