"""One thing that both versions do in turn, and how its cost is measured."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from tests.bench import usage
from tests.bench.usage import Figures

RATE = "updates/s, by the wall clock"
"""A figure that is shown but has no limit: it depends on the load of the machine."""


class Scenario(NamedTuple):
    """What is done, how its CPU time and how its system calls are measured, and how often at least."""

    name: str
    costs: Callable[[], Figures]
    calls: Callable[[], Figures]
    rounds: int = 11


def of_command(
    name: str, words: Sequence[str], before: Callable[[], object] = lambda: None, rounds: int = 11
) -> Scenario:
    """A command that is started in each round; `before` prepares a round and is not measured."""
    return Scenario(
        name, partial(_after, before, usage.of_tree, words), partial(_after, before, usage.counts, words), rounds
    )


def _after(before: Callable[[], object], measure: Callable[[Sequence[str]], Figures], words: Sequence[str]) -> Figures:
    before()
    return measure(words)
