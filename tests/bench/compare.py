"""`make bench`: what this work tree costs, as a multiple of what an older commit costs.

The two take turns, and the order changes from round to round. The result is the median of the ratios of neighbours, so
other load on the machine affects both. CPU time and counts are compared; rates depend on the wall clock and are only
shown.
"""

import argparse
import contextlib
import signal
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from tests.bench import manager_costs, usage, worker_costs
from tests.bench.scenario import RATE, Scenario
from tests.bench.sides import Side, default_old, prepare
from tests.bench.usage import Figures
from tests.e2e.parts import REPOSITORY, end_on_signals

ROUNDS = 11
COUNT_ROUNDS = 3
"""Rounds under strace, whose counts hardly differ from one to the next."""

LIMIT = 1.1
"""The ratio from which a line is marked."""

FOLDER = REPOSITORY / "build" / "bench"
PARTS: dict[str, Callable[[Side], AbstractContextManager[list[Scenario]]]] = {
    "tick": worker_costs.tick,
    "run": worker_costs.run,
    "follow": worker_costs.follow,
    "reports": manager_costs.reports,
    "posts": manager_costs.posts,
    "schedules": manager_costs.schedules,
    "publish": manager_costs.publish,
}


class Line(NamedTuple):
    """One figure of both sides: medians, and the quartiles and the median of the ratios of neighbours."""

    figure: str
    old: float
    new: float
    ratios: tuple[float, float, float]


def main() -> None:
    """Compare two versions as the command line says."""
    arguments = _arguments()
    end_on_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    old, new = prepare(FOLDER, arguments.old or default_old())
    print(f"old: {old.label}, new: the work tree; at least {arguments.rounds} rounds, medians, quartiles of the ratios")
    print(f"{'':38}{'old':>12}{'new':>12}{'ratio':>8}   quartiles")
    marked = 0
    for name in arguments.only or PARTS:
        with contextlib.ExitStack() as stack:
            sides = [stack.enter_context(PARTS[name](side)) for side in (old, new)]
            for one, other in zip(*sides, strict=True):
                print(one.name, flush=True)
                for line in _compare(one, other, arguments.rounds):
                    marked += show(line)
    print(f"{marked} lines are above {LIMIT}" if marked else f"nothing is above {LIMIT}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--old", metavar="COMMIT", help="default: the newest commit without what the work tree has")
    parser.add_argument("--only", nargs="*", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="NUMBER", help="default: %(default)s")
    return parser.parse_args()


def _compare(old: Scenario, new: Scenario, rounds: int) -> Iterator[Line]:
    yield from lines(old.costs, new.costs, max(rounds, old.rounds))
    if usage.can_count():
        yield from lines(old.calls, new.calls, COUNT_ROUNDS)


def lines(old: Callable[[], Figures], new: Callable[[], Figures], rounds: int) -> Iterator[Line]:
    """Let both take turns, once to warm up and then so many times."""
    old(), new()
    pairs: list[tuple[Figures, Figures]] = []
    for number in range(rounds):
        if number % 2:
            later = new()
            pairs.append((old(), later))
        else:
            pairs.append((old(), new()))
    for figure in pairs[0][0]:
        both = [(before[figure], after[figure]) for before, after in pairs]
        ratios = [_ratio(before, after) for before, after in both]
        medians = [statistics.median(values) for values in zip(*both, strict=True)]
        yield Line(figure, medians[0], medians[1], _quartiles(ratios))


def _quartiles(ratios: list[float]) -> tuple[float, float, float]:
    ordered = sorted(ratios)
    low, high = (ordered[round((len(ordered) - 1) * part)] for part in (0.25, 0.75))
    return low, statistics.median(ordered), high


def _ratio(old: float, new: float) -> float:
    if old:
        return new / old
    return float("inf") if new else 1.0


def show(line: Line) -> bool:
    """Print a line; returns whether it is marked."""
    low, ratio, high = line.ratios
    is_above = ratio > LIMIT and line.figure != RATE
    mark = f"  <-- above {LIMIT}" if is_above else ""
    print(f"  {line.figure:36}{line.old:12,.5g}{line.new:12,.5g}{ratio:8.2f}   {low:.2f}-{high:.2f}{mark}", flush=True)
    return is_above


if __name__ == "__main__":
    main()
