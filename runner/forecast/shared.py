"""Which changes do several mirrors of a worker have in common, such as those of one line in `_defaults.yml`?"""

from collections.abc import Iterable

from runner.forecast.forecast import CHANGED, MirrorForecast, SharedChange, ValueChange

_FEWEST = 3
"""Mirrors that must have a change in common, so that it is shown once for all of them."""


def split(mirrors: Iterable[MirrorForecast]) -> tuple[list[MirrorForecast], tuple[SharedChange, ...]]:
    """Return the mirrors with the changes of their own, and the changes that several have in common."""
    found = list(mirrors)
    names: dict[ValueChange, list[str]] = {}
    for each in found:
        for change in each.changes if each.kind == CHANGED else ():
            names.setdefault(change, []).append(each.name)
    common = {change for change, having in names.items() if len(having) >= _FEWEST}
    own = [_without(each, common) if each.kind == CHANGED else each for each in found]
    kept = [each for each in own if each.kind != CHANGED or each.changes]
    shared = [SharedChange(change, tuple(sorted(names[change])), min(names[change])) for change in common]
    return kept, tuple(sorted(shared, key=lambda each: (-len(each.mirrors), each.change.key, str(each.change))))


def _without(mirror: MirrorForecast, common: set[ValueChange]) -> MirrorForecast:
    return mirror._replace(changes=tuple([change for change in mirror.changes if change not in common]))
