"""Print what was found, as text or JSON."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from runner.base.output import bar, log, say
from runner.drift import usage
from runner.drift.items import CONTAINER, DATA, LOGS, OVERRIDE, SNAPSHOT, STATE, UNIT, Drift, Leftover, Usage, digest
from schemas.problems import printable
from schemas.standard_streams import WARNING
from schemas.units import format_size

_TITLES = {
    DATA: "directories without a definition", SNAPSHOT: "snapshots of mirrors that are gone",
    LOGS: "logs of mirrors that are gone", STATE: "states of mirrors that are gone",
    UNIT: "units of mirrors that are gone", CONTAINER: "containers of mirrors that are gone",
    OVERRIDE: "overrides that are older than a week",
}  # fmt: skip

_BUDGET = 60.0
"""Seconds for all sizes together."""


def measured(items: Sequence[Leftover]) -> dict[str, Usage]:
    """Return the usage of the directories among some items by path, with progress on a terminal."""
    paths = [each.path for each in items if each.kind in (DATA, LOGS)]
    end, found, is_shown = time.monotonic() + _BUDGET, {}, os.isatty(2)
    for number, path in enumerate(paths):
        now = time.monotonic()
        # A share for each, so that a large one does not leave the others without a size.
        until = now + max(0.0, end - now) / (len(paths) - number)
        try:
            found[path] = usage.measured(path, until, partial(_show, path, is_shown))
        except OSError:  # it is gone
            continue
    if is_shown and paths:
        bar("")
    return found


def _show(path: str, is_shown: bool, size: int) -> None:
    if is_shown:
        bar(f"measuring {printable(path)}: {format_size(size)}")


def say_json(drift: Drift, sizes: Mapping[str, Usage]) -> None:
    """Print the drift as JSON; sizes are bytes, times seconds since 1970 UTC."""
    plain = {"worker": drift.worker, "revision": drift.revision, "behind": drift.behind, "unread": drift.unread}
    say(json.dumps(plain | {"items": [_plain(each, sizes.get(each.path)) for each in drift.items]}, indent=2))


def _plain(item: Leftover, used: Usage | None) -> dict[str, Any]:
    plain: dict[str, Any] = {key: value for key, value in item._asdict().items() if key != "identity"}
    if used is not None:
        plain |= {"size": used.size, "last_change": used.newest, "complete": used.complete}
    return plain


def say_text(drift: Drift, sizes: Mapping[str, Usage]) -> None:
    """Print the drift as text."""
    for kind, title in _TITLES.items():
        _say_items(title, [each for each in drift.items if each.kind == kind], sizes)
    if not drift.items:
        say("nothing on this machine is without a definition")
    for line in (*drift.behind, *drift.unread):
        log(line, about="drift", level=WARNING)


def say_list(items: Sequence[Leftover], sizes: Mapping[str, Usage]) -> None:
    """Print the items that would be removed, and the digest of the list."""
    for kind, title in _TITLES.items():
        _say_items(title, [each for each in items if each.kind == kind], sizes)
    say(f"list {digest(items)}: {len(items)} item{'s' * (len(items) != 1)}, {_sum(items, sizes)}")


def _sum(items: Sequence[Leftover], sizes: Mapping[str, Usage]) -> str:
    known = [sizes[each.path] for each in items if each.path in sizes]
    least = "" if all(each.complete for each in known) else "at least "
    return f"{least}{format_size(sum(each.size for each in known))}"


def _say_items(title: str, items: Sequence[Leftover], sizes: Mapping[str, Usage]) -> None:
    if not items:
        return
    say(f"{title}:")
    for item in items:
        used = sizes.get(item.path)
        say(f"  {printable(item.path or item.name)}: {item.what}{'' if used is None else _words(used)}")
        if item.kept:
            say(f"      {item.kept}")


def _words(used: Usage) -> str:
    day = datetime.fromtimestamp(used.newest, UTC).strftime("%Y-%m-%d")
    return f", {'' if used.complete else 'at least '}{format_size(used.size)}, last changed {day}"
