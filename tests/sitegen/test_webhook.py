"""Webhooks of forges: signed ones wake everybody who follows the repository, others change nothing."""

import asyncio
import concurrent.futures
import hashlib
import hmac
import json
import threading
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from schemas.records import ManagerSettings, Repository
from sitegen import follow
from sitegen.follow import Follower
from sitegen.messages.commands import CommandRequest
from sitegen.messages.model import AuditEntry
from sitegen.storage import command_store, wake_store
from sitegen.storage.store import Store
from sitegen.web import api_webhook, webhook_signature
from sitegen.web.access import Access
from sitegen.web.api_webhook import WebhookApi
from sitegen.web.command_news import NewestNumbers, News
from tests.sitegen.kit import NOW, PATIENCE, Manager, envelope_of, report_of, status_of, wait_for
from tests.sitegen.test_follow import GOOD, Origin, names

SECRET = "a-secret-of-the-forge"
PING = CommandRequest("ping", (), False, None)
PUSH = b'{"ref": "refs/heads/main", "forced": false}'
FIRST = 1
"""The wake number before any webhook."""


def digest(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


GENUINE = {
    "GitHub": {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={digest(PUSH)}"},
    "GitLab": {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": SECRET},
    "Gitea": {"X-Gitea-Event": "push", "X-Gitea-Signature": digest(PUSH)},
    "Forgejo": {"X-Forgejo-Event": "push", "X-Forgejo-Signature": digest(PUSH), "X-Gitea-Signature": digest(PUSH)},
}
FORGED = {
    "other body": {"X-Hub-Signature-256": f"sha256={digest(PUSH + b' ')}"},
    "other secret": {"X-Gitea-Signature": digest(PUSH, "guess")},
    "sha1": {"X-Hub-Signature-256": f"sha1={hmac.new(SECRET.encode(), PUSH, 'sha1').hexdigest()}"},
    "empty": {"X-Hub-Signature-256": "", "X-Gitlab-Token": ""},
    "no hex": {"X-Forgejo-Signature": "\xff\xfe" * 32},
    "beginning of the secret": {"X-Gitlab-Token": SECRET[:-1]},
    "secret as signature": {"X-Hub-Signature-256": f"sha256={SECRET}"},
}


def made(folder: Path, **settings: Any) -> Manager:
    secret = folder / "secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    return Manager(folder, webhook={"secret": {"file": str(secret)}}, **settings)


@pytest.fixture
def hooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """A running manager that accepts webhooks, of which the next one need not wait."""
    monkeypatch.setattr(api_webhook, "EVERY", 0.0)
    manager = made(tmp_path)
    with manager.answering():
        yield manager
    manager.session.close()


def post(manager: Manager, headers: Mapping[str, str], body: bytes = PUSH) -> requests.Response:
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    return requests.post(f"{manager.url}/api/v1/webhook", data=body, headers=sent, timeout=300)


def fetch(manager: Manager, token: str, query: str) -> Any:
    url = f"{manager.url}/api/v1/commands?{query}"
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=300)
    assert answer.status_code == 200, answer.text
    return answer.json()


def number(manager: Manager) -> int:
    with manager.store() as store:
        return wake_store.read(store)


def test_the_webhook_of_each_forge_wakes_and_a_repeated_one_only_wakes_again(hooked: Manager) -> None:
    for place, headers in enumerate(GENUINE.values()):
        answer = post(hooked, headers)
        assert (answer.status_code, answer.json()) == (200, {"wake": FIRST + place + 1})
    assert post(hooked, GENUINE["GitHub"]).json() == {"wake": FIRST + len(GENUINE) + 1}
    junk = b"payload=%7B" + b"\xff\x00" * 1000
    assert post(hooked, {"X-Gitlab-Token": SECRET}, junk).status_code == 200, "the content is not read"
    hello = {"X-GitHub-Event": "ping", "X-Hub-Signature-256": f"sha256={digest(b'{}')}"}
    assert post(hooked, hello, b"{}").status_code == 200


def test_a_forged_webhook_gets_one_line_and_changes_nothing(hooked: Manager) -> None:
    for what, headers in FORGED.items():
        answer = post(hooked, headers)
        assert answer.status_code == 403, what
        todo = "set the webhook's secret in the forge to that of `webhook.secret`"
        assert answer.json() == {"error": f"the webhook's signature is wrong: {todo}"}
    unsigned = post(hooked, {"Authorization": f"Bearer {SECRET}"})
    assert (unsigned.status_code, "the webhook is not signed: set" in unsigned.text) == (403, True)
    assert number(hooked) == FIRST


def test_forged_webhooks_are_in_the_audit(tmp_path: Path) -> None:
    manager = made(tmp_path)
    with manager.answering():
        for headers in FORGED.values():
            post(manager, headers)
        post(manager, {})
    lines = map(json.loads, manager.run_here("audit", "--json").stdout.splitlines())
    found = {(line["action"], line["who"], line["origin"], line["details"]["attempts"]) for line in lines}
    refused = "refused POST /api/v1/webhook"
    assert found == {(refused, "-", "127.0.0.1", len(FORGED)), (refused, "-", "127.0.0.1", 1)}
    assert SECRET not in manager.run_here("audit").stdout


def test_a_large_webhook_is_rejected(tmp_path: Path) -> None:
    manager = made(tmp_path, body_limit="2KiB")
    with manager.answering():
        assert post(manager, {"X-Gitlab-Token": SECRET}, b" " * 2049).status_code == 413
        assert post(manager, {"X-Gitlab-Token": SECRET}, b" " * 2048).status_code == 200
    manager.session.close()


def test_the_body_of_a_webhook_is_not_kept() -> None:
    """Anyone can send bodies, and many at once."""
    part = bytes(64 * 1024)

    async def parts() -> AsyncIterator[bytes]:
        for _each in range(400):
            yield bytes(part)

    signed = {"x-hub-signature-256": f"sha256={digest(part * 400)}"}
    tracemalloc.start()
    try:
        assert asyncio.run(webhook_signature.is_genuine(signed, parts(), SECRET))
        assert tracemalloc.get_traced_memory()[1] < 2 * 1024**2
    finally:
        tracemalloc.stop()


def test_without_the_setting_there_is_no_route_and_no_wake_number(manager: Manager) -> None:
    with manager.answering():
        assert post(manager, GENUINE["GitLab"]).status_code == 404
        assert "wake" not in fetch(manager, manager.token(), "worker=w1&wake=0&wait=1")
        assert "/api/v1/webhook" not in manager.get("/api/v1/openapi.json")["paths"]


def test_a_missing_secret_ends_serve_with_a_reason(tmp_path: Path) -> None:
    manager = Manager(tmp_path, webhook={"secret": {"file": str(tmp_path / "none")}})
    done = manager.command("serve")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"cannot read the secret {tmp_path}/none: No such file or directory." in done.stderr


def test_the_answer_and_the_route_are_described(hooked: Manager) -> None:
    row = hooked.get("/api/v1/openapi.json")["paths"]["/api/v1/webhook"]["post"]
    assert (row["security"], "requestBody" in row) == ([{}], False)
    assert row["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("api_woken")


def test_a_webhook_answers_the_held_requests_of_all_workers_but_not_of_an_earlier_release(hooked: Manager) -> None:
    tokens = {name: hooked.token(name) for name in ("w1", "w2", "w3")}
    for name, token in tokens.items():
        hooked.post(envelope_of(report_of(1, status_of()), worker=name), token)
    known = {"commands": [], "newest": 0, "wake": FIRST}
    assert fetch(hooked, tokens["w1"], "worker=w1&wake=0&wait=60") == known, "a worker without a number gets it at once"
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        held = [
            pool.submit(fetch, hooked, tokens[name], f"worker={name}&wake={FIRST}&wait=60") for name in ("w1", "w2")
        ]
        old = pool.submit(fetch, hooked, tokens["w3"], "worker=w3&after=7&wait=60")
        with hooked.store() as store:
            wait_for(lambda: command_store.newest(store) == {"w3": 7}, "the request is under way")
            assert post(hooked, GENUINE["GitHub"]).status_code == 200
            assert [each.result(PATIENCE) for each in held] == [known | {"wake": FIRST + 1}] * 2
            assert not old.done()
            command_store.add(store, PING, {"w3": ()}, AuditEntry(NOW, "tests", "", "", "", {}))
        assert post(hooked, GENUINE["GitHub"]).status_code == 200, "which lets the request look again"
        assert [each["number"] for each in old.result(PATIENCE)["commands"]] == [8]


def test_webhooks_within_a_second_share_a_wake_up_that_comes_after_each(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_webhook, "EVERY", 0.05)
    announced: list[int] = []
    api = WebhookApi(store, Access(store, ManagerSettings()), SECRET, lambda: announced.append(wake_store.read(store)))

    async def story() -> tuple[int, list[int], int]:
        return await api._wake(), await asyncio.gather(*[api._wake() for _each in range(50)]), await api._wake()

    assert asyncio.run(story()) == (FIRST + 1, [FIRST + 2] * 50, FIRST + 3)
    assert announced == [FIRST + 1, FIRST + 2, FIRST + 3], "after the commit"


def test_a_webhook_that_could_not_be_stored_is_an_error_and_the_next_one_wakes(hooked: Manager) -> None:
    with hooked.store() as store:
        with store.transaction(writing=True) as tx:
            tx.exec_driver_sql("ALTER TABLE meta RENAME TO away")
        assert post(hooked, GENUINE["GitHub"]).status_code == 503
        with store.transaction(writing=True) as tx:
            tx.exec_driver_sql("ALTER TABLE away RENAME TO meta")
    assert post(hooked, GENUINE["GitHub"]).json() == {"wake": FIRST + 1}


def test_requests_at_another_manager_of_the_database_see_the_number(store: Store) -> None:
    before = News(command_store.fetch(store, "w1", 0, NOW), wake_store.read(store))
    assert not before.is_behind(*NewestNumbers(store).of("w1"))
    wake_store.raise_number(store)
    assert before.is_behind(*NewestNumbers(store).of("w1"))
    assert not before._replace(wake=None).is_behind(*NewestNumbers(store).of("w1")), "one without the setting"


def test_the_manager_itself_fetches_after_a_webhook(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "INTERVAL", 10**6)
    origin = Origin(tmp_path / "origin")
    followed: list[str] = []
    follower = Follower(Repository(str(origin.path)), str(tmp_path / "state"), store, has_webhook=True)
    thread = threading.Thread(target=follower.follow_forever, args=(lambda: followed.append(str(store.revision())),))
    thread.start()
    try:
        wait_for(lambda: followed, "it follows at its start")
        origin.commit({"new.yml": GOOD["arch.yml"]})
        wake_store.raise_number(store)
        wait_for(lambda: "new" in names(store), "it follows after the webhook")
    finally:
        follower.end()
        thread.join()
    assert followed[-1] == origin.head()
