"""What must be true after any kill: the journal's runs, the active processes, and what the manager shows."""

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from runner.base import locks
from runner.journal.journal import KEPT_RUNS
from schemas.states import ENDS, NONE
from tests.e2e.parts import Manager, Worker, wait_until

SHOWN = 20
"""Runs that the page of a mirror shows."""

PROVIDER = """#!/bin/sh
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&-
exec 9>> "$TUNASYNC_WORKING_DIR/.mutex"
flock -n -E 77 9
case $? in
    0) ;;
    77) echo "$TUNASYNC_MIRROR_NAME: a second provider on the directory" >> {violations}; exit 77 ;;
    *) exit 78 ;; # flock itself was killed
esac
echo "$TUNASYNC_MIRROR_NAME $TUNASYNC_LOG_FILE" >> {ledger}
"""
"""How a provider of these tests begins: it takes a lock that Skipjack does not know, and its children inherit it.

The numbers of descriptors that a shell can name are its own, as they are for any script.
"""


class JournalRun(NamedTuple):
    """A run as the journal has it."""

    id: int
    mirror: str
    status: str
    started_at: float | None
    ended_at: float | None
    attempts: int


def provider(folder: Path, name: str, text: str) -> Path:
    """Write a provider's script, whose violations and starts are noted in files below `folder`."""
    script = folder / name
    head = PROVIDER.format(violations=folder / "violations", ledger=folder / "ledger")
    script.write_text(head + text)
    script.chmod(0o755)
    return script


def lines(path: Path) -> list[str]:
    """The lines of a file that may not be there."""
    return path.read_text().splitlines() if path.exists() else []


def past(worker: Worker) -> list[JournalRun]:
    """All runs of the journal, oldest first."""
    connection = sqlite3.connect(worker.state / "journal.db", timeout=30)
    try:
        query = "SELECT id, mirror, status, started_at, ended_at, attempts FROM run ORDER BY id"
        return [JournalRun(*row) for row in connection.execute(query)]
    finally:
        connection.close()


def execute(worker: Worker, statement: str, *values: object) -> None:
    """Change the journal behind the worker's back: time has passed, say."""
    connection = sqlite3.connect(worker.state / "journal.db", timeout=30)
    try:
        with connection:
            connection.execute(statement, values)
    finally:
        connection.close()


def at_rest(worker: Worker) -> dict[str, str]:
    """The status of each mirror that has one, once every program that was started in the background has ended."""
    wait_until(lambda: not processes(str(worker.folder)), "nothing is at work")
    return {name: status for name, status in worker.states().items() if status != NONE}


def processes(*marks: str) -> dict[int, list[str]]:
    """The living processes whose command line or environment has all the marks, with their words."""
    found = {}
    for folder in (path for path in Path("/proc").iterdir() if path.name.isdigit()):
        try:
            words = (folder / "cmdline").read_bytes()
            text = words + (folder / "environ").read_bytes()
        except OSError:
            continue
        if words and all(mark.encode() in text for mark in marks):
            found[int(folder.name)] = words.decode("utf-8", "replace").strip("\0").split("\0")
    return found


def providers(worker: Worker, mirror: str = "") -> list[int]:
    """The processes that are at work on a mirror's directory, or on any."""
    mark = f"TUNASYNC_WORKING_DIR={worker.root}/{mirror}" + ("\0" if mirror else "")
    return list(processes(mark))


def programs(worker: Worker) -> list[int]:
    """The worker's own programs that are at work."""
    state = str(worker.state)
    return [pid for pid, words in processes(state).items() if state in words]


def violations(worker: Worker) -> Iterator[str]:
    """What must never be so, at any moment."""
    yield from lines(worker.folder / "violations")
    starts = lines(worker.folder / "ledger")
    for line in sorted({line for line in starts if starts.count(line) > 1}):
        yield f"an attempt was started twice: {line}"
    runs = past(worker)
    for mirror in sorted({run.mirror for run in runs}):
        yield from _of_mirror(mirror, [run for run in runs if run.mirror == mirror], starts)
    for path in worker.state.glob("skipjack-bug-*"):
        yield f"a bug was reported: {path.read_text()}"


def _of_mirror(mirror: str, runs: list[JournalRun], starts: list[str]) -> Iterator[str]:
    active = [run for run in runs if run.status not in ENDS]
    if len(active) > 1:
        yield f"{mirror} has several active runs: {active}"
    for before, after in pairwise(runs):
        if after.started_at is not None and (before.ended_at is None or before.ended_at > after.started_at):
            yield f"{mirror}: run {after.id} began before run {before.id} ended"
    begun, attempts = sum(line.split()[0] == mirror for line in starts), sum(run.attempts for run in runs)
    if len(runs) < KEPT_RUNS and begun > attempts:
        yield f"{mirror}: {begun} providers were started and {attempts} attempts recorded"


def leftovers(worker: Worker) -> Iterator[str]:
    """What must not be so when nothing is at work: an active run, a process, a lock that is held."""
    yield from (f"still active: {run}" for run in past(worker) if run.status not in ENDS)
    yield from (f"still running: {pid}" for pid in providers(worker))
    for path in (worker.state / "locks").glob("*/*"):
        if path.parent.name in ("mirror", "supervisor", "slot") and locks.is_held(str(path)):
            yield f"still held: {path}"


def damage(path: Path) -> Iterator[str]:
    """What SQLite finds wrong with a database."""
    connection = sqlite3.connect(path, timeout=30)
    try:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    finally:
        connection.close()
    yield from (f"{path.name}: {each}" for each in found if each != "ok")


def differences(worker: Worker, manager: Manager, mirrors: list[str]) -> Iterator[str]:
    """What the manager shows otherwise than the journal has it."""
    runs = [run for run in past(worker) if run.status in ENDS]
    for mirror in mirrors:
        expected = [(run.id, run.status, run.ended_at) for run in reversed(runs) if run.mirror == mirror][:SHOWN]
        page: dict[str, Any] = manager.published(f"mirrors/{mirror}.json") or {"runs": [], "status": None}
        shown = [(run["id"], run["status"], run["ended_at"]) for run in page["runs"]]
        if shown != expected:
            yield f"{mirror}: the journal has {expected} and the page {shown}"
        if expected and page["status"] != expected[0][1]:
            yield f"{mirror}: ended as {expected[0][1]} and is shown as {page['status']}"


def untold(worker: Worker, manager: Manager) -> Iterator[str]:
    """Ends that the manager's database does not have, has otherwise, or has although the journal does not."""
    connection = sqlite3.connect(manager.folder / "state/manager.db", timeout=30)
    try:
        query = "SELECT id, status, ended_at FROM runs ORDER BY id"
        known = [(int(row[0]), str(row[1]), row[2]) for row in connection.execute(query)]
    finally:
        connection.close()
    ended = [(run.id, run.status, run.ended_at) for run in past(worker)]
    yield from (f"the manager does not know the run {run}" for run in ended if run not in known)
    oldest = ended[0][0] if ended else 0
    yield from (f"the journal does not know the run {run}" for run in known if run not in ended and run[0] >= oldest)
    if len(known) > len({run[0] for run in known}):
        yield "the manager has a run twice"
