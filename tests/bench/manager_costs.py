"""What the manager's programs cost: taking reports of many workers at once, and publishing one mirror's change."""

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from schemas.report import SNAPSHOT
from tests.bench import ingest, load, tunasync_posts, tunasync_schedules, usage
from tests.bench.scenario import RATE, Scenario
from tests.bench.sides import Side
from tests.bench.usage import Figures
from tests.sitegen.kit import Manager, end, envelope_of, report_of, run_of, status_of, wait_for

CLIENTS = 32
SECONDS = 1.5
MIRRORS = 1000
QUIET = 0.4
"""Seconds without CPU time after which a publisher has done its work."""

_TOKENS = """
import sys
from sitegen.cli import main
for name in sys.argv[2:]:
    main(["token", "add", name, "--settings", sys.argv[1]])
"""


@contextmanager
def reports(side: Side) -> Iterator[list[Scenario]]:
    """Reports of many workers that each send the next one when the last one is acknowledged."""
    manager, tokens = _manager(side, "reports", [f"w{number}" for number in range(CLIENTS)])
    with load.serving(manager, program=side.words("skipjack-manager")) as server:
        clients = [ingest.Client(load.place(manager), name, token) for name, token in tokens.items()]
        measure, count = partial(_take, server, clients), partial(_take_counted, server, clients)
        yield [Scenario(f"reports of {CLIENTS} clients, each", measure, count)]


@contextmanager
def posts(side: Side) -> Iterator[list[Scenario]]:
    """Statuses of many tunasync workers that each post the next one when the last one is answered."""
    folder = side.data / "posts"
    folder.mkdir()
    manager = Manager(folder, **tunasync_posts.SETTINGS)
    with load.serving(manager, program=side.words("skipjack-manager")) as server:
        clients = tunasync_posts.clients_at(load.place(manager))
        measure, count = (
            partial(tunasync_posts.take, server, clients),
            partial(tunasync_posts.take_counted, server, clients),
        )
        yield [Scenario(f"tunasync's statuses of {tunasync_posts.CLIENTS} clients, each", measure, count)]


@contextmanager
def schedules(side: Side) -> Iterator[list[Scenario]]:
    """Schedules of a tunasync worker of many mirrors, of which one has a new time, and of which all have."""
    folder = side.data / "schedules"
    folder.mkdir()
    manager = Manager(folder, **tunasync_posts.SETTINGS)
    with load.serving(manager, program=side.words("skipjack-manager")) as server:
        worker = tunasync_schedules.Worker(load.place(manager), MIRRORS)
        sent = {"one": worker.one_new, "all": worker.all_new}
        yield [
            Scenario(
                f"a schedule of {MIRRORS} mirrors, {what} new",
                partial(tunasync_schedules.costs, server, send),
                partial(tunasync_schedules.counted, server, send),
            )
            for what, send in sent.items()
        ]


def _take(server: int, clients: list[ingest.Client]) -> Figures:
    """Let the clients send for a while; figures of the server for one report."""
    for client in clients:
        client.connect()
    used, written = usage.cpu(server), usage.written(server)
    found = ingest.sending(clients, SECONDS)
    figures = {usage.CPU: (usage.cpu(server) - used) * 1000, usage.WRITTEN: usage.written(server) - written}
    each = {name: value / found.updates for name, value in figures.items()}
    return {**each, RATE: found.updates / found.seconds}


def _take_counted(server: int, clients: list[ingest.Client]) -> Figures:
    for client in clients:
        client.connect()
    figures: dict[str, float] = {}
    with usage.counting(server, figures):
        found = ingest.sending(clients, SECONDS)
    return {name: value / found.updates for name, value in figures.items()}


@contextmanager
def publish(side: Side) -> Iterator[list[Scenario]]:
    """One mirror's report on a large site, from the publisher's waking to its next sleep."""
    manager, tokens = _manager(side, "publish", ["w1"])
    with load.serving(manager, program=side.words("skipjack-manager")):
        statuses = [status_of(f"mirror-{number}", run=run_of(number + 1)) for number in range(MIRRORS)]
        manager.post(envelope_of(report_of(1, *statuses, kind=SNAPSHOT)), tokens["w1"]).raise_for_status()
        words = side.words("skipjack-manager", "publish", "--settings", str(manager.settings_file))
        with subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as publisher:
            try:
                wait_for(lambda: (manager.site / "status.json").exists() or publisher.poll(), "the site is there")
                _wait_until_quiet(publisher.pid)
                change = partial(_change, manager, tokens["w1"], itertools.count(2))
                measure, count = (
                    partial(_publish, publisher.pid, change),
                    partial(_publish_counted, publisher.pid, change),
                )
                yield [Scenario(f"publishing 1 of {MIRRORS} mirrors", measure, count, rounds=21)]
            finally:
                end(publisher)


def _publish(publisher: int, change: Callable[[], None]) -> Figures:
    used, written = usage.cpu(publisher), usage.written(publisher)
    change()
    _wait_until_quiet(publisher)
    return {usage.CPU: (usage.cpu(publisher) - used) * 1000, usage.WRITTEN: usage.written(publisher) - written}


def _publish_counted(publisher: int, change: Callable[[], None]) -> Figures:
    figures: dict[str, float] = {}
    with usage.counting(publisher, figures):
        change()
        _wait_until_quiet(publisher)
    return figures


def _change(manager: Manager, token: str, numbers: "itertools.count[int]") -> None:
    """Report another run of one mirror, and wait until the site shows it."""
    number = next(numbers)
    page = manager.site / "status.json"
    before = page.stat().st_mtime_ns
    at = time.time()
    status = status_of("mirror-7", at=at, run=run_of(10**6 + number, ended_at=at))
    manager.post(envelope_of(report_of(number, status), sent_at=at), token).raise_for_status()
    wait_for(lambda: page.stat().st_mtime_ns != before, "the site shows the report")


def _wait_until_quiet(process: int) -> None:
    """Wait until a process sleeps and has used no CPU time for a while."""
    used, since = usage.cpu(process), time.monotonic()
    while time.monotonic() < since + QUIET:
        time.sleep(0.02)
        if (now := usage.cpu(process)) != used or not _sleeps(process):
            used, since = now, time.monotonic()


def _sleeps(process: int) -> bool:
    """Whether no thread of a process runs or waits for a processor or a disk."""
    stats = (path.read_text() for path in Path(f"/proc/{process}/task").glob("*/stat"))
    return all(stat.rpartition(")")[2].split()[0] in "St" for stat in stats)


def _manager(side: Side, name: str, workers: list[str]) -> tuple[Manager, dict[str, str]]:
    """A manager's settings, and a token for each worker."""
    folder = side.data / name
    folder.mkdir()
    manager = Manager(folder)
    printed = side.do(str(side.python), "-I", "-c", _TOKENS, str(manager.settings_file), *workers)
    secrets = [line for line in printed.splitlines() if line]
    return manager, dict(zip(workers, secrets, strict=True))
