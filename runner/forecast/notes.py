"""Notes that several mirrors have in common are shown once."""

from collections.abc import Iterable

from runner.forecast.forecast import MirrorNote


def grouped(found: Iterable[tuple[str, str, str]]) -> tuple[MirrorNote, ...]:
    """Return notes from the name of a mirror, what is wrong, and what to do, in the order of their first mirrors."""
    names: dict[tuple[str, str], dict[str, None]] = {}
    for mirror, what, todo in found:
        names.setdefault((what, todo), {})[mirror] = None
    return tuple([MirrorNote(tuple(mirrors), what, todo) for (what, todo), mirrors in names.items()])
