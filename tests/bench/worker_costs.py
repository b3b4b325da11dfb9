"""What the worker's programs cost: a tick with nothing to do, a run, a follow."""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import usage
from tests.bench.scenario import Scenario, of_command
from tests.bench.sides import Side, SideWorker
from tests.e2e.parts import RsyncDaemon

MIRRORS = 1000
FILES = 500
"""Files of the mirror that a run syncs."""

_SITE = {"_site.yml": "title: Bench\n", "_workers.yml": "workers: {w1: {slots: 2}}\n"}
_NEVER_DUE = "worker: w1\nprovider: rsync\nupstream: rsync://127.0.0.1:9/x/\nmeasure_size: false\ncron: 0 0 29 2 *\n"


def _many(side: Side, name: str) -> SideWorker:
    """A worker with many mirrors, none of which becomes due, a tenth of them by fixed times and the others disabled."""
    files = {f"m{number}.yml": "" for number in range(MIRRORS)}
    worker = SideWorker(side, name, {**_SITE, "_defaults.yml": _NEVER_DUE, **files})
    side.do(*worker.words("follow"))
    side.do(*worker.words("disable", *(f"m{number}" for number in range(MIRRORS) if number % 10)))
    return worker


@contextmanager
def tick(side: Side) -> Iterator[list[Scenario]]:
    """A tick that finds nothing to do, by the cache of the one before and by looking at every mirror."""
    worker = _many(side, "tick")
    words, ages = worker.lean("tick"), itertools.count(1000)

    def touch_plan() -> None:
        then = time.time() - next(ages)
        os.utime(worker.plan, (then, then))

    touch_plan()
    looking = usage.counts(words) if usage.can_count() else {}
    time.sleep(1.5)  # the cache is only written once the files have been at rest
    side.do(*words)
    if usage.can_count() and usage.counts(words)[usage.SYSCALLS] >= looking[usage.SYSCALLS]:
        raise RuntimeError(f"{side.label}: the tick was not idle")
    yield [
        of_command(f"idle tick, {MIRRORS} mirrors", words, rounds=41),
        of_command(f"tick that looks at {MIRRORS} mirrors", words, touch_plan, rounds=21),
    ]


@contextmanager
def run(side: Side) -> Iterator[list[Scenario]]:
    """A run of rsync that fetches one changed file, and one of a command that does nothing."""
    tree = side.data / "upstream" / "tree"
    tree.mkdir(parents=True)
    for number in range(FILES):
        (tree / f"file-{number}").write_bytes(b"x" * number)
    with RsyncDaemon(side.data / "upstream", {"tree": tree}) as daemon:
        mirrors = {
            "tree.yml": f"worker: w1\nprovider: rsync\nupstream: {daemon.url('tree')}\n",
            "nothing.yml": "worker: w1\nprovider: command\nupstream: https://x.example/\ncommand: /bin/true\n",
        }
        worker = SideWorker(side, "run", {**_SITE, **mirrors})
        side.do(*worker.words("once"))
        yield [
            of_command(f"run of rsync, 1 of {FILES} files", worker.lean("run", "tree"), lambda: _grow(tree / "file-7")),
            of_command("run of a command", worker.lean("run", "nothing")),
        ]


def _grow(path: Path) -> None:
    """Make a file another size, which rsync sees whatever the clock says."""
    with path.open("ab") as file:
        file.write(b"y" * 10_000)


@contextmanager
def follow(side: Side) -> Iterator[list[Scenario]]:
    """A follow that finds nothing new, and one that finds one changed file."""
    worker = _many(side, "follow")
    numbers = itertools.count()

    def commit() -> None:
        number = next(numbers)
        worker.repository.commit({f"m{number}.yml": f"title: Title {number}\n"}, "Change a title")

    yield [
        of_command(f"follow, nothing new, {MIRRORS} mirrors", worker.follow()),
        of_command(f"follow, 1 of {MIRRORS} files", worker.follow(), commit),
    ]
