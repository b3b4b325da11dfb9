"""A forecast as text for a terminal or the log of a job: `+` comes, `~` changes, `-` goes."""

from collections.abc import Iterator

from runner.checking.ci_commands import inert
from runner.forecast import words
from runner.forecast.forecast import (
    ADDED,
    CHANGED,
    DayLoad,
    Forecast,
    MirrorForecast,
    SharedChange,
    ValueChange,
    WorkerForecast,
)
from schemas.problems import Problem


def rendered(forecast: Forecast) -> str:
    """Return the forecast as lines of text."""
    return "\n".join(map(inert, _lines(forecast)))


def _lines(forecast: Forecast) -> Iterator[str]:
    yield f"Plan for {words.label(forecast.base)} -> {words.label(forecast.head)}"
    yield from (f"note: {note}" for note in forecast.notes)
    if forecast.live_failure:
        yield f"NOT LIVE: {forecast.live_failure}"
    yield from _problems("problems:", "!", forecast.problems)
    yield from _problems("problems that this corrects:", "+", forecast.fixed)
    if forecast.site:
        yield from ("", "site")
        yield from _changes(forecast.site, "  ")
    for worker in forecast.workers:
        yield from _worker(worker)
    if forecast.warnings:
        yield ""
    yield from (f"warning: {words.note(note)}" for note in forecast.warnings)
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
    yield from _day(worker.load)
    if worker.live and (known := words.live(worker.live)):
        yield f"  live: {known}"
    if worker.mirrors or worker.shared:
        yield f"  policy: {words.policy(worker.policy)}"
    yield from (f"    ! {words.note(note)}" for note in worker.policy.denied)
    yield from (f"  warning: {words.note(note)}" for note in worker.warnings)


def _day(load: DayLoad | None) -> Iterator[str]:
    if load is None:
        return
    yield f"  load: {words.load(load)}"
    if not words.is_flat(load):
        yield f"    starts each hour before: {words.hours(load.before)}"
        yield f"    starts each hour after:  {words.hours(load.after)}"


def _mirror(mirror: MirrorForecast) -> Iterator[str]:
    head = words.headline(mirror)
    yield f"  {words.SIGNS[mirror.kind]} {mirror.name}{': ' * bool(head)}{head}"
    yield from _changes(mirror.changes, "      ")
    yield from _commands(mirror.before, mirror.after)


def _shared(shared: SharedChange) -> Iterator[str]:
    change, number = _change(shared.change), len(shared.mirrors)
    yield f"  {words.SIGNS[CHANGED]} {change} on {number} mirrors: {words.names(shared.mirrors)}"
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
