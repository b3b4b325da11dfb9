"""What happens to each mirror of a worker: is it added, removed, changed, renamed, moved, repaired or quarantined?"""

from collections.abc import Iterator, Mapping

from runner.forecast import first_run, values
from runner.forecast.forecast import (
    ADDED,
    CHANGED,
    MOVED_AWAY,
    MOVED_HERE,
    QUARANTINED,
    REMOVED,
    RENAMED,
    REPAIRED,
    MirrorForecast,
    ValueChange,
)
from runner.forecast.pairs import RevisionMirrors
from runner.forecast.places import Places
from schemas.records import Mirror


def previous_names(old: RevisionMirrors, new: RevisionMirrors) -> dict[str, str]:
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


def on_worker(
    name: str, old: RevisionMirrors, new: RevisionMirrors, previous: Mapping[str, str], places: Places
) -> list[MirrorForecast]:
    """Return what happens to the mirrors of a worker; those that stay as they are are left out."""
    return list(_on_worker(name, old, new, previous, places))


def _on_worker(
    name: str, old: RevisionMirrors, new: RevisionMirrors, previous: Mapping[str, str], places: Places
) -> Iterator[MirrorForecast]:
    renamed = {former: current for current, former in previous.items()}
    for mirror in new.on.get(name, ()):
        if (found := _arrival(mirror, old, new, previous, places)) is not None:
            yield found
    for mirror in old.on.get(name, ()):
        if (found := _departure(mirror, new, renamed, places)) is not None:
            yield found
    # A worker that is removed keeps no definition in force, not even of an invalid mirror.
    for invalid in sorted(new.invalid) if name in new.catalogue.workers else ():
        if _is_newly_on(invalid, name, old, new):
            yield _quarantined(invalid, name, old, places)


def _arrival(
    mirror: Mirror, old: RevisionMirrors, new: RevisionMirrors, previous: Mapping[str, str], places: Places
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
    was: Mirror, mirror: Mirror, old: RevisionMirrors, new: RevisionMirrors
) -> tuple[ValueChange, ...]:
    """Return how the content of the pattern file changes that a mirror names in the repository before and after."""
    before = old.catalogue.patterns.get(was.exclude_file or "")
    after = new.catalogue.patterns.get(mirror.exclude_file or "")
    # A file of the machine is not known here.
    return () if before is None or after is None else values.pattern_changes(str(mirror.exclude_file), before, after)


def _departure(
    mirror: Mirror, new: RevisionMirrors, renamed: Mapping[str, str], places: Places
) -> MirrorForecast | None:
    """Return what happens to a mirror that the head has no more on a worker; None if it stays or has another name."""
    name = renamed.get(mirror.name, mirror.name)
    if (name, mirror.worker) in new.records or (name in new.invalid and mirror.worker in new.catalogue.workers):
        return None
    elsewhere = tuple(sorted(new.workers.get(name, ())))
    kind = MOVED_AWAY if elsewhere else REMOVED
    return MirrorForecast(mirror.name, kind, places.directory(mirror), others=elsewhere)


def _is_newly_on(name: str, worker: str, old: RevisionMirrors, new: RevisionMirrors) -> bool:
    """Return whether a mirror that was valid or new is invalid now on a worker: it has it, or the file names it."""
    files = [file for file in new.catalogue.owners if file.rpartition("/")[2].removesuffix(".yml") == name]
    has_it = (name, worker) in old.records or any(worker in new.catalogue.owners[file] for file in files)
    return has_it and name not in old.invalid


def _quarantined(name: str, worker: str, old: RevisionMirrors, places: Places) -> MirrorForecast:
    was = old.records.get((name, worker))
    directory = places.directory(was or Mirror(name, worker, "", ""))
    return MirrorForecast(name, QUARANTINED, directory, in_force=was is not None)
