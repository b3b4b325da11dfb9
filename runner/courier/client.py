"""The requests to a manager of Skipjack, and how its responses are checked."""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from runner.base.output import head, masked
from runner.courier import unreached
from runner.journal.command_table import CommandList, CommandResult, ManagerCommand
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
"""For all requests but the one that waits for commands."""

AT_ONCE = 100
"""Commands of one response that are used at most; the next response has the others."""

LARGEST_COMMANDS = 4 * 1024**2
"""Bytes at most of a response with commands, each of which may name every mirror of the worker."""

_VALUES = 1_000
"""JSON values at most in any other response; those of the manager have fewer than ten."""

_COMMAND_VALUES = 200_000
"""JSON values at most in a response with commands."""

NOTE = 500
"""Characters of a command's note that are kept."""

MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""The errors of reading a response of the wrong form; deep JSON exhausts the stack."""

_REPORTS, _COMMANDS, _RESULTS = "/api/v1/reports", "/api/v1/commands", "/api/v1/commands/results"
_POLICIES = "/api/v1/policies"


class Acknowledgement(NamedTuple):
    """The response to a batch: the last number that is committed, and whether the manager wants a snapshot.

    `revision` is the commit of the configuration that the manager uses, if it names one. With `policy_wanted` it asks
    for the worker's exported policy.
    """

    acknowledged: int
    want: str | None
    revision: str | None = None
    policy_wanted: bool = False


class Rejected(SkipjackError):  # noqa: N818 - what happened to the request
    """The manager, or a proxy in front of it, rejects the content of this request, whichever worker sends it."""


class TooLarge(Rejected):
    """The request is too large for the manager or for a proxy."""


class ProtocolViolation(SkipjackError):  # noqa: N818 - as above
    """The server does not keep to the protocol, so asking again soon is of no use."""


class BadToken(SkipjackError):  # noqa: N818 - as above
    """The worker's token cannot be read, or the manager rejects it; only a person can change that."""


class NoCommands(SkipjackError):  # noqa: N818 - as above
    """The manager is of an earlier release without commands."""


class ManagerClient:
    """A connection to one manager, for one thread."""

    def __init__(self, address: ManagerAddress) -> None:
        self._url = without_secrets(address.url.rstrip("/"))
        self._address, self._token = address, address.token
        # One for each thread, since a kept connection serves one request at a time.
        self._http = HttpClient(address.url, address.ca_cert)

    def send(self, envelope: dict[str, Any]) -> Acknowledgement:
        """Send one envelope; Rejected if its content is the cause, else SkipjackError. The token is read each time."""
        response = self._ask("POST", _REPORTS, TIMEOUTS, envelope)
        plain = self._decoded(response, _REPORTS, _VALUES)
        try:
            return _answer(plain)
        except MALFORMED as error:
            raise self._not_a_manager(_REPORTS) from error

    def commands(self, worker: str, after: int, wait: float, wake: int | None = None) -> CommandList:
        """Return the commands after a number. While there are none the manager may hold the request for `wait` seconds.

        With `wake`, the last wake number or 0, it answers as soon as it has another one.
        NoCommands from a manager without commands, SkipjackError for any other failure.
        """
        path = f"{_COMMANDS}?worker={worker}&after={after}&wait={wait:.0f}"
        path += "" if wake is None else f"&wake={wake}"
        response = self._ask("GET", path, TIMEOUTS._replace(exchange=TIMEOUTS.exchange + wait), most=LARGEST_COMMANDS)
        plain = self._decoded(response, _COMMANDS, _COMMAND_VALUES)
        try:
            return _commands(plain)
        except MALFORMED as error:
            raise self._not_a_manager(_COMMANDS) from error

    def answer(self, worker: str, results: Sequence[CommandResult]) -> None:
        """Send the results of commands; errors as `commands`."""
        body = {"worker": worker, "results": [result._asdict() for result in results]}
        plain = self._decoded(self._ask("POST", _RESULTS, TIMEOUTS, body), _RESULTS, _VALUES)
        try:
            _number(plain["taken"])
        except MALFORMED as error:
            raise self._not_a_manager(_RESULTS) from error

    def send_policy(self, document: dict[str, Any]) -> None:
        """Send the worker's exported policy, which the manager asked for; errors as `send`."""
        plain = self._decoded(self._ask("POST", _POLICIES, TIMEOUTS, document), _POLICIES, _VALUES)
        if not isinstance(plain.get("digest"), str):
            raise self._not_a_manager(_POLICIES)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _ask(self, method: str, path: str, timeouts: Timeouts, content: Any = None, most: int = LARGEST) -> Response:
        headers = {"Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {_read(self._token)}"
        body = None
        if content is not None:
            # NaN is not valid JSON, so the manager would reject all of it.
            body = json.dumps(content, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        try:
            return self._http.exchange(method, path, timeouts, body=body, headers=headers, most=most)
        except ResponseTooLarge as error:
            raise self._not_a_manager(path.partition("?")[0]) from error
        except ExchangeFailed as error:
            what = f"cannot reach the manager at {self._url}: {error}."
            raise SkipjackError(what, unreachable_remedy(error, self._address)) from error

    def _decoded(self, response: Response, path: str, values: int) -> dict[str, Any]:
        if response.status != 200:
            raise self._refusal(response, path)
        try:
            plain = json_text.parse(response.body, values)
        except MALFORMED as error:
            raise self._not_a_manager(path) from error
        if not isinstance(plain, dict):
            raise self._not_a_manager(path)
        return plain

    def _refusal(self, response: Response, path: str) -> SkipjackError:
        what = f"{self._at(path)} answered {_error(response)}."
        if response.status == 413:
            return TooLarge(what, _LARGER)
        if is_about_content(response):
            return Rejected(what, _LATER)
        if response.status in (401, 403):
            return BadToken(what, _token_todo(self._token))
        # All releases have the path of reports, so there it is not an earlier one but another server.
        kind = NoCommands if response.status in (404, 405) and path != _REPORTS else SkipjackError
        return kind(what, status_remedy(response.status, response.body))

    def _at(self, path: str) -> str:
        return f"the manager at {self._url}{path}"

    def _not_a_manager(self, path: str) -> SkipjackError:
        what = f"the server at {self._url}{path} is not a Skipjack manager."
        return ProtocolViolation(what, "Check `manager.url` in the settings.")


def _read(token: Secret) -> str:
    try:
        return read_token(token)
    except SkipjackError as error:
        raise BadToken(error.what, error.todo) from error


def _token_todo(token: Secret | None) -> str:
    if token is None or token.file:
        return _NEW_TOKEN
    return f"{_NEW_TOKEN} Then restart the courier, which has a copy: `systemctl restart skipjack-courier`."


_NEW_TOKEN = "Create a token with `skipjack-manager token add WORKER` and write it to where `manager.token` points."  # noqa: S105
_LATER = "Nothing is lost: the reports wait here and are sent later."
_LARGER = f"Allow larger requests: `body_limit` of the manager, and the limit of any proxy in front of it. {_LATER}"


_ABOUT_CONTENT = (400, 413, 422)
"""Statuses about the content of a request. With any other one the worker, the address or the moment is the cause, and
no report is ever given up."""

_ELSEWHERE = (301, 302, 303, 307, 308, 404, 405)
"""Statuses of a server that is not a manager, or of a manager at another path."""


def _is_commit(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{40,64}", value) is not None


def _answer(plain: dict[str, Any]) -> Acknowledgement:
    want, revision = plain.get("want"), plain.get("revision")
    if want is not None and not isinstance(want, str):
        raise TypeError("want")
    commit = revision if _is_commit(revision) else None
    return Acknowledgement(_number(plain["acknowledged"]), want, commit, plain.get("policy_wanted") is True)


def _commands(plain: dict[str, Any]) -> CommandList:
    """Return the commands of a response, ascending, each number once, at most AT_ONCE."""
    if not isinstance(plain["commands"], list):
        raise TypeError("commands")
    newest = _number(plain["newest"])
    found = {command.number: command for command in map(_command, plain["commands"])}
    if any(number > newest for number in found):
        raise ValueError("newest")
    wake = None if plain.get("wake") is None else _number(plain["wake"])
    return CommandList(tuple(found[number] for number in sorted(found)[:AT_ONCE]), newest, wake)


def _command(plain: dict[str, Any]) -> ManagerCommand:
    mirrors = tuple(_text(name) for name in plain.get("mirrors") or ())
    by = masked(_text(plain.get("issued_by") or "the manager"))
    note = head(" ".join(_text(plain.get("note") or "").split()), NOTE)
    return ManagerCommand(_number(plain["number"]), _text(plain["kind"]), mirrors, plain.get("force") is True, by, note)


def _number(value: object) -> int:
    """Return a number that the journal can store; ValueError for any other value."""
    # For Python `True` is an int.
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("not a number that is counted")
    return value


def _text(value: object) -> str:
    """Return a text without control characters; TypeError for any other value."""
    if not isinstance(value, str):
        raise TypeError("not a text")
    return printable(value)


def _error(response: Response) -> str:
    try:
        said = str(json_text.parse(response.body, _VALUES)["error"])
        return f"{response.status}: {printable(head(said, 500))}".rstrip(".")
    except MALFORMED:
        return str(response.status)


def unreachable_remedy(error: ExchangeFailed, address: ManagerAddress) -> str:
    """Return what to do about a manager that could not be reached."""
    if isinstance(error, NotHttp) and not address.url.startswith("https:"):
        return f"{unreached.WRITE_HTTPS} {_LATER}"
    todo = unreached.remedy(error.__cause__, has_ca=address.ca_cert is not None)
    return f"{todo} {_LATER}"


def _is_of_tls(status: int, body: bytes) -> bool:
    """Return whether this is a web server's response to plain HTTP on a TLS port, whatever the request was."""
    return status == 400 and (b"HTTPS" in body or b"TLS" in body)


def is_about_content(response: Response) -> bool:
    """Return whether the response is about the content of the request, so that another content may be accepted."""
    return response.status in _ABOUT_CONTENT and not _is_of_tls(response.status, response.body)


def status_remedy(status: int, body: bytes) -> str:
    """Return what to do about a response that is not a success."""
    if _is_of_tls(status, body):
        return f"{unreached.WRITE_HTTPS} {_LATER}"
    if status in _ELSEWHERE:
        return f"Check `manager.url` in runner.yml, and how any proxy before the manager handles this path. {_LATER}"
    return _LATER
