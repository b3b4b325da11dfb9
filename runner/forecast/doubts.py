"""Which valid changes deserve a second look? Only what the change itself brings, never what was there before."""

from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import urlsplit

from runner.forecast import live_facts
from runner.forecast.forecast import ADDED, REMOVED, MirrorForecast, MirrorNote
from runner.forecast.live_facts import LiveFacts
from runner.forecast.notes import grouped
from runner.forecast.pairs import Pair, RevisionMirrors
from runner.forecast.places import Places
from runner.plan.deletion_limits import EVERYTHING
from runner.policy.policy import program_lines
from schemas.config import hints
from schemas.config.upstreams import daemon_host, plain_host
from schemas.problems import shown
from schemas.records import Mirror

_MANY = 4
"""Connections to one host that no upstream is expected to mind."""


_RENAMES = 3
"""Probable renames that are named one by one."""

_RENAMES_WORDED = (
    "Each has the upstream of a mirror that this removes: without `formerly` it is a new mirror, not a renamed one.",
    "Write `formerly: [PREVIOUS]` into each file to keep the history.",
)


def of_pairs(pairs: Sequence[Pair], places: Places, live: LiveFacts | None) -> tuple[MirrorNote, ...]:
    """Return warnings about the mirrors that a change affects on one worker."""
    found = [(pair.after.name, what, todo) for pair in pairs for what, todo in _of_pair(pair, places)]
    return grouped([*found, *(live_facts.duration_doubts(pairs, live) if live else ())])


def of_renames(
    found: Iterable[MirrorForecast], worker: str, old: RevisionMirrors, new: RevisionMirrors
) -> tuple[MirrorNote, ...]:
    """Return warnings about new mirrors that look like renamed ones without `formerly`: their upstream is the same."""
    mirrors = list(found)
    gone: dict[tuple[str, ...], list[str]] = {}
    for name in (each.name for each in mirrors if each.kind == REMOVED and each.name not in new.workers):
        gone.setdefault(_source(old.records[name, worker]), []).append(name)
    added = [each.name for each in mirrors if each.kind == ADDED and each.name not in old.workers]
    names = {name: gone.get(_source(new.records[name, worker]), []) for name in added}
    renamed = {name: former[0] for name, former in names.items() if len(former) == 1}
    if len(renamed) > _RENAMES:
        return (MirrorNote(tuple(renamed), *_RENAMES_WORDED),)
    return tuple([MirrorNote((name,), *_rename(former)) for name, former in renamed.items()])


def _source(mirror: Mirror) -> tuple[str, ...]:
    return mirror.provider, mirror.upstream.rstrip("/"), mirror.command


def _rename(former: str) -> tuple[str, str]:
    why = "without `formerly` it is a new mirror, not a renamed one."
    what = f"Its upstream is that of `{former}`, which this removes: {why}"
    return what, f"Write `formerly: [{former}]` to keep its history."


def _of_pair(pair: Pair, places: Places) -> Iterator[tuple[str, str]]:
    before, after = pair
    if after.max_delete == EVERYTHING and (before is None or before.max_delete != EVERYTHING):
        what = "No guard before deletions: with `max_delete: 100%` one run may delete all files but the last."
        yield what, "Write a smaller share, unless the upstream replaces all of its files at once."
    if before is not None:
        yield from _of_change(before, after, places)
    yield from _programs(before, after)
    if after.password is not None and (before is None or before.password != after.password):
        place = after.password.file or after.password.credential or ""
        yield f"The password `{shown(place)}` must exist on the worker.", "Put it there before the merge."
    old = hints.of_mirrors([before]) if before is not None else []
    yield from ((line.removeprefix(f"`{after.name}`: "), "") for line in hints.of_mirrors([after]) if line not in old)


def _of_change(before: Mirror, after: Mirror, places: Places) -> Iterator[tuple[str, str]]:
    old, new = places.directory(before), places.directory(after)
    if before.name == after.name and old != new:
        what = f"The directory changes from `{shown(old)}` to `{shown(new)}`: all files are fetched again."
        yield what, "Move the files first, or check the space for a second copy; the old one stays."
    if before.provider != after.provider:
        what = f"The provider changes from `{before.provider}` to `{after.provider}`: it may replace or delete files."
        yield what, "Run `skipjack run NAME --dry-run` on the worker after the merge."
    elif before.upstream != after.upstream:
        what = "Another upstream: the next run deletes the files that it does not have."
        yield what, "Check that it has the same content; `max_delete` limits the loss."


def _programs(before: Mirror | None, after: Mirror) -> Iterator[tuple[str, str]]:
    known = {words[0] for _key, words in program_lines(before)} if before is not None else set()
    for key, words in program_lines(after):
        if words[0] not in known:
            yield f"`{key}` starts `{shown(words[0])}` on the worker.", "Check that it is meant to."


def of_hosts(old: RevisionMirrors, new: RevisionMirrors) -> tuple[MirrorNote, ...]:
    """Return warnings about upstream hosts that get more connections at once than before, and many."""
    before, after = _connections(old), _connections(new)
    return tuple(
        [
            MirrorNote(
                (),
                f"Up to {most} connections at once to `{shown(host)}`, {before.get(host, 0)} before this change.",
                "Check the upstream's rules: many allow fewer from one site.",
            )
            for host, most in sorted(after.items())
            if most > max(_MANY, before.get(host, 0))
        ]
    )


def _connections(mirrors: RevisionMirrors) -> dict[str, int]:
    """Return how many runs of all workers may fetch from each host at the same time: a run needs a slot."""
    found: dict[tuple[str, str], int] = {}
    for mirror in mirrors.catalogue.mirrors:
        if host := _host(mirror.upstream):
            found[host, mirror.worker] = found.get((host, mirror.worker), 0) + 1
    total: dict[str, int] = {}
    for (host, worker), number in found.items():
        total[host] = total.get(host, 0) + min(number, mirrors.catalogue.workers[worker].slots)
    return total


def _host(upstream: str) -> str:
    """Return the host of an upstream; empty if its address has none."""
    if host := daemon_host(upstream):
        return host
    try:
        return plain_host(urlsplit(upstream).hostname or "")
    except ValueError:
        return ""
