"""The exported policies of all workers, from their manager, for `skipjack policy export --manager`."""

import os
from typing import Any

from runner.base.output import head
from schemas import json_text
from schemas.addresses import without_secrets
from schemas.config import exported_policy
from schemas.config.exported_policy import ExportedPolicy
from schemas.errors import SkipjackError
from schemas.http_client import ExchangeFailed, HttpClient, Response, Timeouts
from schemas.mirror_record import Secret
from schemas.problems import InvalidConfigError, printable
from schemas.secrets import read_token

_PATH = "/api/v1/policies"
_TIMEOUTS = Timeouts(5.0, 60.0)
_MOST_BYTES, _MOST_VALUES = 64 * 1024**2, 4_000_000
"""Limits of the answer: a policy has about 10 KiB and 400 values."""

_TOKEN_TODO = "Create a token with `skipjack-manager token add NAME --scope read`, and name its file by `--token-file`."  # noqa: S105
_URL_TODO = "Check the address in `--manager`, and that a manager of this release is running there."


def fetch(url: str, token_file: str, ca_cert: str | None) -> list[ExportedPolicy]:
    """Return the policies that the workers of a manager have reported, sorted by worker.

    SkipjackError if the manager cannot be reached, rejects the token, or has no policy or an invalid one.
    """
    place = f"the manager at {without_secrets(url.rstrip('/'))}"
    # The path as an absolute one, since only that is the file's own.
    token = read_token(Secret(file=os.path.abspath(token_file)))
    client = HttpClient(url, ca_cert)
    try:
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        response = client.exchange("GET", _PATH, _TIMEOUTS, headers=headers, most=_MOST_BYTES)
    except ExchangeFailed as error:
        raise SkipjackError(f"cannot read the policies from {place}: {error}.", _URL_TODO) from error
    finally:
        client.close()
    if response.status != 200:
        todo = _TOKEN_TODO if response.status in (401, 403) else _URL_TODO
        raise SkipjackError(f"cannot read the policies: {place} answered {_error(response)}.", todo)
    found = [_policy(each, place) for each in _listed(response, place)]
    if not found:
        raise SkipjackError(
            f"{place} knows the policy of no worker.", "Workers of this release report it by themselves."
        )
    return found


def _listed(response: Response, place: str) -> list[Any]:
    try:
        listed = json_text.parse(response.body, _MOST_VALUES)["policies"]
        return [each["policy"] for each in listed]
    except (ValueError, KeyError, TypeError) as error:
        raise SkipjackError(f"cannot read the policies: {place} is not one of Skipjack.", _URL_TODO) from error


def _policy(plain: Any, place: str) -> ExportedPolicy:
    try:
        return exported_policy.from_plain(f"from {place}", plain)
    except InvalidConfigError as error:
        what = f"a policy from {place} is invalid: {error.problems[0].what}"
        raise SkipjackError(what, "Use the release of the manager for this command.") from error


def _error(response: Response) -> str:
    try:
        said = str(json_text.parse(response.body, 100)["error"])
        return f"{response.status}: {printable(head(said, 500))}".rstrip(".")
    except (ValueError, KeyError, TypeError):
        return str(response.status)
