"""Which of many cases that assert one rule `make test` has; the others are for `make test-release`."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def some(cases: Iterable[Any], every: int) -> list[Any]:
    """Return these values as parameters, of which `make test` has the first and each one `every` further on."""
    return [pytest.param(case, marks=_marks(number, every)) for number, case in enumerate(cases)]


def crossed(*axes: Sequence[Any], every: int) -> list[Any]:
    """Return all combinations as parameters, of which `make test` has one in `every`.

    With at least `every` values on one axis, each value of the other ones is still there.
    """
    places = itertools.product(*map(range, map(len, axes)))
    return [
        pytest.param(*(axis[at] for axis, at in zip(axes, place, strict=True)), marks=_marks(sum(place), every))
        for place in places
    ]


def _marks(number: int, every: int) -> Sequence[pytest.MarkDecorator]:
    return [pytest.mark.release] if number % every else []
