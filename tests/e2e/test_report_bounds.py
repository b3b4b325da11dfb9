"""Whatever a run, an upstream, a definition, a person or a clock puts into a report, the manager takes it."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner.base.state_dir import StateLayout
from runner.courier import delivery
from runner.courier.client import ManagerClient
from runner.courier.report_forms import bounded_report
from runner.journal import journal, rejected_reports
from runner.journal.journal import Ending, Journal, Subject
from runner.journal.rejected_reports import remembered
from runner.overrides import override_store
from runner.plan import plan
from runner.plan.plan import Header
from runner.run import progress
from schemas import report
from schemas.config.schema_set import schema, validator
from schemas.records import ManagerAddress, Repository, RunnerSettings, Secret
from schemas.report import Probe
from tests.e2e.parts import Worker
from tests.sitegen.kit import Manager

AT = 1_800_000_000.0
WORDS = "x" * 100_000
CLOCKS = (-1e10, 0.0, AT, 1e12)
"""The time that a machine without a battery has, and what else a clock may say."""

TABLES = {
    "run": report.RUN_BOUNDS,
    "probe": report.PROBE_BOUNDS,
    "override": report.OVERRIDE_BOUNDS,
    "status": report.STATUS_BOUNDS,
    "progress": report.PROGRESS_BOUNDS,
    "problem": report.PROBLEM_BOUNDS,
    "report": report.REPORT_BOUNDS,
}

OURS = {"run": {"id"}, "report": {"number"}, "": {"protocol"}}
"""Numbers that our own code counts."""


@pytest.mark.parametrize("part", ["", *TABLES])
def test_each_bound_of_the_schema_is_kept_to(part: str) -> None:
    whole = schema("report")
    values = whole["$defs"][part]["properties"] if part else whole["properties"]
    bounds = {key: _bound(value) for key, value in values.items() if _bound(value) and key not in OURS.get(part, ())}
    assert bounds == (TABLES[part] if part else report.ENVELOPE_BOUNDS)


def _bound(value: dict[str, Any]) -> int | tuple[float, float] | None:
    if "maximum" in value:
        return value["minimum"], value["maximum"]
    return value.get("maxLength")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    (tmp_path / "manager").mkdir()
    made = Manager(tmp_path / "manager")
    with made.answering():
        yield made


@pytest.fixture
def settings(tmp_path: Path, manager: Manager) -> RunnerSettings:
    (tmp_path / "token").write_text(manager.token())
    state, run = tmp_path / "state", tmp_path / "run"
    state.mkdir()
    run.mkdir()
    address = ManagerAddress(manager.url, token=Secret(file=str(tmp_path / "token")))
    here = RunnerSettings("w1", Repository("file:///x"), state_dir=str(state), run_dir=str(run), manager=address)
    problems = tuple((name, WORDS, WORDS, WORDS) for name in (None, "debian", "no name", "x" * 65, "../x"))
    header = Header("w1", 10**9, "b" * 40, None, "", str(run), problems=problems)
    plan.write(StateLayout(str(state)).plan, header, [], {})
    return here


def lived(book: Journal, mirror: str, begins: float, ends: float) -> None:
    """Give a mirror everything that a report can contain, each value as far out of bounds as possible."""
    run = book.begin(None, Subject(mirror, WORDS, True, "a" * 40), begins)
    assert run is not None
    book.attempt(run, mirror, "syncing", 10**9, begins)
    book.wait_between_attempts(run, mirror, 1e12, WORDS, begins)
    ending = Ending(
        "success", WORDS, 10**6, 10**9, 10**30, 10**30, 10**30, WORDS, next_run_at=1e12 if ends > 0 else -1e12
    )
    book.end(run, mirror, ending, ends)
    book.probed(mirror, Probe(ends, 1e15, -1e15, False, WORDS, 1e15, WORDS, -1e15), ends)
    book.measured(mirror, 2**63 - 1, ends)


def test_no_value_out_of_bounds_keeps_reports_away(settings: RunnerSettings) -> None:
    layout = StateLayout(settings.state_dir)
    with journal.opened(layout.journal) as book:
        for begins in CLOCKS:
            for ends in CLOCKS:
                lived(book, "debian", begins, ends)
        for kind in ("paused", "disabled"):
            override_store.override(book, [Subject("debian", WORDS, True, "a" * 40)], kind, WORDS, 1e12, reason=WORDS)
        override_store.lift(book, [Subject("debian", WORDS, True, "a" * 40)], AT)
        run = book.begin(None, Subject("gnu", WORDS, True, "a" * 40), AT)
        assert run is not None
    place = progress.Place(settings.run_dir, "gnu")
    place.publish(progress.Progress(1e12, 1e300, 10**30, 10**30, 10**30))
    waiting, valid = _outbox(settings)
    assert len(waiting) > 80 and valid == len(waiting)

    _deliver(settings)

    assert _outbox(settings)[0] == [] and remembered(layout, AT) == []


@pytest.mark.parametrize("now", [-5.0, 1e12])
def test_no_time_of_day_keeps_reports_away(
    settings: RunnerSettings, monkeypatch: pytest.MonkeyPatch, now: float
) -> None:
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        lived(book, "debian", now, now)
    monkeypatch.setattr("runner.courier.delivery.time.time", lambda: now)
    _deliver(settings)
    assert _outbox(settings)[0] == []


def test_reports_of_an_earlier_release_in_the_outbox_are_brought_within_bounds(settings: RunnerSettings) -> None:
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        run = book.begin(None, Subject("debian", "x", True, "a" * 40), AT)
        assert run is not None
        book.end(run, "debian", Ending("failed", "why"), AT)
        with book.together() as db:
            content = json.loads(db.execute("SELECT content FROM outbox ORDER BY number DESC").fetchone()[0])
            content["statuses"][0]["run"] |= {"reason": WORDS, "bytes": 10**30, "duration": -1, "log_tail": WORDS}
            content["statuses"][0]["size"] = 10**30
            db.execute("UPDATE outbox SET content = ? WHERE number = 2", (json.dumps(content),))
    waiting, valid = _outbox(settings)
    assert (len(waiting), valid) == (2, 1)
    assert bounded_report(waiting[1])["statuses"][0]["run"]["reason"] == "x" * 1999 + "…"

    _deliver(settings)

    assert _outbox(settings)[0] == []
    assert remembered(StateLayout(settings.state_dir), AT) == [], "nothing of it was left out but what is too long"


def _outbox(settings: RunnerSettings) -> tuple[list[dict[str, Any]], int]:
    """What waits, and how many of it the schema allows."""
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        waiting = book.outbox.oldest(10_000, 10**9)
    kind = validator("report").evolve(schema={"$ref": f"{schema('report')['$id']}#/$defs/report"})
    return waiting, sum(kind.is_valid(each) for each in waiting)


def _deliver(settings: RunnerSettings) -> None:
    assert settings.manager is not None
    with closing(ManagerClient(settings.manager)) as client:
        delivery.deliver(settings, client)


def test_next_shows_what_the_manager_rejected(worker: Worker) -> None:
    worker.command("follow")
    why = "The manager answered 422: see https://u:pw@h/."
    rejected_reports.add(StateLayout(str(worker.state)), "report 7, which was given up", why, time.time())

    said = worker.command("next").stderr

    assert "WARNING next: manager: The manager rejected a message" in said
    assert "report 7, which was given up. It said: The manager answered 422: see https://h/." in said
