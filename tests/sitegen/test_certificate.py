"""HTTPS without a web server in front, with real certificates that are renewed while serve runs."""

import http.server
import os
import resource
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sitegen.web import acceptor, caller
from tests.sitegen.kit import PATIENCE, Manager, wait_for

PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


def issue(folder: Path) -> dict[str, str]:
    """Create a key and a certificate for 127.0.0.1, each with a serial number of its own."""
    folder.mkdir()
    made = {"certificate": str(folder / "crt"), "key": str(folder / "key")}
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-out", made["certificate"], "-keyout", made["key"]]
    subprocess.run([*words, *names, *files], check=True, capture_output=True)
    return made


@pytest.fixture
def first(tmp_path: Path) -> dict[str, str]:
    return issue(tmp_path / "first")


@pytest.fixture
def second(tmp_path: Path) -> dict[str, str]:
    return issue(tmp_path / "second")


def secured(folder: Path, certificate: dict[str, str]) -> Manager:
    manager = Manager(folder, tls=certificate)
    manager.url = manager.url.replace("http:", "https:")
    manager.session.verify = certificate["certificate"]
    return manager


@contextmanager
def connected(manager: Manager, trusted: str, source: str = "127.0.0.1") -> Iterator[ssl.SSLSocket]:
    """Return a connection to a manager, whose certificate must be the trusted one."""
    host, port = manager.address.split(":")
    context = ssl.create_default_context(cafile=trusted)
    with (
        socket.create_connection((host, int(port)), timeout=PATIENCE, source_address=(source, 0)) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        yield connection


def shows(manager: Manager, certificate: dict[str, str]) -> bool:
    """Return whether a new connection gets this certificate."""
    try:
        with connected(manager, certificate["certificate"]) as connection:
            return answers(connection)
    except ssl.SSLCertVerificationError:
        return False


def answers(connection: ssl.SSLSocket) -> bool:
    connection.sendall(PING)
    received = b""
    while b"pong" not in received and (chunk := connection.recv(4096)):
        received += chunk
    return received.startswith(b"HTTP/1.1 200 ")


def test_serve_answers_https(tmp_path: Path, first: dict[str, str], second: dict[str, str]) -> None:
    manager = secured(tmp_path, first)
    with manager.serving():
        assert manager.get("/ping") == {"message": "pong"}
        assert not shows(manager, second)
        manager.session.close()  # or serve would wait for it in the end


def test_a_renewed_certificate_is_used_without_interruption(
    tmp_path: Path, first: dict[str, str], second: dict[str, str]
) -> None:
    manager = secured(tmp_path, first)
    with manager.serving(), connected(manager, first["certificate"]) as before:
        manager.session.close()
        old = {"certificate": str(tmp_path / "kept")}
        Path(old["certificate"]).write_bytes(Path(first["certificate"]).read_bytes())
        for key in ("key", "certificate"):
            Path(second[key]).replace(first[key])
            assert answers(before), "a connection that was there goes on"
        wait_for(lambda: shows(manager, first), "the new certificate is shown")
        assert not shows(manager, old)
        assert answers(before)


def test_a_partial_or_invalid_renewal_is_logged_and_changes_nothing(
    tmp_path: Path, first: dict[str, str], second: dict[str, str]
) -> None:
    manager = secured(tmp_path, first)
    with manager.serving() as process:
        manager.session.close()
        assert process.stderr is not None
        for content in (Path(second["key"]).read_bytes(), b"no key at all"):
            Path(first["key"]).write_bytes(content)
            told = next(line for line in process.stderr if "cannot renew the certificate" in line)
            assert "Check `tls` in the settings" in told
            assert shows(manager, first), "with the key that is in memory"


def test_a_worker_with_a_private_certificate_authority_is_called(first: dict[str, str], tmp_path: Path) -> None:
    taken: list[bytes] = []

    class Taking(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Log nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(first["certificate"], first["key"])
    with http.server.HTTPServer(("127.0.0.1", 0), Taking) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"https://127.0.0.1:{server.server_port}/"
            with pytest.raises(caller.NotReached, match="its certificate is not valid: self-signed"):
                caller.post(url, {})
            os.mkfifo(tmp_path / "pipe")
            for name, why in (("nothing", "No such file"), ("pipe", "it is a named pipe")):
                words = rf"`tunasync\.ca_cert`: the certificates in {tmp_path / name} cannot be used: {why}"
                with pytest.raises(caller.NotReached, match=words):
                    caller.post(url, {}, ca_cert=str(tmp_path / name))
            caller.post(url, {"cmd": "ping"}, ca_cert=first["certificate"])
        finally:
            server.shutdown()
            thread.join()
    assert taken == [b'{"cmd": "ping"}']


def test_an_unusable_certificate_is_one_error_line(tmp_path: Path, first: dict[str, str]) -> None:
    for wrong in ({"key": "/nowhere"}, {"key": first["certificate"]}):
        done = Manager(tmp_path, tls=first | wrong).command("serve")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "Check `tls` in the settings" in done.stderr


@pytest.mark.parametrize("key", ["certificate", "key"])
def test_a_named_pipe_as_certificate_is_an_error_and_does_not_block(
    tmp_path: Path, first: dict[str, str], key: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = secured(tmp_path, first | {key: str(tmp_path / "pipe")}).command("serve")
    assert (done.returncode, "cannot use the certificate" in done.stderr and "it is a named pipe" in done.stderr) == (
        1,
        True,
    )


@pytest.mark.parametrize("key", ["certificate", "key"])
def test_a_huge_file_as_certificate_is_an_error_and_is_not_read(
    tmp_path: Path, first: dict[str, str], key: str
) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    done = secured(tmp_path, first | {key: str(tmp_path / "huge")}).command("serve")
    assert done.returncode == 1
    assert "cannot use the certificate" in done.stderr and "it is larger than 16777216 bytes" in done.stderr


def silent_connections(address: tuple[str, int], stack: ExitStack) -> list[socket.socket]:
    """Return three connections that do not shake hands."""
    silent = [stack.enter_context(socket.create_connection(address, timeout=PATIENCE)) for _ in range(3)]
    silent[0].sendall(b"\x16\x03\x01")
    return silent


def test_connections_without_a_handshake_count(tmp_path: Path, first: dict[str, str]) -> None:
    limits = {"connections_per_address": 3, "read_timeout": "600s"}
    manager = Manager(tmp_path, tls=first, limits=limits, trusted_proxies=["127.0.0.3"])
    trusted, address = first["certificate"], ("127.0.0.1", int(manager.address.rpartition(":")[2]))
    with manager.answering() as server, ExitStack() as stack:
        gate: Any = server._gate  # type: ignore[attr-defined]
        silent_connections(address, stack)
        wait_for(lambda: gate.count == 3, "they count")
        for _ in range(100):
            with socket.create_connection(address, timeout=PATIENCE) as one_more:
                assert one_more.recv(1) == b"", "it is closed at once"
        assert gate.ended["connections_per_address"] == 100
        for host in ("127.0.0.2", "127.0.0.3"):
            with connected(manager, trusted, host) as other:
                assert answers(other), "another address, and a trusted proxy"
    manager.session.close()


def test_connections_without_a_handshake_end(tmp_path: Path, first: dict[str, str]) -> None:
    manager = Manager(tmp_path, tls=first, limits={"connections_per_address": 3, "read_timeout": "2s"})
    trusted, address = first["certificate"], ("127.0.0.1", int(manager.address.rpartition(":")[2]))
    with manager.answering() as server, ExitStack() as stack:
        gate: Any = server._gate  # type: ignore[attr-defined]
        for connection in silent_connections(address, stack):
            assert connection.recv(1) == b"", "a handshake has a time limit"
        wait_for(lambda: gate.count == 0, "they are gone")
        for _ in range(5):
            with connected(manager, trusted) as fine:
                assert answers(fine)
        with socket.create_connection(address, timeout=PATIENCE) as plain:
            plain.sendall(PING)
            assert b"pong" not in plain.recv(4096)
        stack.enter_context(socket.create_connection(address, timeout=PATIENCE))
        wait_for(lambda: gate.count, "the end does not wait for one that says nothing")
    manager.session.close()


def test_accepting_continues_after_the_limit_of_open_files(
    tmp_path: Path, first: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manager = secured(tmp_path, first)
    monkeypatch.setattr(acceptor, "_PAUSE", 0.1)
    with manager.answering():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with ExitStack() as stack:
            clients = [stack.enter_context(socket.socket()) for _ in range(50)]
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(socket.socket.fileno, clients)) + 1, hard))
            try:
                for client in clients:
                    client.connect(("127.0.0.1", int(manager.address.rpartition(":")[2])))
                wait_for(lambda: "cannot accept connections" in caplog.text, "it is logged")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert manager.get("/ping") == {"message": "pong"}
    manager.session.close()
