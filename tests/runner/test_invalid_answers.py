"""Managers that answer what cannot be: requests stay few, nothing is lost, and the courier never ends by it."""

import json
import tracemalloc
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from runner.base.state_dir import StateLayout
from runner.courier import commands, courier, delivery
from runner.courier.client import ManagerClient
from runner.courier.command_poll import CommandPoller
from runner.courier.commands import WorkerContext
from runner.courier.tunasync_manager import TunasyncManager
from runner.journal import journal
from runner.journal.command_table import CommandTable
from runner.journal.journal import Ending, Journal, Subject
from schemas.errors import SkipjackError
from schemas.records import ManagerAddress, Repository, RunnerSettings, Secret
from schemas.wakeup import WakeupSocket
from tests.cases import crossed

from .scripted_manager import Answer, Says, ScriptedManager, Serve

LONG = 240.0
LARGE = 16 * 1024**2
MOST_MEMORY = 48 * 1024**2
DEEP = b"[" * 100_000


@pytest.fixture
def settings(tmp_path: Path) -> RunnerSettings:
    (tmp_path / "token").write_text("x" * 43)
    (tmp_path / "run").mkdir()
    address = ManagerAddress("http://nowhere", token=Secret(file=str(tmp_path / "token")))
    with journal.opened(str(tmp_path / "journal.db")) as book:
        for number in range(30):
            one_run(book, float(number))
    return RunnerSettings(
        "w1", Repository("file:///nowhere"), state_dir=str(tmp_path), run_dir=str(tmp_path / "run"), manager=address
    )


def one_run(book: Journal, at: float) -> None:
    run = book.begin(None, Subject("debian", "x", True, "a" * 40), at)
    assert run is not None
    book.end(run, "debian", Ending("success"), at)


def named(settings: RunnerSettings, scripted: ScriptedManager) -> RunnerSettings:
    assert settings.manager is not None
    return settings._replace(manager=settings.manager._replace(url=scripted.url))


def ends(settings: RunnerSettings) -> set[int]:
    """Return the runs whose ends are not reported yet."""
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        waiting = book.outbox.oldest(10_000, 10**9)
    told = {each["run"]["id"] for report in waiting for each in report["statuses"]}
    return told | {run["id"] for report in waiting for run in report["runs"]}


class Over(Exception):  # noqa: N818 - no failure
    """The time is over."""


class Clock:
    """Time that goes by as fast as the courier waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > LONG:
            raise Over

    def woken(self, _seconds: float) -> bool:
        """Return from a wait that a run ends early; there are no more than ten a minute."""
        self.sleep(6.0)
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(courier, "_sleep", made.sleep)
    monkeypatch.setattr(WakeupSocket, "wait", staticmethod(made.woken))
    monkeypatch.setattr(courier, "_background_threads", lambda *_words: [])
    return made


def acknowledging(number: Any, **more: Any) -> Says:
    return lambda _asked, _count: (200, json.dumps({"acknowledged": number, "want": None} | more).encode())


def one_by_one(asked: dict[str, Any], _count: int) -> Answer:
    numbers = [report["number"] for report in asked["reports"]]
    return 200, json.dumps({"acknowledged": numbers[0] if numbers else 0, "want": "snapshot"}).encode()


def forgetful(asked: dict[str, Any], _count: int) -> Answer:
    """Takes everything, and knows nothing of it a moment later."""
    numbers = [report["number"] for report in asked["reports"]]
    return 200, json.dumps({"acknowledged": numbers[-1] if numbers else 0, "want": None}).encode()


ANSWERS: dict[str, Says] = {
    "too high": acknowledging(10**9),
    "too high, then more": lambda _asked, count: (200, json.dumps({"acknowledged": 10**9 + count}).encode()),
    "nothing": acknowledging(0),
    "a snapshot, always": acknowledging(0, want="snapshot"),
    "negative": acknowledging(-1),
    "huge": acknowledging(2**70),
    "a truth": acknowledging(True),
    "a text": acknowledging("7"),
    "a fraction": acknowledging(7.5),
    "infinite": lambda _asked, _count: (200, b'{"acknowledged": Infinity}'),
    "a list": lambda _asked, _count: (200, b"[1]"),
    "no number": lambda _asked, _count: (200, b"{}"),
    "want": acknowledging(1, want=[1]),
    "deep": lambda _asked, _count: (200, DEEP),
    "a page": lambda _asked, _count: (200, b"<html>Welcome to nginx</html>"),
    "compressed": lambda _asked, _count: (200, b"\x1f\x8b\x08" + bytes(1000)),
    "endless": lambda _asked, _count: (200, b" " * (16 * 1024**2 + 1)),
    "elsewhere": lambda _asked, _count: (302, b""),
    "too large": lambda _asked, _count: (413, b"{}"),
    "broken": lambda _asked, _count: (500, b'{"error": "\\u001b[2J"}'),
    "deep error": lambda _asked, _count: (500, DEEP),
    "one by one": one_by_one,
    "forgetful": forgetful,
}


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("says", ANSWERS.values(), ids=ANSWERS.keys())
def test_reports_cost_few_requests_whatever_the_manager_answers(
    settings: RunnerSettings, serve: Serve, capsys: pytest.CaptureFixture[str], says: Says
) -> None:
    scripted = serve(says)
    with pytest.raises(Over):
        courier.linger(named(settings, scripted), Path("/nowhere"), start=False)

    assert 2 <= len(scripted.paths) <= 2 * LONG / 6 + 40, "twenty a minute at most"
    said = capsys.readouterr().err
    assert said and "\x1b" not in said
    if says not in (one_by_one, forgetful):
        assert len(ends(settings)) == 30, "nothing that was not acknowledged is forgotten"


@pytest.mark.usefixtures("clock")
def test_a_manager_that_acknowledges_too_high_a_number_is_reported_and_gets_fewer_requests(
    settings: RunnerSettings, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted = serve(ANSWERS["too high"])
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        before = book.outbox.identity()

    with pytest.raises(Over):
        courier.linger(named(settings, scripted), Path("/nowhere"), start=False)

    assert len(scripted.paths) <= 11, "1, 2, 4 … 128 seconds apart"
    said = capsys.readouterr().err
    assert said.count("gets a new identity") == 1, "the clock on the wall has not gone on by an hour"
    assert said.count(f"acknowledges report {10**9}, but the newest report here is 60") == 1
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        assert book.outbox.identity() != before


def test_the_journal_gets_a_new_identity_once_an_hour_at_most(
    settings: RunnerSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("runner.courier.delivery.time.time", lambda: now)
    there = named(settings, serve(ANSWERS["too high"]))
    assert there.manager is not None
    identities = []
    for minutes in range(0, 180, 10):
        now = 1_800_000_000.0 + minutes * 60
        with suppress(SkipjackError), closing(ManagerClient(there.manager)) as client:
            delivery.deliver(there, client)
        with journal.opened(StateLayout(settings.state_dir).journal) as book:
            identities.append(book.outbox.identity())
    assert len(set(identities)) == 3
    now = 1_700_000_000.0  # a clock that was set back
    with suppress(SkipjackError), closing(ManagerClient(there.manager)) as client:
        delivery.deliver(there, client)
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        assert book.outbox.identity() not in identities


@pytest.mark.usefixtures("clock")
def test_a_manager_that_keeps_naming_new_revisions_starts_few_follows(
    settings: RunnerSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[WorkerContext] = []
    monkeypatch.setattr(commands, "want_follow", begun.append)
    scripted = serve(
        lambda asked, count: (
            200,
            json.dumps(
                {
                    "acknowledged": max((each["number"] for each in asked["reports"]), default=60),
                    "revision": f"{count:040x}",
                }
            ).encode(),
        )
    )
    with pytest.raises(Over):
        courier.linger(named(settings, scripted), Path("/nowhere"), start=False)
    assert (len(scripted.paths) > LONG / 6 - 10, len(begun)) == (True, courier.FOLLOWS)


@pytest.mark.parametrize("protocol", ["skipjack", "tunasync"])
@pytest.mark.parametrize(("status", "named"), [(404, True), (301, True), (405, True), (503, False)])
def test_a_server_that_is_not_a_manager_is_reported_with_the_key_of_the_settings(
    settings: RunnerSettings, serve: Serve, protocol: str, status: int, named: bool
) -> None:
    there = named_of(settings, serve(lambda _asked, _count: (status, b"<html>")), protocol)
    with pytest.raises(SkipjackError, match=f"answered {status}") as caught:
        courier.once(there, Path("/nowhere"), start=False)
    assert ("Check `manager.url` in runner.yml" in str(caught.value)) is named


def named_of(settings: RunnerSettings, scripted: ScriptedManager, protocol: str) -> RunnerSettings:
    there = named(settings, scripted)
    assert there.manager is not None
    return there._replace(manager=there.manager._replace(protocol=protocol, token=None))


# Memory

HUGE = {
    "empty lists": b"[" + b"[]," * (LARGE // 3 - 1) + b"0]",
    "empty objects": b"[" + b"{}," * (LARGE // 3 - 1) + b"0]",
    "a list of a command": b'{"newest": 1, "commands": [' + b"[]," * (LARGE // 4 - 20) + b"0]}",
    "commands": b'{"newest": 9, "commands": [{"mirrors": [' + b'"a",' * (1024**2 - 20) + b'"a"]}]}',
    "an error": b'{"error": [' + b"[]," * 20_000 + b"0]}",
    "one text": b'{"error": "' + "\N{PILE OF POO}".encode() * (LARGE // 4 - 20) + b'"}',
}


@pytest.mark.parametrize(("what", "status"), crossed(list(HUGE), [200, 500], every=2))
def test_no_response_takes_much_memory(settings: RunnerSettings, serve: Serve, what: str, status: int) -> None:
    said = HUGE[what]
    there = named(settings, serve(lambda _asked, _count: (status, said)))
    assert there.manager is not None
    tunasync = there._replace(manager=there.manager._replace(token=None, protocol="tunasync"))
    here = WorkerContext("w1", StateLayout(settings.state_dir), "/nowhere", start=False)
    stranger = "is not a Skipjack manager" if len(said) > 65536 or status == 200 else "answered 500"
    tracemalloc.start()
    try:
        for _each in range(2):
            with pytest.raises(SkipjackError, match=stranger), closing(ManagerClient(there.manager)) as client:
                delivery.deliver(there, client)
            with pytest.raises(SkipjackError), closing(ManagerClient(there.manager)) as client:
                commands.fetch_and_execute(here, client, 0)
            with pytest.raises(SkipjackError), closing(TunasyncManager(there.manager, tunasync)) as manager:
                manager.deliver()
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    assert len(ends(settings)) == 30


def test_no_list_of_jobs_takes_much_more_memory_than_its_text(settings: RunnerSettings, serve: Serve) -> None:
    said = b"[" + b"[]," * (LARGE // 3 - 1) + b"0]"
    scripted = serve(lambda _asked, count: (200, said if count % 2 else b"{}"))
    there = named(settings, scripted)
    assert there.manager is not None
    tracemalloc.start()
    try:
        with (
            closing(TunasyncManager(there.manager, there)) as manager,
            pytest.raises(SkipjackError, match="is not a tunasync manager"),
        ):
            manager.deliver()
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    assert scripted.paths == ["/workers", "/workers/w1/jobs"]


def test_the_jobs_of_many_mirrors_are_read(settings: RunnerSettings, serve: Serve) -> None:
    job = {"worker": "w1", "is_master": True, "status": "success", "upstream": "rsync://files.example/debian/"}
    times = dict.fromkeys(("last_update", "last_started", "last_ended", "next_schedule"), "2026-11-29T21:14:55+08:00")
    more = {f"{key}_ts": 1_795_958_095 for key in times}
    jobs = [
        {"name": f"m{at}", "size": "1.23T", "error_msg": "a, [b], {c}"} | job | times | more for at in range(20_000)
    ]
    said = json.dumps(jobs).encode()
    there = named(settings, serve(lambda _asked, count: (200, said if count == 1 else b"{}")))
    assert there.manager is not None

    with closing(TunasyncManager(there.manager, there)) as manager:
        assert manager.deliver() == 60


# Commands


def giving(found: object, newest: object = 10**6) -> Says:
    return lambda _asked, _count: (200, json.dumps({"commands": found, "newest": newest, "taken": 0}).encode())


def command(number: object, **more: object) -> dict[str, object]:
    return {"number": number, "kind": "ping", "mirrors": [], "issued_by": "bob"} | more


def without_end(_asked: dict[str, Any], count: int) -> Answer:
    return giving([command(count + 1)])({}, 0)


def by_turns(_asked: dict[str, Any], count: int) -> Answer:
    return without_end({}, count) if count % 3 else giving([])({}, 0)


def again(_asked: dict[str, Any], count: int) -> Answer:
    """The same command, and in between no memory of it."""
    return giving([command(1)], 1)({}, 0) if count % 2 else giving([], 0)({}, 0)


COMMANDS: dict[str, Says] = {
    "without end": without_end,
    "by turns": by_turns,
    "the same": giving([command(1)]),
    "twice the same": giving([command(1), command(1), command(1)]),
    "forgotten": again,
    "negative": giving([command(-5)]),
    "huge": giving([command(2**64)], 2**65),
    "above the newest": giving([command(7)], 1),
    "a text": giving([command("7")]),
    "no list": giving({"a": command(1)}),
    "texts": giving(["ping"]),
    "a mirror": giving([command(1, mirrors="debian")]),
    "numbers": giving([command(1, mirrors=[1])]),
    "a kind": giving([command(1, kind=["ping"])]),
    "no kind": giving([{"number": 1}]),
    "newest": giving([], "many"),
    "no newest": lambda _asked, _count: (200, b'{"commands": []}'),
    "infinite": lambda _asked, _count: (200, b'{"commands": [], "newest": Infinity}'),
    "half a letter": lambda _asked, _count: (
        200, b'{"newest": 1, "commands": [{"number": 1, "kind": "p\\ud800", "issued_by": "\\ud800\\u001b[2J"}]}',
    ),
    "deep": lambda _asked, _count: (200, DEEP),
    "a page": lambda _asked, _count: (200, b"<html>"),
    "none at once": giving([]),
}  # fmt: skip


@pytest.mark.parametrize("says", COMMANDS.values(), ids=COMMANDS.keys())
def test_commands_cost_few_requests_whatever_the_manager_answers(
    settings: RunnerSettings, serve: Serve, capsys: pytest.CaptureFixture[str], says: Says
) -> None:
    scripted = serve(says)
    there = named(settings, scripted)
    assert there.manager is not None
    here = WorkerContext("w1", StateLayout(settings.state_dir), "/nowhere", start=False)
    clock = Clock()
    with pytest.raises(Over), closing(ManagerClient(there.manager)) as client:
        poller = CommandPoller(here, client, settings.run_dir, clock=lambda: clock.now)
        while len(scripted.paths) < 5000:
            clock.sleep(poller.work_once())

    assert len(scripted.paths) <= LONG / 60 * 45 + 60, "45 a minute at most"
    assert "\x1b" not in capsys.readouterr().err


def test_reload_commands_without_end_start_few_follows_and_the_last_one_counts(
    settings: RunnerSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    times, begun, given = [0.0], list[float](), list[float]()
    monkeypatch.setattr(commands, "want_follow", lambda _here: begun.append(times[-1]))

    def reloads(_asked: dict[str, Any], count: int) -> Answer:
        if times[-1] > 2 * commands.RELOADS_IN:
            return giving([])({}, 0)
        given.append(times[-1])
        return giving([command(count + 1, kind="reload")])({}, 0)

    there = named(settings, serve(reloads))
    assert there.manager is not None
    here = WorkerContext("w1", StateLayout(settings.state_dir), "/nowhere", start=False)
    with closing(ManagerClient(there.manager)) as client:
        poller = CommandPoller(here, client, settings.run_dir, clock=lambda: times[-1])
        while times[-1] < 4 * commands.RELOADS_IN:
            times.append(times[-1] + poller.work_once())

    assert len(given) > 5 * commands.RELOADS
    assert begun[: commands.RELOADS] == [0.0] * commands.RELOADS, "those of people start at once"
    assert len(begun) <= 3 * commands.RELOADS
    assert begun[-1] >= given[-1], "no reload is lost"
    with journal.opened(here.layout.journal) as book:
        assert CommandTable(book).waiting() == []


def waking(number: object, *given: object) -> Answer:
    return 200, json.dumps({"commands": given, "newest": 10**6, "taken": 0, "wake": number}).encode()


def test_webhooks_without_end_start_few_follows_and_the_last_one_counts(
    settings: RunnerSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    times, begun, woken = [0.0], list[float](), list[float]()
    monkeypatch.setattr(commands, "want_follow", lambda _here: begun.append(times[-1]))

    def wakes(_asked: dict[str, Any], _count: int) -> Answer:
        if times[-1] <= 2 * commands.RELOADS_IN:
            woken.append(times[-1])
        return waking(len(woken))

    there = named(settings, serve(wakes))
    assert there.manager is not None
    here = WorkerContext("w1", StateLayout(settings.state_dir), "/nowhere", start=False)
    with closing(ManagerClient(there.manager)) as client:
        poller = CommandPoller(here, client, settings.run_dir, clock=lambda: times[-1])
        while times[-1] < 4 * commands.RELOADS_IN:
            times.append(times[-1] + poller.work_once())

    assert len(woken) > 5 * commands.RELOADS
    assert commands.RELOADS < len(begun) <= 3 * commands.RELOADS
    assert begun[-1] >= woken[-1], "no webhook is lost"


def test_a_wake_number_other_than_the_last_one_starts_a_follow(
    settings: RunnerSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[WorkerContext] = []
    numbers: list[object] = [None, 7, 7, 8, None, 8, 3, "9", 4]
    monkeypatch.setattr(commands, "want_follow", begun.append)
    scripted = serve(lambda _asked, count: waking(numbers[count]))
    there = named(settings, scripted)
    assert there.manager is not None
    here = WorkerContext("w1", StateLayout(settings.state_dir), "/nowhere", start=False)
    follows, wake = list[int](), commands.WakeNumber()

    with closing(ManagerClient(there.manager)) as client:
        for _each in numbers[:-2]:
            commands.fetch_and_execute(here, client, 0, wake=wake)
            follows.append(len(begun))
        with pytest.raises(SkipjackError, match="is not a Skipjack manager"):
            commands.fetch_and_execute(here, client, 0, wake=wake)
        commands.fetch_and_execute(here, client, 0)

    assert follows == [0, 0, 0, 1, 1, 1, 2], "the first number says nothing"
    asked = [query.partition("&wake=")[2] for query in scripted.queries]
    assert asked == ["0", "0", "7", "7", "8", "8", "8", "3", ""], "a courier that does not wait needs no number"
    assert capsys.readouterr().err == "INFO courier: the manager got a webhook: starting a follow\n" * 2


def test_many_reload_commands_start_one_follow(
    settings: RunnerSettings, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[WorkerContext] = []
    monkeypatch.setattr(commands, "want_follow", begun.append)
    there = named(settings, serve(giving([command(each, kind="reload") for each in range(1, 51)])))
    assert there.manager is not None
    here = WorkerContext("w1", StateLayout(settings.state_dir), "/nowhere", start=False)

    with closing(ManagerClient(there.manager)) as client:
        assert commands.fetch_and_execute(here, client, 0) == 50

    assert len(begun) == 1
    with journal.opened(here.layout.journal) as book:
        assert (CommandTable(book).taken(), CommandTable(book).waiting()) == (50, [])
