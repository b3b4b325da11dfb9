"""For a change that many mirrors have in common: what it does to the command lines of one of them."""

from collections.abc import Mapping
from itertools import islice

from runner.forecast.forecast import SharedChange
from runner.forecast.pairs import Pair
from runner.forecast.places import Places

_MOST = 20
"""Mirrors that are tried: the first ones may replace the options that the others inherit."""


def with_example(shared: SharedChange, affected: Mapping[str, Pair], places: Places) -> SharedChange:
    """Return the change with the command lines of the first mirror that it alters, by this change alone."""
    key = shared.change.key.partition(".")[0]
    for name in islice(shared.mirrors, _MOST):
        was, becomes = affected[name]
        if was is None or key not in becomes._fields:
            break
        before, after = (places.command_lines(each) for each in (was, was._replace(**{key: getattr(becomes, key)})))
        if before != after:
            return shared._replace(example=name, before=before, after=after)
    return shared
