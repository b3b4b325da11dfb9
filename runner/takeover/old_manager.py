"""What does a running tunasync manager know of the jobs of one of its workers?

Its lists are public, and only read. They come from another program, so their size, their time and all of their values
are checked before anything is used.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from schemas import json_text
from schemas.addresses import without_secrets
from schemas.errors import SkipjackError
from schemas.http_client import ExchangeFailed, HttpClient, Response, ResponseTooLarge, Timeouts
from schemas.problems import shown
from schemas.states import DISABLED, FAILED, NONE, PAUSED, PRE_SYNCING, SUCCESS, SYNCING
from schemas.units import parse_tool_size

TIMEOUTS = Timeouts(10.0, 60.0)
LARGEST, VALUES = 16 * 1024**2, 500_000
"""Bytes and JSON values at most in a list: 20,000 jobs have 300,000 values in 10 MiB."""

STATUSES = frozenset({NONE, FAILED, SUCCESS, SYNCING, PRE_SYNCING, PAUSED, DISABLED})

# RFC 3339 as Go writes it, with nine digits of a second at most. ASCII: `\d` would accept the digits of all scripts.
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_2001 = 978307200.0
"""tunasync writes the year 1 for a time that was never set; its clients read all years up to 2000 as never."""

_CUT_OFF = "killed by manager"
"""The error of a job whose sync a stop of tunasync's worker ended, or one of the job."""

_MOST_SHOWN = 20
_CHECK = "Check the address: it is that of tunasync's manager, as in `api_base` of its worker."


class OldManager(NamedTuple):
    """A tunasync manager: its address, the name of the worker there, and a file with the authorities to trust."""

    url: str
    worker: str
    ca_cert: str | None = None

    def at(self, path: str) -> str:
        """Return the address of a path as text for messages."""
        return f"the tunasync manager at {without_secrets(self.url.rstrip('/'))}{path}"


class OldJob(NamedTuple):
    """A job there; times in seconds since 1970 UTC, sizes in bytes, None for what is not known.

    `cut_off` says that its last sync was ended by a stop of its worker.
    """

    name: str
    status: str
    started_at: float | None
    ended_at: float | None
    success_at: float | None
    size: int | None
    cut_off: bool


def jobs(manager: OldManager) -> dict[str, OldJob]:
    """Return the jobs of the worker there, by name; SkipjackError if they cannot be read, or one is not valid."""
    client = HttpClient(manager.url, manager.ca_cert)
    path = f"/workers/{quote(manager.worker, safe='')}/jobs"
    try:
        response = _get(client, manager, path)
        if response.status == 400:
            raise _unknown_worker(client, manager)
        found = list(_listed(manager, path, response))
    finally:
        client.close()
    named = {job.name: job for job in found}
    if len(named) < len(found):
        twice = next(job.name for job in found if named[job.name] is not job)
        raise SkipjackError(f"{manager.at(path)} lists `{shown(twice)}` twice; nothing was changed.", _CHECK)
    if not named:
        what = f"{manager.at('')} has no mirror of the worker `{shown(manager.worker)}`; nothing was changed."
        raise SkipjackError(what, "Name another worker with `--worker`.")
    return named


def _get(client: HttpClient, manager: OldManager, path: str) -> Response:
    try:
        return client.exchange("GET", path, TIMEOUTS, headers={"Accept": "application/json"}, most=LARGEST)
    except ResponseTooLarge as error:
        what = f"{manager.at(path)} sent more than {LARGEST >> 20} MiB; nothing was changed."
        raise SkipjackError(what, _CHECK) from error
    except ExchangeFailed as error:
        todo = "Check the address and that the manager is running; `--ca-cert` names the file of an own authority."
        raise SkipjackError(f"cannot reach {manager.at(path)}: {error}.", todo) from error


def _unknown_worker(client: HttpClient, manager: OldManager) -> SkipjackError:
    what = f"{manager.at('')} has no worker `{shown(manager.worker)}`; nothing was changed."
    return SkipjackError(what, f"Name it with `--worker`. {_workers(client, manager)}".strip())


def _workers(client: HttpClient, manager: OldManager) -> str:
    """Return which workers it has, as a sentence; empty if that cannot be read."""
    try:
        plain = json_text.parse(_get(client, manager, "/workers").body, VALUES)
        names = sorted(shown(json_text.text(each["id"])) for each in plain or ())
    except (SkipjackError, *_MALFORMED):
        return ""
    listed = ", ".join(f"`{name}`" for name in names[:_MOST_SHOWN]) + (" …" if len(names) > _MOST_SHOWN else "")
    return f"It has {listed}." if names else "It has none."


def _listed(manager: OldManager, path: str, response: Response) -> Iterator[OldJob]:
    if response.status != 200:
        raise SkipjackError(f"{manager.at(path)} answered {response.status}; nothing was changed.", _CHECK)
    try:
        plain = json_text.parse(response.body, VALUES)
        if not isinstance(plain, list | None):
            raise TypeError("not a list")
        # Its own manager stores a nameless record for each malformed message.
        found = [_job(each) for each in plain or () if each["name"] != ""]
    except _MALFORMED as error:
        why = _reason(error)
        what = f"{manager.at(path)} did not answer with a list of tunasync's jobs: {why}; nothing was changed."
        raise SkipjackError(what, _CHECK) from error
    yield from found


_MALFORMED = (ValueError, KeyError, TypeError, AttributeError)


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"`{error.args[0]}` is missing"
    return shown(str(error)) if isinstance(error, ValueError) else "a value has the wrong type"


def _job(plain: Any) -> OldJob:
    """Return a job; an error of `_MALFORMED` for anything else."""
    if plain["status"] not in STATUSES:
        raise ValueError(f"{plain['status']!r} is not a status")
    return OldJob(
        name=json_text.text(plain["name"]),
        status=plain["status"],
        started_at=_moment(plain["last_started"]),
        ended_at=_moment(plain["last_ended"]),
        success_at=_moment(plain["last_update"]),
        # Sizes of rsync, as tunasync has most of them, count in powers of 1000.
        size=parse_tool_size(json_text.text(plain["size"])[:100], base=1000) or None,
        cut_off=plain["status"] == FAILED and plain.get("error_msg") == _CUT_OFF,
    )


def _moment(value: object) -> float | None:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError(f"{value!r} is not a time"[:100])
    seconds = (datetime.fromisoformat(value.upper()) - _EPOCH).total_seconds()
    return seconds if seconds >= _YEAR_2001 else None
