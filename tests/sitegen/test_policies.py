"""The manager asks workers for their exported policies, keeps them from the public, and compares their digests."""

import asyncio
import json
from typing import Any

import pytest
import requests

from schemas.config import exported_policy
from schemas.config.exported_policy import ExportedPolicy
from schemas.records import Policy, Repository, RunnerSettings, Site, Worker
from sitegen.messages.model import DeclaredConfig
from sitegen.storage import policy_store, tables
from sitegen.storage.policy_store import ReportedPolicy
from sitegen.storage.store import Store
from sitegen.web.ingest import Ingest
from sitegen.web.policy_digests import ASKED_FOR, KNOWN_FOR, PolicyDigests
from tests.sitegen.kit import NOW, REVISION, Manager, envelope_of, plain

SECRET_PLACE = "/opt/only-for-operators/"


def policy(worker: str = "w1", **keys: Any) -> ExportedPolicy:
    return exported_policy.exported(RunnerSettings(worker, Repository("")), Policy(**keys), "0.1.0")


FIRST, SECOND = policy(programs=(SECRET_PLACE,)), policy(programs=())


def declared(policies: dict[str, str]) -> DeclaredConfig:
    return DeclaredConfig(REVISION, NOW, Site("Site"), {"w1": Worker("w1")}, (), (), policies)


def ask(manager: Manager, token: str, digest: str | None) -> bool:
    """Report, and return whether the manager asks for the policy."""
    answer = manager.post(envelope_of(policy=digest), token)
    assert answer.status_code == 200
    return bool(answer.json()["policy_wanted"])


def send(manager: Manager, token: str, document: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return manager.session.post(f"{manager.url}/api/v1/policies", json=document, headers=headers, timeout=300)


def test_a_policy_is_asked_for_once_it_changes(manager: Manager) -> None:
    token = manager.token()
    with manager.answering():
        assert not ask(manager, token, None)
        for each in (FIRST, SECOND):
            assert ask(manager, token, each.digest)
            answer = send(manager, token, exported_policy.as_plain(each))
            assert (answer.status_code, answer.json()) == (200, {"digest": each.digest})
            assert not ask(manager, token, each.digest)
    with manager.store() as store:
        [kept] = policy_store.reported(store)
        assert (kept.worker, kept.digest, kept.document) == ("w1", SECOND.digest, exported_policy.as_plain(SECOND))
    with manager.answering():  # another process
        assert not ask(manager, token, SECOND.digest)
        assert not ask(manager, token, None)
    with manager.store() as store:
        assert policy_store.reported(store) == [], "the worker went back to a release without policies"


def test_a_worker_of_an_earlier_release_is_not_asked(manager: Manager) -> None:
    token, old = manager.token(), plain(envelope_of())
    del old["policy"]
    with manager.answering():
        assert manager.post_bytes(json.dumps(old), token).json()["policy_wanted"] is False


@pytest.mark.parametrize(
    ("document", "status", "why"),
    [
        (exported_policy.as_plain(policy("w2")), 403, "the token is for worker w1, not for w2"),
        ({"worker": "w1"}, 422, "is missing"),
        (exported_policy.as_plain(FIRST) | {"more": 1}, 422, "Unknown key `more`"),
        ([], 422, "must contain keys and values"),
        ("x" * 100_000, 422, "must contain keys and values"),
        (exported_policy.as_plain(FIRST) | {"release": "x" * 100_000}, 422, "release"),
    ],
)
def test_an_invalid_policy_is_rejected_and_changes_nothing(
    manager: Manager, document: Any, status: int, why: str
) -> None:
    token = manager.token()
    with manager.answering():
        assert ask(manager, token, FIRST.digest)
        answer = send(manager, token, document)
        assert answer.status_code == status and why in answer.json()["error"], answer.text
        assert not ask(manager, token, FIRST.digest), "asked again at once, it would send the same"
    with manager.store() as store:
        assert policy_store.reported(store) == []


def test_only_operators_and_readers_see_a_policy(manager: Manager) -> None:
    tokens = {scope: manager.token("w1", scope) for scope in ("worker", "operator", "read")}
    with manager.store() as store:
        store.keep_catalogue(declared({"w1": FIRST.digest}), NOW)
    with manager.answering():
        manager.post(envelope_of(policy=FIRST.digest), tokens["worker"])
        send(manager, tokens["worker"], exported_policy.as_plain(FIRST))

        def answer(scope: str) -> requests.Response:
            headers = {"Authorization": f"Bearer {tokens[scope]}"} if scope else {}
            return manager.session.get(f"{manager.url}/api/v1/policies", headers=headers, timeout=300)

        assert [answer(scope).status_code for scope in ("", "worker")] == [401, 403]
        for scope in ("operator", "read"):
            [found] = answer(scope).json()["policies"]
            assert found["policy"] == exported_policy.as_plain(FIRST)
            assert (found["worker"], found["digest"], found["exported_policy"]) == ("w1", FIRST.digest, "current")
        for path in ("workers", "catalogue", "mirrors", "events", "runs"):
            assert SECRET_PLACE not in manager.session.get(f"{manager.url}/api/v1/{path}", timeout=300).text
        assert SECRET_PLACE not in manager.session.get(f"{manager.url}/metrics", timeout=300).text
    assert manager.run_here("publish", "--once").returncode == 1  # there is no repository to follow
    pages = {path.name: path.read_text() for path in manager.site.rglob("*") if path.suffix in (".html", ".json")}
    assert "workers.html" in pages and not any(SECRET_PLACE in text for text in pages.values())


@pytest.mark.parametrize(
    ("policies", "verdict", "label"),
    [
        ({"w1": FIRST.digest}, "current", "up to date"),
        ({"w1": SECOND.digest}, "outdated", "out of date"),
        ({"w1": ""}, "outdated", "out of date"),
        ({"w2": FIRST.digest}, "missing", "none"),
    ],
)
def test_pages_show_whether_the_repository_has_the_policy(
    manager: Manager, policies: dict[str, str], verdict: str, label: str
) -> None:
    with manager.store() as store:
        store.keep_catalogue(declared(policies), NOW)
        with manager.answering():
            manager.post(envelope_of(), manager.token())
            assert [each["exported_policy"] for each in manager.get("/api/v1/workers")["workers"]] == [None]
            reported = ReportedPolicy("w1", FIRST.digest, exported_policy.as_plain(FIRST), NOW)
            store.write(policy_store.keep, reported)
            assert [each["exported_policy"] for each in manager.get("/api/v1/workers")["workers"]] == [verdict]
    manager.run_here("publish", "--once")
    assert [each["exported_policy"] for each in manager.status()["workers"]] == [verdict]
    page = (manager.site / "workers.html").read_text()
    words = f'<strong class="warn">{label}</strong>' if verdict == "outdated" else label
    assert f"<dt>Exported policy</dt><dd>{words}</dd>" in page


def test_a_worker_that_was_forgotten_is_asked_again_within_an_hour(store: Store) -> None:
    now = [0.0]

    async def script() -> None:
        digests = PolicyDigests(store, ingest, lambda: now[0])
        store.write(policy_store.keep, ReportedPolicy("w1", FIRST.digest, {}, NOW))
        assert not await digests.wanted("w1", FIRST.digest)
        store.write(policy_store.remove, "w1")
        now[0] += KNOWN_FOR - 1
        assert not await digests.wanted("w1", FIRST.digest)
        now[0] += 1
        assert await digests.wanted("w1", FIRST.digest)
        assert not await digests.wanted("w1", FIRST.digest)
        assert await digests.wanted("w1", SECOND.digest), "a policy that changed again"
        now[0] += ASKED_FOR
        assert await digests.wanted("w1", SECOND.digest)

    with Ingest(store, lambda: None) as ingest:
        asyncio.run(script())


def test_reports_ask_the_database_about_policies_only_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    digest = policy_store.digest

    def counted(store: Store, worker: str) -> str | None:
        asked.append(worker)
        return digest(store, worker)

    monkeypatch.setattr(policy_store, "digest", counted)

    async def script() -> None:
        digests = PolicyDigests(store, ingest)
        store.write(policy_store.keep, ReportedPolicy("w1", FIRST.digest, {}, NOW))
        commits = store.commits
        for _report in range(100):
            assert not await digests.wanted("w1", FIRST.digest)
            assert not await digests.wanted("w2", None)
        assert store.commits == commits

    with Ingest(store, lambda: None) as ingest:
        asyncio.run(script())
    assert sorted(asked) == ["w1", "w2"]


def test_a_damaged_policy_is_reported_and_hides_no_other(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    for worker in ("w1", "w2"):
        store.write(policy_store.keep, ReportedPolicy(worker, FIRST.digest, {}, NOW))
    with store.transaction(writing=True) as tx:
        tx.execute(tables.policies.update().where(tables.policies.c.worker == "w1").values(document="[]"))
    assert [each.worker for each in policy_store.reported(store)] == ["w2"]
    assert "policies w1: `document` cannot be read" in caplog.text
