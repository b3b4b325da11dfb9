"""What an admin reads when the manager cannot be reached: the reason, and what to do about it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from runner.courier import courier
from runner.courier.client import unreachable_remedy
from schemas.errors import SkipjackError
from schemas.http_client import ExchangeFailed, HttpClient, Timeouts
from schemas.records import ManagerAddress, Repository, RunnerSettings
from tests.raw_server import FINE, Says, Server, expire, made, tls

Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda *words: stack.enter_context(closing(Server(*words)))


@pytest.mark.parametrize("protocol", ["skipjack", "tunasync"])
def test_each_failure_to_reach_the_manager_has_a_reason_and_a_remedy(
    serve: Serve, tmp_path: Path, protocol: str
) -> None:
    mine, other, old = (made(tmp_path, *words) for words in (("mine",), ("other", "DNS:other.example"), ("old",)))
    expire(*old)

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
        (f"https://127.0.0.1:{plain}", None, "does not speak TLS", "Write `http://` in `manager.url`"),
        (f"http://127.0.0.1:{secure}", None, "cannot reach", "write `https://` in `manager.url`"),
        (nginx, None, "400", "write `https://` in `manager.url`"),
        (f"https://127.0.0.1:{secure}", None, "self-signed", "set `manager.ca_cert` in runner.yml"),
        (f"https://127.0.0.1:{secure}", other[1], "not valid", "into the file that `manager.ca_cert` names"),
        (serve(says(FINE), tls(*other)).url, other[1], "mismatch", "Write a name that the certificate is for"),
        (serve(says(FINE), tls(*old)).url, old[1], "has expired", "Renew the manager's certificate"),
        ("http://127.0.0.1:9", None, "Connection refused", "Check that the manager is running, and the port in"),
        ("http://no.such.host.invalid", None, "cannot reach", "Check the host name in `manager.url`"),
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


def test_a_timeout_names_firewalls_and_the_address(serve: Serve) -> None:
    server = serve(lambda _connection, _number: None)
    with closing(HttpClient(server.url)) as client, pytest.raises(ExchangeFailed) as caught:
        client.exchange("GET", "/", Timeouts(5.0, 0.3))
    said = unreachable_remedy(caught.value, ManagerAddress("http://127.0.0.1"))
    assert said.startswith("Look for a firewall on the way, and check host and port in `manager.url` in runner.yml.")
