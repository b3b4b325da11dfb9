"""Recorded exchanges with a manager, and the comparison of two answers without their times."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "exchanges"
_STAMP = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z", re.ASCII)
_WEB = ("last_update", "last_started", "last_ended")


class RecordedExchange(NamedTuple):
    """One request and its answer; `here` has what differs for this manager: `status`, `body`, or some `fields`."""

    title: str
    method: str
    path: str
    body: str | None
    status: int
    answer: str
    here: dict[str, Any]


def exchanges(name: str) -> list[RecordedExchange]:
    """Read one of the files in the folder `exchanges`."""
    _head, *blocks = (FOLDER / name).read_text(encoding="utf-8").split("\n### ")
    return [_exchange(block.strip().split("\n")) for block in blocks]


def _exchange(lines: list[str]) -> RecordedExchange:
    title, request, *rest = lines
    method, path = request.split()
    arrow = next(number for number, line in enumerate(rest) if line.startswith("-> "))
    answer = [line for line in rest[arrow + 1 :] if not line.startswith("here ")]
    differs = [line for line in rest[arrow + 1 :] if line.startswith("here ")]
    here = json.JSONDecoder().raw_decode(differs[0].removeprefix("here "))[0] if differs else {}
    return RecordedExchange(
        title, method, path, "\n".join(rest[:arrow]) or None, int(rest[arrow].split()[1]), "".join(answer), here
    )


def expected_here(exchange: RecordedExchange) -> tuple[int, str]:
    """Return the status and the answer that this manager must give.

    The notes in the recording have the system's error with its number, which the manager has left out since.
    """
    here = exchange.here
    body = here["body"] if "body" in here else json.loads(exchange.answer)
    for record in _records(body):
        record.update(here.get("fields", {}))
    return here.get("status", exchange.status), re.sub(r"\[Errno [0-9]+\] ", "", compact(body))


def compact(content: Any) -> str:
    """JSON as Go writes it."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


class NamedTimes:
    """Gives each time that a manager set a name, in the order of first use.

    So equal names in two managers' answers mean that the same fields hold the same moments. The list for web pages has
    whole seconds, which are compared with the last status of the mirror and named after that.
    """

    def __init__(self, given: str) -> None:
        self._given = given
        self._names: dict[str, str] = {}
        self._last: dict[str, dict[str, str]] = {}

    def named(self, answer: str) -> str:
        """Return an answer with names in place of times; times from the requests stay."""
        content = json.loads(answer) if answer else None
        for record in _records(content):
            if "last_update_ts" in record:
                self._name_seconds(record)
            elif "last_update" in record:
                self._last[record["name"]] = dict(record)
        return _STAMP.sub(self._name, compact(content))

    def _name(self, match: re.Match[str]) -> str:
        if match[0] in self._given:
            return match[0]
        return self._names.setdefault(match[0], f"moment {len(self._names) + 1}")

    def _name_seconds(self, record: dict[str, Any]) -> None:
        for key in _WEB:
            told = self._last[record["name"]][key]
            at = datetime.fromisoformat(told[:19] + "+00:00")
            if (record[key], record[f"{key}_ts"]) == (_text(told), int(at.timestamp())):
                record[key] = record[f"{key}_ts"] = told


def _text(told: str) -> str:
    return f"{told[:10]} {told[11:19]} +0000"


def _records(content: Any) -> Iterator[dict[str, Any]]:
    for record in content if isinstance(content, list) else [content]:
        if isinstance(record, dict):
            yield record
