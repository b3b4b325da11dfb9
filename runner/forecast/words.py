"""The words that all renderers use for a forecast, so that a terminal and a comment say the same."""

from runner.forecast.forecast import (
    ADDED,
    CHANGED,
    KINDS,
    MOVED_AWAY,
    MOVED_HERE,
    QUARANTINED,
    REMOVED,
    RENAMED,
    REPAIRED,
    Forecast,
    MirrorForecast,
    RevisionLabel,
    WorkerForecast,
    count,
    count_changed,
)

SIGNS = {
    ADDED: "+", REPAIRED: "+", MOVED_HERE: "+", RENAMED: "~", CHANGED: "~", MOVED_AWAY: "-", REMOVED: "-",
    QUARANTINED: "!",
}  # fmt: skip

_COUNTED = {
    ADDED: "added", REPAIRED: "repaired", MOVED_HERE: "moved", RENAMED: "renamed", REMOVED: "removed",
    QUARANTINED: "invalid",
}  # fmt: skip


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: `1 mirror`, `2 mirrors`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def label(revision: RevisionLabel) -> str:
    """Return a revision with its commit."""
    return f"{revision.name} ({revision.commit[:12]})" if revision.commit else revision.name


def verdict(forecast: Forecast) -> str:
    """Return the result in one sentence."""
    if forecast.rejected:
        return "Invalid: every worker would reject this revision and keep the one in force."
    if forecast.unknown_base:
        return "Not comparable: every worker rejects the base and keeps an earlier revision, which is not known here."
    if forecast.problems:
        return f"Invalid: {plural(len(forecast.problems), 'problem')}; workers keep the last valid definitions."
    if not forecast.is_fine:
        return "Denied: an exported policy does not allow this change."
    return "Nothing changes." if forecast.is_empty else "Valid."


def counts(forecast: Forecast) -> str:
    """Return how many mirrors are added, changed and so on; empty if none is."""
    found = {kind: count(forecast, kind) for kind in KINDS} | {CHANGED: count_changed(forecast)}
    parts = [f"{number} {_COUNTED.get(kind, kind)}" for kind, number in found.items() if number and kind != MOVED_AWAY]
    if not parts:
        return ""
    return f"{', '.join(parts)}, on {plural(len(forecast.workers), 'worker')}."


def worker_head(worker: WorkerForecast) -> str:
    """Return what happens to a worker itself; empty if nothing does."""
    if worker.kind == ADDED:
        return "new worker"
    if worker.kind == REMOVED:
        return "removed: it syncs nothing from then on, and its data stays"
    return ""


def headline(mirror: MirrorForecast) -> str:
    """Return what happens to a mirror in a few words; empty for a change of its keys."""
    others = ", ".join(mirror.others)
    return {
        ADDED: f"starts {mirror.first_run}",
        REPAIRED: "its definition is valid again",
        MOVED_HERE: f"moves here from {others}, starts {mirror.first_run}; all files are fetched again",
        RENAMED: f"was {mirror.previous}, whose history it continues{_move(mirror)}",
        CHANGED: "",
        MOVED_AWAY: f"moves to {others}; its data stays in {mirror.directory}",
        REMOVED: f"no more runs; its data stays in {mirror.directory}",
        QUARANTINED: f"invalid: {'its definition in force is kept' if mirror.in_force else 'it does not start'}",
    }[mirror.kind]


def _move(mirror: MirrorForecast) -> str:
    return f"; move its files from {mirror.left} to {mirror.directory}" if mirror.left else ""


def value(text: str | None) -> str:
    """Return a value of a key."""
    return "not set" if text is None else text
