"""Servers that break HTTP: each exchange ends in time, in little memory, with a message, and nothing is lost."""

import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from runner import error_boundary
from runner.base.state_dir import StateLayout
from runner.courier import client, courier
from runner.courier.client import ManagerClient
from runner.journal import journal
from runner.journal.command_table import CommandResult
from runner.journal.journal import Ending, Subject
from schemas.error_boundary import EXPECTED
from schemas.errors import SkipjackError
from schemas.http_client import Timeouts
from schemas.records import ManagerAddress, Repository, RunnerSettings, Secret

TIMEOUTS = Timeouts(5.0, 0.5)
GENEROUS = 60.0
"""Seconds within which an exchange of two must have ended, on a busy machine."""

MOST_MEMORY = 48 * 1024**2
BLOCK = 64 * 1024


def again(part: bytes, begin: bytes = b"", pause: float = 0.0) -> Callable[[socket.socket], None]:
    """Answer with a part again and again, until the client hangs up."""

    def say(peer: socket.socket) -> None:
        peer.sendall(begin)
        while True:
            peer.sendall(part if pause else part * (BLOCK // len(part) or 1))
            time.sleep(pause)

    return say


def once(answer: bytes) -> Callable[[socket.socket], None]:
    return lambda peer: peer.sendall(answer)


HEAD = b"HTTP/1.1 200 OK\r\n"
SAYS: dict[str, Callable[[socket.socket], None]] = {
    "nothing": once(b""),
    "half a head": once(b"HTTP/1.1 200"),
    "a head alone": once(HEAD + b"Content-Length: 50\r\n\r\n"),
    "one byte a while": again(b"x", HEAD + b"Content-Length: 500\r\n\r\n", 0.05),
    "a head byte by byte": again(b"x", HEAD + b"X: ", 0.05),
    "continue for ever": again(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "continue now and then": again(b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.05),
    "a line without an end": again(b"x", b"HTTP/1.1 200 OK\r\nX: "),
    "heads without end": again(b"X: y\r\n", HEAD),
    "heads after a continue": again(b"X: y\r\n", b"HTTP/1.1 100 Continue\r\n"),
    "a body without an end": again(b"x", HEAD + b"\r\n"),
    "chunks without end": again(b"1\r\nx\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
    "empty chunks now and then": again(b"1\r\nx\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n", 0.05),
    "a chunk of a petabyte": again(b"x", HEAD + b"Transfer-Encoding: chunked\r\n\r\n4000000000000\r\n"),
    "a chunk of no size": once(HEAD + b"Transfer-Encoding: chunked\r\n\r\nmany\r\nx"),
    "a trailer without end": again(b"X: y\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"),
    "a petabyte": again(b"x", HEAD + b"Content-Length: 1125899906842624\r\n\r\n"),
    "less than nothing": once(HEAD + b"Content-Length: -1\r\n\r\n{}"),
    "no number": once(HEAD + b"Content-Length: many\r\n\r\n{}"),
    "no content": once(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a status of many digits": once(b"HTTP/1.1 20000000000000000000000 OK\r\n\r\n"),
    "an old protocol": once(b"HTTP/0.9 200 OK\r\n\r\n{}"),
    "another protocol": once(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "noise": once(bytes(range(256)) * 100),
    "itself": once(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /api/v1/reports\r\nContent-Length: 0\r\n\r\n"),
    "elsewhere": once(b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
    "compressed": once(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + bytes(20)),
}


class Server:
    """A server that reads a head and then sends something."""

    def __init__(self, says: Callable[[socket.socket], None]) -> None:
        self._says, self.connections = says, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                peer, _address = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):
            peer.recv(BLOCK)
            self._says(peer)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(BLOCK):
                pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(params=sorted(SAYS))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with closing(Server(SAYS[request.param])) as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path, server: Server) -> RunnerSettings:
    (tmp_path / "token").write_text("x" * 43)
    (tmp_path / "run").mkdir()
    with journal.opened(str(tmp_path / "journal.db")) as book:
        run = book.begin(None, Subject("debian", "x", True, "a" * 40), 1e9)
        assert run is not None
        book.end(run, "debian", Ending("success"), 1e9)
    address = ManagerAddress(server.url, token=Secret(file=str(tmp_path / "token")))
    return RunnerSettings(
        "w1", Repository("file:///x"), state_dir=str(tmp_path), run_dir=str(tmp_path / "run"), manager=address
    )


def test_a_courier_ends_in_time_with_a_message_and_loses_nothing(
    settings: RunnerSettings, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "TIMEOUTS", TIMEOUTS)
    assert settings.manager is not None
    began = time.monotonic()
    tracemalloc.start()
    try:
        code = error_boundary.guarded(lambda: courier.once(settings, Path("/nowhere"), start=False), settings.state_dir)
        with closing(ManagerClient(settings.manager)) as there, pytest.raises(SkipjackError):
            there.commands("w1", 0, 0)
        with closing(ManagerClient(settings.manager)) as there, pytest.raises(SkipjackError):
            there.answer("w1", [CommandResult(1, "done", "")])
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()

    said = capsys.readouterr().err
    assert (code, server.connections) == (EXPECTED, 3)
    assert "127.0.0.1" in said and "\x1b" not in said and len(said) < 2000
    assert time.monotonic() - began < GENEROUS
    with journal.opened(StateLayout(settings.state_dir).journal) as book:
        assert book.outbox.pending() == 2
