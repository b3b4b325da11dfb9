"""Faults of everything around the worker: the manager, the disks, the clock, and too many of its own kind at once."""

import contextlib
import errno
import http.server
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from runner import error_boundary
from runner.base import locks, next_wake
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Ending, Journal, Subject
from runner.subprocesses import launch
from runner.tick import crash_recovery, tick
from schemas.error_boundary import BUG
from schemas.states import PRE_SYNCING
from tests.e2e.parts import PATIENCE, ConfigRepository, Manager, RsyncDaemon, Worker, wait_until
from tests.soak import truth

HOUR, DAY = 3600.0, 86400.0

# The manager


class FaultyWay(http.server.ThreadingHTTPServer):
    """A proxy between a worker and a real manager, which applies `fault` to requests and answers."""

    daemon_threads = True

    def __init__(self, manager: Manager) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.manager, self.url = manager, f"http://127.0.0.1:{self.server_address[1]}"
        self.fault, self.limit = "", 2**60
        self.hanging, self.released = threading.Event(), threading.Event()

    def handle_error(self, *_words: object) -> None:
        """Print nothing about a courier that closed its connection."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FaultyWay

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.fault == "silent":
            self.server.hanging.set()
            self.server.released.wait(PATIENCE)
        elif self.server.fault == "broken":
            self._answer(500, b"<html>Internal Server Error</html>")
        elif len(body) > self.server.limit:
            self._answer(413, b"<html>Request Entity Too Large</html>")
        else:
            headers = {"Authorization": self.headers["Authorization"]}
            real = requests.post(f"{self.server.manager.url}{self.path}", body, headers=headers, timeout=300)
            self._answer(real.status_code, real.content, cut=self.server.fault == "cut")

    def do_GET(self) -> None:
        headers = {"Authorization": self.headers["Authorization"]}
        real = requests.get(f"{self.server.manager.url}{self.path}", headers=headers, timeout=300)
        self._answer(real.status_code, real.content)

    def _answer(self, status: int, body: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = True

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def way(manager: Manager) -> Iterator[FaultyWay]:
    with FaultyWay(manager) as way:
        thread = threading.Thread(target=way.serve_forever, args=(0.05,))
        thread.start()
        yield way
        way.released.set()
        way.shutdown()
        thread.join()


def script(worker: Worker, text: str) -> str:
    """A mirror of a command that does `text`."""
    path = truth.provider(worker.folder, "script", text)
    quiet = "min_free_space: 0B\nmeasure_size: false\n"  # no report that comes later
    return f"provider: command\nupstream: https://files.example/\ncommand: {path}\n{quiet}"


def courier(worker: Worker, *patches: str) -> subprocess.CompletedProcess[str]:
    """Deliver once, with shorter timeouts than those of a real courier."""
    lines = (
        "import sys",
        "from runner import cli; from runner.courier import client, courier",
        *patches,
        "sys.exit(cli.main(sys.argv[1:]))",
    )
    words = [sys.executable, "-c", "\n".join(lines), *worker.words("courier")[1:]]
    return subprocess.run(words, capture_output=True, text=True, timeout=300)


def test_runs_go_on_despite_faults_of_the_manager_and_all_are_reported_afterwards(
    repository: ConfigRepository, reporter: Worker, manager: Manager, way: FaultyWay
) -> None:
    repository.commit({"m.yml": script(reporter, "true\n")}, "Add m")
    reporter.command("once")
    settings = reporter.settings.read_text()
    reporter.settings.write_text(settings.replace(manager.url, way.url))
    expected = {"silent": "timed out", "broken": "answered 500", "cut": "cannot reach", "too large": "larger"}
    for fault, words in expected.items():
        way.fault, way.limit = fault, 100 if fault == "too large" else 2**60
        reporter.command("run", "m")

        failed = courier(reporter, "client.TIMEOUTS = client.Timeouts(5.0, 0.3)")

        assert (failed.returncode, words in failed.stderr) == (1, True), failed.stderr
        assert ("Nothing is lost" in failed.stderr, reporter.pending() > 0) == (True, True), failed.stderr
    reporter.settings.write_text(settings.replace(manager.url, "http://127.0.0.1:1"))
    assert "Connection refused" in courier(reporter).stderr
    reporter.settings.write_text(settings)

    reporter.command("courier")

    assert [run.status for run in truth.past(reporter)] == ["success"] * 5
    wait_until(lambda: not list(truth.differences(reporter, manager, ["m"])), "the page has each run once, in order")
    assert list(truth.untold(reporter, manager)) == []


def test_a_manager_that_never_answers_blocks_only_its_courier(
    repository: ConfigRepository, reporter: Worker, manager: Manager, way: FaultyWay
) -> None:
    repository.commit({"m.yml": script(reporter, "true\n")}, "Add m")
    reporter.command("once")
    reporter.settings.write_text(reporter.settings.read_text().replace(manager.url, way.url))
    way.fault = "silent"
    lingering = reporter.start("courier", "--linger")
    try:
        assert way.hanging.wait(PATIENCE)
        for _ in range(2):
            reporter.command("run", "m")
        reporter.command("tick")
        assert (way.released.is_set(), lingering.poll()) == (False, None), "it should have hung all the while"
        assert [run.status for run in truth.past(reporter)] == ["success"] * 3
    finally:
        lingering.kill()
        lingering.wait()


def test_requests_become_as_small_as_they_must_be(
    repository: ConfigRepository, reporter: Worker, manager: Manager, way: FaultyWay
) -> None:
    repository.commit({"m.yml": script(reporter, "seq 100\n")}, "Add m")
    reporter.command("once")
    reporter.settings.write_text(reporter.settings.read_text().replace(manager.url, way.url))
    for _ in range(3):
        reporter.command("run", "m")
    way.limit = 2000

    assert reporter.pending() > 6
    done = courier(reporter)
    assert done.returncode == 0, done.stderr

    assert reporter.pending() == 0
    assert list(truth.untold(reporter, manager)) == []


def live(book: Journal, name: str, now: float) -> None:
    """One run of a mirror, as three changes of the journal."""
    run = book.begin(None, Subject(name, "https://files.example/", True, "a" * 40), now)
    assert run is not None
    book.attempt(run, name, "syncing", 1, now + 1)
    book.end(run, name, Ending("success", attempts=1, log_tail="x" * 500), now + 60)


@pytest.mark.parametrize("runs", [700, pytest.param(3334, marks=pytest.mark.release)])
def test_a_week_of_reports_is_delivered_in_order_even_if_requests_must_be_small(
    repository: ConfigRepository, tmp_path: Path, runs: int
) -> None:
    manager = Manager(tmp_path / "m", repository.url)
    with manager.settings.open("a") as settings:
        settings.write("body_limit: 64KiB\n")
    worker = Worker(tmp_path / "w", "w1", repository.url, manager)
    repository.commit(
        {f"m{number}.yml": script(worker, "true\n") + "interval: 30d\n" for number in range(20)}, "Add twenty"
    )
    worker.state.mkdir()
    began = time.time() - 7 * DAY
    with journal.opened(str(worker.state / "journal.db")) as book:
        book._db.execute("PRAGMA synchronous=OFF")  # it is the number that matters here
        for number in range(runs):
            live(book, f"m{number % 20}", began + number * 7 * DAY / runs)
        newest = book.outbox.newest()
    assert newest >= 3 * runs

    with manager:
        done = worker.command("courier")

        assert f"delivered {newest} reports" in done.stderr
        assert list(truth.untold(worker, manager)) == []
        names = [f"m{number}" for number in range(20)]
        wait_until(lambda: not list(truth.differences(worker, manager, names)), "the pages have the last runs")


def test_a_manager_that_lost_its_database_gets_everything_although_no_report_waits(
    repository: ConfigRepository, reporter: Worker, manager: Manager
) -> None:
    repository.commit({"m.yml": script(reporter, "true\n")}, "Add m")
    reporter.command("once")
    manager.stop()
    for path in (manager.folder / "state").glob("manager.db*"):
        path.unlink()
    shutil.rmtree(manager.folder / "state" / "checkout", ignore_errors=True)
    (manager.folder / "state" / "publish.lock").unlink(missing_ok=True)
    (manager.site / "status.json").unlink(missing_ok=True)
    manager.start()
    (reporter.folder / "token").write_text(manager.token("w1"))
    assert reporter.pending() == 0

    reporter.command("courier")

    assert list(truth.untold(reporter, manager)) == []


# Full disks


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Callable[[], None]]:
    """A small file system of its own; gives what fills it, to the last byte, with the file `filler`."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)

    def fill() -> None:
        with (folder / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass

    try:
        yield fill
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def said_well(done: subprocess.CompletedProcess[str], code: int = 1) -> None:
    """It failed with a message that a person can use."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr


def test_a_full_disk_for_the_state_stops_what_is_new_and_nothing_is_damaged(
    repository: ConfigRepository, worker: Worker
) -> None:
    gate = worker.folder / "gate"
    repository.commit({"m.yml": script(worker, f"while [ -e {gate} ]; do sleep 0.02; done\n")}, "Add m")
    with small_disk(worker.state, "size=2m") as fill:
        worker.command("once")
        gate.touch()
        at_work = worker.start("run", "m")
        wait_until(lambda: truth.past(worker)[-1].status == "syncing", "the run is at work")
        fill()
        for number in range(40):  # until the journal has used what it had at hand
            with contextlib.suppress(Exception), journal.opened(str(worker.state / "journal.db")) as book:
                live(book, f"other-{number}", time.time())
        gate.unlink()
        assert at_work.wait(PATIENCE) == 0, "there was room for its end"
        for words in (("run", "m"), ("follow", "--again"), ("once",)):
            fill()  # the last one that closes the journal frees what its log took up
            done = worker.command(*words, check=False)
            said_well(done)
            assert "disk is full" in done.stderr or "No space left" in done.stderr, done.stderr
        tick_done = worker.command("tick", check=False)
        said_well(tick_done, tick_done.returncode)

        (worker.state / "filler").unlink()
        worker.command("tick")

        first, second, *cut_off = [run.status for run in truth.past(worker) if run.mirror == "m"]
        assert (first, second, {*cut_off} - {"interrupted"}) == ("success", "success", set())
        assert list(truth.damage(worker.state / "journal.db")) == []
        worker.command("run", "m")
        assert list(worker.state.glob("*bug*")) == []
        assert list(truth.violations(worker)) == []


def test_a_full_disk_has_space_for_the_ends_of_runs(worker: Worker) -> None:
    with small_disk(worker.state, "size=1m") as fill, journal.opened(str(worker.state / "journal.db")) as book:
        for name in ("a", "b"):
            live(book, name, 50.0)
        begun = {name: book.begin(None, Subject(name, "x", True, "a" * 40), 100.0) for name in ("a", "b")}
        fill()
        with pytest.raises(sqlite3.OperationalError, match="full"):
            for number in range(1000):  # until the journal has used what it had at hand
                book.measured("a", number, 101.0)
        for name, run in begun.items():
            assert run is not None
            book.attempt(run, name, "syncing", 1, 102.0)  # what has no room does not end the run

            assert book.end(run, name, Ending("success", attempts=1, log_tail="x" * 8000), 110.0)

        assert [book.states()[name].last_success_at for name in begun] == [110.0, 110.0]
        (worker.state / "filler").unlink()
        live(book, "a", 200.0)
        assert (worker.state / "journal.db-reserve").stat().st_size > 0


@pytest.mark.parametrize("kind", ["command", "rsync"])
def test_a_full_disk_for_logs_is_reported_and_damages_nothing(
    repository: ConfigRepository, worker: Worker, upstream: RsyncDaemon, kind: str
) -> None:
    text = script(worker, "seq 10000\n") if kind == "command" else f"upstream: {upstream.url('files')}\n"
    repository.commit({"m.yml": f"min_free_space: 0B\n{text}" if kind == "rsync" else text}, "Add m")
    with small_disk(worker.folder / "logs", "size=1m,nr_inodes=40") as fill:
        worker.command("once")
        fill()
        said_well(worker.command("run", "m", check=False))
        assert truth.past(worker)[-1].status == "failed"
        assert "No space left on device" in worker.run_of("m").reason
        (worker.folder / "logs/filler").unlink()
        inodes = [worker.folder / f"logs/{number}" for number in range(50)]
        with contextlib.suppress(OSError):
            for path in inodes:
                path.touch()

        said_well(worker.command("run", "m", check=False))

        assert "No space left on device" in worker.run_of("m").reason
        for path in inodes:
            path.unlink(missing_ok=True)
        worker.command("run", "m")
        assert [run.status for run in truth.past(worker)] == ["success", "failed", "failed", "success"]
        assert list(worker.state.glob("*bug*")) == []


def test_a_disk_that_is_full_after_the_run_changes_nothing_about_its_end(
    repository: ConfigRepository, worker: Worker
) -> None:
    fill = "n=0\nwhile touch $TUNASYNC_LOG_DIR/fill-$n 2>/dev/null; do n=$((n + 1)); done\nexit 3\n"
    repository.commit({"m.yml": script(worker, fill)}, "Add m")
    with small_disk(worker.folder / "logs", "size=1m,nr_inodes=40"):
        worker.command("once", check=False)

        run = worker.run_of("m")

        assert (run.status, run.exit_code, run.reason) == ("failed", 3, "the command exited with 3")
        assert "No space left on device" in run.log_tail


def test_messages_that_have_no_place_stop_no_run(repository: ConfigRepository, worker: Worker) -> None:
    repository.commit({"m.yml": script(worker, "true\n")}, "Add m")
    worker.command("once")
    with Path("/dev/full").open("wb") as full:
        assert worker.start("run", "m", log=full).wait(PATIENCE) == 0
    assert [run.status for run in truth.past(worker)] == ["success"] * 2


def test_a_disk_error_without_a_file_name_is_not_reported_as_a_bug(tmp_path: Path) -> None:
    def fail(number: int) -> int:
        raise OSError(number, os.strerror(number))

    assert [error_boundary.guarded(lambda: fail(errno.ENOSPC)), error_boundary.guarded(lambda: fail(errno.EIO))] == [
        1,
        1,
    ]
    assert error_boundary.guarded(lambda: fail(errno.EBADF), str(tmp_path)) == BUG


def test_a_full_disk_for_the_mirror_fails_its_run_and_no_other(
    repository: ConfigRepository, worker: Worker, upstream: RsyncDaemon
) -> None:
    text = f"upstream: {upstream.url('files')}\nmin_free_space: 0B\n"
    repository.commit({"m.yml": text, "n.yml": text}, "Add two")
    with small_disk(worker.root / "m", "size=64k"):
        assert worker.command("once", check=False).returncode == 1

        assert worker.states() == {"m": "failed", "n": "success"}
        assert worker.run_of("m").exit_code in (11, 12, 23)
        assert "No space left on device" in worker.run_of("m").log_tail
        subprocess.run(["mount", "-o", "remount,size=8m", str(worker.root / "m")], check=True)
        worker.command("run", "m")
        assert worker.states() == {"m": "success", "n": "success"}


# The clock


class Clock:
    """A worker's ticks with a clock that a test sets; every run that they launch succeeds at once."""

    def __init__(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout, self.now = StateLayout(str(worker.state)), time.time()
        monkeypatch.setattr("runner.tick.tick.time.time", lambda: self.now)
        monkeypatch.setattr(launch, "launch", self._launch)

    def _launch(self, _places: StateLayout, _run_dir: str, runs: dict[str, int], _mirrors: object) -> dict[str, str]:
        with journal.opened(self.layout.journal) as book:
            for name, number in runs.items():
                assert book.begin(number, Subject(name, "x", True, "a" * 40), self.now) == number
                assert book.end(number, name, Ending("success"), self.now)
        return {}

    def tick(self, seconds: float) -> int:
        """Let the clock go, or jump, and tick; gives the number of runs launched."""
        self.now += seconds
        return tick.tick(self.layout).started


def test_a_clock_that_jumps_starts_nothing_twice_and_forgets_nothing(
    repository: ConfigRepository, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit({"m.yml": script(worker, "true\n")}, "Add m")
    worker.command("follow", "--start")
    wait_until(lambda: worker.states().get("m") == "success", "the first run")
    wait_until(lambda: not truth.processes(str(worker.state), "entry.py"), "the last tick of the real clock is over")
    clock = Clock(worker, monkeypatch)

    assert [clock.tick(2), clock.tick(60), clock.tick(HOUR), clock.tick(1)] == [0, 0, 1, 0]
    assert [clock.tick(DAY), clock.tick(0), clock.tick(60)] == [1, 0, 0], "a day ahead: due, once"
    assert [clock.tick(-DAY), clock.tick(0), clock.tick(60)] == [1, 0, 0], "a day back: unknown, so due, once"
    assert [clock.tick(HOUR - 120), clock.tick(120)] == [0, 1], "then on time again"
    assert [clock.tick(-30), clock.tick(HOUR - 30), clock.tick(60)] == [0, 0, 1], "half a minute back delays by that"
    assert next_wake.read(clock.layout.next_wake, "", clock.now) is None


def test_after_a_reboot_everything_goes_on(repository: ConfigRepository, worker: Worker) -> None:
    repository.commit({f"{name}.yml": script(worker, "true\n") for name in ("a", "b", "c", "d")}, "Add four")
    worker.command("once")
    layout, subjects = StateLayout(str(worker.state)), {name: Subject(name, "x", True, "a" * 40) for name in "abcd"}
    with journal.opened(layout.journal) as book:  # what the power cut left: no process, all lock files, these states
        run = book.begin(None, subjects["a"], time.time())
        assert run is not None
        book.attempt(run, "a", "syncing", 1, time.time())
        book.begin(None, subjects["b"], time.time())
        book.launch([subjects["c"]], [subjects["d"]], time.time() - 31)

    worker.command("tick")

    def settled() -> dict[str, str]:
        states = worker.states()
        return states if states["d"] == "success" and not list(truth.leftovers(worker)) else {}

    assert wait_until(settled, "the queued one runs") == {
        "a": "interrupted", "b": "interrupted", "c": "launch-failed", "d": "success",
    }  # fmt: skip
    truth.execute(worker, "UPDATE mirror SET last_ended_at = last_ended_at - 61")
    worker.command("tick")
    wait_until(lambda: set(worker.states().values()) == {"success"}, "all have run again")


def test_a_run_that_comes_up_while_it_is_given_up_is_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, subject = StateLayout(str(tmp_path)), Subject("m", "x", True, "a" * 40)
    with journal.opened(layout.journal) as book:
        number = book.launch([subject], [], 1000.0)["m"]

        def is_held(path: str) -> bool:
            if "/mirror/" in path:
                assert book.begin(number, subject, 1031.0) == number
            return False

        monkeypatch.setattr(locks, "is_held", is_held)
        crash_recovery.recover_runs(layout, book, 1031.0)

        assert [active.status for active in book.active()] == [PRE_SYNCING]
        assert book.end(number, "m", Ending("success"), 1032.0)


# Too many at once


def test_a_second_courier_ends_with_a_message(repository: ConfigRepository, reporter: Worker) -> None:
    repository.commit({"m.yml": script(reporter, "true\n")}, "Add m")
    reporter.command("once")
    first = reporter.start("courier", "--linger")
    try:
        wait_until(lambda: (reporter.folder / "run/courier.sock").exists(), "the first is up")

        second = courier(reporter, "courier.LOCK_TIMEOUT = 0.1")

        said_well(second)
        assert "another courier is running" in second.stderr
        reporter.command("run", "m")
        wait_until(lambda: reporter.pending() == 0, "the first still delivers")
    finally:
        first.kill()
        first.wait()


def test_follows_at_once_take_turns(repository: ConfigRepository, worker: Worker) -> None:
    repository.commit({"m.yml": script(worker, "true\n")}, "Add m")
    follows = [worker.start("follow", "--start") for _ in range(4)]
    assert [follow.wait(PATIENCE) for follow in follows] == [0] * 4
    wait_until(lambda: worker.states() == {"m": "success"}, "the mirror runs")
    assert len(truth.past(worker)) == 1
