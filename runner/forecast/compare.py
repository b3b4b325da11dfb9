"""What does a change do? A pure function of the configuration before and after, and the exported policies.

It knows no file, no git, no network and no clock.
"""

from collections.abc import Mapping
from typing import NamedTuple

from runner.forecast import first_run, shared, values
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
    UNCHANGED,
    Forecast,
    MirrorForecast,
    RevisionLabel,
    ValueChange,
    WorkerForecast,
)
from runner.forecast.places import Places
from schemas.config.catalogue import Catalogue
from schemas.problems import Problem
from schemas.records import Mirror, Site

_NO_SITE = Site("")

NOTHING = Catalogue(_NO_SITE, {}, (), (), frozenset())
"""The configuration of a revision without any."""


class ConfigState(NamedTuple):
    """The configuration of one revision; `catalogue` is None if its site or its workers are invalid."""

    label: RevisionLabel
    catalogue: Catalogue | None
    problems: tuple[Problem, ...]


class _RevisionMirrors(NamedTuple):
    """The mirrors of one revision: by name and worker, by worker, the workers of each name, and the invalid names."""

    catalogue: Catalogue
    records: Mapping[tuple[str, str], Mirror]
    on: Mapping[str, list[Mirror]]
    workers: Mapping[str, frozenset[str]]

    @property
    def invalid(self) -> frozenset[str]:
        return self.catalogue.quarantined


def compare(base: ConfigState, head: ConfigState, places: Mapping[str, Places], notes: tuple[str, ...]) -> Forecast:
    """Return the forecast of a change from `base` to `head`; `places` has the folders of each worker's machine."""
    problems, fixed = head.problems, _only_in(base.problems, head.problems)
    forecast = Forecast(base.label, head.label, problems=problems, fixed=fixed, notes=notes)
    if head.catalogue is None or base.catalogue is None:
        return forecast._replace(rejected=head.catalogue is None, unknown_base=base.catalogue is None)
    old, new = _side(base.catalogue), _side(head.catalogue)
    previous = _previous_names(old, new)
    names = sorted({*base.catalogue.workers, *head.catalogue.workers})
    workers = [_worker(name, old, new, previous, places.get(name, Places())) for name in names]
    site = values.record_changes(base.catalogue.site, head.catalogue.site)
    return forecast._replace(workers=tuple([each for each in workers if each is not None]), site=site)


def _only_in(some: tuple[Problem, ...], others: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """Return the problems that others do not have; a problem stays the same when its line has moved."""
    known = {(each.file, each.what) for each in others}
    return tuple([each for each in some if (each.file, each.what) not in known])


def _side(catalogue: Catalogue) -> _RevisionMirrors:
    workers: dict[str, set[str]] = {}
    on: dict[str, list[Mirror]] = {}
    for mirror in catalogue.mirrors:
        workers.setdefault(mirror.name, set()).add(mirror.worker)
        on.setdefault(mirror.worker, []).append(mirror)
    records = {(mirror.name, mirror.worker): mirror for mirror in catalogue.mirrors}
    return _RevisionMirrors(catalogue, records, on, {name: frozenset(found) for name, found in workers.items()})


def _previous_names(old: _RevisionMirrors, new: _RevisionMirrors) -> dict[str, str]:
    """Return the previous name of each mirror that the change renames."""
    known = old.workers.keys() | old.invalid
    gone = known - new.workers.keys() - new.invalid
    return {
        mirror.name: name
        for mirror in new.catalogue.mirrors
        if mirror.formerly and mirror.name not in known
        for name in mirror.formerly[::-1]
        if name in gone
    }


def _worker(
    name: str, old: _RevisionMirrors, new: _RevisionMirrors, previous: Mapping[str, str], places: Places
) -> WorkerForecast | None:
    """Return the forecast of a worker; None if nothing changes there."""
    before, after = old.catalogue.workers.get(name), new.catalogue.workers.get(name)
    renamed = {former: current for current, former in previous.items()}
    mirrors = [
        *(_arrival(mirror, old, new, previous, places) for mirror in new.on.get(name, ())),
        *(_departure(mirror, new, renamed, places) for mirror in old.on.get(name, ())),
        *(_quarantined(each, name, old, places) for each in sorted(new.invalid) if _is_newly_on(each, name, old, new)),
    ]  # fmt: skip
    found = [each for each in mirrors if each is not None]
    kind = UNCHANGED if before and after else ADDED if after else REMOVED
    changes = values.record_changes(before, after) if before and after else ()
    if not (found or changes or kind != UNCHANGED):
        return None
    single, common = shared.split(found)
    ordered = sorted(single, key=lambda each: (KINDS.index(each.kind), each.name))
    return WorkerForecast(name, kind, changes, tuple(ordered), common)


def _arrival(
    mirror: Mirror, old: _RevisionMirrors, new: _RevisionMirrors, previous: Mapping[str, str], places: Places
) -> MirrorForecast | None:
    """Return what happens to a mirror that the head has on a worker; None if it stays as it is."""
    was = old.records.get((mirror.name, mirror.worker))
    if was is not None:
        changes = (*values.mirror_changes(was, mirror), *_pattern_changes(was, mirror, old, new))
        return MirrorForecast(mirror.name, CHANGED, places.directory(mirror), changes) if changes else None
    name = previous.get(mirror.name, mirror.name)
    former = old.records.get((name, mirror.worker))
    begins = first_run.words(mirror, new.catalogue.workers[mirror.worker])
    found = MirrorForecast(mirror.name, ADDED, places.directory(mirror), previous=previous.get(mirror.name, ""))
    if former is not None:
        left = places.directory(former)
        return found._replace(
            kind=RENAMED,
            changes=values.mirror_changes(former, mirror),
            left="" if left == found.directory else left,
        )
    if name in old.invalid:
        return found._replace(kind=REPAIRED, changes=values.settings_of(mirror))
    found = found._replace(changes=values.settings_of(mirror), first_run=begins)
    origins = old.workers.get(name, frozenset()) - new.workers[mirror.name]
    return found._replace(kind=MOVED_HERE, others=tuple(sorted(origins))) if origins else found


def _pattern_changes(
    was: Mirror, mirror: Mirror, old: _RevisionMirrors, new: _RevisionMirrors
) -> tuple[ValueChange, ...]:
    """Return how the content of the pattern file changes that a mirror names in the repository before and after."""
    before = old.catalogue.patterns.get(was.exclude_file or "")
    after = new.catalogue.patterns.get(mirror.exclude_file or "")
    # A file of the machine is not known here.
    return () if before is None or after is None else values.pattern_changes(str(mirror.exclude_file), before, after)


def _departure(
    mirror: Mirror, new: _RevisionMirrors, renamed: Mapping[str, str], places: Places
) -> MirrorForecast | None:
    """Return what happens to a mirror that the head has no more on a worker; None if it stays or has another name."""
    name = renamed.get(mirror.name, mirror.name)
    if (name, mirror.worker) in new.records or name in new.invalid:
        return None
    elsewhere = tuple(sorted(new.workers.get(name, ())))
    kind = MOVED_AWAY if elsewhere else REMOVED
    return MirrorForecast(mirror.name, kind, places.directory(mirror), others=elsewhere)


def _is_newly_on(name: str, worker: str, old: _RevisionMirrors, new: _RevisionMirrors) -> bool:
    """Return whether a mirror that was valid or new is invalid now on a worker: it has it, or the file names it."""
    files = [file for file in new.catalogue.owners if file.rpartition("/")[2].removesuffix(".yml") == name]
    has_it = (name, worker) in old.records or any(worker in new.catalogue.owners[file] for file in files)
    return has_it and name not in old.invalid


def _quarantined(name: str, worker: str, old: _RevisionMirrors, places: Places) -> MirrorForecast:
    was = old.records.get((name, worker))
    directory = places.directory(was or Mirror(name, worker, "", ""))
    return MirrorForecast(name, QUARANTINED, directory, in_force=was is not None)
