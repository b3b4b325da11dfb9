"""CPU of a worker's timers in a day on which there is nothing to do, reckoned from one start of each."""

import statistics
import subprocess
import time
from pathlib import Path

from tests.bench.timing import cpu, lean
from tests.e2e.parts import ConfigRepository, Manager, Worker

MIRRORS = 1000
ROUNDS = 7
A_DAY = {"tick": 24 * 60, "follow": 24 * 20, "courier": 24 * 60}
"""How often each is started by its timer. A courier that lingers costs less than one that is started each minute."""


def measure(folder: Path, python: Path) -> None:
    """Print the figures."""
    repository = ConfigRepository(folder)
    text = "worker: w1\nprovider: command\nupstream: https://x.example/\ncommand: /bin/true\nmeasure_size: false\n"
    files = {f"m{number}.yml": "interval: 1d\n" for number in range(MIRRORS)}
    files |= {"_site.yml": "title: Bench\n", "_workers.yml": "workers: {w1: {slots: 16}}\n", "_defaults.yml": text}
    repository.commit(files, "Begin")
    with Manager(folder / "m", repository.url) as manager:
        worker = Worker(folder / "w", "w1", repository.url, manager)
        worker.command("follow")
        worker.command("disable", *(f"m{number}" for number in range(MIRRORS)))  # no thousand runs for a benchmark
        worker.command("courier")
        commands = {
            name: [str(python.parent / "skipjack"), *worker.words(name, "--start")[1:]]
            for name in ("follow", "courier")
        }
        subprocess.run(commands["follow"], check=True, capture_output=True)  # the installed version's own plan
        commands["tick"] = lean(python, "tick", str(worker.state))
        time.sleep(1.5)  # an agenda is only written once the files have been at rest
        subprocess.run(commands["tick"], check=True)
        once = {name: statistics.median(cpu(commands[name]) for _ in range(ROUNDS)) for name in A_DAY}
    day = {name: seconds * A_DAY[name] for name, seconds in once.items()}
    print(f"a day with nothing to do, {MIRRORS} mirrors: CPU of one start, and of a day of them")
    for name, seconds in once.items():
        print(f"  {name:8} {seconds * 1000:6.0f} ms  x {A_DAY[name]:4} = {day[name]:5.0f} s")
    total = sum(day.values())
    print(f"  together {total:.0f} s, {total / 864:.2f} % of one processor")
