"""Measuring whole processes: CPU by the kernel's accounting, wall time by the clock; pairs taken in turn."""

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import usage


def cpu(words: Sequence[str]) -> float:
    """CPU seconds (user and system) of one command and all that it started."""
    return usage.of_tree(words)[usage.CPU] / 1000


def wall(words: Sequence[str]) -> float:
    """Wall seconds of one command."""
    began = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def pairs(one: Callable[[], float], other: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Medians of both in turn, A B A B …, and the median of the ratios A/B of the pairs; one round to warm up."""
    one(), other()
    figures = [(one(), other()) for _ in range(rounds)]
    ratio = statistics.median(a / b for a, b in figures)
    return statistics.median(a for a, _ in figures), statistics.median(b for _, b in figures), ratio


FIND = """
try:
    from runner.subprocesses.spawn import lean
except ImportError:  # an older commit
    from runner.programs import lean
print(lean("")[3])
"""


def lean(python: Path, *words: str) -> list[str]:
    """The command line of a lean program of the Skipjack that `python` has installed."""
    found = subprocess.run([python, "-c", FIND], capture_output=True, text=True, check=True, cwd="/").stdout.strip()
    return [str(python), "-I", "-S", found, *words]
