"""A run under way of a mirror that its worker no longer has may finish; until then it is seen and can be stopped."""

import json

import pytest
import requests

from runner.base.state_dir import StateLayout
from runner.journal import journal
from tests.e2e.gate import Gate, status, syncing, upcoming
from tests.e2e.parts import ConfigRepository, Manager, RsyncDaemon, Worker, alive, wait_until

TWO = "workers:\n  w1: {slots: 5}\n  w2: {slots: 5}\n"
BOTH, OTHER = "worker: {w1: {}, w2: {}}\n", "worker: w2\n"
NAMES = ("changed", "moved", "other", "removed")
LEFT = "syncing; this worker no longer has this mirror; `skipjack stop` ends its run"


@pytest.fixture
def at_work(repository: ConfigRepository, worker: Worker, gate: Gate) -> Worker:
    """A worker on which runs of four mirrors are under way, in a repository that has another worker."""
    files = {f"{name}.yml": gate.mirror(BOTH if name == "changed" else "") for name in NAMES}
    repository.commit({"_workers.yml": TWO, **files}, "Begin")
    worker.command("follow", "--start")
    for name in NAMES:
        syncing(worker, gate, name)
    return worker


def test_runs_of_mirrors_that_left_the_worker_are_shown_and_can_be_stopped_or_finish(
    repository: ConfigRepository, at_work: Worker, gate: Gate
) -> None:
    gone = {"removed.yml": None, "moved.yml": gate.mirror(OTHER), "changed.yml": gate.mirror(OTHER)}
    repository.commit(gone, "Take three mirrors from w1")

    said = at_work.command("follow").stderr

    for name in ("changed", "moved", "removed"):
        assert f"`{name}` is still being synced, although this worker no longer has it." in said
    assert "`other` is still" not in said
    assert at_work.command("follow", "--again").returncode == 0, "the revision is valid"
    rows = upcoming(at_work)
    assert {name: (row["waits_for"], row["status"], row["why"]) for name, row in rows.items()} == {
        "other": ("running", "syncing", "syncing"),
        **dict.fromkeys(("changed", "moved", "removed"), ("running", "syncing", LEFT)),
    }
    refused = at_work.command("disable", "other", "nobody", "removed", check=False)
    assert (refused.returncode, "has no mirror `nobody`." in refused.stderr) == (1, True)
    assert "has no mirror `removed`." in at_work.command("restart", "removed", check=False).stderr
    assert at_work.states() == dict.fromkeys(NAMES, "syncing"), "nothing was done for the others either"

    stopped = at_work.command("stop", "removed", "moved", "other", "--reason", "no room").stdout.splitlines()

    assert stopped == [
        "removed: stopping its run; this worker no longer has this mirror",
        "moved: stopping its run; this worker no longer has this mirror",
        "other: paused until `skipjack start`; stopping its run",
    ]
    status(at_work, "other", "paused")
    for name in ("removed", "moved"):
        status(at_work, name, "interrupted")
        reason = at_work.run_of(name).reason
        assert (reason.startswith("stopped by "), reason.endswith(": no room")) == (True, True), reason
        assert not alive(gate.begun(name)[0])
    assert set(upcoming(at_work)) == {"other", "changed"}
    assert "has no mirror `removed`." in at_work.command("stop", "removed", check=False).stderr, (
        "nothing is left to end"
    )

    gate.open.touch()
    status(at_work, "changed", "success")
    assert set(upcoming(at_work)) == {"other"}
    assert next_run(at_work, "changed") is None
    repository.commit({"moved.yml": gate.mirror()}, "Give one back")
    at_work.command("follow", "--start")
    at_work.command("start", "moved")
    status(at_work, "moved", "success")


def next_run(worker: Worker, mirror: str) -> float | None:
    """When the worker reports that a mirror runs next."""
    with journal.opened(StateLayout(str(worker.state)).journal) as book:
        return book.outbox.status(mirror).next_run_at


def test_a_mirror_that_left_the_plan_has_no_next_run_on_the_page(
    repository: ConfigRepository, manager: Manager, reporter: Worker, gate: Gate, upstream: RsyncDaemon
) -> None:
    gate.open.touch()
    kept = f"upstream: {upstream.url('files')}\nmeasure_size: false\n"
    repository.commit({"denied.yml": gate.mirror(), "kept.yml": kept}, "Begin")
    reporter.command("once")
    assert next_run(reporter, "denied") is not None
    with (reporter.folder / "policy.yml").open("a") as policy:
        policy.write("providers: [rsync]\n")

    reporter.command("once", check=False)

    def shown() -> dict[str, bool]:
        mirrors = (manager.published() or {"mirrors": []})["mirrors"]
        return {each["name"]: each["copies"][0]["next_run_at"] is not None for each in mirrors}

    wait_until(lambda: shown() == {"denied": False, "kept": True}, "the page shows no next run")
    wait_until(lambda: "not scheduled" in manager.page("mirrors/denied.html"), "the page shows it")
    assert next_run(reporter, "kept") is not None


def test_a_worker_whose_name_left_the_list_shows_and_stops_its_runs(
    repository: ConfigRepository, at_work: Worker, gate: Gate
) -> None:
    others = {f"{name}.yml": gate.mirror(OTHER) for name in NAMES}
    repository.commit({"_workers.yml": "workers:\n  w2: {slots: 5}\n", **others}, "Replace the worker")
    assert at_work.command("follow", check=False).returncode == 1

    shown = json.loads(at_work.command("next", "--json").stdout)

    assert {row["mirror"]: row["why"] for row in shown["mirrors"]} == dict.fromkeys(NAMES, LEFT)
    at_work.command("stop", *NAMES)
    for name in NAMES:
        status(at_work, name, "interrupted")
    assert json.loads(at_work.command("next", "--json").stdout)["mirrors"] == []


def test_the_manager_shows_such_a_run_and_passes_a_stop_on(
    repository: ConfigRepository, manager: Manager, reporter: Worker, gate: Gate
) -> None:
    repository.commit({"a.yml": gate.mirror(), "b.yml": gate.mirror()}, "Begin")
    reporter.command("follow", "--start")
    syncing(reporter, gate, "a")
    repository.commit({"a.yml": None}, "Remove a")
    reporter.command("follow")
    reporter.command("courier")

    def page() -> str:
        path = manager.site / "workers.html"
        return path.read_text() if path.exists() else ""

    wait_until(lambda: "is still being synced, although this worker no longer has it" in page(), "the page shows it")
    wait_until(lambda: manager.published("mirrors/a.json") is None, "the manager has seen that it was removed")
    commands = f"{manager.url}/api/v1/commands"
    for kind, accepted in (("restart", False), ("stop", True)):
        command = {"kind": kind, "mirrors": ["a"], "worker": "w1"}
        given = requests.post(commands, json=command, headers=manager.operator(), timeout=300)
        assert given.ok == accepted, given.text
    reporter.command("courier")

    status(reporter, "a", "interrupted")
    assert reporter.run_of("a").reason == "stopped by alice through the manager"
    reporter.command("courier")
    wait_until(lambda: "is still being synced" not in page(), "the page is up to date")
