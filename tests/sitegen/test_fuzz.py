"""With any input the manager does not fail, answers as described, and does not leak memory."""

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.sitegen.kit import PATIENCE, Manager, envelope_of, message, report_of, status_of

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
NAMES = strategies.sampled_from(["w1", "go1", "debian", "arch", "1"])
NEEDED = {"Requires a worker's token.": "worker", "Requires an operator's token.": "operator"}
SEED = 1
QUIET = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)

READ_TIMEOUT = "20s"
"""The manager's limit for a request. A busy machine must not exceed it, and one test waits for it."""

LEAST_LEAK = 30_000
"""Bytes for each request of every kind that count as a leak; keeping those of one kind would take 60 kB."""

FAILED = re.compile(rb"HTTP/1\.1 5\d\d .*")
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Target(Manager):
    """A manager without limits, which logs to a file, since its log may be long."""

    def __init__(self, folder: Path) -> None:
        limits = {"rate": 1_000_000, "burst": 1_000_000, "read_timeout": READ_TIMEOUT, "header_size": "80KiB"}
        limits["connections_per_address"] = 4000
        super().__init__(folder, limits=limits, body_limit="1MiB", tunasync={"writes_from": ["127.0.0.1"]})
        self.log = folder / "log"
        names = {"worker": "w1", "operator": "o", "read": "r"}
        self.tokens = {scope: self.token(name, scope) for scope, name in names.items()}
        self.pid = 0

    def popen(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "sitegen", *words, "--settings", str(self.settings_file)]
        with self.log.open("a") as log:
            process = subprocess.Popen(command, text=True, stdout=log, stderr=log)
        self.pid = process.pid
        return process

    def headers(self, scope: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[scope]}"} if scope else {}

    def raw(self, method: str, path: str, scope: str = "", body: bytes = b"", more: str = "") -> bytes:
        """Return a request as bytes."""
        fields = [f"{name}: {value}\r\n" for name, value in self.headers(scope).items()]
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{''.join(fields)}{more}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def memory(self) -> int:
        """Return the private memory of the process in bytes."""
        found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found
        return int(found[1]) * 1024


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    target = Target(tmp_path_factory.mktemp("fuzz"))
    with target.serving():
        told = report_of(1, status_of("debian"), status_of("arch", "failed"))
        assert target.post(envelope_of(told), target.tokens["worker"]).status_code == 200
        target.session.post(f"{target.url}/workers", json={"id": "go1", "url": "http://127.0.0.1:9/"})
        yield target
        assert target.get("/ping") == {"message": "pong"}, "it is still there after all that"
    target.session.close()
    assert "Traceback" not in target.log.read_text()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("examples", [2, pytest.param(20, marks=pytest.mark.release)])
def test_every_route_answers_as_described_for_any_input(target: Target, mode: GenerationMode, examples: int) -> None:
    described = schemathesis.openapi.from_dict(target.get("/api/v1/openapi.json"))
    tried = 0
    for found in described.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if mode is GenerationMode.POSITIVE or list(operation.body) or list(operation.query):
            scope = NEEDED.get(operation.definition.raw["description"], "read")
            tried += ask(target, operation.as_strategy(generation_mode=mode), scope, examples)
    assert tried > 10 * examples


def ask(target: Target, cases: strategies.SearchStrategy[Case[Any]], needed: str, examples: int) -> int:
    """Send so many requests to a route, mostly with the required token and with known names; returns their number."""
    tried = 0

    @settings(QUIET, max_examples=examples)
    @given(
        case=cases,
        scope=strategies.sampled_from([needed, needed, needed, "", *target.tokens]),
        names=strategies.lists(NAMES, min_size=2, max_size=2),
    )
    def one(case: Case[Any], scope: str, names: list[str]) -> None:
        nonlocal tried
        tried += 1
        if "wait" in case.query:
            case.query["wait"] = 0
        case.path_parameters.update(zip(list(case.path_parameters), names, strict=False))
        answer = case.call(target.url, session=target.session, headers=target.headers(scope), timeout=PATIENCE)
        case.validate_response(answer, checks=CHECKS)

    one()
    return tried


def exchange(target: Target, sent: Sequence[bytes]) -> list[bytes]:
    """Send each of these over a connection of its own; returns all output until the manager closes it."""

    async def one(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*target.address.split(":"))
        writer.write(data)
        received = bytearray()
        try:
            while chunk := await reader.read(65536):
                received += chunk
        except ConnectionError:
            pass  # it need not read all of what it refuses
        writer.close()
        return bytes(received)

    async def every() -> list[bytes]:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.gather(*map(one, sent))

    return asyncio.run(every())


def bodies(random: Random) -> Iterator[bytes]:
    """Generate bodies that are not valid messages, or nearly valid ones."""
    yield from (b"", b"\0", b"null", b"[]", b"{", b"\xff\xfe{}", b'{"\\ud800": "\\ud800"}', b"1" * 5000, b"-1e9999")
    yield from (b"[" * 100_000, b'{"a":' * 100_000, b'{"worker": "w1", "results": [{"number": 1e400}]}')
    for number in ("1e400", "NaN", "-Infinity", "9" * 400, "1.5", "-0", "true"):
        for key in ("sent_at", "slots", "reports", "number", "mirrors", "wait", "size"):
            good = message(report_of(2, status_of())).decode()
            yield re.sub(rf'"{key}": [^,\[{{]+', f'"{key}": {number}', good).encode()
    for _ in range(20):
        yield mutated(random, message(report_of(2, status_of())))
        yield random.randbytes(random.randrange(2000))


def mutated(random: Random, data: bytes) -> bytes:
    """Return the data with a part removed, repeated, overwritten or inserted."""
    changed = bytearray(data)
    for _ in range(random.randrange(1, 4)):
        start = random.randrange(len(changed) + 1)
        end = start + random.choice([0, 1, 7, 100])
        instead = random.choice(
            [b"", b"\0", b"\r\n", b"\r\n\r\n", b"\xff", b'"', changed[start:end] * 2, b"y" * 90_000]
        )
        changed[start:end] = instead
    return bytes(changed)


def test_no_body_makes_a_route_fail(target: Target) -> None:
    random = Random(SEED)
    described = target.get("/api/v1/openapi.json")["paths"]
    sent = []
    for path, item in described.items():
        for method, operation in item.items():
            if "requestBody" in operation:
                scope = NEEDED.get(operation["description"], "")
                named = path.replace("{worker}", "go1").replace("{mirror}", "arch")
                sent += [
                    target.raw(method.upper(), named, scope, body, "Connection: close\r\n") for body in bodies(random)
                ]
    received = exchange(target, sent)
    assert [FAILED.findall(each) for each in received if FAILED.search(each)] == []
    assert all(map(ANSWER.match, received)), "each was answered"
    assert b"HTTP/1.1 200" in {each[:12] for each in received}, "some were taken"


def torn(target: Target, random: Random) -> bytes:
    """Generate requests on one connection, the last with `Connection: close`, and damage them."""
    report = message(report_of(2, status_of()))
    chunked = target.raw("POST", "/api/v1/reports", "worker").replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked"
    )
    good = [
        target.raw("GET", "/ping"),
        target.raw("GET", f"/api/v1/{random.choice(['runs', 'mirrors', 'commands/w1', 'overrides'])}", "read"),
        target.raw("GET", "/jobs/?a=%00%ff&%=;"),
        target.raw("GET", "/api/v1/mirrors/%00%2e%2e%2f%ff", "read"),
        target.raw("POST", "/api/v1/reports", "worker", report),
        chunked + f"{len(report):x}\r\n".encode() + report + b"\r\n0\r\n\r\n",
        target.raw("POST", "/api/v1/commands", "operator", b'{"kind": "ping"}', "Upgrade: websocket\r\n"),
        target.raw("POST", "/cmd", "", b'{"cmd": "reload", "worker_id": "w1"}', "Expect: 100-continue\r\n"),
    ]
    data = b"".join(random.choices(good, k=random.randrange(1, 4)))
    for _ in range(random.randrange(3)):
        length = random.choice(["-1", "0", "5", "99", "99999999999999999999", "x", "9" * 5000, "1, 2"])
        data = re.sub(rb"Content-Length: \d+", f"Content-Length: {length}".encode(), data, count=1)
    if random.random() < 0.7:
        data = mutated(random, data)
    return data + target.raw("GET", "/ping", more="Connection: close\r\n")


def test_no_input_on_a_connection_makes_the_manager_fail_or_hang(target: Target) -> None:
    random = Random(SEED)
    sent = [torn(target, random) for _ in range(600)]
    received = exchange(target, sent)
    assert [FAILED.findall(each) for each in received if FAILED.search(each)] == []
    statuses = {int(found) for each in received for found in ANSWER.findall(each)}
    assert {200, 400, 401, 408, 431} <= statuses, "what was sent was of every kind"


@pytest.mark.parametrize(
    "cursor",
    [
        b"[" * 4_000, b'[1e999, "w", "j", 1]', b'[1, "w", "j", 1e999]', b'[1, "w", "j", %d]' % 10**400,
        b'[%d, "w", "j", 1]' % 10**400, b'[1, "\\ud800", "j", 1]', b'[1, "w", "\\u0000", 1]',
        b'[1, "w", "j", %d]' % 2**64,        b'[NaN, "w", "j", 1]', b"[]", b"{}", b"1", b"\xff", b"",
    ],
)  # fmt: skip
def test_an_invalid_cursor_is_rejected_or_returns_a_page(target: Target, cursor: bytes) -> None:
    text = base64.urlsafe_b64encode(cursor).decode()
    for each in (text, cursor.decode("latin-1")[:3000]):
        answer = target.session.get(f"{target.url}/api/v1/runs", params={"cursor": each}, timeout=PATIENCE)
        assert answer.status_code in (200, 400, 431), answer.text


def test_a_thousand_requests_of_every_kind_leak_no_memory(target: Target) -> None:
    def batch(number: int) -> bytes:
        """Send different requests of 60 kB each."""
        unique = f"{number:08}" * 7500
        report = message(journal=f"{number:032x}").removesuffix(b"}") + f', "x": "{unique}"}}'.encode()
        return b"".join(
            [
                target.raw("GET", f"/api/v1/mirrors/{unique}", "read"),
                target.raw("GET", f"/api/v1/runs?worker={unique}", "read"),
                target.raw("GET", "/jobs", more=f"X-Unique: {unique}\r\nAuthorization: Bearer {number}\r\n"),
                target.raw("GET", "/api/v1/commands/w1", more=f"Authorization: Bearer {unique}\r\n"),
                target.raw("GET", f"/api/v1/commands?worker=w1&after=0&x={unique}", "worker"),
                target.raw("POST", "/api/v1/reports", "worker", report),
                target.raw("POST", "/api/v1/commands", "operator", json.dumps({"kind": unique}).encode()),
                target.raw("POST", "/workers/go1/jobs/arch", "", json.dumps({"name": unique}).encode()),
            ]
        )

    def talk(numbers: range) -> None:
        last = target.raw("GET", "/ping", more="Connection: close\r\n")
        for start in range(0, len(numbers), 25):
            [received] = exchange(target, [b"".join(map(batch, numbers[start : start + 25])) + last])
            assert len(ANSWER.findall(received)) == 25 * 8 + 1, received[-500:]
            assert not FAILED.search(received)

    # Caches fill, and the allocator keeps what was freed: that grows once, by some megabytes. A leak grows each time.
    talk(range(50))
    before, sent, grown = target.memory(), 0, LEAST_LEAK
    while grown >= sent * LEAST_LEAK and sent < 1000:
        talk(range(50 + sent, 250 + sent))
        sent += 200
        grown = target.memory() - before
    assert grown < sent * LEAST_LEAK, f"{grown} bytes more after {sent} requests of each kind"
