"""Exchanges with servers that do what they should not, on real sockets."""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from schemas import VERSION, http_client
from schemas.http_client import (
    CertificateRejected,
    ExchangeFailed,
    HttpClient,
    Response,
    ResponseTooLarge,
    Timeouts,
    trusted,
)
from tests.raw_server import FINE, Says, Server, made, tls

SHORT = Timeouts(0.3, 0.3)
LONG = Timeouts(5.0, 20.0)

Connect = Callable[..., HttpClient]
Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda *words: stack.enter_context(closing(Server(*words)))


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as stack:
        yield lambda *words: stack.enter_context(closing(HttpClient(*words)))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return made(tmp_path_factory.mktemp("tls"), "mine")


def says(answer: bytes) -> Says:
    return lambda connection, _number: connection.sendall(answer)


def dripping(head: bytes) -> Says:
    """Answer with a byte now and then, without end: each is in time, all together never."""

    def say(connection: socket.socket, _number: int) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b"x")
            threading.Event().wait(0.02)

    return say


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
    ],
)
@pytest.mark.parametrize("secure", [False, True])
def test_a_slow_drip_does_not_get_past_the_deadline(
    serve: Serve, connect: Connect, certificate: tuple[Path, Path], head: bytes, secure: bool
) -> None:
    server = serve(dripping(head), tls(*certificate)) if secure else serve(dripping(head))
    with pytest.raises(ExchangeFailed, match=r"^timed out$"):
        connect(server.url, str(certificate[1]) if secure else None).exchange("GET", "/", Timeouts(5.0, 0.3))


@pytest.mark.parametrize("secure", [False, True])
def test_a_server_that_reads_slowly_does_not_get_past_the_deadline(
    connect: Connect, certificate: tuple[Path, Path], secure: bool
) -> None:
    over = threading.Event()

    def read_slowly(listener: socket.socket) -> None:
        connection, _address = listener.accept()
        with tls(*certificate).wrap_socket(connection, True) if secure else connection as reader:
            while not over.wait(0.05) and reader.recv(20_000):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        thread = threading.Thread(target=read_slowly, args=(listener,))
        thread.start()
        try:
            url = f"http{'s' * secure}://127.0.0.1:{listener.getsockname()[1]}"
            client = connect(url, str(certificate[1]) if secure else None)
            with pytest.raises(ExchangeFailed, match=r"^timed out$") as caught:
                client.exchange("POST", "/", Timeouts(5.0, 0.4), body=bytes(64 * 1024**2))
        finally:
            over.set()
            thread.join()
    assert caught.value.sent


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "the response was cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha", "the response was cut off"),
        (b"SSH-2.0-OpenSSH\r\n", "is not HTTP"),
        (b"", "the server hung up without a response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n0123456789a", "larger than 10 bytes"),
    ],
)
def test_an_incomplete_response_fails_with_its_reason(
    serve: Serve, connect: Connect, answer: bytes, words: str
) -> None:
    def say(connection: socket.socket, _number: int) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_RDWR)

    with pytest.raises(ExchangeFailed, match=words) as caught:
        connect(serve(say).url).exchange("GET", "/", LONG, most=10)
    assert caught.value.sent


def test_a_refused_connection_sends_nothing(connect: Connect) -> None:
    with pytest.raises(ExchangeFailed, match="Connection refused") as caught:
        connect("http://127.0.0.1:1").exchange("GET", "/", LONG)
    assert not caught.value.sent


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999", "http://", "http://[::1", "http://127.0.0.1:0", "http://*.x"]
)
def test_an_address_that_is_not_valid_is_reported_as_such(connect: Connect, url: str) -> None:
    with pytest.raises(ExchangeFailed, match="its address is not valid") as caught:
        connect(url).exchange("GET", "/", LONG)
    assert not caught.value.sent


def test_a_connection_is_kept_and_replaced_when_the_server_has_closed_it(serve: Serve, connect: Connect) -> None:
    def say(connection: socket.socket, number: int) -> None:
        connection.sendall(FINE)
        if number == 1:
            connection.shutdown(socket.SHUT_RDWR)

    server = serve(say)
    client = connect(f"{server.url}/below/")

    responses = [client.exchange("POST", "/x?y=1", LONG, body=b"{}") for _ in range(3)]

    assert (responses, server.connections) == ([Response(200, b"ok")] * 3, 2)
    assert server.requests[0].startswith(b"POST /below/x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:")


def test_a_request_is_repeated_once_when_the_server_hangs_up_on_a_kept_connection(
    serve: Serve, connect: Connect
) -> None:
    def say(connection: socket.socket, number: int) -> None:
        if number == 0:
            connection.sendall(FINE)
        else:
            connection.close()

    server = serve(say)
    client = connect(server.url)
    assert client.exchange("GET", "/", LONG).status == 200
    with pytest.raises(ExchangeFailed, match="hung up"):
        client.exchange("GET", "/", LONG)
    assert (len(server.requests), server.connections) == (3, 2)


def test_no_redirect_is_followed_and_no_cookie_sent_back(serve: Serve, connect: Connect) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    server = serve(says(moved))
    client = connect(server.url)
    assert [client.exchange("GET", "/", LONG) for _ in range(2)] == [Response(302, b"", "/elsewhere")] * 2
    assert len(server.requests) == 2 and not any(b"ookie" in request for request in server.requests)


def test_the_environment_and_the_url_set_neither_a_proxy_nor_credentials(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password stolen\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server = serve(says(FINE))
    url = server.url.replace("http://", "http://user:password@")
    assert connect(url).exchange("GET", "/", LONG, headers={"Authorization": "Bearer mine"}).body == b"ok"
    assert b"\r\nAuthorization: Bearer mine\r\n" in server.requests[0] and b"Basic" not in server.requests[0]


@pytest.mark.parametrize("token", ["with\nnewline", " leading", "naïve\u20ac"])
def test_no_token_is_in_the_text_of_a_failure(serve: Serve, connect: Connect, token: str) -> None:
    with pytest.raises(ExchangeFailed) as caught:
        connect(serve(says(FINE)).url).exchange("GET", "/", LONG, headers={"Authorization": token})
    assert token.strip()[:4] not in str(caught.value)


def test_a_body_that_is_not_wanted_is_not_read(serve: Serve, connect: Connect) -> None:
    server = serve(says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"))
    assert connect(server.url).exchange("GET", "/", LONG, most=0) == Response(200, b"")


def test_a_compressed_body_is_not_unpacked(serve: Serve, connect: Connect) -> None:
    server = serve(says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok"))
    assert connect(server.url).exchange("GET", "/", LONG).body == b"ok"
    assert b"\r\nAccept-Encoding: identity\r\n" in server.requests[0]


def test_a_request_names_the_program_and_its_version(serve: Serve, connect: Connect) -> None:
    server = serve(says(FINE))
    connect(server.url).exchange("GET", "/", LONG)
    assert f"\r\nUser-Agent: Skipjack/{VERSION}\r\n".encode() in server.requests[0]


def test_an_endless_body_is_read_up_to_the_limit(serve: Serve, connect: Connect) -> None:
    def say(connection: socket.socket, _number: int) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(bytes(64 * 1024))

    with pytest.raises(ResponseTooLarge, match="larger than 1000 bytes"):
        connect(serve(say).url).exchange("GET", "/", LONG, most=1000)


def test_tls_trusts_the_named_certificate_and_no_unknown_one(
    serve: Serve, connect: Connect, certificate: tuple[Path, Path]
) -> None:
    server = serve(says(FINE), tls(*certificate))
    client = connect(server.url, str(certificate[1]))
    assert [client.exchange("GET", "/", LONG).body for _ in range(2)] == [b"ok", b"ok"]
    client.close()

    with pytest.raises(CertificateRejected, match="its certificate is not valid: self-signed") as caught:
        connect(server.url).exchange("GET", "/", LONG)
    assert not caught.value.sent
    with pytest.raises(ExchangeFailed, match="the certificates in /nowhere cannot be used: No such file"):
        connect(server.url, "/nowhere").exchange("GET", "/", LONG)


def test_a_named_certificate_replaces_every_other_authority(
    serve: Serve, connect: Connect, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[ssl.SSLContext] = []

    def remembered(ca_cert: str | None) -> ssl.SSLContext:
        contexts.append(trusted(ca_cert))
        return contexts[-1]

    monkeypatch.setattr(http_client, "trusted", remembered)
    server = serve(says(FINE), tls(*certificate))
    assert connect(server.url, str(certificate[1])).exchange("GET", "/", LONG).body == b"ok"
    assert [len(context.get_ca_certs()) for context in contexts] == [1], "requests has a bundle of its own"


def test_a_renewed_certificate_is_trusted_without_a_restart(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    old, new = made(tmp_path, "old"), made(tmp_path, "new")
    authority = tmp_path / "ca.pem"
    authority.write_bytes(old[1].read_bytes())
    context = tls(*old)

    def say(connection: socket.socket, _number: int) -> None:
        connection.sendall(FINE.replace(b"200 OK\r\n", b"200 OK\r\nConnection: close\r\n"))

    client = connect(serve(say, context).url, str(authority))
    assert client.exchange("GET", "/", LONG).body == b"ok"
    context.load_cert_chain(new[1], new[0])
    authority.write_bytes(new[1].read_bytes())
    assert client.exchange("GET", "/", LONG).body == b"ok"


def test_a_server_that_never_shakes_hands_is_given_up(serve: Serve, connect: Connect) -> None:
    server = serve(lambda _connection, _number: None)
    with pytest.raises(ExchangeFailed, match=r"^timed out$") as caught:
        connect(server.url.replace("http:", "https:")).exchange("GET", "/", SHORT)
    assert not caught.value.sent


def test_a_pipe_in_the_place_of_certificates_is_reported_and_does_not_block(connect: Connect, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ca.pem")
    with pytest.raises(ExchangeFailed, match=r"ca\.pem cannot be used: it is a named pipe"):
        connect("https://127.0.0.1:1", str(tmp_path / "ca.pem")).exchange("GET", "/", LONG)
