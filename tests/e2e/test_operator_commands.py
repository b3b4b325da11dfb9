"""Operator commands with real runs: start, stop, disable, restart and enable, and what `next` shows."""

import time
from typing import Any

from runner.overrides import operator_commands
from tests.e2e.gate import Gate, status, syncing, upcoming
from tests.e2e.parts import ConfigRepository, Manager, Worker, alive, wait_until


def test_a_stop_ends_the_run_and_pauses_until_a_start(repository: ConfigRepository, worker: Worker, gate: Gate) -> None:
    repository.commit({"a.yml": gate.mirror()}, "Add a")
    worker.command("follow", "--start")
    syncing(worker, gate, "a")

    said = worker.command("stop", "a").stdout

    assert said == "a: paused until `skipjack start`; stopping its run\n"
    status(worker, "a", "paused")
    ended = worker.run_of("a")
    assert (ended.status, ended.reason.startswith("paused by ")) == ("stopped", True)
    assert not alive(gate.begun("a")[0])
    worker.command("tick")
    assert worker.states() == {"a": "paused"}
    assert upcoming(worker)["a"]["why"].startswith("paused by ")

    gate.open.touch()
    worker.command("start", "a")
    status(worker, "a", "success")
    assert len(gate.begun("a")) == 2


def test_a_disabled_mirror_stays_so_through_follows_and_ticks_until_it_is_enabled(
    repository: ConfigRepository, worker: Worker, gate: Gate
) -> None:
    gate.open.touch()
    repository.commit({"_workers.yml": "workers: {w1: {sync_windows: {allowed: ['00:00-24:00']}}}\n"}, "Set hours")
    worker.command("follow")
    repository.commit({"a.yml": gate.mirror("interval: 1s\n"), "b.yml": gate.mirror()}, "Add a and b")
    worker.command("once")
    worker.command("disable", "a", "b")
    status(worker, "a", "disabled")
    runs = len(gate.begun("a"))
    repository.commit({"a.yml": gate.mirror("interval: 2s\n")}, "Change a")
    worker.command("once")
    worker.command("tick")
    assert (len(gate.begun("a")), worker.states()) == (runs, {"a": "disabled", "b": "disabled"})

    assert worker.command("enable", "a", "b").stdout == "a: follows its schedule\nb: follows its schedule\n"

    wait_until(lambda: len(gate.begun("a")) > runs or worker.command("tick") is None, "a runs again")
    assert worker.states()["b"] == "success"


def test_a_restart_ends_the_run_and_starts_another(repository: ConfigRepository, worker: Worker, gate: Gate) -> None:
    repository.commit({"a.yml": gate.mirror()}, "Add a")
    worker.command("follow", "--start")
    syncing(worker, gate, "a")

    worker.command("restart", "a")

    wait_until(lambda: len(gate.begun("a")) == 2, "it begins again")
    assert not alive(gate.begun("a")[0])
    gate.open.touch()
    status(worker, "a", "success")


def test_a_forced_start_ignores_slots_and_sync_windows(
    repository: ConfigRepository, worker: Worker, gate: Gate
) -> None:
    hours = "sync_windows: {forbidden: ['00:00-23:59'], stop_running: true}\n"
    repository.commit({"a.yml": gate.mirror(), "b.yml": gate.mirror()}, "Fill both slots")
    worker.command("follow", "--start")
    syncing(worker, gate, "a")
    syncing(worker, gate, "b")
    repository.commit({"c.yml": gate.mirror(), "d.yml": gate.mirror(hours)}, "Add more")
    worker.command("follow", "--start")
    status(worker, "c", "queued")
    assert upcoming(worker)["c"]["why"] == "waiting for a slot"

    worker.command("start", "--force", "d")

    syncing(worker, gate, "d")
    worker.command("tick")
    assert worker.states() == {"a": "syncing", "b": "syncing", "c": "queued", "d": "syncing"}
    gate.open.touch()
    for name in "abcd":
        status(worker, name, "success")


def test_a_run_is_ended_when_its_sync_window_is_over(repository: ConfigRepository, worker: Worker, gate: Gate) -> None:
    repository.commit({"a.yml": gate.mirror()}, "Add a")
    worker.command("follow", "--start")
    syncing(worker, gate, "a")
    now = time.gmtime(time.time() + 7200)
    hours = f"{now.tm_hour:02}:00-{(now.tm_hour + 1) % 24:02}:00"
    repository.commit(
        {"a.yml": gate.mirror(f"sync_windows: {{allowed: ['{hours}'], stop_running: true}}\n")}, "Limit a"
    )

    worker.command("follow", "--start")

    status(worker, "a", "interrupted")
    assert worker.run_of("a").reason == "its sync window is over"
    found = upcoming(worker)["a"]
    assert (found["waits_for"], found["why"]) == ("later", "waiting for its sync window")
    assert not alive(gate.begun("a")[0])


def test_a_mirror_starts_after_the_one_that_it_follows(
    repository: ConfigRepository, worker: Worker, gate: Gate
) -> None:
    repository.commit({"a.yml": gate.mirror(), "b.yml": gate.mirror("after: [a]\n")}, "Add both")
    worker.command("follow", "--start")
    syncing(worker, gate, "a")

    worker.command("tick")

    assert worker.states()["b"] == "none"
    assert upcoming(worker)["b"]["why"] == "after a (syncing)"
    gate.open.touch()
    status(worker, "b", "success")


def test_fixed_times_are_known_without_site_packages(repository: ConfigRepository, worker: Worker, gate: Gate) -> None:
    gate.open.touch()
    site = "title: Test Mirrors\ntime_zone: Europe/Berlin\n"
    repository.commit({"_site.yml": site, "a.yml": gate.mirror("cron: 30 4 1 1 *\n")}, "Add a")
    worker.command("once")
    first = upcoming(worker)["a"]
    assert (worker.states(), first["waits_for"]) == ({"a": "none"}, "later"), "it waits for the first of its times"
    worker.command("start", "a")
    status(worker, "a", "success")

    worker.command("tick")

    found = upcoming(worker)["a"]
    assert found["at"] == first["at"]
    assert (found["waits_for"], found["why"]) == ("later", "cron schedule 30 4 1 1 *")
    assert " 04:30  in " in worker.command("next").stdout.replace("-01-01", "")
    assert "bug" not in worker.messages()


def test_unknown_names_are_reported_and_nothing_is_done(
    repository: ConfigRepository, worker: Worker, gate: Gate
) -> None:
    repository.commit({"a.yml": gate.mirror()}, "Add a")
    worker.command("follow", "--start")

    done = worker.command("disable", "a", "nobody", check=False)

    assert done.returncode == 1
    assert "this worker (w1) has no mirror `nobody`. `skipjack next` lists its mirrors." in done.stderr
    syncing(worker, gate, "a")
    gate.open.touch()
    status(worker, "a", "success")


def test_a_stop_ends_the_wait_between_attempts(repository: ConfigRepository, worker: Worker, gate: Gate) -> None:
    gate.script.write_text(f"#!/bin/sh\necho $TUNASYNC_MIRROR_NAME $$ >> {gate.starts}\nexit 1\n")
    repository.commit({"a.yml": gate.mirror("retry: 2\nretry_delay: 1h\n")}, "Add a")
    worker.command("follow", "--start")
    wait_until(lambda: upcoming(worker)["a"]["why"] == "waiting for its next attempt", "the first attempt is over")

    worker.command("stop", "a")

    status(worker, "a", "paused")
    assert (worker.run_of("a").status, worker.run_of("a").attempts) == ("stopped", 1)


def test_the_pages_show_who_switched_a_mirror_off_and_why(
    repository: ConfigRepository, manager: Manager, reporter: Worker
) -> None:
    text = "provider: command\nupstream: https://x.example/\ncommand: touch file\n"
    repository.commit({"m.yml": text}, "Add m")
    reporter.command("once")
    reporter.command("disable", "m", "--reason", "the disk\nis being replaced")
    reporter.command("courier")

    def shown() -> Any:
        mirrors = (manager.published() or {"mirrors": []})["mirrors"]
        return next((mirror["override"] for mirror in mirrors), None)

    who = operator_commands.operator_name()
    wait_until(lambda: shown() is not None, "the site shows that it is switched off")
    assert {key: shown()[key] for key in ("kind", "by", "reason")} == {
        "kind": "disabled", "by": who, "reason": "the disk is being replaced",
    }  # fmt: skip
    assert upcoming(reporter)["m"]["why"] == f"disabled by {who}: the disk is being replaced"
    words = f"by <bdi>{who}</bdi>", "Reason: <bdi>the disk is being replaced</bdi>"
    wait_until(lambda: all(each in manager.page("mirrors/m.html") for each in words), "so does the page")
    reporter.command("enable", "m")
    reporter.command("courier")
    wait_until(lambda: shown() is None, "the site shows that it is switched on")
