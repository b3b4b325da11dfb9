"""What does a change do? A pure function of the configuration before and after, and the exported policies.

It knows no file, no git, no network and no clock.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from runner.forecast import day_load, doubts, examples, live_facts, pairs, shared, steps, values, verdicts
from runner.forecast.forecast import (
    ADDED,
    KINDS,
    QUARANTINED,
    REMOVED,
    UNCHANGED,
    DayLoad,
    Forecast,
    MirrorForecast,
    RevisionLabel,
    WorkerForecast,
)
from runner.forecast.live_facts import LiveFacts
from runner.forecast.pairs import Pair, RevisionMirrors
from runner.forecast.places import Places
from schemas.config.catalogue import Catalogue
from schemas.config.exported_policy import ExportedPolicy
from schemas.problems import Problem
from schemas.records import Mirror, Site, Worker

_NO_SITE = Site("")

NOTHING = Catalogue(_NO_SITE, {}, (), (), frozenset())
"""The configuration of a revision without any."""


class ConfigState(NamedTuple):
    """The configuration of one revision; `catalogue` is None if its site or its workers are invalid."""

    label: RevisionLabel
    catalogue: Catalogue | None
    problems: tuple[Problem, ...]


def compare(
    base: ConfigState,
    head: ConfigState,
    exported: Mapping[str, ExportedPolicy],
    notes: tuple[str, ...],
    live: LiveFacts | None = None,
) -> Forecast:
    """Return the forecast of a change from `base` to `head`.

    `exported` has the policies by worker, `live` the facts of the running site, None without.
    """
    problems, fixed = head.problems, _only_in(base.problems, head.problems)
    forecast = Forecast(base.label, head.label, problems=problems, fixed=fixed, notes=notes)
    if head.catalogue is None or base.catalogue is None:
        return forecast._replace(rejected=head.catalogue is None, unknown_base=base.catalogue is None)
    old, new = pairs.by_worker(base.catalogue), pairs.by_worker(head.catalogue)
    previous = steps.previous_names(old, new)
    names = sorted({*base.catalogue.workers, *head.catalogue.workers})
    workers = [_worker(name, old, new, previous, Places(exported.get(name)), live) for name in names]
    return forecast._replace(
        workers=tuple([each for each in workers if each is not None]),
        site=values.record_changes(base.catalogue.site, head.catalogue.site),
        warnings=doubts.of_hosts(old, new),
    )


def _only_in(some: tuple[Problem, ...], others: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Return the problems that others do not have; a problem stays the same when its line has moved."""
    known = {(each.file, each.what) for each in others}
    return tuple([each for each in some if (each.file, each.what) not in known])


def _worker(
    name: str,
    old: RevisionMirrors,
    new: RevisionMirrors,
    previous: Mapping[str, str],
    places: Places,
    live: LiveFacts | None,
) -> WorkerForecast | None:
    """Return the forecast of a worker; None if nothing changes there."""
    before, after = old.catalogue.workers.get(name), new.catalogue.workers.get(name)
    found = [_sized(each, name, live) for each in steps.on_worker(name, old, new, previous, places)]
    changes = values.record_changes(before, after) if before and after else ()
    if before and after and not (found or changes):
        return None
    single, common = shared.split(found)
    affected = list(pairs.affected(single, common, name, old, new))
    by_name = {pair.after.name: pair for pair in affected}
    lines = {pair.after.name: _lines(pair, places) for pair in affected}
    zone = new.catalogue.site.time_zone
    verdict = verdicts.of(places.exported, [pair.after for pair in affected], new.on.get(name, []))
    denied = {mirror for note in verdict.denied for mirror in note.mirrors}
    return WorkerForecast(
        name,
        _kind(before, after),
        changes,
        tuple(sorted((_completed(each, lines, denied) for each in single), key=_order)),
        tuple([examples.with_example(each, by_name, places) for each in common]),
        _load(old.on.get(name, []), _in_force(name, found, affected, denied, old, new), before, after, zone, live),
        verdict,
        (*doubts.of_renames(found, name, old, new), *doubts.of_pairs(affected, places, live)),
        live_facts.of_worker(name, found, live) if live else None,
    )


def _sized(mirror: MirrorForecast, worker: str, live: LiveFacts | None) -> MirrorForecast:
    return mirror._replace(size=live.size(mirror, worker)) if live else mirror


def _in_force(
    worker: str,
    found: Iterable[MirrorForecast],
    affected: Iterable[Pair],
    denied: Collection[str],
    old: RevisionMirrors,
    new: RevisionMirrors,
) -> list[Mirror]:
    """Return what a worker runs afterwards: of an invalid or denied definition, the previous one."""
    taken = [mirror for mirror in new.on.get(worker, ()) if mirror.name not in denied]
    invalid = [old.records[each.name, worker] for each in found if each.kind == QUARANTINED and each.in_force]
    return [*taken, *invalid, *(pair.before for pair in affected if pair.before and pair.after.name in denied)]


def _load(
    before: list[Mirror], after: list[Mirror], old: Worker | None, new: Worker | None, zone: str, live: LiveFacts | None
) -> DayLoad | None:
    found = day_load.compare(before, after, old, new, zone)
    if found is None or live is None:
        return found
    busy = (live_facts.busy_slots(mirrors, worker, live, zone) for mirrors, worker in ((before, old), (after, new)))
    busy_before, busy_after = busy
    return found._replace(busy_before=busy_before, busy_after=busy_after)


def _kind(before: Worker | None, after: Worker | None) -> str:
    return UNCHANGED if before and after else ADDED if after else REMOVED


def _order(mirror: MirrorForecast) -> tuple[int, str]:
    return KINDS.index(mirror.kind), mirror.name


_BeforeAndAfter = tuple[tuple[str, ...], tuple[str, ...]]
_SAME: _BeforeAndAfter = ((), ())


def _lines(pair: Pair, places: Places) -> _BeforeAndAfter:
    """Return the command lines before and after; none if they stay the same."""
    before = places.command_lines(pair.before) if pair.before is not None else ()
    after = places.command_lines(pair.after)
    return _SAME if before == after else (before, after)


def _completed(mirror: MirrorForecast, lines: Mapping[str, _BeforeAndAfter], denied: Collection[str]) -> MirrorForecast:
    """Return a mirror with its command lines, and whether its definition is denied."""
    before, after = lines.get(mirror.name, _SAME)
    return mirror._replace(before=before, after=after, denied=mirror.name in denied)
