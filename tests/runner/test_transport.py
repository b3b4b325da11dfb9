"""Exchanges with servers that do what they should not, on real sockets."""

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from runner.courier import courier
from runner.courier.client import after
from runner.courier.transport import Line, Patience, Reply, Unreachable, Untrusted
from schemas.errors import SkipjackError
from schemas.records import ManagerAddress, Repository, RunnerSettings

SOON = Patience(5.0, 0.3)
LATER = Patience(5.0, 20.0)
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Connect = Callable[..., Line]
Serve = Callable[..., "Server"]
Says = Callable[[socket.socket, int], None]


class Server:
    """Answers each request by a function that gets the connection and how many requests there were before."""

    def __init__(self, says: Says, context: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._says, self._context = says, context
        self.requests: list[bytes] = []
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _address = self._socket.accept()
                self.connections += 1
                with suppress(OSError), connection:
                    self._talk(self._context.wrap_socket(connection, True) if self._context else connection)

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            while request := connection.recv(65536):
                self.requests.append(request)
                self._says(connection, len(self.requests) - 1)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(says: Says, context: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(says, context))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., Line]]:
    with ExitStack() as stack:
        yield lambda *words: stack.enter_context(closing(Line(*words)))


def dribble(connection: socket.socket, _number: int) -> None:
    """A byte now and then, without end: each in time, all together never."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        threading.Event().wait(0.02)


def dribble_head(connection: socket.socket, _number: int) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x")
        threading.Event().wait(0.02)


def dribble_without_length(connection: socket.socket, _number: int) -> None:
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"x")
        threading.Event().wait(0.02)


@pytest.mark.parametrize("says", [dribble, dribble_head, dribble_without_length])
def test_the_deadline_is_for_the_whole_answer(serve: Serve, connect: Connect, says: Says) -> None:
    with pytest.raises(Unreachable, match=r"^timed out$"):
        connect(serve(says).url).exchange("GET", "/", SOON)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "its answer was cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha", "its answer was cut off"),
        (b"SSH-2.0-OpenSSH\r\n", "speaks no HTTP"),
        (b"", "it hung up without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n0123456789a", "larger than 10 bytes"),
    ],
)
def test_what_is_no_whole_answer_is_told(serve: Serve, connect: Connect, answer: bytes, words: str) -> None:
    def says(connection: socket.socket, _number: int) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    with pytest.raises(Unreachable, match=words):
        connect(serve(says).url).exchange("GET", "/", LATER, most=10)


def test_nobody_there_is_told(connect: Connect) -> None:
    with pytest.raises(Unreachable, match="Connection refused"):
        connect("http://127.0.0.1:1").exchange("GET", "/", LATER)


def test_a_connection_is_kept_and_made_anew_when_the_server_has_closed_it(serve: Serve, connect: Connect) -> None:
    def says(connection: socket.socket, number: int) -> None:
        connection.sendall(FINE)
        if number == 1:
            connection.shutdown(socket.SHUT_RDWR)

    server = serve(says)
    line = connect(f"{server.url}/below/")

    replies = [line.exchange("POST", "/x?y=1", LATER, body=b"{}") for _ in range(3)]

    assert (replies, server.connections) == ([Reply(200, b"ok")] * 3, 2)
    assert server.requests[0].startswith(b"POST /below/x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:")


def test_no_redirect_is_followed(serve: Serve, connect: Connect) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    server = serve(lambda connection, _number: connection.sendall(moved))
    assert connect(server.url).exchange("GET", "/", LATER) == Reply(302, b"")
    assert len(server.requests) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*words, *more], check=True, capture_output=True)
    return key, cert


def test_tls_trusts_the_named_certificate_and_no_unknown_one(
    serve: Serve, connect: Connect, certificate: tuple[Path, Path]
) -> None:
    key, cert = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = serve(lambda connection, _number: connection.sendall(FINE), context)

    line = connect(server.url, str(cert))
    assert [line.exchange("GET", "/", LATER).body for _ in range(2)] == [b"ok", b"ok"]
    line.close()

    with pytest.raises(Untrusted, match="its certificate is not valid: self-signed"):
        connect(server.url).exchange("GET", "/", LATER)
    with pytest.raises(Unreachable, match="the certificates in /nowhere cannot be used: No such file"):
        connect(server.url, "/nowhere").exchange("GET", "/", LATER)


@pytest.mark.parametrize("protocol", ["skipjack", "tunasync"])
def test_a_courier_says_what_to_do_about_each_way_not_to_reach_the_manager(
    serve: Serve, tmp_path: Path, protocol: str
) -> None:
    mine, other, old = (made(tmp_path, *words) for words in (("mine",), ("other", "DNS:other.example"), ("old",)))
    expire(*old)

    def tls(key: Path, cert: Path) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        return context

    def says(answer: bytes) -> Says:
        return lambda connection, _number: connection.sendall(answer)

    def port(url: str) -> str:
        return url.rpartition(":")[2]

    plain = port(serve(says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")).url)
    secure = port(serve(says(FINE), tls(*mine)).url)
    page = b"The plain HTTP request was sent to HTTPS port"
    nginx = serve(says(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (len(page), page))).url
    missing = serve(says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")).url
    cases = [
        (f"https://127.0.0.1:{plain}", None, "speaks no TLS", "Write `http://` in `manager.url`"),
        (f"http://127.0.0.1:{secure}", None, "cannot be reached", "write `https://` in `manager.url`"),
        (nginx, None, "400", "write `https://` in `manager.url`"),
        (f"https://127.0.0.1:{secure}", None, "self-signed", "as `manager.ca_cert` in runner.yml; else check"),
        (f"https://127.0.0.1:{secure}", other[1], "not valid", "into the file that `manager.ca_cert` names"),
        (serve(says(FINE), tls(*other)).url, other[1], "mismatch", "Write a name that the certificate is for"),
        (serve(says(FINE), tls(*old)).url, old[1], "has expired", "Renew the manager's certificate"),
        ("http://127.0.0.1:9", None, "Connection refused", "See that the manager runs, and check the port in"),
        ("http://no.such.host.invalid", None, "cannot be reached", "Check the host name in `manager.url`"),
        (missing, None, "404", "Check `manager.url`"),
    ]
    for url, ca_cert, why, todo in cases:
        address = ManagerAddress(url, protocol=protocol, ca_cert=str(ca_cert) if ca_cert else None)
        settings = RunnerSettings(
            "w1", Repository("file:///none"), state_dir=str(tmp_path), run_dir=str(tmp_path), manager=address
        )
        with pytest.raises(SkipjackError) as caught:
            courier.once(settings, Path("/nowhere"), start=False)
        said = str(caught.value)
        assert why in said and todo in said and "`manager.url`" in said, said
        assert "Nothing is lost" in said
        assert ("ca_cert" in said) == ("ca_cert" in todo), said


def test_an_answer_that_does_not_come_names_firewalls_and_the_address(serve: Serve, connect: Connect) -> None:
    line = connect(serve(lambda _connection, _number: None).url)
    with pytest.raises(Unreachable) as caught:
        line.exchange("GET", "/", SOON)
    said = after(caught.value, ManagerAddress("http://127.0.0.1"))
    assert said.startswith("Look for a firewall on the way, and check host and port in `manager.url` in runner.yml.")


def made(folder: Path, name: str, names: str = "IP:127.0.0.1") -> tuple[Path, Path]:
    """A key, and a certificate of its own for some names."""
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    more = ["-keyout", str(key), "-out", str(cert), "-subj", "/CN=x", "-addext", f"subjectAltName={names}"]
    subprocess.run([*words, *more], check=True, capture_output=True)
    return key, cert


def expire(key: Path, cert: Path) -> None:
    """Put a certificate that ended yesterday in the place of another one."""
    request = cert.with_suffix(".csr")
    words = ["openssl", "x509", "-x509toreq", "-in", str(cert), "-signkey", str(key), "-out", str(request)]
    subprocess.run(words, check=True, capture_output=True)
    names = cert.with_suffix(".names")
    names.write_text("subjectAltName=IP:127.0.0.1")
    words = ["openssl", "x509", "-req", "-in", str(request), "-signkey", str(key), "-days", "-1", "-out", str(cert)]
    words += ["-extfile", str(names)]
    subprocess.run(words, check=True, capture_output=True)


def test_a_server_that_never_shakes_hands_is_given_up(serve: Serve, connect: Connect) -> None:
    server = serve(lambda _connection, _number: None)
    with pytest.raises(Unreachable, match=r"^timed out$"):
        connect(server.url.replace("http:", "https:")).exchange("GET", "/", SOON)


def test_a_pipe_in_the_place_of_certificates_is_named_and_not_waited_for(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "ca.pem")
    server = serve(lambda _connection, _number: None)
    with pytest.raises(Unreachable, match=r"ca\.pem cannot be used: it is a named pipe"):
        connect(server.url.replace("http:", "https:"), str(tmp_path / "ca.pem")).exchange("GET", "/", LATER)
