"""serve as a real process with a real database, over HTTP."""

import concurrent.futures
import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from schemas.config.settings import load_manager
from schemas.errors import SkipjackError
from sitegen import listening, serve, supervised
from tests.sitegen.kit import NOW, PATIENCE, Manager, envelope_of, free_port, message, report_of, status_of, wait_for


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Manager, str]]:
    """One server that tests share; each uses a journal or mirrors of its own."""
    manager = Manager(tmp_path_factory.mktemp("serve"))
    token = manager.token()
    with manager.serving():
        yield manager, token
    manager.session.close()


def said(answer: requests.Response) -> tuple[int, int, str | None]:
    plain_answer = answer.json()
    return answer.status_code, plain_answer["acknowledged"], plain_answer["want"]


def test_a_report_is_acknowledged_and_a_gap_requests_a_snapshot(running: tuple[Manager, str]) -> None:
    manager, token = running

    def send(number: int, kind: str = "change", status: str = "success") -> tuple[int, int, str | None]:
        report = report_of(number, status_of("gap", status), kind=kind)
        return said(manager.post(envelope_of(report, journal="1" * 32), token))

    assert send(1) == (200, 1, None)
    assert send(1, status="failed") == (200, 1, None)
    assert manager.get("/jobs")[0]["status"] == "success", "the duplicate changed nothing"
    assert send(3, status="failed") == (200, 1, "snapshot")
    assert manager.get("/jobs")[0]["status"] == "success"
    assert send(9, "snapshot") == (200, 9, None)
    assert send(10) == (200, 10, None)


def test_a_heartbeat_is_answered_with_the_time(running: tuple[Manager, str]) -> None:
    manager, token = running
    answer = manager.post(envelope_of(journal="2" * 32), token)
    assert said(answer) == (200, 0, None)
    assert answer.json()["time"] > NOW - 10**9
    assert manager.get("/workers")[0]["id"] == "w1"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic dzE6eA==", "Bearer \xe9"])
def test_reports_without_a_valid_token_are_rejected(running: tuple[Manager, str], header: str | None) -> None:
    manager, _ = running
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    answer = requests.post(f"{manager.url}/api/v1/reports", data=b"{}", headers=headers, timeout=300)
    assert answer.status_code == 401
    assert "token" in answer.json()["error"]


def test_a_worker_can_report_only_for_itself(running: tuple[Manager, str]) -> None:
    manager, token = running
    answer = manager.post(envelope_of(report_of(1, status_of("stolen")), worker="w2"), token)
    assert answer.status_code == 403
    assert "stolen" not in [job["name"] for job in manager.get("/jobs")]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"nonsense", 400, "not valid JSON"),
        (b"\xff", 400, "not valid JSON"),
        (b"[" * 100_000, 400, "more than 13500 values"),
        (b"{}", 422, "required"),
        (b'{"protocol": 9}', 400, "protocol 9"),
        (message(report_of(1, status_of("../../etc"))), 422, "$.reports[0].statuses[0]"),
        (message(report_of(0, status_of())), 422, "$.reports[0].number"),
    ],
)
def test_invalid_input_is_a_client_error(running: tuple[Manager, str], body: bytes, status: int, words: str) -> None:
    manager, token = running
    answer = manager.post_bytes(body, token)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_a_body_of_50_mib_is_rejected_without_being_held_in_memory(running: tuple[Manager, str], pid: int) -> None:
    manager, token = running

    def stream() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * 2**20

    before = resident(pid)
    streamed = manager.post_bytes(stream(), token)
    assert streamed.status_code == 413
    assert "larger than" in streamed.json()["error"]
    assert manager.post_bytes(b" " * (17 * 2**20), token).status_code == 413
    assert resident(pid) - before < 45 * 2**20


@pytest.fixture
def pid(running: tuple[Manager, str]) -> int:
    return running[0].pid


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_many_clients_share_commits(tmp_path: Path) -> None:
    manager = Manager(tmp_path)
    tokens = {f"w{number}": manager.token(f"w{number}") for number in range(4)}
    with manager.serving(), concurrent.futures.ThreadPoolExecutor(16) as pool:
        before = changes(manager)

        def send(number: int) -> int:
            worker = f"w{number % 4}"
            body = message(report_of(1, status_of()), worker=worker, journal=f"{number:032x}")
            headers = {"Authorization": f"Bearer {tokens[worker]}"}
            return requests.post(f"{manager.url}/api/v1/reports", data=body, headers=headers, timeout=300).status_code

        assert set(pool.map(send, range(200))) == {200}
        assert changes(manager) - before < 200, "each transaction counts one change"
    manager.session.close()


def changes(manager: Manager) -> int:
    connection = sqlite3.connect(manager.state / "manager.db")
    value: int = connection.execute("SELECT value FROM meta WHERE name = 'changes'").fetchone()[0]
    connection.close()
    return value


def test_acknowledged_reports_survive_a_kill(manager: Manager) -> None:
    token = manager.token()
    with manager.serving() as process:
        assert said(manager.post(envelope_of(report_of(1, status_of("kept"))), token)) == (200, 1, None)
        process.kill()
        process.wait()
    with manager.serving():
        assert [job["name"] for job in manager.get("/jobs")] == ["kept"]
        assert said(manager.post(envelope_of(report_of(2, status_of("kept"))), token)) == (200, 2, None)


def test_tokens_are_created_and_revoked_while_serve_runs(manager: Manager) -> None:
    with manager.serving():
        first, second = manager.token(), manager.token()
        assert [manager.post(envelope_of(), token).status_code for token in (first, second)] == [200, 200]
        assert manager.command("token", "revoke", "1").returncode == 0
        wait_for(lambda: manager.post(envelope_of(), first).status_code == 401, "the revoked token is refused")
        assert manager.post(envelope_of(), second).status_code == 200


def test_the_read_routes_answer_in_tunasyncs_format(running: tuple[Manager, str]) -> None:
    manager, token = running
    snapshot = report_of(1, status_of("arch"), status_of("debian"), kind="snapshot")
    manager.post(envelope_of(snapshot, journal="3" * 32), token)
    ping = manager.session.get(f"{manager.url}/ping", timeout=300)
    assert (ping.text, ping.headers["content-type"]) == ('{"message":"pong"}', "application/json; charset=utf-8")
    assert ping.headers["access-control-allow-origin"] == "*"
    assert [job["name"] for job in manager.get("/jobs")] == ["arch", "debian"]
    assert [job["name"] for job in manager.get("/workers/w1/jobs")] == ["arch", "debian"]
    assert manager.get("/workers")[0]["token"] == "REDACTED"
    unknown = manager.session.get(f"{manager.url}/workers/w9/jobs", timeout=300)
    assert (unknown.status_code, unknown.text) == (400, '{"error":"invalid workerID w9"}')


def test_other_routes_and_methods(running: tuple[Manager, str]) -> None:
    manager, _ = running
    answers = [
        manager.session.request(method, f"{manager.url}{path}", timeout=300)
        for method, path in (("GET", "/nothing"), ("POST", "/jobs"), ("GET", "/api/v1/reports"), ("HEAD", "/jobs"))
    ]
    assert [answer.status_code for answer in answers] == [404, 405, 405, 200]
    assert all("error" in answer.json() for answer in answers[:3])
    assert answers[3].text == ""


def test_a_used_port_is_a_clear_error(running: tuple[Manager, str]) -> None:
    done = running[0].command("serve")
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_database_is_an_error_with_its_path(manager: Manager) -> None:
    manager.state.mkdir()
    (manager.state / "manager.db").write_bytes(b"nonsense" * 1000)
    for command in ("serve", "publish"):
        done = manager.command(command)
        assert done.returncode == 1
        assert "file is not a database" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_serve_cleanly(manager: Manager, number: int, code: int) -> None:
    with manager.serving() as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=300)
    assert process.returncode == code
    assert "Traceback" not in err
    left = sorted(path.name for path in manager.state.iterdir())
    assert left == ["manager.db", "manager.db-mark", "serve.lock"], "no journal is left beside it"


def test_a_second_serve_on_a_database_is_refused_until_the_first_one_has_died(manager: Manager) -> None:
    token, port = manager.token(), free_port()
    other = manager.folder / "other.yml"
    other.write_text(manager.settings_file.read_text().replace(manager.address, f"127.0.0.1:{port}"))
    with manager.serving("--publish") as first:
        words = [sys.executable, "-m", "sitegen", "serve", "--settings", str(other)]
        second = subprocess.run(words, capture_output=True, text=True, timeout=300)
        said = second.stderr
        assert second.returncode == 1
        assert "another `skipjack-manager serve` is running" in said and "serve.lock` is locked" in said
        assert "Stop it first" in said and said.count("\n") == 1
        for words in (["token", "list"], ["check"], ["backup", str(manager.folder / "copy.db")], ["audit"]):
            done = manager.command(*words)
            assert done.returncode == 0, done.stderr
        assert manager.post(envelope_of(report_of(1, status_of())), token).status_code == 200
        first.kill()
        first.wait()
        with manager.serving():
            assert manager.post(envelope_of(report_of(2, status_of())), token).json()["acknowledged"] == 2


def test_serve_uses_the_service_managers_socket_and_reports_ready(manager: Manager) -> None:
    """As under systemd: a listening socket as descriptor 3, and a datagram socket that receives `READY=1`."""
    place = str(manager.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, socket.socket() as listener:
        told.bind(place)
        told.settimeout(PATIENCE)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        program = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
            "os.environ['LISTEN_FDS'] = '1'; os.execv(sys.executable, [sys.executable, '-m', 'sitegen', *sys.argv[2:]])"
        )
        words = [str(listener.fileno()), "serve", "--settings", str(manager.settings_file)]
        with subprocess.Popen(
            [sys.executable, "-c", program, *words], pass_fds=[listener.fileno()],
            env=os.environ | {"NOTIFY_SOCKET": place},
        ) as process:  # fmt: skip
            try:
                assert told.recv(100) == b"READY=1"
                address = f"http://127.0.0.1:{listener.getsockname()[1]}/jobs"
                assert requests.get(address, timeout=PATIENCE).status_code == 200
            finally:
                process.terminate()


@contextlib.contextmanager
def held_socket(monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily, host: str) -> Iterator[socket.socket]:
    """A listening socket as a service manager passes it."""
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        monkeypatch.setattr(supervised, "inherited", listener.dup)
        yield listener


@pytest.mark.parametrize(
    ("family", "host", "names"),
    [(socket.AF_INET, "127.0.0.1", ("127.0.0.1:{}", "localhost:{}")), (socket.AF_INET6, "::1", ("[::1]:{}", "::1:{}"))],
)
def test_a_passed_socket_with_another_address_than_the_settings_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    family: socket.AddressFamily, host: str, names: tuple[str, str],
) -> None:  # fmt: skip
    with held_socket(monkeypatch, family, host) as held:
        place, other = (name.format(held.getsockname()[1]) for name in names)
        for same in (place, other):
            with listening.listen(same) as listener:
                assert listening.place_of(listener) == place
        assert caplog.text == ""
        with listening.listen("127.0.0.1:1"):
            pass
    warning = (
        f"systemd's socket listens on {place}, not on 127.0.0.1:1 as `listen` in the settings: run `skipjack install"
    )
    assert warning in caplog.text


@pytest.mark.parametrize("address", [f"{'a' * 80}.example:80", "nosuch.invalid:80", ".:80"])
def test_an_invalid_listen_address_is_a_clear_error(address: str) -> None:
    with pytest.raises(SkipjackError, match=f"cannot listen on {re.escape(address)}: "):
        listening.listen(address)


@pytest.mark.parametrize("name", ["gone", "pipe"])
def test_an_unusable_certificate_authority_is_logged_at_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    manager = Manager(tmp_path, tunasync={"ca_cert": str(tmp_path / name)})
    with serve.prepared(load_manager(manager.settings_file)):
        pass
    assert f"`tunasync.ca_cert`: the certificates in {tmp_path / name} cannot be used: " in caplog.text
