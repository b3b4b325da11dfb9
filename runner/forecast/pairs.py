"""The mirrors of two revisions by name and worker, and the records behind each mirror of a forecast."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from runner.forecast.forecast import CHANGED, MirrorForecast, SharedChange
from schemas.config.catalogue import Catalogue
from schemas.records import Mirror


class RevisionMirrors(NamedTuple):
    """The mirrors of one revision: by name and worker, by worker, and the workers of each name."""

    catalogue: Catalogue
    records: Mapping[tuple[str, str], Mirror]
    on: Mapping[str, list[Mirror]]
    workers: Mapping[str, frozenset[str]]

    @property
    def invalid(self) -> frozenset[str]:
        """The names of the quarantined mirrors."""
        return self.catalogue.quarantined


class Pair(NamedTuple):
    """The definitions of one mirror that a change affects: before, None if there was none, and after."""

    before: Mirror | None
    after: Mirror


def by_worker(catalogue: Catalogue) -> RevisionMirrors:
    """Return the mirrors of a revision."""
    workers: dict[str, set[str]] = {}
    on: dict[str, list[Mirror]] = {}
    for mirror in catalogue.mirrors:
        workers.setdefault(mirror.name, set()).add(mirror.worker)
        on.setdefault(mirror.worker, []).append(mirror)
    records = {(mirror.name, mirror.worker): mirror for mirror in catalogue.mirrors}
    return RevisionMirrors(catalogue, records, on, {name: frozenset(found) for name, found in workers.items()})


def pair_of(mirror: MirrorForecast, worker: str, old: RevisionMirrors, new: RevisionMirrors) -> Pair | None:
    """Return the definitions of a mirror; None if the head has none on this worker."""
    after = new.records.get((mirror.name, worker))
    return None if after is None else Pair(old.records.get((mirror.previous or mirror.name, worker)), after)


def affected(
    mirrors: Iterable[MirrorForecast],
    shared: Iterable[SharedChange],
    worker: str,
    old: RevisionMirrors,
    new: RevisionMirrors,
) -> Iterator[Pair]:
    """Yield the definitions of all mirrors that the head changes on a worker, each once, sorted by name."""
    names = {name for each in shared for name in each.mirrors}
    found = {each.name: each for each in mirrors}
    for name in sorted(names | found.keys()):
        pair = pair_of(found.get(name, MirrorForecast(name, CHANGED, "")), worker, old, new)
        if pair is not None:
            yield pair
