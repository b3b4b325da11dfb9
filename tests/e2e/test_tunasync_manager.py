"""A worker that reports to a manager of tunasync, which is modelled after recorded exchanges with a real one."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from runner.base.state_dir import StateLayout
from runner.journal import journal
from tests.e2e.gate import Gate, status, syncing
from tests.e2e.parts import ConfigRepository, Worker, wait_until
from tests.e2e.test_commands import lingering
from tests.e2e.tunasync_model import ZERO, Model
from tests.sitegen.recorded import NamedTimes, RecordedExchange, compact, exchanges, expected_here


def of_a_worker(exchange: RecordedExchange) -> bool:
    """Whether the model has the route, and the answer is one document."""
    mine = exchange.path.startswith("/workers") and exchange.method != "DELETE"
    return mine and "}{" not in exchange.answer


def test_the_model_answers_what_was_recorded() -> None:
    found = [exchange for exchange in exchanges("manager.http") if of_a_worker(exchange)]
    assert len(found) == 18
    given = "".join(exchange.body or "" for exchange in found)
    there, here = NamedTimes(given), NamedTimes(given)
    model = Model()
    try:
        for exchange in found:
            code, answer = model.answer(exchange.method, exchange.path, exchange.body and json.loads(exchange.body))
            # the two times of a registration are one here too, as they are with this project's own manager
            registered = exchange.path == "/workers" and exchange.answer != "null"
            expected = expected_here(exchange)[1] if registered else exchange.answer
            assert (code, here.named(compact(answer))) == (exchange.status, there.named(expected)), exchange.title
    finally:
        model.server_close()


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as model:
        yield model


@pytest.fixture
def subject(worker: Worker, model: Model) -> Worker:
    with worker.settings.open("a") as settings:
        settings.write(f"manager: {{protocol: tunasync, url: '{model.url}'}}\n")
    return worker


def shown(model: Model, mirror: str) -> dict[str, Any]:
    return model.jobs["w1", mirror]


def test_runs_are_reported_as_by_a_worker_of_tunasync(
    repository: ConfigRepository, subject: Worker, model: Model, gate: Gate
) -> None:
    gate.script.write_text("#!/bin/sh\necho size: 1234000000\n[ ! -e fail ] || exit 7\n")
    upstream = "https://user@files.example/"
    text = gate.mirror("size_pattern: 'size: ([0-9]+)'\n").replace("https://files.example/", upstream)
    repository.commit({"m.yml": text}, "Add m")

    subject.command("once")

    assert model.words("m") == ["pre-syncing", "success"]
    found = shown(model, "m")
    told = {"status": "success", "is_master": True, "size": "1.23G", "error_msg": ""}
    assert found == found | told | {"upstream": "https://files.example/"}
    with journal.opened(StateLayout(str(subject.state)).journal) as book:
        (known,) = book.statuses()
    assert datetime.fromisoformat(found["next_schedule"]).timestamp() == int(known.next_run_at or 0)
    assert (found["last_update"] == found["last_ended"], found["last_started"] < found["last_ended"]) == (True, True)

    (subject.root / "m" / "fail").touch()
    subject.command("run", "m", check=False)
    subject.command("courier")
    found = shown(model, "m")
    assert (found["status"], found["size"]) == ("failed", "1.23G")
    assert "7" in found["error_msg"] and found["last_update"] < found["last_ended"]
    assert subject.pending() == 0


def test_every_request_is_the_one_that_was_written_down(
    repository: ConfigRepository, subject: Worker, model: Model, gate: Gate
) -> None:
    gate.script.write_text("#!/bin/sh\necho size: 1234000000\n[ ! -e fail ] || exit 7\n")
    repository.commit({"m.yml": gate.mirror("size_pattern: 'size: ([0-9]+)'\n")}, "Add m")
    subject.command("once")
    (subject.root / "m" / "fail").touch()
    subject.command("run", "m", check=False)
    subject.command("disable", "m")
    status(subject, "m", "disabled")
    subject.command("courier")

    heard = [(method, path, body) for method, path, _kind, body in model.heard]
    written = [(each.method, each.path, each.body) for each in exchanges("courier.http")]
    assert len(heard) == len(written)
    there, here = NamedTimes(""), NamedTimes("")
    for (method, path, body), (way, place, expected) in zip(heard, written, strict=True):
        assert (method, path, here.named(body or "")) == (way, place, there.named(expected or ""))
        assert body in (None, compact(json.loads(body or "null"))), "written as Go writes it"
    assert {kind for _method, _path, kind, _body in model.heard} == {"application/json"}


def test_a_size_that_is_measured_later_is_not_a_second_success(
    repository: ConfigRepository, subject: Worker, model: Model, gate: Gate
) -> None:
    gate.script.write_text("#!/bin/sh\nhead -c 2000 /dev/zero > file\n")
    repository.commit({"m.yml": gate.mirror()}, "Add m")
    subject.command("once")
    wait_until(lambda: subject.command("courier") and shown(model, "m")["size"] == "2.00K", "the size is reported")
    assert model.words("m") == ["pre-syncing", "success"]


def test_each_step_of_a_run_is_reported_at_once(
    repository: ConfigRepository, subject: Worker, model: Model, gate: Gate
) -> None:
    repository.commit({"m.yml": gate.mirror("measure_size: false\n")}, "Add m")
    with lingering(subject):
        subject.command("follow", "--start")
        wait_until(lambda: model.words("m") == ["pre-syncing", "syncing"], "it is at work")
        assert shown(model, "m")["last_ended"] == ZERO
        gate.open.touch()
        wait_until(lambda: model.words("m") == ["pre-syncing", "syncing", "success"], "it has ended")


def test_a_run_is_reported_as_failed_between_two_attempts_as_by_a_worker_of_tunasync(
    repository: ConfigRepository, subject: Worker, model: Model, gate: Gate
) -> None:
    gate.script.write_text(
        f"#!/bin/sh\n[ -e failed ] || {{ touch failed; exit 7; }}\nwhile [ ! -e {gate.open} ]; do sleep 0.05; done\n"
    )
    repository.commit({"m.yml": gate.mirror("measure_size: false\nretry: 2\nretry_delay: 1s\n")}, "Add m")
    with lingering(subject):
        subject.command("follow", "--start")
        words = ["pre-syncing", "syncing", "failed", "syncing"]
        wait_until(lambda: model.words("m") == words, "its second attempt is under way")
        found = shown(model, "m")
        assert found["last_started"] < found["last_ended"], "the run has not begun again"
        gate.open.touch()
        wait_until(lambda: model.words("m") == [*words, "success"], "it has ended")
    told = [json.loads(body or "{}") for _method, path, _kind, body in model.heard if path.endswith("/jobs/m")]
    messages = [each["error_msg"] for each in told if each.get("status") == "failed"]
    assert [message.partition(".")[0] for message in messages] == ["attempt 1 of 2 failed: the command exited with 7"]


def test_missed_reports_come_in_order_and_after_a_lost_database_the_worker_registers_again(
    repository: ConfigRepository, subject: Worker, model: Model, gate: Gate
) -> None:
    gate.open.touch()
    quiet = gate.mirror("measure_size: false\n")
    repository.commit({"m.yml": quiet, "n.yml": quiet}, "Add m and n")
    model.broken = True
    assert "answered 500" in subject.command("once", check=False).stderr
    subject.command("run", "m")
    model.broken = False
    model.told.clear()
    model.jobs.clear()

    subject.command("courier")

    assert model.words("m") == ["pre-syncing", "success", "pre-syncing", "success"]
    assert subject.pending() == 0
    with lingering(subject):
        wait_until(lambda: (subject.folder / "run/courier.sock").exists(), "the courier is up")
        model.workers.clear()
        model.jobs.clear()
        subject.command("run", "m")
        wait_until(
            lambda: ("w1", "m") in model.jobs and shown(model, "m")["status"] == "success", "it is registered again"
        )
        wait_until(lambda: ("w1", "n") in model.jobs, "and gets what it lacks")
    assert shown(model, "n")["status"] == "none", "only a success shows when it last succeeded"


def test_paused_and_disabled_mirrors_are_shown_so_until_they_are_not(
    repository: ConfigRepository, subject: Worker, model: Model, gate: Gate
) -> None:
    repository.commit({"m.yml": gate.mirror("measure_size: false\n"), "n.yml": gate.mirror()}, "Add both")
    subject.command("follow", "--start")
    syncing(subject, gate, "m")
    subject.command("stop", "m")
    status(subject, "m", "paused")
    subject.command("disable", "n")
    status(subject, "n", "disabled")
    subject.command("courier")
    assert (shown(model, "m")["status"], shown(model, "n")["status"]) == ("paused", "disabled")
    assert shown(model, "m")["error_msg"].startswith("paused by ")

    gate.open.touch()
    subject.command("enable", "n")
    subject.command("courier")
    assert shown(model, "n")["status"] == "none"
    assert shown(model, "n")["last_update"] == ZERO
    subject.command("start", "m")
    status(subject, "m", "success")
    subject.command("courier")
    assert shown(model, "m")["status"] == "success"


def test_a_run_that_began_before_the_database_was_lost_is_shown_as_syncing(
    repository: ConfigRepository, subject: Worker, model: Model, gate: Gate
) -> None:
    repository.commit({"m.yml": gate.mirror("measure_size: false\n")}, "Add m")
    subject.command("follow", "--start")
    syncing(subject, gate, "m")
    subject.command("courier")
    model.workers.clear()
    model.jobs.clear()
    subject.command("courier")
    assert (shown(model, "m")["status"], shown(model, "m")["last_started"] > ZERO) == ("syncing", True)
    gate.open.touch()
    status(subject, "m", "success")
    subject.command("courier")
    assert model.words("m") == ["pre-syncing", "syncing", "pre-syncing", "syncing", "success"]


def test_a_hold_that_is_none_is_corrected_without_any_news(
    repository: ConfigRepository, subject: Worker, model: Model, gate: Gate
) -> None:
    repository.commit({"m.yml": gate.mirror("measure_size: false\n"), "n.yml": gate.mirror()}, "Add both")
    subject.command("follow", "--start")
    syncing(subject, gate, "m")
    subject.command("disable", "n")
    subject.command("courier")
    shown(model, "m")["status"], shown(model, "n")["status"] = "paused", "success"
    subject.command("courier")
    assert (shown(model, "m")["status"], shown(model, "n")["status"]) == ("syncing", "disabled")
    gate.open.touch()
    status(subject, "m", "success")
    subject.command("courier")
    shown(model, "m")["status"] = "paused"
    subject.command("courier")
    assert shown(model, "m")["status"] == "none", "as of one that was enabled, until its next run"
