"""The OpenAPI document matches the manager: it has every route, and every answer is as described."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator

from schemas.config import exported_policy
from schemas.records import (
    FreshnessFile,
    ManagerSettings,
    Mirror,
    Policy,
    Repository,
    RunnerSettings,
    Secret,
    Site,
    SyncWindows,
    Webhook,
    Worker,
)
from sitegen.messages.model import DeclaredConfig, Note
from sitegen.storage import codec
from sitegen.storage.store import Store
from sitegen.web import openapi, routes
from sitegen.web.access import Access
from sitegen.web.api_reports import ReportsApi
from sitegen.web.denied_audit import DeniedAttempts
from sitegen.web.gate import Gate
from sitegen.web.ingest import Ingest
from sitegen.web.waiters import Topics
from tests.sitegen.kit import NOW, REVISION, Manager, envelope_of, plain, report_of, status_of

SECRET = "a-secret-of-the-forge"
GO = "/workers/go1"
JOB = f"{GO}/jobs/arch"
REPORT = {"name": "arch", "status": "success"}
POLICY = exported_policy.as_plain(exported_policy.exported(RunnerSettings("w1", Repository("")), Policy(), "0.1.0"))

REQUESTS: list[tuple[str, str, str, str, Any, int]] = [
    ("POST", "/api/v1/reports", "/api/v1/reports", "worker", plain(envelope_of(report_of(1, status_of()))), 200),
    ("POST", "/api/v1/reports", "/api/v1/reports", "worker", {}, 422),
    ("POST", "/api/v1/commands", "/api/v1/commands", "operator", {"kind": "stop", "mirrors": ["debian"]}, 202),
    ("POST", "/api/v1/commands", "/api/v1/commands", "operator", {"kind": "stop", "mirrors": ["nosuch"]}, 404),
    ("POST", "/api/v1/commands", "/api/v1/commands", "", {}, 401),
    ("GET", "/api/v1/commands", "/api/v1/commands?worker=w1", "worker", None, 200),
    ("POST", "/api/v1/commands/results", "/api/v1/commands/results", "worker",
     {"worker": "w1", "results": [{"number": 1, "outcome": "done"}]}, 200),
    ("GET", "/api/v1/commands/{worker}", "/api/v1/commands/w1?limit=1", "operator", None, 200),
    ("GET", "/api/v1/commands/{worker}/{number}", "/api/v1/commands/w1/1", "operator", None, 200),
    ("GET", "/api/v1/commands/{worker}/{number}", "/api/v1/commands/w1/77", "operator", None, 404),
    ("POST", "/api/v1/reports", "/api/v1/reports", "worker",
     plain(envelope_of(report_of(2, status_of("debian", "paused"), status_of("gnu", "failed")))), 200),
    ("GET", "/api/v1/catalogue", "/api/v1/catalogue", "", None, 200),
    ("GET", "/api/v1/mirrors", "/api/v1/mirrors", "", None, 200),
    ("GET", "/api/v1/mirrors/{name}", "/api/v1/mirrors/gnu", "", None, 200),
    ("GET", "/api/v1/mirrors/{name}", "/api/v1/mirrors/nosuch", "", None, 404),
    ("GET", "/api/v1/runs", "/api/v1/runs?limit=1", "", None, 200),
    ("GET", "/api/v1/runs", "/api/v1/runs?cursor=x", "", None, 400),
    ("GET", "/api/v1/workers", "/api/v1/workers", "", None, 200),
    ("GET", "/api/v1/overrides", "/api/v1/overrides", "operator", None, 200),
    ("GET", "/api/v1/events", "/api/v1/events", "", None, 200),
    ("POST", "/api/v1/policies", "/api/v1/policies", "worker", POLICY, 200),
    ("POST", "/api/v1/policies", "/api/v1/policies", "worker", {}, 422),
    ("GET", "/api/v1/policies", "/api/v1/policies", "operator", None, 200),
    ("POST", "/api/v1/webhook", "/api/v1/webhook", "forge", None, 200),
    ("POST", "/api/v1/webhook", "/api/v1/webhook", "", None, 403),
    ("GET", "/ping", "/ping", "", None, 200),
    ("POST", "/workers", "/workers", "", {"id": "go1", "url": "http://127.0.0.1:9/"}, 200),
    ("POST", "/workers/{worker}/jobs/{mirror}", JOB, "", REPORT, 200),
    ("POST", "/workers/{worker}/jobs/{mirror}", JOB, "", {}, 400),
    ("POST", "/workers/{worker}/jobs/{mirror}/size", f"{JOB}/size", "", {"name": "arch", "size": "1G"}, 200),
    ("POST", "/workers/{worker}/schedules", f"{GO}/schedules", "", {"schedules": []}, 200),
    ("POST", "/cmd", "/cmd", "", {"cmd": "reload", "worker_id": "w1"}, 200),
    ("POST", "/cmd", "/cmd", "", {"cmd": "ping", "worker_id": "w9"}, 400),
    ("GET", "/jobs", "/jobs", "", None, 200),
    ("GET", "/workers", "/workers", "", None, 200),
    ("GET", "/workers/{worker}/jobs", f"{GO}/jobs", "", None, 200),
    ("GET", "/workers/{worker}/jobs", "/workers/w1/jobs", "", None, 200),
    ("GET", "/workers/{worker}/jobs", "/workers/w9/jobs", "", None, 400),
    ("DELETE", "/jobs/disabled", "/jobs/disabled", "", None, 200),
    ("DELETE", "/workers/{worker}", GO, "", None, 200),
    ("GET", "/metrics", "/metrics", "", None, 200),
    ("GET", "/api/v1/openapi.json", "/api/v1/openapi.json", "", None, 200),
]  # fmt: skip
"""Requests in an order in which each has data to return: method, described path, address, scope, body, status."""


DECLARED = DeclaredConfig(
    REVISION, NOW, Site("Site", categories={"os": "Systems"}),
    {"w1": Worker("w1", sync_windows=SyncWindows(("22:00-06:00",))), "w2": Worker("w2")},
    (
        Mirror("gnu", "w1", "rsync", "rsync://up.example/gnu/", freshness=FreshnessFile("time"), cron="0 4 * * *"),
        Mirror("debian", "w1", "rsync", "rsync://up.example/debian/"),
        Mirror("new", "w2", "rsync", "rsync://up.example/new/"),
    ),
    ("gnu.yml:1:1: wrong",),
)  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Manager, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "webhook").write_text(SECRET)
    webhook = {"secret": {"file": str(folder / "webhook")}}
    manager = Manager(folder, tunasync={"writes_from": ["127.0.0.1"]}, webhook=webhook)
    tokens = {"worker": manager.token("w1"), "operator": manager.token("alice", "operator")}
    with manager.answering():
        yield manager, tokens
    manager.session.close()


def test_every_answer_is_as_described_and_every_description_is_answered(
    running: tuple[Manager, dict[str, str]],
) -> None:
    manager, tokens = running
    with manager.store() as store:
        store.keep_catalogue(DECLARED, NOW)
        store.keep_refused(Note("It is wrong.", NOW))
        store.keep_unreachable("It does not answer.", NOW)
    described = manager.get("/api/v1/openapi.json")
    left = {(method, path) for path, item in described["paths"].items() for method in item}
    for method, path, address, scope, body, status in REQUESTS:
        headers = {"Authorization": f"Bearer {tokens[scope]}"} if scope in tokens else {}
        headers |= {"X-Gitlab-Token": SECRET} if scope == "forge" else {}
        answer = requests.request(method, manager.url + address, json=body, headers=headers, timeout=300)
        assert answer.status_code == status, (address, answer.text)
        operation = described["paths"][path][method.lower()]
        responses = operation["responses"]
        shown = responses.get(str(status)) or responses["default"]
        kind = answer.headers["content-type"].partition(";")[0]
        value = answer.json() if kind == "application/json" else answer.text
        problems = _problems(described, shown["content"][kind]["schema"], value)
        assert not problems, (address, problems)
        if kind == "application/json":
            assert _problems(described, shown["content"][kind]["schema"], [None]), "anything would do"
        # Workers of another release read commands, so these may get keys that are not described here.
        is_closed = not re.search(r"/(commands(_\w+)?|api_openapi)$", shown["content"][kind]["schema"].get("$ref", ""))
        for place in _objects(value) if is_closed else ():
            place["undescribed"] = 1
            assert _problems(described, shown["content"][kind]["schema"], value), (address, place)
            del place["undescribed"]
        if body and status < 300 and kind == "application/json":
            wanted = operation["requestBody"]["content"]["application/json"]["schema"]
            assert not _problems(described, wanted, body), address
        if status < 300:
            left.discard((method.lower(), path))
    assert left == set()


def _objects(value: Any) -> list[dict[str, Any]]:
    """Return every object with fixed keys in an answer; of lists only those in the first item."""
    if isinstance(value, list):
        return _objects(value[0]) if value else []
    if not isinstance(value, dict):
        return []
    return [value, *(each for key, item in value.items() if key != "categories" for each in _objects(item))]


def test_the_workers_of_a_catalogue_are_read_as_they_were_written() -> None:
    assert codec.decode_workers(codec.encode_workers(DECLARED.workers)) == DECLARED.workers
    earlier = '[{"name": "w1", "sync_windows": [["22:00-06:00"], [], true]}]'
    assert codec.decode_workers(earlier)["w1"].sync_windows == SyncWindows(("22:00-06:00",), (), True)


def _problems(described: Any, schema: Any, value: Any) -> list[str]:
    whole = {"$id": "https://skipjack.invalid/openapi", **described, **_pointed(schema)}
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(whole).iter_errors(value)]


def _pointed(schema: Any) -> Any:
    assert set(schema) <= {"$ref", "type"}
    return schema


def with_webhook(folder: Path) -> ManagerSettings:
    """Return settings with which there is every route."""
    (folder / "webhook").write_text(SECRET)
    return ManagerSettings(state_dir=str(folder), webhook=Webhook(Secret(file=str(folder / "webhook"))))


def test_every_route_of_the_application_is_described_and_no_other(store: Store, tmp_path: Path) -> None:
    settings = with_webhook(tmp_path)
    ingest, topics = Ingest(store, lambda: None), Topics()
    gate = Gate(settings.limits)
    application = routes.application(store, ingest, settings, topics, DeniedAttempts(store), gate).application
    served = {
        (method.lower(), route.path)  # type: ignore[attr-defined]
        for route in application.routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    access = Access(store, settings)
    rows = routes.endpoints(store, ingest, settings, topics, access, ReportsApi(access, ingest, store), gate)
    paths = openapi.document(rows)["paths"]
    assert served == {(method, path) for path, item in paths.items() for method in item}


def test_the_openapi_document_is_valid(store: Store, tmp_path: Path) -> None:
    settings = with_webhook(tmp_path)
    ingest, access = Ingest(store, lambda: None), Access(store, settings)
    reports = ReportsApi(access, ingest, store)
    described = openapi.document(
        routes.endpoints(store, ingest, settings, Topics(), access, reports, Gate(settings.limits))
    )
    parts = described["components"]["schemas"]
    for name, part in parts.items():
        Draft202012Validator.check_schema(part)
        for pointer in _pointers(part):
            assert pointer.removeprefix("#/components/schemas/") in parts, f"{name} refers to {pointer}"
    used = {pointer.rpartition("/")[2] for pointer in _pointers(described)}
    assert set(parts) - used <= {"api"}, "described, and never answered"
    with pytest.raises(ValueError, match="does not refer to a definition"):
        openapi._moved({"$ref": "elsewhere.json"}, "api")


def _pointers(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from _pointers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _pointers(item)
