"""Commands to a Go worker without a clear answer are shown as unconfirmed until the worker reports."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sitegen.web import caller
from tests.sitegen.go_worker import ZERO, Go, serving

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CUT, HALF, NONSENSE = b"", b"HTTP/1.1 20", b"no HTTP at all\r\n\r\n"
HANG = b"hang"
LATER = "2100-01-01T00:00:00Z"


def gateway(status: int) -> bytes:
    return f"HTTP/1.1 {status} Gateway\r\nContent-Length: 0\r\n\r\n".encode()


class Answering:
    """A server that reads each request and answers it with some bytes, then closes the connection."""

    def __init__(self) -> None:
        self.answer = OK
        self.asked = 0
        self.over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    def serve(self) -> None:
        """Answer until the listener is closed."""
        with suppress(OSError):
            while True:
                connection, _address = self._listener.accept()
                with connection, suppress(OSError):
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        read = b""
        while b"\r\n\r\n" not in read or len(read.partition(b"\r\n\r\n")[2]) < _length(read):
            read += connection.recv(65536)
        self.asked += 1
        if self.answer == HANG:
            self.over.wait(300)
        else:
            connection.sendall(self.answer)

    def close(self) -> None:
        """Close hanging connections and the listener."""
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)content-length: (\d+)", head)
    return int(found[1]) if found else 0


@contextmanager
def answering() -> Iterator[Answering]:
    server = Answering()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()


@contextmanager
def at_work(folder: Path, status: str = "success") -> Iterator[tuple[Go, Answering]]:
    """A manager that may call a Go worker, whose one job has a status."""
    with answering() as server, serving(folder, call=[server.url]) as go:
        go.register(server.url)
        go.status(status, error_msg="before")
        yield go, server


def order(verb: str) -> dict[str, Any]:
    return {"cmd": verb, "mirror_id": "debian", "worker_id": "w1", "args": None, "options": None}


def disable(go: Go, server: Answering, answer: bytes) -> tuple[int, Any]:
    server.answer = answer
    return go.send("POST", "/cmd", order("disable"))


def job_of(go: Go) -> tuple[str, str]:
    (job,) = go.jobs()
    return job["status"], job["error_msg"]


def override_of(go: Go) -> Any:
    return go.manager.get("/api/v1/mirrors/debian")["override"]


def schedule(go: Go, *listed: str) -> None:
    schedules = [{"name": name, "next_schedule": LATER} for name in listed]
    assert go.send("POST", "/workers/w1/schedules", {"schedules": schedules}) == (200, {})


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (CUT, "the server hung up without a response"),
        (HALF, "the response was cut off or is not HTTP"),
        (NONSENSE, "the response was cut off or is not HTTP"),
        (HANG, "the worker did not answer within 0.3 s"),
        (gateway(502), "a proxy on the way answered 502"),
        (gateway(503), "a proxy on the way answered 503"),
        (gateway(504), "a proxy on the way answered 504"),
    ],
)
@pytest.mark.parametrize(("verb", "becomes"), [("disable", "disabled"), ("stop", "paused")])
def test_a_command_without_a_clear_answer_is_unconfirmed_and_not_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, why: str, verb: str, becomes: str
) -> None:
    monkeypatch.setattr(caller, "TIMEOUT", 0.3)
    with at_work(tmp_path) as (go, server):
        server.answer = answer
        code, said = go.send("POST", "/cmd", order(verb))
        begins = rf"{verb} was sent to worker w1 at \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC, but is not confirmed: "
        assert code == 202 and re.match(begins + re.escape(why), said["message"])
        assert (server.asked, job_of(go)) == (1, (becomes, said["message"]))
        assert (override_of(go)["kind"], override_of(go)["reason"]) == (becomes, said["message"])


def test_the_next_report_of_the_job_decides(tmp_path: Path) -> None:
    with at_work(tmp_path) as (go, server):
        for reported, shown in (("success", ("success", "")), ("disabled", ("disabled", ""))):
            assert disable(go, server, CUT)[0] == 202
            go.status(reported)
            assert job_of(go) == shown
        assert override_of(go)["kind"] == "disabled"


def test_a_schedule_without_the_job_confirms_the_command(tmp_path: Path) -> None:
    with at_work(tmp_path) as (go, server):
        disable(go, server, CUT)
        schedule(go)
        assert job_of(go) == ("disabled", "before")
        assert (override_of(go)["by"], override_of(go)["reason"]) == ("tunasync", None)


def test_a_schedule_with_the_job_contradicts_the_command(tmp_path: Path) -> None:
    with at_work(tmp_path) as (go, server):
        disable(go, server, CUT)
        disable(go, server, gateway(504))
        schedule(go, "debian")
        assert (job_of(go), override_of(go)) == (("success", "before"), None)
        schedule(go)
        assert job_of(go) == ("success", "before"), "it is sent once"
        assert [job["next_schedule"] for job in go.jobs()] == [ZERO]


def test_a_restarted_worker_confirms_the_command(tmp_path: Path) -> None:
    with at_work(tmp_path) as (go, server):
        disable(go, server, CUT)
        go.register(server.url)
        assert job_of(go) == ("disabled", "before")


def test_another_command_that_is_answered_removes_the_note(tmp_path: Path) -> None:
    with at_work(tmp_path) as (go, server):
        disable(go, server, CUT)
        assert disable(go, server, OK)[0] == 200
        assert job_of(go) == ("disabled", "before")


def test_another_command_that_is_rejected_leaves_the_note(tmp_path: Path) -> None:
    with at_work(tmp_path) as (go, server):
        _code, first = disable(go, server, CUT)
        server.answer = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
        assert go.send("POST", "/cmd", order("stop"))[0] == 502
        assert job_of(go) == ("disabled", first["message"])
        schedule(go, "debian")
        assert job_of(go) == ("success", "before")


def test_a_size_neither_confirms_nor_contradicts_the_command(tmp_path: Path) -> None:
    with at_work(tmp_path) as (go, server):
        _code, said = disable(go, server, CUT)
        assert go.send("POST", "/workers/w1/jobs/debian/size", {"name": "debian", "size": "1G"})[0] == 200
        assert job_of(go) == ("disabled", said["message"])


@pytest.mark.parametrize("path", ["/a b", "/é", "/a\nb"])
def test_an_invalid_url_counts_as_not_reached(path: str) -> None:
    with pytest.raises(caller.NotReached):
        caller.post(f"http://127.0.0.1:9{path}", {})
