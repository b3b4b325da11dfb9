"""Commands of the manager, from its answer to the run: taken once, carried out, answered."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from runner.base.state_dir import StateLayout
from runner.courier import commands
from runner.courier.client import ManagerClient
from runner.journal import journal
from runner.journal.command_table import CommandTable
from schemas.config.settings import load_runner
from tests.e2e.fake_manager import FakeManager
from tests.e2e.gate import Gate, status, syncing
from tests.e2e.parts import ConfigRepository, Manager, Worker, alive, wait_until
from tests.soak import truth


@pytest.fixture
def subject(worker: Worker, fake: FakeManager) -> Worker:
    """A worker that reports to the fake manager."""
    worker.report_to(fake.url, "secret")
    return worker


@contextmanager
def lingering(worker: Worker) -> Iterator[subprocess.Popen[bytes]]:
    with (worker.folder / "courier.log").open("ab") as log:
        courier = worker.start("courier", "--linger", "--start", log=log)
    try:
        yield courier
    finally:
        courier.kill()
        courier.wait()


def said(worker: Worker) -> str:
    return (worker.folder / "courier.log").read_text()


def answered(fake: FakeManager, number: int) -> tuple[str, str]:
    wait_until(lambda: number in fake.results, f"command {number} is answered")
    result = fake.results[number]
    return result["outcome"], result["reason"]


def test_each_command_is_executed_while_the_request_is_held(
    repository: ConfigRepository, subject: Worker, fake: FakeManager, gate: Gate
) -> None:
    repository.commit({"a.yml": gate.mirror("interval: 1000h\n"), "b.yml": gate.mirror("interval: 1000h\n")}, "Add")
    subject.command("follow", "--start")
    syncing(subject, gate, "a")
    with lingering(subject):
        assert answered(fake, fake.give("ping")) == ("done", "")

        assert answered(fake, fake.give("stop", "a")) == ("done", "")
        status(subject, "a", "paused")
        assert subject.run_of("a").reason == "paused by alice through the manager"
        assert not alive(gate.begun("a")[0])

        assert answered(fake, fake.give("start", "a", force=True)) == ("done", "")
        syncing(subject, gate, "a", 2)
        assert answered(fake, fake.give("restart", "a", "b")) == ("done", "")
        syncing(subject, gate, "a", 3)
        syncing(subject, gate, "b", 2)
        assert answered(fake, fake.give("disable", "b", note="new disk")) == ("done", "")
        status(subject, "b", "disabled")
        wait_until(lambda: fake.statuses("b")[-1:] == ["disabled"], "it is reported")
        assert fake.last("b")["override"] | {"since": 0} == {
            "kind": "disabled", "since": 0, "by": "alice through the manager", "reason": "new disk",
        }  # fmt: skip
        assert answered(fake, fake.give("enable", "b")) == ("done", "")
        gate.open.touch()
        status(subject, "a", "success")
        wait_until(lambda: fake.statuses("a")[-1:] == ["success"], "the end is reported while the poll is held")
        wait_until(lambda: fake.held == 1, "the poll is held")


def test_a_command_for_an_unknown_mirror_is_refused_with_a_reason(
    repository: ConfigRepository, subject: Worker, fake: FakeManager, gate: Gate
) -> None:
    numbers = [fake.give("start", "a")]
    subject.command("courier")
    gate.open.touch()
    repository.commit({"a.yml": gate.mirror()}, "Add a")
    subject.command("once")
    numbers += [fake.give("stop", "a", "nobody"), fake.give("start"), fake.give("start", "a")]

    subject.command("courier")

    results = [fake.results[number] for number in numbers]
    assert [result["outcome"] for result in results] == ["refused", "refused", "refused", "done"]
    assert "there is no plan" in results[0]["reason"]
    assert results[1]["reason"] == "this worker (w1) has no mirror `nobody`. `skipjack next` lists its mirrors."
    assert "names no mirror" in results[2]["reason"]
    wait_until(lambda: len(gate.begun("a")) == 2, "the one that is there was not stopped, and runs again")


def test_a_repeated_command_has_no_effect(
    repository: ConfigRepository, subject: Worker, fake: FakeManager, gate: Gate
) -> None:
    gate.open.touch()
    repository.commit({"a.yml": gate.mirror()}, "Add a")
    subject.command("once")
    fake.give("start", "a")
    subject.command("courier")
    wait_until(lambda: len(gate.begun("a")) == 2, "it runs again")
    status(subject, "a", "success")
    fake.forgetful = True

    subject.command("courier")
    subject.command("courier")
    subject.command("tick")

    assert (fake.asked, len(gate.begun("a"))) == ([0, 0, 1, 1], 2)


def test_results_that_the_manager_did_not_accept_are_sent_later_and_no_command_runs_twice(
    repository: ConfigRepository, subject: Worker, fake: FakeManager, gate: Gate
) -> None:
    gate.open.touch()
    repository.commit({"a.yml": gate.mirror()}, "Add a")
    subject.command("once")
    fake.give("disable", "a")
    fake.fault = "/api/v1/commands/results"

    failed = subject.command("courier", check=False)

    assert (failed.returncode, fake.results) == (1, {})
    assert "answered 500: requested by the test" in failed.stderr
    assert subject.states() == {"a": "disabled"}
    subject.command("enable", "a")
    fake.fault = ""
    subject.command("courier")
    assert (fake.results[1]["outcome"], subject.states()) == ("done", {"a": "success"})


def test_a_command_of_a_courier_that_died_after_recording_it_is_completed(
    repository: ConfigRepository, subject: Worker, fake: FakeManager, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit({"a.yml": gate.mirror()}, "Add a")
    subject.command("follow", "--start")
    syncing(subject, gate, "a")
    here = commands.WorkerContext("w1", StateLayout(str(subject.state)), str(subject.settings))
    fake.give("stop", "a")
    dies = ManagerClient(load_runner(subject.settings).manager or pytest.fail("no manager"))
    monkeypatch.setattr("runner.subprocesses.stopping.stop", lambda *_words: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        commands.fetch_and_execute(here, dies, 0)
    dies.close()
    monkeypatch.undo()
    with journal.opened(here.layout.journal) as book:
        assert (CommandTable(book).waiting(), CommandTable(book).taken()) == ([], 1)
    assert alive(gate.begun("a")[0])

    subject.command("courier")

    status(subject, "a", "paused")
    assert fake.results[1]["outcome"] == "done"


def test_an_older_manager_without_commands_is_not_an_error(
    repository: ConfigRepository, subject: Worker, fake: FakeManager, gate: Gate
) -> None:
    fake.old = True
    gate.open.touch()
    repository.commit({"a.yml": gate.mirror("measure_size: false\n")}, "Add a")
    subject.command("once")
    assert subject.command("courier").stderr == "INFO courier: delivered 0 reports\n"
    with lingering(subject):
        subject.command("run", "a")
        wait_until(lambda: fake.successes("a") == 2, "both ends are reported")
    assert said(subject) == ""


def test_a_manager_that_lost_its_database_can_give_commands_again(subject: Worker, fake: FakeManager) -> None:
    for _ in range(3):
        fake.give("ping")
    subject.command("courier", check=False)
    fake.commands.clear()
    fake.results.clear()
    fake.known = 0
    fake.give("ping")

    lost = subject.command("courier")
    number = fake.give("ping")
    subject.command("courier")

    assert "has lost some earlier commands" in lost.stderr
    assert fake.results.keys() == {number}


def test_a_reload_fetches_the_newest_revision(
    repository: ConfigRepository, subject: Worker, fake: FakeManager, gate: Gate
) -> None:
    gate.open.touch()
    repository.commit({"a.yml": gate.mirror()}, "Add a")
    subject.command("once")
    with lingering(subject):
        repository.commit({"b.yml": gate.mirror()}, "Add b")
        assert answered(fake, fake.give("reload")) == ("done", "")
        status(subject, "b", "success")


def test_a_revision_that_the_manager_names_starts_one_follow(
    repository: ConfigRepository, subject: Worker, fake: FakeManager, gate: Gate
) -> None:
    gate.open.touch()
    fake.revision = repository.commit({"a.yml": gate.mirror()}, "Add a")
    subject.command("once")
    assert ": starting a follow" not in subject.command("courier").stderr
    fake.revision = repository.commit({"b.yml": gate.mirror()}, "Add b")

    said = subject.command("courier", "--start").stderr

    assert f"the manager is at revision {fake.revision[:12]}: starting a follow" in said
    status(subject, "b", "success")
    fake.revision = "f" * 40
    assert ": starting a follow" in subject.command("courier").stderr
    assert ": starting a follow" not in subject.command("courier").stderr
    fake.revision = "no commit"
    assert ": starting a follow" not in subject.command("courier").stderr


def test_a_failing_manager_is_logged_once_and_requests_go_on(
    repository: ConfigRepository, subject: Worker, fake: FakeManager, gate: Gate
) -> None:
    gate.open.touch()
    repository.commit({"a.yml": gate.mirror()}, "Add a")
    subject.command("once")
    fake.fault = "/api/v1/commands"
    with lingering(subject) as courier:
        wait_until(lambda: "cannot fetch commands: " in said(subject), "it is logged")
        subject.command("run", "a")
        wait_until(lambda: fake.successes("a") == 2, "reports are still accepted")
        fake.fault = ""
        assert answered(fake, fake.give("ping")) == ("done", "")
        assert courier.poll() is None
    assert said(subject).count("cannot fetch commands") == 1


def test_the_real_manager_gives_commands_accepts_results_and_names_its_revision(
    repository: ConfigRepository, manager: Manager, reporter: Worker, gate: Gate
) -> None:
    gate.open.touch()
    repository.commit({"a.yml": gate.mirror("measure_size: false\n")}, "Add a")
    reporter.command("once")
    operator = manager.operator()

    def give(kind: str, *mirrors: str) -> dict[str, Any]:
        order = {"kind": kind, "mirrors": mirrors, "worker": "w1"}
        url = f"{manager.url}/api/v1/commands"
        given = requests.post(url, json=order, headers=operator, timeout=300).json()["commands"][0]

        def ended() -> list[dict[str, Any]]:
            state = requests.get(f"{url}/w1/{given['number']}", headers=operator, timeout=300).json()
            return [state] if state["state"] in ("done", "refused") else []

        return wait_until(ended, f"{kind} has ended")[0]

    wait_until(lambda: "a" in manager.jobs(), "the manager knows the mirror")
    # The manager may have named its older revision, and a follow that starts late would find the next commit by itself.
    wait_until(lambda: not truth.processes(str(reporter.folder)), "nothing is at work")
    with lingering(reporter):
        assert give("ping")["state"] == "done"
        assert give("disable", "a")["state"] == "done"
        wait_until(lambda: manager.jobs()["a"]["status"] == "disabled", "its pages show it")
        assert give("enable", "a")["state"] == "done"
        repository.commit({"b.yml": gate.mirror()}, "Add b")
        manager.stop()
        manager.start()  # which looks for news of the repository then, and every few minutes
        wait_until(lambda: reporter.command("run", "a") and reporter.states().get("b"), "the worker follows it")
    assert ": starting a follow" in said(reporter)


def test_a_courier_of_cron_prints_only_what_is_wrong(
    repository: ConfigRepository, reporter: Worker, manager: Manager
) -> None:
    repository.commit({"m.yml": "provider: command\nupstream: x\ncommand: 'true'\n"}, "Add m")
    quietly = partial(reporter.command, "courier", "--start", "--quiet", check=False)
    reporter.command("follow")
    reporter.command("run", "m")
    order = {"kind": "disable", "mirrors": ["m"], "worker": "w1"}
    for what in ("reports", "nothing", "a command"):
        if what == "a command":
            manager.job("m")
            url = f"{manager.url}/api/v1/commands"
            assert requests.post(url, json=order, headers=manager.operator(), timeout=300).ok
        done = quietly()
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), what
    assert (reporter.pending(), reporter.states()) == (0, {"m": "disabled"})
    assert reporter.command("courier").stderr.endswith("delivered 0 reports\n"), "a person is answered"

    manager.stop()
    done = quietly()
    assert (done.returncode, done.stdout) == (1, "")
    assert ": Connection refused" in done.stderr and done.stderr.count("\n") == 1


def test_a_ping_of_tunasynctl_reaches_the_courier(repository: ConfigRepository, tmp_path: Path, gate: Gate) -> None:
    repository.commit({"a.yml": gate.mirror()}, "Add")
    manager = Manager(tmp_path / "m", repository.url)
    with manager.settings.open("a") as settings:
        settings.write("tunasync: {writes_from: [127.0.0.0/8]}\n")
    ping: dict[str, Any] = {"cmd": "ping", "mirror_id": "a", "worker_id": "w1", "args": None, "options": {}}
    with manager:
        reporter = Worker(tmp_path / "w", "w1", repository.url, manager)
        wait_until(lambda: "a" in manager.jobs(), "the manager has followed")
        with lingering(reporter):
            wait_until(
                lambda: requests.post(f"{manager.url}/cmd", json=ping, timeout=300).status_code == 200,
                "a ping is answered once the courier has begun to poll",
            )
        wait_until(lambda: "executed ping, requested by tunasync" in said(reporter), "the courier says who asked")
        answer = requests.post(f"{manager.url}/cmd", json=ping, timeout=300)
    assert answer.status_code == 504, "no process listens any longer"
