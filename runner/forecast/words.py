"""The words that all renderers use for a forecast, so that a terminal and a comment say the same."""

from runner.forecast.forecast import (
    ADDED,
    ALLOWED,
    CHANGED,
    DENIED,
    KINDS,
    MOVED_AWAY,
    MOVED_HERE,
    NO_POLICY,
    QUARANTINED,
    REMOVED,
    RENAMED,
    REPAIRED,
    DayLoad,
    Forecast,
    LiveWorker,
    MirrorForecast,
    MirrorNote,
    PolicyVerdict,
    RevisionLabel,
    WorkerForecast,
    count,
    count_changed,
)
from schemas.units import format_size

SIGNS = {
    ADDED: "+", REPAIRED: "+", MOVED_HERE: "+", RENAMED: "~", CHANGED: "~", MOVED_AWAY: "-", REMOVED: "-",
    QUARANTINED: "!",
}  # fmt: skip

_COUNTED = {
    ADDED: "added", REPAIRED: "repaired", MOVED_HERE: "moved", RENAMED: "renamed", REMOVED: "removed",
    QUARANTINED: "invalid",
}  # fmt: skip

_NEW = (ADDED, MOVED_HERE)
_NAMES = 8
"""Mirrors of a list that are named."""

_FLAT = 0.05
_WHOLE = 9.95
"""Starts an hour that are shown without a fraction."""


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: `1 mirror`, `2 mirrors`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def kind(name: str) -> str:
    """Return what happens to mirrors of a kind on one worker."""
    return _COUNTED[QUARANTINED] if name == QUARANTINED else name.replace("-", " ")


def label(revision: RevisionLabel) -> str:
    """Return a revision with its commit."""
    return f"{revision.name} ({revision.commit[:12]})" if revision.commit else revision.name


def verdict(forecast: Forecast) -> str:
    """Return the result in one sentence."""
    if forecast.rejected:
        return "Invalid: every worker would reject this revision and keep the one in force."
    if forecast.unknown_base:
        number = len(forecast.problems)
        found = f"the change has {plural(number, 'problem')}" if number else "the change itself is valid"
        return f"Not comparable: every worker rejects the base and keeps an earlier revision; {found}."
    if forecast.problems:
        return f"Invalid: {plural(len(forecast.problems), 'problem')}; workers keep the last valid definitions."
    if any(worker.policy.denied for worker in forecast.workers):
        return "Denied: an exported policy does not allow this change."
    return "Nothing changes." if forecast.is_empty else "Valid."


def counts(forecast: Forecast) -> str:
    """Return how many mirrors and workers are added, changed and so on; empty if none is."""
    found = {kind: count(forecast, kind) for kind in KINDS} | {CHANGED: count_changed(forecast)}
    parts = [f"{number} {_COUNTED.get(kind, kind)}" for kind, number in found.items() if number and kind != MOVED_AWAY]
    mirrors = f"{', '.join(parts)}, on {plural(len(forecast.workers), 'worker')}." if parts else ""
    kinds = [worker.kind for worker in forecast.workers]
    lists = [f"{kinds.count(each)} {each}" for each in (ADDED, REMOVED) if each in kinds]
    return " ".join(filter(None, [mirrors, f"Workers: {', '.join(lists)}." if lists else ""]))


def worker_head(worker: WorkerForecast) -> str:
    """Return what happens to a worker itself; empty if nothing does."""
    if worker.kind == ADDED:
        return "new worker"
    if worker.kind == REMOVED:
        return "removed: it syncs nothing from then on, and its data stays"
    return ""


def headline(mirror: MirrorForecast) -> str:
    """Return what happens to a mirror in a few words; empty for a change of its keys."""
    if mirror.denied:
        return "denied by the exported policy: " + ("it does not start" if mirror.kind in _NEW else "nothing changes")
    others = ", ".join(mirror.others)
    size = f" ({format_size(mirror.size)})" if mirror.size is not None else ""
    return {
        ADDED: f"starts {mirror.first_run}{size}",
        REPAIRED: "its definition is valid again",
        MOVED_HERE: f"moves here from {others}, starts {mirror.first_run}; all files{size} are fetched again",
        RENAMED: f"was {mirror.previous}, whose history it continues{_move(mirror)}",
        CHANGED: "",
        MOVED_AWAY: f"moves to {others}; its data{size} stays in {mirror.directory}",
        REMOVED: f"no more runs; its data{size} stays in {mirror.directory}",
        QUARANTINED: f"invalid: {'its definition in force is kept' if mirror.in_force else 'it does not start'}",
    }[mirror.kind]


def _move(mirror: MirrorForecast) -> str:
    return f"; move its files from {mirror.left} to {mirror.directory}" if mirror.left else ""


def value(text: str | None) -> str:
    """Return a value of a key."""
    return "not set" if text is None else text


def note(found: MirrorNote) -> str:
    """Return a warning or denial as one line, with the mirrors that it concerns."""
    about = f"{names(found.mirrors)}: " if found.mirrors else ""
    return f"{about}{found.what} {found.todo}".rstrip()


def names(mirrors: tuple[str, ...]) -> str:
    """Return the names of mirrors, of many only the first ones."""
    more = len(mirrors) - _NAMES
    return ", ".join(mirrors[:_NAMES]) + (f" and {more} more" if more > 0 else "")


def load(found: DayLoad) -> str:
    """Return how a worker's day changes, in one line."""
    days = arrow(f"{sum(found.before):.0f}", f"{sum(found.after):.0f}")
    most = arrow(f"{max(found.before):.1f}", f"{max(found.after):.1f}")
    busiest = found.after.index(max(found.after))
    hour = "an hour" if is_flat(found) else f"in the busiest hour ({busiest:02}:00)"
    slots = arrow(str(found.slots_before), str(found.slots_after))
    words = f"{days} starts a day, {most} {hour}, slots {slots}"
    if found.busy_before is None and found.busy_after is None:
        return words
    return f"{words}, of which {arrow(_busy(found.busy_before), _busy(found.busy_after))} are in use on average"


def _busy(slots: float | None) -> str:
    return "unknown" if slots is None else f"{slots:.1f}"


def live(found: LiveWorker) -> str:
    """Return what the running site knows of a worker, in one line; empty if that is nothing."""
    parts = []
    if found.added:
        parts.append(f"new data {format_size(found.added)}, in 90 days {format_size(found.expected)}")
    if found.unknown:
        parts.append(f"{plural(found.unknown, 'new mirror')} of unknown size")
    if parts:
        parts.append("free space is not reported" if found.free is None else f"free {format_size(found.free)}")
    if found.fits is not None:
        parts.append("it fits" if found.fits else "IT DOES NOT FIT")
    if found.exported_policy in ("outdated", "missing"):
        parts.append(f"the exported policy in use is {found.exported_policy}")
    return ", ".join(parts)


def arrow(before: str, after: str) -> str:
    """Return a value before and after, or alone if it stays the same."""
    return after if before == after else f"{before} -> {after}"


def is_flat(found: DayLoad) -> bool:
    """Return whether every hour of a day has the same starts, before and after."""
    return all(max(day) - min(day) < _FLAT for day in (found.before, found.after))


def hours(day: tuple[float, ...]) -> str:
    """Return the starts in each hour of a day."""
    return " ".join(f"{starts:.0f}" if starts >= _WHOLE or not starts else f"{starts:.1f}" for starts in day)


def policy(found: PolicyVerdict) -> str:
    """Return a worker's verdict in a few words."""
    return {
        NO_POLICY: "no exported policy; only the worker knows what it allows",
        ALLOWED: "allowed",
        DENIED: "DENIED",
    }[found.state]
