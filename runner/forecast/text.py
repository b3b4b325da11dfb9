"""A forecast as text for a terminal: `+` comes, `~` changes, `-` goes."""

from collections.abc import Iterator

from runner.forecast import words
from runner.forecast.forecast import (
    ADDED,
    CHANGED,
    Forecast,
    MirrorForecast,
    SharedChange,
    ValueChange,
    WorkerForecast,
)
from schemas.problems import Problem

_NAMES = 8
"""Mirrors of a shared change that are named."""


def rendered(forecast: Forecast) -> str:
    """Return the forecast as lines of text."""
    return "\n".join(_lines(forecast))


def _lines(forecast: Forecast) -> Iterator[str]:
    yield f"Plan for {words.label(forecast.base)} -> {words.label(forecast.head)}"
    yield from (f"note: {note}" for note in forecast.notes)
    yield from _problems("problems:", "!", forecast.problems)
    yield from _problems("problems that this corrects:", "+", forecast.fixed)
    if forecast.site:
        yield from ("", "site")
        yield from _changes(forecast.site, "  ")
    for worker in forecast.workers:
        yield from _worker(worker)
    yield ""
    yield " ".join(filter(None, (words.verdict(forecast), words.counts(forecast))))


def _problems(title: str, sign: str, problems: tuple[Problem, ...]) -> Iterator[str]:
    if problems:
        yield from ("", title)
        yield from (f"  {sign} {problem}" for problem in problems)


def _worker(worker: WorkerForecast) -> Iterator[str]:
    head = words.worker_head(worker)
    yield from ("", f"worker {worker.name}{': ' * bool(head)}{head}")
    yield from _changes(worker.changes, "  ")
    for mirror in worker.mirrors:
        yield from _mirror(mirror)
    for shared in worker.shared:
        yield from _shared(shared)


def _mirror(mirror: MirrorForecast) -> Iterator[str]:
    head = words.headline(mirror)
    yield f"  {words.SIGNS[mirror.kind]} {mirror.name}{': ' * bool(head)}{head}"
    yield from _changes(mirror.changes, "      ")
    yield from _commands(mirror.before, mirror.after)


def _shared(shared: SharedChange) -> Iterator[str]:
    names = ", ".join(shared.mirrors[:_NAMES])
    more = len(shared.mirrors) - _NAMES
    rest = f" and {more} more" if more > 0 else ""
    yield f"  {words.SIGNS[CHANGED]} {_change(shared.change)} on {len(shared.mirrors)} mirrors: {names}{rest}"
    if shared.before or shared.after:
        yield f"      for example {shared.example}:"
        yield from _commands(shared.before, shared.after)


def _changes(changes: tuple[ValueChange, ...], indent: str) -> Iterator[str]:
    yield from (f"{indent}{_change(change)}" for change in changes)


def _change(change: ValueChange) -> str:
    if change.before is None:
        return f"{change.key}: {words.value(change.after)}"
    return f"{change.key}: {change.before} -> {words.value(change.after)}"


def _commands(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[str]:
    yield from (f"      - {line}" for line in before)
    yield from (f"      {words.SIGNS[ADDED]} {line}" for line in after)
