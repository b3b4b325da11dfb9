"""Kills a worker's and its manager's processes at random, and checks what must be true during that and afterwards."""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from schemas.states import ENDS
from tests.e2e.parts import wait_until
from tests.soak import truth
from tests.soak.truth import JournalRun
from tests.soak.worker_life import SCRIPTS, SLOTS, Life

KINDS = ("run", "run", "provider", "provider", "tick", "courier", "manager", "publisher", "all")
"""The processes to kill, the more frequent ones twice; `all` is a power cut of the worker."""

OF_A_WORKER = ("tick", "run", "provider", "courier")


class SoakResult(NamedTuple):
    """The results: kills by kind, ends of runs by status, and all faults."""

    deaths: Counter[str]
    ends: Counter[str]
    problems: list[str]
    seconds: float


def soak(folder: Path, deaths: int, seed: int, tell: Callable[[str], None]) -> SoakResult:
    """Kill that many times, then let everything come to rest and compare."""
    began, watch = time.monotonic(), _Watch()
    killed: Counter[str] = Counter()
    dice = random.Random(seed)
    with Life(folder) as life:
        wait_until(lambda: len(life.worker.states()) == len(SCRIPTS), "the mirrors run")
        while killed.total() < deaths and not watch.problems:
            time.sleep(dice.uniform(0.01, 0.4))  # the random moment itself, which waits for nothing
            kind = dice.choice(KINDS)
            if _kill(life, kind, dice):
                killed[kind] += 1
                watch.look(life)
                if killed.total() % 20 == 0:
                    tell(f"{killed.total()} deaths, {len(truth.past(life.worker))} runs")
        tell("no more kills; waiting until nothing is active")
        try:
            life.come_to_rest()
            watch.look(life)
            _wait_for_the_pages(life)
        except TimeoutError as error:
            watch.problems.append(str(error))
        watch.problems += _final(life)
        ends = Counter(run.status for run in truth.past(life.worker))
    return SoakResult(killed, ends, watch.problems, time.monotonic() - began)


def _kill(life: Life, kind: str, dice: random.Random) -> bool:
    """Kill one process of a kind, or all of the worker's; False when there is none."""
    if kind == "all":
        return sum(life.end(pid) for each in OF_A_WORKER for pid in life.of(each)) > 0
    victims = sorted(life.of(kind))
    return bool(victims) and life.end(dice.choice(victims))


class _Watch:
    """Looks again and again; an end that has been seen once must never be another later."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._ended: dict[int, JournalRun] = {}

    def look(self, life: Life) -> None:
        """Note what is not as it must be."""
        self.problems += truth.violations(life.worker)
        at_work = {_directory(pid) for pid in truth.providers(life.worker)} - {""}
        if len(at_work) > SLOTS:
            self.problems.append(f"more mirrors at work than there are slots: {sorted(at_work)}")
        for run in truth.past(life.worker):
            if run.status in ENDS and self._ended.setdefault(run.id, run) != run:
                self.problems.append(f"an end has changed: {self._ended[run.id]} is now {run}")


def _directory(pid: int) -> str:
    """The mirror's directory that a provider is at work on."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((word.decode() for word in words if word.startswith(b"TUNASYNC_WORKING_DIR=")), "")


def _wait_for_the_pages(life: Life) -> None:
    def told() -> bool:
        return life.worker.pending() == 0 and not list(_differences(life))

    wait_until(told, "the manager shows every run as it ended", 60)


def _differences(life: Life) -> list[str]:
    return list(truth.differences(life.worker, life.manager, list(SCRIPTS)))


def _final(life: Life) -> list[str]:
    problems = [*_differences(life), *truth.leftovers(life.worker)]
    problems += truth.untold(life.worker, life.manager)
    problems += truth.damage(life.worker.state / "journal.db")
    problems += truth.damage(life.manager.folder / "state/manager.db")
    logs = (
        life.worker.state / "messages.log",
        life.worker.folder.parent / "soak.log",
        life.manager.folder / "manager.log",
    )
    for log in logs:
        problems += [f"{log.name}: {line}" for line in truth.lines(log) if "Traceback" in line or "bug" in line]
    return problems
