"""A revision after which several mirrors fail is named, with the way back."""

import json
import time
from pathlib import Path

import pytest

from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Ending, Journal, Subject
from runner.journal.revision_table import RevisionInForce
from runner.pinning import suspect
from runner.pinning.suspect import FirstFailure, Suspect
from runner.plan.plan import Header, Pin
from tests.e2e.parts import ConfigRepository, Worker

OLD, NEW = "a" * 40, "b" * 40
SINCE = 100_000.0
KNOWN = [RevisionInForce(NEW, SINCE), RevisionInForce(OLD, 5.0, SINCE)]
HEADER = Header("w1", 1, NEW, NEW, "", "")


@pytest.mark.parametrize(
    ("succeeded", "failed", "counts"),
    [
        (SINCE - 1, SINCE, True), (SINCE, SINCE + 3600, True), (SINCE - 1, SINCE - 0.5, False),
        (SINCE + 1, SINCE + 2, False), (SINCE - 1, SINCE + 3601, False),
    ],
)  # fmt: skip
def test_mirrors_that_synced_before_and_fail_soon_after_count(succeeded: float, failed: float, *, counts: bool) -> None:
    others = [FirstFailure(name, SINCE - 1, SINCE + 1) for name in "ab"]
    found = suspect.find(KNOWN, [FirstFailure("c", succeeded, failed), *others])
    assert found == (Suspect(NEW, OLD, ("a", "b", "c")) if counts else None)
    assert suspect.find(KNOWN[:1], [FirstFailure("c", succeeded, failed), *others]) is None


def ended(book: Journal, name: str, status: str, at: float, *, unreached: bool = False) -> None:
    subject = Subject(name, "https://files.example/", True, NEW)
    run = book.launch([subject], [], at - 2)[name]
    assert book.begin(run, subject, at - 1) == run
    book.end(run, name, Ending(status, unreached=unreached), at)


def test_failures_in_the_journal_are_suspected_until_one_succeeds(book: Journal) -> None:
    with book.together():
        book.revisions.remember(HEADER._replace(revision=OLD), 5.0)
        book.revisions.remember(HEADER, SINCE)
    for name in "abcd":
        ended(book, name, "success", SINCE - 100)
    for name in "abcd":
        ended(book, name, "failed", SINCE + 100, unreached=name == "d")
        ended(book, name, "failed", SINCE + 9000, unreached=name == "d")
    now = SINCE + 9001
    assert suspect.look(book, HEADER, now) == Suspect(NEW, OLD, ("a", "b", "c")), "the first failure counts"
    assert suspect.look(book, HEADER, SINCE + 86401) is None
    assert suspect.look(book, HEADER._replace(pin=Pin(NEW, now + 1, now, "ada")), now) is None
    assert suspect.look(book, HEADER._replace(revision=OLD), now) is None
    ended(book, "b", "success", SINCE + 9500)
    assert suspect.look(book, HEADER, now) is None


def test_next_names_the_suspect_and_the_way_back(tmp_path: Path) -> None:
    repository = ConfigRepository(tmp_path)
    mirror = "provider: command\nupstream: https://files.example/\ncommand: /bin/true\n"
    files = {"_site.yml": "title: x\n", "_workers.yml": "workers: {w1: {}}\n", "_defaults.yml": "worker: w1\n"}
    old = repository.commit({**files, **{f"{name}.yml": mirror for name in "abc"}}, "Begin")
    worker = Worker(tmp_path / "w", "w1", repository.url)
    worker.command("follow")
    with journal.opened(StateLayout(str(worker.state)).journal) as book:
        for name in "abc":
            ended(book, name, "success", time.time())
    new = repository.commit({"_defaults.yml": "worker: w1\ninterval: 2h\n"}, "Change all")
    worker.command("follow")
    with journal.opened(StateLayout(str(worker.state)).journal) as book:
        for name in "abc":
            ended(book, name, "failed", time.time() + 1)
    (problem,) = json.loads(worker.command("next", "--json").stdout)["problems"]
    assert problem == (
        f"Revision {new[:12]} is the suspect: 3 mirrors that synced before it have failed within 1h: a, b, c."
        f" `skipjack pin {old[:12]} --until 1d` on this worker goes back."
    )
    worker.command("pin", old[:12], "--until", "1d")
    assert json.loads(worker.command("next", "--json").stdout)["problems"] == []
