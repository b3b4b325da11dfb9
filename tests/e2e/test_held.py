"""A held worker (`start: held`): everything works, no run starts, and one `skipjack release` ends it permanently."""

import contextlib
import sqlite3
import subprocess
from typing import Any

import pytest
import requests

from runner.subprocesses import spawn
from tests.e2e.fake_manager import FakeManager
from tests.e2e.gate import Gate, status, syncing, upcoming
from tests.e2e.parts import ConfigRepository, Manager, Worker, wait_until
from tests.e2e.test_commands import answered, lingering
from tests.e2e.tunasync_model import Model
from tests.soak import truth

NAMES = ("a", "b", "c", "d")
HELD = "held: no run starts on this worker until `skipjack release`, since its settings have `start: held`"
NEVER = -62135596800
"""The time that tunasync writes for none."""
WAITS = "starts after `skipjack release`: this worker is held"


def hold(worker: Worker) -> Worker:
    """Set `start: held` in a worker's settings."""
    with worker.settings.open("a") as settings:
        settings.write("start: held\n")
    return worker


@pytest.fixture(autouse=True)
def mirrors(repository: ConfigRepository, gate: Gate) -> None:
    """Four mirrors that end at once, with no report after their ends."""
    gate.open.touch()
    repository.commit({f"{name}.yml": gate.mirror("measure_size: false\n") for name in NAMES}, "Add mirrors")


@pytest.fixture
def held(worker: Worker) -> Worker:
    """A worker with two slots that was never released; nothing has run on it yet."""
    return hold(worker)


def all_succeed(worker: Worker) -> None:
    """Wait until every mirror was synced."""
    for name in NAMES:
        status(worker, name, "success")


def test_no_program_starts_a_run_on_a_held_worker(held: Worker, gate: Gate) -> None:
    held.command("follow", "--start")
    assert HELD in held.command("tick").stderr
    assert HELD in held.command("once").stderr
    subprocess.run(spawn.lean("tick", str(held.state)), check=True)
    assert held.command("start", "a", "b").stdout == f"a: {WAITS}\nb: {WAITS}\n"
    assert held.command("start", "--force", "c").stdout == f"c: {WAITS}\n"
    assert held.command("restart", "d").stdout == f"d: {WAITS}\n"
    unit = subprocess.run(spawn.lean("run", str(held.state), "a"), check=False, capture_output=True, text=True)
    typed = held.command("run", "a", check=False)

    for done in (unit, typed):
        assert done.returncode == 1
        assert "cannot sync a: this worker is held by `start: held` in its settings." in done.stderr
        assert "`skipjack release` ends that; `skipjack run a --while-held` syncs only this mirror." in done.stderr
    assert truth.at_rest(held) == {}
    assert gate.begun("a") == []
    assert "bug" not in held.messages()


def test_a_held_worker_shows_that_it_is(held: Worker) -> None:
    assert held.command("next").stdout.splitlines()[0] == HELD
    assert held.command("follow").stdout.splitlines() == ["due now, with 2 slots: a, b, c, d", HELD]
    assert {row["why"] for row in upcoming(held).values()} == {"waiting for `skipjack release`"}
    assert {row["waits_for"] for row in upcoming(held).values()} == {"held"}
    assert "a, as of " in held.command("run", "a", "--dry-run").stdout


def test_a_release_starts_due_mirrors_within_the_slots_and_is_permanent(
    held: Worker, gate: Gate, repository: ConfigRepository
) -> None:
    gate.open.unlink()
    held.command("follow")

    said = held.command("release").stdout.splitlines()

    assert said[0] == "released: mirrors that are due start now, as slots and sync windows allow"
    assert said[1] == "`start: held` has no effect from now on; keep it for `skipjack hold`, or remove it"
    syncing(held, gate, "a")
    syncing(held, gate, "b")
    assert held.states() == {"a": "syncing", "b": "syncing", "c": "queued", "d": "queued"}
    gate.open.touch()
    all_succeed(held)
    repository.commit({"e.yml": gate.mirror()}, "Add another")
    held.command("follow", "--start")
    status(held, "e", "success")
    again = held.command("release").stdout
    assert again.startswith("this worker was released ") and again.endswith("; nothing was changed\n")
    assert held.command("next").stdout.splitlines()[0].startswith("MIRROR ")


def test_a_tick_after_the_release_starts_runs_although_an_earlier_one_found_the_worker_held(held: Worker) -> None:
    held.command("follow")

    def tick_leaves_a_note() -> bool:
        held.command("tick")
        return (held.state / "agenda").exists()

    wait_until(tick_leaves_a_note, "a tick found that there is nothing to do for long")

    held.command("release")

    all_succeed(held)


def test_a_worker_that_lost_its_journal_is_held_again(held: Worker) -> None:
    held.command("follow")
    held.command("release")
    all_succeed(held)
    truth.at_rest(held)
    for path in (*held.state.glob("journal.db*"), *held.state.glob("agenda")):  # all that shows that there was one
        path.unlink()

    assert HELD in held.command("tick").stderr

    assert truth.at_rest(held) == {}


def test_a_release_needs_a_plan_and_a_worker_that_is_held(worker: Worker) -> None:
    early = worker.command("release", check=False)
    assert (early.returncode, "Run `skipjack follow` first" in early.stderr) == (1, True)
    worker.command("follow")

    assert worker.command("release").stdout == "this worker is not held; nothing was changed\n"

    hold(worker).command("follow")
    assert HELD in worker.command("tick").stderr, "what was no release must not keep it from being held"
    assert truth.at_rest(worker) == {}


def test_one_mirror_can_be_tried_while_the_others_wait(held: Worker) -> None:
    held.command("follow")

    held.command("run", "b", "--while-held")

    assert truth.at_rest(held) == {"b": "success"}


def test_a_run_continues_through_a_hold_and_its_restart_waits(worker: Worker, gate: Gate) -> None:
    gate.open.unlink()
    worker.command("follow")
    worker.command("start", "a")
    syncing(worker, gate, "a")
    hold(worker).command("follow", "--start")

    assert worker.command("restart", "a").stdout == f"a: stopping its run; {WAITS}\n"

    status(worker, "a", "interrupted")
    assert truth.at_rest(worker) == {"a": "interrupted"}
    assert len(gate.begun("a")) == 1
    gate.open.touch()
    worker.command("release")
    all_succeed(worker)


def test_commands_of_the_manager_are_recorded_and_take_effect_after_the_release(
    held: Worker, fake: FakeManager, repository: ConfigRepository, gate: Gate
) -> None:
    held.report_to(fake.url, "secret")
    repository.commit({"a.yml": gate.mirror("cron: 30 4 1 1 *\n")}, "Sync a once a year")
    held.command("follow", "--start")
    with lingering(held):
        recorded = ("done", "recorded; it starts after `skipjack release`, since this worker is held")
        assert answered(fake, fake.give("start", "a", force=True)) == recorded
        assert answered(fake, fake.give("reload")) == ("done", "")
        assert answered(fake, fake.give("disable", "b")) == ("done", "")
        wait_until(lambda: fake.statuses("b")[-1:] == ["disabled"], "what commands do else is done and reported")
        assert held.states() == {"b": "disabled"}

        held.command("release")

        for name in "acd":
            status(held, name, "success")
        assert held.states()["b"] == "disabled"


def page(manager: Manager) -> dict[str, Any] | None:
    """The worker in `status.json`, once it has reported."""
    found = manager.published()
    return next((each for each in found["workers"] if each["held"] is not None), None) if found else None


def test_the_pages_show_a_held_worker_and_tunasync_lists_stay_unchanged(reporter: Worker, manager: Manager) -> None:
    reporter.command("once")
    all_succeed(reporter)
    wait_until(lambda: reporter.command("courier") and not reporter.pending(), "all is reported")
    wait_until(lambda: (page(manager) or {}).get("held") is False, "the page shows the worker")
    wait_until(lambda: {job["status"] for job in manager.jobs().values()} == {"success"}, "the list is complete")
    jobs = manager.jobs()

    hold(reporter).command("follow")
    reporter.command("start", "a")
    reporter.command("courier")

    wait_until(lambda: (page(manager) or {}).get("held") is True, "the page shows that it is held")
    mark = '<span class="verdict unknown">held</span>'
    wait_until(lambda: mark in (html := manager.page("workers.html")) and "<b>Held.</b>" in html, "so does the page")
    metrics = requests.get(f"{manager.url}/metrics", timeout=300).text
    assert 'skipjack_worker_held{worker="w1"} 1.0' in metrics
    assert listed(manager.jobs()) == listed(jobs)
    assert {job["next_schedule_ts"] for job in manager.jobs().values()} == {NEVER}
    assert listed({job["name"]: job for job in manager.published("static/tunasync.json")}) == listed(jobs)

    reporter.command("release")
    reporter.command("courier")

    wait_until(lambda: (page(manager) or {}).get("held") is False, "the page shows that it was released")


def listed(jobs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What clients of tunasync see, without what they ignore and when a mirror would run next."""
    left_out = ("skipjack", "next_schedule", "next_schedule_ts")
    return {name: {key: value for key, value in job.items() if key not in left_out} for name, job in jobs.items()}


def test_a_held_worker_sends_nothing_to_a_tunasync_manager(held: Worker) -> None:
    with Model() as model:
        with held.settings.open("a") as settings:
            settings.write(f"manager: {{protocol: tunasync, url: '{model.url}'}}\n")
        held.command("courier")
        held.command("once")
        held.command("courier")
        assert model.heard == [], "it would take the place of tunasync's own worker of that name"

        held.command("release")
        all_succeed(held)
        held.command("courier")

        assert {model.jobs["w1", name]["status"] for name in NAMES} == {"success"}


def test_a_trial_of_held_settings_writes_nothing(held: Worker) -> None:
    before = {path: path.stat().st_mtime_ns for path in held.folder.rglob("*")}

    assert held.command("next").stdout.splitlines()[0] == HELD
    held.command("run", "a", "--dry-run")

    assert {path: path.stat().st_mtime_ns for path in held.folder.rglob("*")} == before


@pytest.mark.parametrize("damage", ["empty", "version"])
def test_a_trial_needs_no_readable_plan(held: Worker, damage: str) -> None:
    held.command("follow")
    place = held.state / "plan.db"
    if damage == "empty":
        place.write_bytes(b"")
    else:
        with contextlib.closing(sqlite3.connect(place)) as database:
            database.execute("PRAGMA user_version = 999")
    before = place.read_bytes()

    tried = held.command("next")

    assert tried.stdout.splitlines()[0] == HELD
    assert "which is not in force" in tried.stderr
    assert "a, as of " in held.command("run", "a", "--dry-run").stdout
    assert place.read_bytes() == before


def test_a_hold_takes_the_release_back_until_the_next_one(held: Worker, gate: Gate) -> None:
    held.command("follow")
    gate.open.unlink()
    held.command("release")
    syncing(held, gate, "a")
    syncing(held, gate, "b")

    said = held.command("hold").stdout

    assert said == f"{HELD}\nstill running: a b; `skipjack stop a b` stops them\n"
    held.command("stop", "a", "b")
    assert truth.at_rest(held) == {"a": "paused", "b": "paused", "c": "queued", "d": "queued"}
    held.command("once")
    assert (gate.begun("c"), gate.begun("d")) == ([], [])
    assert held.command("hold").stdout == "this worker is held already; nothing was changed\n"
    gate.open.touch()
    held.command("release")
    for name in "cd":
        status(held, name, "success")


def test_a_hold_needs_start_held_in_settings_and_plan(worker: Worker) -> None:
    worker.command("follow")
    refused = worker.command("hold", check=False)
    assert (refused.returncode, "its settings do not have `start: held`" in refused.stderr) == (1, True)
    hold(worker)
    refused = worker.command("hold", check=False)
    assert (refused.returncode, "its plan does not have `start: held` yet" in refused.stderr) == (1, True)


def test_a_hold_that_is_not_in_the_plan_yet_is_shown(worker: Worker) -> None:
    worker.command("follow")
    assert "start: held" not in worker.command("next").stderr

    hold(worker)
    assert "the settings have `start: held`, but the plan was made before that" in worker.command("next").stderr

    worker.command("follow")
    assert worker.command("next").stderr == ""


def test_a_hold_needs_no_reachable_repository(worker: Worker, repository: ConfigRepository, gate: Gate) -> None:
    worker.command("follow")
    repository.remote.rename(repository.remote.with_name("away"))

    assert hold(worker).command("follow", check=False).returncode == 1

    assert HELD in worker.command("tick").stderr
    assert truth.at_rest(worker) == {}
    assert gate.begun("a") == []


def test_without_a_free_slot_on_a_held_worker_a_message_says_that_nothing_starts_the_run_later(
    held: Worker, gate: Gate
) -> None:
    held.command("follow")
    gate.open.unlink()
    runs = [held.start("run", name, "--while-held") for name in "ab"]
    for name in "ab":
        syncing(held, gate, name)

    refused = held.command("run", "c", "--while-held", check=False)

    assert refused.returncode == 1
    assert "all slots are busy, and no tick starts it later on a held worker" in refused.stderr
    assert held.states().get("c") is None
    gate.open.touch()
    assert [run.wait() for run in runs] == [0, 0]
