"""The plan of a release before plug-ins: no run uses it, and the next follow loses nothing of it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from runner.base.state_dir import StateLayout
from runner.plan import plan
from tests.e2e.parts import ConfigRepository, Worker

MIRROR = "provider: command\nupstream: https://files.example/\ncommand: /bin/true\n"


@pytest.fixture
def repository(tmp_path: Path) -> ConfigRepository:
    made = ConfigRepository(tmp_path)
    files = {"_site.yml": "title: x\n", "_workers.yml": "workers: {w1: {}}\n", "_defaults.yml": f"worker: w1\n{MIRROR}"}
    made.commit(files | {"a.yml": "cron: 0 4 * * *\n", "b.yml": "retry: 3\n"}, "Begin")
    return made


@pytest.fixture
def worker(tmp_path: Path, repository: ConfigRepository) -> Worker:
    return Worker(tmp_path / "w", "w1", repository.url)


def place(worker: Worker) -> str:
    return StateLayout(str(worker.state)).plan


def make_former(worker: Worker) -> None:
    """Rewrite the plan in force as format 7, which had neither plug-ins nor programs."""
    with closing(sqlite3.connect(place(worker))) as connection, connection:
        (content,) = connection.execute("SELECT content FROM header").fetchone()
        header = json.loads(content)
        for key in ("programs", "plugins", "broken"):
            del header[key]
        connection.execute("UPDATE header SET content = ?, sum = ?", plan._summed((json.dumps(header),)))
        rows = connection.execute("SELECT name, formerly, revision, paths, definition FROM mirror").fetchall()
        for *known, definition in rows:
            mirror = json.loads(definition)
            del mirror["plugins"]
            *_same, text, checksum = plan._summed((*known, json.dumps(mirror)))
            connection.execute("UPDATE mirror SET definition = ?, sum = ? WHERE name = ?", (text, checksum, known[0]))
    with closing(sqlite3.connect(place(worker))) as connection:
        connection.execute("PRAGMA user_version=7")


def test_the_next_follow_keeps_what_only_the_previous_plan_has(repository: ConfigRepository, worker: Worker) -> None:
    worker.command("follow")
    repository.commit({"b.yml": "broken: 1\n"}, "Break b")
    worker.command("follow", check=False)
    with plan.opened(place(worker)) as opened:
        before, times = opened.mirrors(), {due.name: due.since for due in opened.due()}
    make_former(worker)
    done = worker.command("run", "b", check=False)
    assert done.returncode == 1 and "was written by another version. Run `skipjack follow`." in done.stderr

    worker.command("follow", check=False)

    with plan.opened(place(worker)) as opened:
        assert opened.mirrors() == before
        assert {due.name: due.since for due in opened.due()} == times
        assert opened.mirror("b") is not None, "its last valid definition"
        assert (opened.header.programs, opened.header.plugins) == (None, ())
    assert worker.command("run", "b").returncode == 0


def test_an_earlier_releases_plan_is_replaced_although_the_fetch_fails(
    repository: ConfigRepository, worker: Worker
) -> None:
    worker.command("follow")
    make_former(worker)
    away = repository.remote.rename(repository.remote.with_suffix(".away"))

    worker.command("follow", check=False)

    away.rename(repository.remote)
    with plan.opened(place(worker)) as opened:
        assert [each.mirror.name for each in opened.mirrors()] == ["a", "b"]


def test_a_plan_of_an_unknown_format_is_not_read(worker: Worker) -> None:
    worker.command("follow")
    with closing(sqlite3.connect(place(worker))) as connection:
        connection.execute("PRAGMA user_version=6")
    with pytest.raises(Exception, match="written by another version"), plan.opened(place(worker), former=True):
        pass
    worker.command("follow")
    with plan.opened(place(worker)) as opened:
        assert len(opened.mirrors()) == 2
