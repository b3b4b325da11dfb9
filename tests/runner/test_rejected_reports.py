"""A manager that rejects what some reports hold: all others arrive once and in order, and nothing is lost silently."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner.base.state_dir import StateLayout
from runner.courier import batches, commands, delivery
from runner.courier.client import ManagerClient, Rejected
from runner.courier.commands import WorkerContext
from runner.courier.delivery import Delivered
from runner.courier.report_forms import LEFT_OUT
from runner.courier.tunasync_manager import TunasyncManager
from runner.journal import journal
from runner.journal.command_table import CommandTable
from runner.journal.journal import Ending, Journal, Subject
from runner.journal.rejected_reports import SHOWN_FOR, remembered
from schemas.errors import SkipjackError
from schemas.records import ManagerAddress, Repository, RunnerSettings, Secret

from .scripted_manager import Answer, Serve

AT = 1_800_000_000.0
BAD = "a word that the manager does not take"


class Strict:
    """A manager with a rule of its own, which keeps to the protocol."""

    def __init__(self, rejects: Callable[[dict[str, Any]], bool], status: int = 422) -> None:
        self._rejects, self._status = rejects, status
        self.acknowledged = 0
        self.taken: list[dict[str, Any]] = []
        self.problems: list[dict[str, Any]] = []
        self.requests = 0

    def __call__(self, asked: dict[str, Any], _count: int) -> Answer:
        self.requests += 1
        if self._rejects(asked):
            return self._status, json.dumps({"error": "$.reports[0]: no such word, see https://u:pw@h/"}).encode()
        self.problems = asked["problems"]
        want = None
        for report in asked["reports"]:
            if report["number"] > self.acknowledged + 1 and report["kind"] != "snapshot":
                want = "snapshot"
                break
            if report["number"] > self.acknowledged:
                self.acknowledged = report["number"]
                self.taken.append(report)
        return 200, json.dumps({"acknowledged": self.acknowledged, "want": want}).encode()

    def ends(self) -> list[dict[str, Any]]:
        """Return the runs whose ends were reported, in order."""
        told = [status["run"] for report in self.taken for status in report["statuses"]]
        return [run for run in told if run and run["ended_at"]]


def rejecting(*words: str) -> Callable[[dict[str, Any]], bool]:
    return lambda asked: any(word in json.dumps(report) for report in asked["reports"] for word in words)


def rejecting_run(*numbers: int) -> Callable[[dict[str, Any]], bool]:
    return lambda asked: any(
        run["id"] in numbers
        for report in asked["reports"]
        for run in [status["run"] for status in report["statuses"] if status["run"]] + report["runs"]
    )


@pytest.fixture
def settings(tmp_path: Path) -> RunnerSettings:
    (tmp_path / "token").write_text("x" * 43)
    (tmp_path / "run").mkdir()
    return RunnerSettings("w1", Repository("file:///nowhere"), state_dir=str(tmp_path), run_dir=str(tmp_path / "run"))


def with_runs(settings: RunnerSettings, count: int, bad: tuple[int, ...] = (), mirror: str = "debian") -> None:
    """Let some runs end; the reasons of those in `bad` contain the word."""
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        for number in range(1, count + 1):
            one_run(book, mirror, AT + number, BAD if number in bad else f"reason {number}")


def one_run(book: Journal, mirror: str, at: float, reason: str) -> None:
    run = book.begin(None, Subject(mirror, "rsync://up.example/x/", True, "a" * 40), at)
    assert run is not None
    book.end(run, mirror, Ending("failed", reason, log_tail="the log"), at)


def deliver(settings: RunnerSettings, manager: Strict, serve: Serve) -> Delivered:
    address = ManagerAddress(serve(manager).url, token=Secret(file=f"{settings.state_dir}/token"))
    with closing(ManagerClient(address)) as client:
        return delivery.deliver(settings._replace(manager=address), client)


def waiting(settings: RunnerSettings) -> int:
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        return book.outbox.pending()


def shown(settings: RunnerSettings, now: float) -> list[str]:
    return [each.what for each in remembered(StateLayout(settings.state_dir), now)]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_report_whose_details_are_rejected_arrives_without_them_and_all_others_complete(
    settings: RunnerSettings, serve: Serve, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    with_runs(settings, 60, bad=(7, 40))
    manager = Strict(rejecting(BAD), status)

    deliver(settings, manager, serve)

    assert waiting(settings) == 0
    assert [report["number"] for report in manager.taken] == list(range(1, 121))
    ends = manager.ends()
    assert [run["id"] for run in ends] == list(range(1, 61))
    assert [run["reason"] for run in ends if run["id"] not in (7, 40)] == [
        f"reason {number}" for number in range(1, 61) if number not in (7, 40)
    ]
    for run in (ends[6], ends[39]):
        assert (run["status"], run["reason"], run["log_tail"]) == ("failed", LEFT_OUT, "")
    assert manager.requests <= 50
    said = capsys.readouterr().err
    assert "rejects report 14 (debian: failed, run 7), which was sent without details" in said
    assert f"answered {status}: $.reports[0]: no such word" in said
    assert "pw" not in said


def test_a_report_that_is_rejected_in_each_form_is_given_up_with_an_error_and_the_others_arrive(
    settings: RunnerSettings,
    serve: Serve,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("runner.courier.batches.time.time", lambda: AT)
    with_runs(settings, 30)
    manager = Strict(rejecting_run(12))

    deliver(settings, manager, serve)

    assert waiting(settings) == 0
    assert [report["number"] for report in manager.taken] == list(range(1, 61))
    assert [run["id"] for run in manager.ends()] == [number for number in range(1, 31) if number != 12]
    words = "ERROR courier: the manager rejects report 24 (debian: failed, run 12), which was given up"
    assert words in capsys.readouterr().err
    what = shown(settings, AT + 60)[0]
    assert "report 24 (debian: failed, run 12), which was given up" in what
    assert "no such word" in what and "pw" not in what
    assert shown(settings, AT + SHOWN_FOR) == []


def test_a_manager_gets_a_problem_for_each_rejection(settings: RunnerSettings, serve: Serve) -> None:
    with_runs(settings, 3)
    deliver(settings, Strict(rejecting_run(2)), serve)
    manager = Strict(rejecting_run())
    manager.acknowledged = 6

    deliver(settings, manager, serve)

    assert [problem["place"] for problem in manager.problems if "which was given up" in problem["what"]] == ["manager"]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 408, 409, 429, 500, 503])
def test_no_report_is_given_up_for_a_status_that_is_not_about_content(
    settings: RunnerSettings, serve: Serve, status: int
) -> None:
    with_runs(settings, 3)
    manager = Strict(lambda asked: bool(asked["reports"]), status)

    with pytest.raises(SkipjackError, match=f"answered {status}"):
        deliver(settings, manager, serve)

    assert (manager.requests, waiting(settings), shown(settings, AT)) == (1, 6, [])


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("empty", [True, False], ids=["signs of life as well", "reports alone"])
def test_no_report_is_given_up_while_everything_is_rejected(
    settings: RunnerSettings, serve: Serve, status: int, empty: bool
) -> None:
    with_runs(settings, 300)
    manager = Strict(lambda asked: empty or bool(asked["reports"]), status)

    with pytest.raises(Rejected, match=f"answered {status}"):
        deliver(settings, manager, serve)

    assert (waiting(settings), shown(settings, AT)) == (600, [])
    assert manager.requests <= 20


def test_rejected_problems_of_the_worker_do_not_block_reports(
    settings: RunnerSettings, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    with_runs(settings, 5)
    manager = Strict(lambda asked: bool(asked["problems"]))  # there is no plan, which is one

    deliver(settings, manager, serve)
    deliver(settings, manager, serve)

    assert [run["id"] for run in manager.ends()] == [1, 2, 3, 4, 5]
    assert capsys.readouterr().err.count("rejects the worker's problems and progress") == 1, "once an hour"


def test_a_snapshot_with_one_rejected_mirror_delivers_all_others_complete(
    settings: RunnerSettings, serve: Serve
) -> None:
    for mirror in ("arch", "debian", "gnu"):
        with_runs(settings, 2, bad=(2,) if mirror == "debian" else (), mirror=mirror)
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        book.outbox.snapshot(0, AT)
    manager = Strict(rejecting(BAD))
    manager.acknowledged = 12

    deliver(settings, manager, serve)

    assert waiting(settings) == 0
    told = {status["mirror"]: status["run"]["reason"] for each in manager.taken for status in each["statuses"]}
    assert told == {"arch": "reason 2", "debian": LEFT_OUT, "gnu": "reason 2"}
    runs = {run["id"]: run["reason"] for each in manager.taken for run in each["runs"]}
    assert list(runs.values()) == ["reason 1", "reason 2", "reason 1", LEFT_OUT, "reason 1", "reason 2"]


def test_a_manager_that_rejects_many_reports_gets_no_more_for_now(settings: RunnerSettings, serve: Serve) -> None:
    with_runs(settings, 40)
    manager = Strict(rejecting_run(*range(5, 41)))

    with pytest.raises(Rejected):
        deliver(settings, manager, serve)

    assert [run["id"] for run in manager.ends()] == [1, 2, 3, 4]
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        first = book.outbox.oldest(1, 0)[0]
    assert first["statuses"][0]["run"]["id"] == 5 + batches.GIVEN_UP
    with pytest.raises(Rejected):
        deliver(settings, manager, serve)
    assert waiting(settings) == 80 - 2 * (4 + 2 * batches.GIVEN_UP) - 1


def test_a_courier_continues_after_it_died_while_giving_up_a_report(
    settings: RunnerSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_runs(settings, 10)
    manager = Strict(rejecting_run(4))
    with monkeypatch.context() as patch:
        patch.setattr(batches.Batches, "_close", lambda *_words: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            deliver(settings, manager, serve)

    deliver(settings, manager, serve)

    assert waiting(settings) == 0
    assert [run["id"] for run in manager.ends()] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert len(shown(settings, AT)) <= 1


def test_an_unreadable_file_of_rejections_counts_as_empty(settings: RunnerSettings) -> None:
    layout = StateLayout(settings.state_dir)
    sound = {"times": 2, "first_at": AT, "last_at": AT, "what": "what", "why": "why"}
    wrong: list[dict[str, Any]] = [
        {"times": "2"}, {"first_at": "x"}, {"first_at": 1e300}, {"first_at": None}, {"last_at": True}, {"why": {}},
        {"what": "\ud800"}, {"more": 1},
    ]  # fmt: skip
    for text in (
        "", "[]", "{}", '{"times": 1}', "x" * 100_000, "[" * 60_000, *(json.dumps(sound | each) for each in wrong),
    ):  # fmt: skip
        Path(layout.rejected).write_text(text)
        assert remembered(layout, AT) == [], text
    Path(layout.rejected).write_text(json.dumps(sound))
    assert len(remembered(layout, AT)) == 1


def results_told(settings: RunnerSettings, serve: Serve, rejects: Callable[[list[dict[str, Any]]], bool]) -> list[Any]:
    """What a manager takes of the results of ten commands that it gives, of which it rejects some."""
    told: list[dict[str, Any]] = []
    given = [{"number": number, "kind": "dance", "issued_by": "bob"} for number in range(1, 11)]

    def says(asked: dict[str, Any], _count: int) -> Answer:
        results = asked.get("results")
        if results is None:
            return 200, json.dumps({"commands": given, "newest": 10}).encode()
        if rejects(results):
            return 422, b'{"error": "no such word"}'
        told.extend(results)
        return 200, json.dumps({"taken": len(results)}).encode()

    address = ManagerAddress(serve(says).url, token=Secret(file=f"{settings.state_dir}/token"))
    here = WorkerContext("w1", StateLayout(settings.state_dir), "/nowhere")
    with closing(ManagerClient(address)) as client:
        commands.fetch_and_execute(here, client, 0)
        commands.fetch_and_execute(here, client, 0)
    return told


def test_a_rejected_result_does_not_block_the_others(
    settings: RunnerSettings, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    told = results_told(
        settings,
        serve,
        lambda results: any(each["number"] == 4 or (each["number"] == 7 and each["reason"]) for each in results),
    )

    assert [each["number"] for each in told] == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert [each["number"] for each in told if not each["reason"]] == [7]
    assert "rejects the result of command 4, which was given up" in capsys.readouterr().err
    assert "the result of command 4" in shown(settings, time.time())[0]


def test_no_result_is_given_up_while_everything_is_rejected(settings: RunnerSettings, serve: Serve) -> None:
    with pytest.raises(Rejected):
        results_told(settings, serve, lambda _results: True)
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        assert len(CommandTable(book).results()) == 10


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_tunasync_manager_that_rejects_a_reason_gets_the_status_without_it(
    settings: RunnerSettings, serve: Serve, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    with_runs(settings, 2, bad=(1,))
    told: list[dict[str, Any]] = []

    def says(asked: dict[str, Any], _count: int) -> Answer:
        if BAD in json.dumps(asked):
            return status, b"no such word"
        told.append(asked)
        return 200, b"{}" if asked else b"[]"

    address = ManagerAddress(serve(says).url, protocol="tunasync")
    with closing(TunasyncManager(address, settings)) as manager:
        manager.deliver()

    assert waiting(settings) == 0
    failed = [(each["error_msg"], each["upstream"]) for each in told if each.get("status") == "failed"]
    assert failed == [("", ""), ("reason 2", "rsync://up.example/x/")]
    assert "rejects the status of debian, which was sent without its upstream and its reason" in capsys.readouterr().err


def test_a_tunasync_manager_that_rejects_every_status_gets_them_again_later(
    settings: RunnerSettings, serve: Serve
) -> None:
    with_runs(settings, 2)
    address = ManagerAddress(
        serve(lambda asked, _count: (422, b"no") if "status" in asked else (200, b"{}" if asked else b"[]")).url,
        protocol="tunasync",
    )
    with closing(TunasyncManager(address, settings)) as manager, pytest.raises(Rejected):
        manager.deliver()
    assert waiting(settings) > 0
