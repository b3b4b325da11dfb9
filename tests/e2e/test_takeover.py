"""A worker continues with the states that a tunasync manager has of its mirrors, so that nothing is due just because
it is new."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from runner.base.state_dir import StateLayout
from runner.journal import journal
from schemas.report import MirrorStatus
from tests.docs.pages import blocks
from tests.e2e.gate import Gate, status, upcoming
from tests.e2e.parts import ConfigRepository, Manager, Worker, wait_until
from tests.e2e.test_held import hold
from tests.e2e.tunasync_model import ZERO, Model
from tests.raw_server import Says, Server

HOUR = 3600


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as model:
        model.workers["w1"] = {"id": "w1"}
        yield model


@pytest.fixture
def held(worker: Worker) -> Worker:
    return hold(worker)


def stamp(hours_ago: float, zone: timezone = UTC) -> str:
    """A time as Go writes it."""
    at = datetime.now(zone) - timedelta(hours=hours_ago)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "123" + (at.strftime("%z")[:3] + ":00" if zone is not UTC else "Z")


def job(name: str, word: str, **more: Any) -> dict[str, Any]:
    """A job that ended half an hour ago with a success."""
    times = {"last_update": stamp(0.5), "last_started": stamp(1), "last_ended": stamp(0.5), "next_schedule": ZERO}
    job = {"name": name, "worker": "w1", "is_master": True, "status": word, "upstream": "rsync://up.example.org/x/"}
    job |= {"size": "1.23T", "error_msg": ""}
    ended = job | times
    ended["last_ended"] = ended["last_update"]
    return ended | more


def without_times(text: str) -> str:
    """The output with each duration as `T`: some time passes between the test and the command."""
    return re.sub(r"[0-9.]+[smhd](?: [0-9]+[smhd])?(?= ago| *$)", "T", text, flags=re.MULTILINE)


def offer(model: Model, *jobs: dict[str, Any]) -> None:
    for each in jobs:
        model.jobs["w1", each["name"]] = each


def commit(repository: ConfigRepository, gate: Gate, *names: str, **more: str) -> None:
    gate.open.touch()
    texts = {f"{name}.yml": gate.mirror("measure_size: false\n" + more.get(name, "")) for name in names}
    repository.commit(texts, "Add mirrors")


def known(worker: Worker) -> dict[str, MirrorStatus]:
    with journal.opened(StateLayout(str(worker.state)).journal) as book:
        return {each.mirror: each for each in book.statuses()}


def filled(worker: Worker, *names: str) -> None:
    for name in names:
        (worker.root / name).mkdir(parents=True)
        (worker.root / name / "file").touch()


def test_mirrors_run_next_when_their_interval_after_the_last_end_there_is_over(
    repository: ConfigRepository, held: Worker, model: Model, gate: Gate
) -> None:
    names = ("fine", "late", "bad", "off", "idle", "again", "cut")
    commit(repository, gate, *names)
    filled(held, *names)
    east = timezone(timedelta(hours=8))
    late = {"last_update": stamp(2, east), "last_ended": stamp(1.5, east), "last_started": stamp(3, east)}
    offer(
        model, job("fine", "success"), job("late", "failed", **late), job("bad", "failed", last_update=ZERO),
        job("off", "disabled"), job("idle", "paused", size="unknown"), job("again", "none", last_ended=stamp(0.25)),
        job("cut", "failed", error_msg="killed by manager"), job("elsewhere", "success"), job("", "failed"),
    )  # fmt: skip
    held.command("follow")

    done = held.command("takeover", model.url)

    assert {method for method, _path, _kind, _body in model.heard} == {"GET"}
    lines = without_times(done.stdout).splitlines()
    assert lines[-1] == "taken over: 7 of 7 mirrors"
    assert lines[3] == "fine: success, last success T ago, 1.12 TiB; next run in T"
    assert lines[6] == "off: disabled, last success T ago, 1.12 TiB; no next run"
    assert lines[7] == "elsewhere: not taken over: this worker does not have it"
    found = known(held)
    words = {name: each.status for name, each in found.items()}
    assert words == {
        "fine": "success", "late": "failed", "bad": "failed", "off": "disabled", "idle": "paused", "again": "failed",
        "cut": "interrupted",
    }  # fmt: skip
    assert all(each.run is None for each in found.values()), "no run is claimed that this worker did not do"
    assert (found["fine"].size, found["idle"].size) == (1_230_000_000_000, None)
    there = datetime.fromisoformat(model.jobs["w1", "fine"]["last_ended"]).timestamp()
    assert found["fine"].last_success_at == found["fine"].last_ended_at == there
    assert found["bad"].last_success_at is None
    assert found["off"].override is not None and found["off"].override.reason == "taken over from tunasync"
    rows = upcoming(held)
    assert rows["fine"]["at"] == pytest.approx(there + HOUR)
    assert (rows["fine"]["waits_for"], rows["late"]["waits_for"], rows["off"]["waits_for"]) == ("later", "held", "held")

    assert rows["cut"]["waits_for"] == "held", "a sync that the stop of the old worker cut off is made up for"

    held.command("release")

    status(held, "late", "success")
    status(held, "cut", "success")
    wait_until(lambda: known(held)["fine"].next_run_at, "its next run is reported")
    assert (gate.begun("fine"), gate.begun("bad"), gate.begun("off")) == ([], [], [])
    held.command("enable", "off", "idle")
    assert upcoming(held)["off"]["waits_for"] == "later"


def test_mirrors_without_a_taken_state_are_due_and_a_second_takeover_completes_the_first(
    repository: ConfigRepository, held: Worker, model: Model, gate: Gate
) -> None:
    commit(repository, gate, "busy", "first", "never", "unknown", "gone", "own")
    filled(held, "busy", "first", "own")
    none = {"last_update": ZERO, "last_ended": ZERO}
    offer(
        model, job("busy", "syncing"), job("first", "pre-syncing", **none), job("own", "success"),
        job("never", "none", last_started=ZERO, **none), job("gone", "success"),
    )  # fmt: skip
    held.command("follow")
    held.command("run", "own", "--while-held")
    before = known(held)["own"]

    tried = held.command("takeover", model.url, "--dry-run", check=False)
    assert set(known(held)) == {"own"}
    done = held.command("takeover", model.url, check=False)

    assert (tried.returncode, done.returncode) == (1, 1)
    summary = "taken over: 3 of 6 mirrors"
    said = without_times(done.stdout)
    changed = f"{summary}; nothing was changed, because of `--dry-run`"
    assert without_times(tried.stdout) == said.replace(summary, changed)
    wait = "wait until it has ended or stop that worker, then run this again"
    assert f"first: pre-syncing, never succeeded, 1.12 TiB; still syncing at the old worker: {wait}" in said
    assert f"gone: success, last success T ago, 1.12 TiB; {held.root}/gone is missing or empty" in said
    assert "never: not taken over: it was never synced there; due after `skipjack release`" in said
    assert "own: not taken over: it has runs of this worker; next run in " in said
    assert "unknown: not taken over: that worker does not have it; due after `skipjack release`" in said
    assert known(held)["own"] == before
    assert known(held)["busy"].status == "interrupted" and known(held)["busy"].last_success_at is not None

    offer(model, job("busy", "success"), job("first", "disabled"))
    assert "busy: success, last success" in held.command("takeover", model.url, check=False).stdout
    assert known(held)["first"].status == "disabled"
    offer(model, job("first", "success"))
    held.command("takeover", model.url, check=False)
    assert known(held)["first"].status == "success", "an override that was taken over ends with that of the old worker"

    held.command("release")
    status(held, "never", "success")
    status(held, "unknown", "success")
    assert (gate.begun("busy"), gate.begun("first"), gate.begun("gone")) == ([], [], [])
    refused = held.command("run", "gone", check=False)
    assert refused.returncode == 1 and known(held)["gone"].status == "refused"


def test_an_operators_own_override_stays(repository: ConfigRepository, held: Worker, model: Model, gate: Gate) -> None:
    commit(repository, gate, "m")
    filled(held, "m")
    offer(model, job("m", "success"))
    held.command("follow")
    held.command("disable", "m", "--reason", "broken upstream")

    assert "no next run" in held.command("takeover", model.url).stdout

    found = known(held)["m"]
    assert found.override is not None and (found.status, found.override.reason) == ("disabled", "broken upstream")
    assert found.last_success_at is not None


def test_a_mirror_that_was_renamed_since_has_the_state_of_its_previous_name(
    repository: ConfigRepository, held: Worker, model: Model, gate: Gate
) -> None:
    commit(repository, gate, "new", new="formerly: [old]\n")
    filled(held, "new")
    offer(model, job("old", "success"))
    held.command("follow")

    said = without_times(held.command("takeover", model.url).stdout)

    assert said.splitlines()[0].startswith("new: success, last success T ago, 1.12 TiB (`old` there); next run in ")


def test_the_page_shows_the_taken_state_and_no_run(
    repository: ConfigRepository, reporter: Worker, manager: Manager, model: Model, gate: Gate
) -> None:
    commit(repository, gate, "m")
    filled(hold(reporter), "m")
    offer(model, job("m", "success"))
    reporter.command("follow")

    reporter.command("takeover", model.url)
    reporter.command("courier")

    found = manager.job("m")
    at = int(datetime.fromisoformat(model.jobs["w1", "m"]["last_update"]).timestamp())
    assert (found["status"], found["size"], found["last_update_ts"]) == ("success", "1.23T", at)
    wait_until(lambda: manager.names() == ["m"], "the page shows the mirror")
    (mirror,) = manager.published()["mirrors"]
    (copy,) = mirror["copies"]
    assert (copy["status"], copy["run"], copy["freshness"]) == ("success", None, "fresh")


def test_another_name_there(repository: ConfigRepository, held: Worker, model: Model, gate: Gate) -> None:
    commit(repository, gate, "m")
    held.command("follow")
    filled(held, "m")
    model.workers["old"] = {"id": "old"}
    model.jobs["old", "m"] = job("m", "success")

    empty = held.command("takeover", model.url, check=False)
    assert (empty.returncode, "has no mirror of the worker `w1`; nothing was changed." in empty.stderr) == (1, True)
    missing = held.command("takeover", model.url, "--worker", "w9", check=False)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "has no worker `w9`; nothing was changed. Name it with `--worker`. It has `old`, `w1`." in missing.stderr

    assert "taken over: 1 of 1 mirrors" in held.command("takeover", model.url, "--worker", "old").stdout


ANSWERS = {
    "not JSON": b"<html>",
    "NaN": json.dumps([job("m", "success", size=float("nan"))]).encode(),
    "an object": b'{"error": "no"}',
    "a number as a name": json.dumps([job("m", "success") | {"name": 5}]).encode(),
    "no name": b'[{"status": "success"}]',
    "a foreign status": json.dumps([job("m", "queued")]).encode(),
    "a list as a status": json.dumps([job("m", "success") | {"status": []}]).encode(),
    "a local time": json.dumps([job("m", "success", last_ended="2026-11-22T11:48:37")]).encode(),
    "no date": json.dumps([job("m", "success", last_ended="2026-13-22T11:48:37Z")]).encode(),
    "a number as a time": json.dumps([job("m", "success", last_ended=5)]).encode(),
    "a surrogate": json.dumps([job("m", "success") | {"name": "\ud800"}]).encode(),
    "twice": json.dumps([job("m", "success"), job("m", "failed")]).encode(),
    "deep": b"[" * 100_000,
    "many values": b"[" + b"[]," * 600_000 + b"[]]",
    "huge": b" " * (17 * 1024**2),
}


def test_an_answer_that_is_not_tunasyncs_changes_nothing(
    repository: ConfigRepository, held: Worker, gate: Gate
) -> None:
    commit(repository, gate, "m")
    held.command("follow")

    for title, body in ANSWERS.items():
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        refused(held, answer_with(head + body), title)
    refused(
        held, answer_with(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), "moved"
    )
    refused(held, answer_with(b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n[]", close=True), "cut off")

    assert known(held) == {}


def answer_with(data: bytes, *, close: bool = False) -> Says:
    def say(connection: Any, _count: int) -> None:
        connection.sendall(data)
        if close:
            connection.close()

    return say


def refused(worker: Worker, says: Says, title: str) -> None:
    server = Server(says)
    try:
        done = worker.command("takeover", server.url, check=False)
    finally:
        server.close()
    assert (done.returncode, done.stdout) == (1, ""), title
    assert len(done.stderr.splitlines()) == 1 and "tunasync manager at" in done.stderr, (title, done.stderr)


def test_times_in_the_future_are_not_taken_over(
    repository: ConfigRepository, held: Worker, model: Model, gate: Gate
) -> None:
    commit(repository, gate, "far", "near")
    filled(held, "far", "near")
    offer(
        model, job("far", "success", last_ended="9999-12-31T23:59:59Z"), job("near", "success", last_ended=stamp(-0.1))
    )
    held.command("follow")

    done = held.command("takeover", model.url, check=False)

    assert done.returncode == 1
    assert "far: not taken over: its times there are" in done.stdout
    assert "ahead of this machine's clock; correct the clocks first" in done.stdout
    assert set(known(held)) == {"near"} and (known(held)["near"].last_ended_at or 0) <= time.time()


def test_the_session_of_the_page(repository: ConfigRepository, held: Worker, model: Model, gate: Gate) -> None:
    (block,) = (each for each in blocks("docs/from-tunasync.md", "") if each.first.startswith("$ skipjack takeover"))
    commit(repository, gate, "debian", "fedora")
    filled(held, "debian", "fedora")
    offer(model, job("debian", "success"), job("fedora", "disabled", size="unknown"))
    held.command("follow")

    said = held.command("takeover", model.url).stdout

    assert without_times(said).splitlines() == without_times(block.text).splitlines()[1:]


def test_a_takeover_needs_a_plan_and_an_address(held: Worker, model: Model) -> None:
    early = held.command("takeover", model.url, check=False)
    assert (early.returncode, "Run `skipjack follow` first" in early.stderr) == (1, True)
    for address in ("manager.example.org", "http://user:secret@m.example.org/", "ftp://m.example.org"):
        wrong = held.command("takeover", address, check=False)
        assert (wrong.returncode, "secret" in wrong.stderr) == (2, False)
    assert model.heard == []
