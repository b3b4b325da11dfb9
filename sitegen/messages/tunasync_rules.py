"""What tunasync's messages mean: as in its own manager, without that manager's mistakes. No I/O.

Keys are case-insensitive, unknown ones and nulls are ignored, and a value of a wrong type rejects the whole message.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from schemas.clock.freshness import SLACK
from schemas.names import is_name
from schemas.report import MirrorStatus, Override, Run, decode_override
from schemas.states import DISABLED, FAILED, NONE, OFF, PAUSED, PRE_SYNCING, SUCCESS, SYNCING
from schemas.units import parse_tool_size
from sitegen.messages.envelope import RejectedRequest, parse

STATUSES = frozenset({NONE, FAILED, SUCCESS, SYNCING, PRE_SYNCING, PAUSED, DISABLED})
_RUNNING = frozenset({FAILED, SUCCESS, SYNCING, PRE_SYNCING})
UNKNOWN_SIZE = "unknown"

ZERO_RFC3339 = "0001-01-01T00:00:00Z"
"""Go's zero time: a time that was never set. A literal, because strftime writes the year 1 as `1` on some systems."""

# RFC 3339 as Go writes it, with nine digits of a second at most. ASCII: `\d` would accept the digits of all scripts.
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_HAPPENED = ("last_update", "last_started", "last_ended")
"""The times of past events, by the manager's clock."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadName(RejectedRequest):
    """A message about a mirror or worker whose `name` is not valid here."""

    def __init__(self, name: str) -> None:
        super().__init__(400, f"{name[:100]!r} is not a valid name here")
        self.name = name


class TunasyncJob(NamedTuple):
    """A job of a Go worker: the JSON for tunasync's clients, in tunasync's order (`told`), and its last run's number.

    `override` is a `schemas.report.Override` as JSON. It counts while the job has its status, and is kept until a run
    begins: a Go worker that disables a job may report the end of its run in between. `unconfirmed` is the state before
    a command that is not confirmed.
    """

    told: dict[str, Any]
    run: int
    override: dict[str, Any] | None = None
    unconfirmed: dict[str, Any] | None = None


class Message(NamedTuple):
    """A body with its keys in lower case and without nulls. Values of a wrong type are RejectedRequest when read."""

    plain: dict[str, Any]

    def text(self, key: str, most: int = 4000) -> str:
        """Return a text, empty if missing."""
        found = self.plain.get(key, "")
        if not isinstance(found, str) or len(found) > most:
            raise RejectedRequest(400, f"`{key}` must be text of {most} characters at most")
        return found

    def flag(self, key: str, default: bool) -> bool:
        """Return a boolean."""
        found = self.plain.get(key, default)
        if not isinstance(found, bool):
            raise RejectedRequest(400, f"`{key}` must be true or false")
        return found

    def name(self, key: str, empty: str) -> str:
        """Return a name, which is also a valid file name; `empty` is the error if it is missing."""
        found = self.text(key)
        if not found:
            raise RejectedRequest(400, empty)
        if not is_name(found):
            raise BadName(found)
        return found

    def status(self) -> str:
        """Return one of tunasync's statuses."""
        found = self.text("status", 100)
        if found not in STATUSES:
            raise RejectedRequest(400, f"{found[:100]!r} is not a status of tunasync")
        return found

    def time(self, key: str) -> str:
        """Return a time as it was written, Go's zero time if missing."""
        found = self.text(key, 100) or ZERO_RFC3339
        seconds(found)
        return found


def message(body: bytes) -> Message:
    """Read a body; RejectedRequest if it is not a JSON object."""
    return _message(parse(body))


def _message(plain: Any, what: str = "the body") -> Message:
    if not isinstance(plain, dict):
        raise RejectedRequest(400, f"{what} must be a JSON object")
    return Message({key.lower(): value for key, value in plain.items() if value is not None})


def check_command(found: Message) -> None:
    """Reject a command whose arguments or options have a wrong type."""
    args, options = found.plain.get("args", []), found.plain.get("options", {})
    if not isinstance(args, list) or not all(isinstance(each, str) for each in args):
        raise RejectedRequest(400, "`args` must be a list of text")
    if not isinstance(options, dict) or not all(isinstance(each, bool | None) for each in options.values()):
        raise RejectedRequest(400, "`options` must be an object whose values are true or false")


def part(found: Message, key: str) -> Message:
    """Return a nested message, empty if missing."""
    return _message(found.plain.get(key, {}), f"`{key}`")


def parts(found: Message, key: str) -> list[Message]:
    """Return a nested list of messages."""
    items = found.plain.get(key, [])
    if not isinstance(items, list):
        raise RejectedRequest(400, f"`{key}` must be a list")
    return [_message(item, f"each item of `{key}`") for item in items]


@lru_cache(maxsize=8192)  # each run of any mirror sends a schedule with the times of all mirrors
def seconds(text: str) -> float | None:
    """Return a time as Go writes it in Unix seconds, None for the zero time; RejectedRequest for anything else."""
    match = _TIME.fullmatch(text)
    try:
        if not match:
            raise ValueError(text)
        # The fraction is added apart, because `fromisoformat` drops its digits after the sixth.
        whole = datetime.fromisoformat(match[1].upper() + match[3].upper().replace("Z", "+00:00"))
        found = (whole - _EPOCH) / timedelta(seconds=1) + float(match[2] or 0)
    except (ValueError, OverflowError) as error:
        raise RejectedRequest(400, f"{text[:100]!r} is not a valid RFC 3339 time") from error
    # 1e11: the limit for times in `report.schema.json`, to which a job's status is converted.
    return found if 0 < found < 1e11 else None


def stamp(nanoseconds: int) -> str:
    """Format a time as Go does, to the nanosecond, without trailing zeros."""
    whole, rest = divmod(nanoseconds, 10**9)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{rest:09d}".rstrip("0").rstrip(".") + "Z"


def new_job(worker: str, mirror: str) -> TunasyncJob:
    """Return a job that has not reported anything yet."""
    times = dict.fromkeys(("last_update", "last_started", "last_ended", "next_schedule"), ZERO_RFC3339)
    head = {"name": mirror, "worker": worker, "is_master": False, "status": NONE}
    return TunasyncJob(head | times | {"upstream": "", "size": UNKNOWN_SIZE, "error_msg": ""}, 0)


def check_times(found: Message, *keys: str) -> None:
    """Reject invalid times. Their values do not count: the time of receipt does."""
    for key in keys:
        found.time(key)


def named(found: Message, path: str) -> str:
    """Return the mirror of a status; RejectedRequest if the body names another one than the path."""
    mirror = found.name("name", "mirror Name should not be empty")
    if mirror != path:
        raise RejectedRequest(400, f"the body is about {mirror} and the path about {path[:100]}")
    return mirror


def after_status(before: TunasyncJob, found: Message, now: str, number: int) -> TunasyncJob:
    """Return the job after a status received now. If a run begins with it, that run gets `number`."""
    status = found.status()
    check_times(found, *_HAPPENED)
    was = before.told | {key: _not_after(before.told[key], now) for key in _HAPPENED}
    size, schedule = found.text("size", 100), found.time("next_schedule")
    begins = status == PRE_SYNCING and was["status"] != PRE_SYNCING
    after = was | {
        "is_master": found.flag("is_master", was["is_master"]),
        "status": status,
        "last_update": now if status == SUCCESS else was["last_update"],
        "last_started": now if begins else was["last_started"],
        "last_ended": now if status in (SUCCESS, FAILED) else was["last_ended"],
        "next_schedule": _next(status, was["next_schedule"] if seconds(schedule) is None else schedule),
        "upstream": found.text("upstream", 2000) or was["upstream"],
        "size": size if size not in ("", UNKNOWN_SIZE) else was["size"],
        "error_msg": found.text("error_msg"),
    }
    override = None if begins or status == SUCCESS else before.override
    if status in OFF and was["status"] != status and (override is None or override["kind"] != status):
        override = override_of(status, seconds(now))
    return TunasyncJob(after, number if begins or not before.run else before.run, override)


def _next(status: str, schedule: str) -> str:
    """Return the next run: none for a paused or disabled job, which leaves the worker's schedule only later."""
    return ZERO_RFC3339 if status in OFF else schedule


def _not_after(at: str, now: str) -> str:
    """Limit a time of the manager's own clock to now, because the clock may have been set back since."""
    return now if (seconds(at) or 0.0) > (seconds(now) or 0.0) + SLACK else at


def override_of(kind: str, since: float | None, by: str = "") -> dict[str, Any]:
    """Return since when (Unix seconds) a job is paused or disabled, and by whom: a Go worker does not report that."""
    return Override(kind, since, by)._asdict()


def status_of(job: TunasyncJob) -> MirrorStatus:
    """Return a job as the status that pages show."""
    plain = job.told
    status, size = plain["status"], parse_tool_size(plain["size"], 1000)
    update, started, ended, schedule = (
        seconds(plain[key]) for key in ("last_update", "last_started", "last_ended", "next_schedule")
    )
    active = status in (PRE_SYNCING, SYNCING)
    run = Run(
        job.run, status, started, started, None if active else ended, 1, reason=plain["error_msg"],
        duration=ended - started if not active and ended and started and ended >= started else None, size=size,
    )  # fmt: skip
    shown = run if status in _RUNNING and job.run else None
    override = decode_override(job.override) if job.override and job.override["kind"] == status else None
    return MirrorStatus(
        plain["name"], plain["upstream"], plain["is_master"], status, shown, started, ended, update, schedule, size,
        override=override,
    )  # fmt: skip
