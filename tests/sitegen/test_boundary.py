"""A signal that arrives where Python drops exceptions ends the command all the same."""

import asyncio
import importlib
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas import bug_reports
from schemas.config.settings import load_manager
from sitegen import boundary, serve
from sitegen.web import server_check
from tests.sitegen.kit import PATIENCE, Manager

SWALLOWING = """
import signal
was_interrupted = False
try:
    signal.raise_signal(signal.{name})
    for _ in range(1000):
        pass
except BaseException:
    was_interrupted = True
"""
"""A module that drops what is raised while it is imported, as those of Cython do."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    before = [(number, signal.getsignal(number)) for number in numbers]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before:
        signal.signal(number, handler)
    logging.disable(logging.NOTSET)  # the handlers disable it


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_during_an_import_ends_the_command_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    imported = []

    def command() -> None:
        imported.append(importlib.import_module(f"swallowing_{name}"))
        threading.Event().wait(PATIENCE)

    (tmp_path / f"swallowing_{name}.py").write_text(SWALLOWING.format(name=name))
    monkeypatch.syspath_prepend(tmp_path)
    assert boundary.run(command) == code
    assert [module.was_interrupted for module in imported] == [False]


def test_a_signal_during_a_finaliser_ends_the_command_after_it() -> None:
    class Finalised:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)
            finished.append(True)

    def command() -> None:
        Finalised()
        threading.Event().wait(PATIENCE)

    finished = list[bool]()
    assert boundary.run(command) == 143
    assert finished == [True]


def test_a_signal_during_the_check_of_the_server_ends_the_command(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    def command() -> None:
        with serve.prepared(load_manager(manager.settings_file)):
            raise AssertionError("the signal had no effect")

    async def interrupted() -> str:
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        finished.append(True)
        return ""

    finished = list[bool]()
    monkeypatch.setattr(server_check, "_problem", interrupted)
    assert boundary.run(command) == 143
    assert finished == [True]


@pytest.mark.parametrize("name", ["publisher", "history", "ingest", "refusals"])
def test_a_signal_during_the_start_of_a_thread_of_serve_leaves_no_thread(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def start(thread: threading.Thread) -> None:
        thread.daemon = True  # else a thread that does not end would hold the tests
        before(thread)
        if thread.name == name:
            started.append(thread)
            signal.raise_signal(signal.SIGTERM)

    def command() -> None:
        with serve.prepared(load_manager(manager.settings_file), manager.settings_file):
            raise AssertionError("the signal had no effect")

    started = list[threading.Thread]()
    before = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    assert boundary.run(command) == 143
    [thread] = started
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_signal_during_the_report_of_a_bug_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(bug_reports, "report", lambda *_: signal.raise_signal(signal.SIGTERM))
    assert boundary.run(command) == 143
    assert capsys.readouterr().err == ""


LOST = """
class Referenced: pass

def run(self, sockets):
    referenced = Referenced()
    reference = weakref.ref(referenced, lambda _: signal.raise_signal(signal.SIGTERM))
    del referenced
    run_before(self, sockets)

run_before, uvicorn.Server.run = uvicorn.Server.run, run
"""
"""The exception is dropped, just before the server runs."""

EARLY = """
def run(self, sockets):
    socket.socketpair = pair
    run_before(self, sockets)

def pair():
    signal.raise_signal(signal.SIGTERM)
    return pair_before()

run_before, uvicorn.Server.run = uvicorn.Server.run, run
pair_before = socket.socketpair
"""
"""The event loop creates these sockets when it begins to run. An exception would leave a loop that cannot be closed."""


@pytest.mark.parametrize("when", [LOST, EARLY])
def test_serve_ends_on_a_signal_at_the_start_of_its_event_loop(manager: Manager, when: str) -> None:
    code = f"import signal, socket, sys, weakref, uvicorn\nfrom sitegen.cli import main\n{when}\nsys.exit(main())"
    words = [sys.executable, "-c", code, "serve", "--settings", str(manager.settings_file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 143, done.stderr
    assert "listening on" in done.stderr
