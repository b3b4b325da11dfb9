"""CPU of a tick with nothing to do, as a multiple of Python's own start in the same installed environment.

Beside it a tick that must look at everything and finds nothing, a tenth of the mirrors with fixed times.
"""

import statistics
import subprocess
import time
from functools import partial
from pathlib import Path

from runner.base.mirror_paths import Paths
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Ending, Subject
from runner.plan import plan
from runner.plan.plan import Header, Planned
from schemas.records import Mirror
from tests.bench.timing import cpu, lean, pairs

COUNTS = (200, 1000, 10_000)
UPSTREAM = "rsync://rsync.example.org/x/"


def measure(folder: Path, python: Path) -> None:
    """Print the figures for each number of mirrors."""
    print("idle tick: CPU against `python -I -c pass` (goal: 1.5)")
    for count in COUNTS:
        state = folder / str(count)
        _fill(state, count)
        time.sleep(1.5)  # an agenda is only written once the files have been at rest
        tick = lean(python, "tick", str(state))
        subprocess.run(tick, check=True)
        if not (state / "agenda").exists():
            raise RuntimeError("the tick was not idle")
        ours, base, ratio = pairs(partial(cpu, tick), partial(cpu, [str(python), "-I", "-c", "pass"]), 41)
        print(f"  {count:6} mirrors  {ours * 1000:6.1f} ms  baseline {base * 1000:6.1f} ms  ratio {ratio:.2f}")
        looking = statistics.median(_look(tick, state) for _ in range(7))
        print(f"  {'':6} looking at all of them  {looking * 1000:6.1f} ms")


def _look(tick: list[str], state: Path) -> float:
    """CPU of a tick without an agenda."""
    (state / "agenda").unlink()
    return cpu(tick)


def _fill(state: Path, count: int) -> None:
    """A worker's state with that many mirrors, all synced a moment ago."""
    state.mkdir(parents=True)
    layout = StateLayout(str(state))
    names = [f"mirror-{number}" for number in range(count)]
    template = Mirror("", "w1", "rsync", UPSTREAM)
    mirrors = [
        Planned(template._replace(name=name), Paths(f"/srv/mirror/{name}", "/srv/mirror", f"/log/{name}"), "a" * 40)
        for name in names
    ]
    for number in range(0, count, 10):
        timed = mirrors[number].mirror._replace(cron=f"{number % 60} 4 * * *")
        mirrors[number] = mirrors[number]._replace(mirror=timed)
    header = Header("w1", 4, "a" * 40, "a" * 40, "", str(state / "run"), time_zone="Europe/Berlin")
    plan.write(layout.plan, header, mirrors)
    now = time.time()
    with journal.opened(layout.journal) as book:
        runs = book.launch([Subject(name, UPSTREAM, True, "a" * 40) for name in names], [], now)
        for name, run in runs.items():
            book.end(run, name, Ending("success"), now)
