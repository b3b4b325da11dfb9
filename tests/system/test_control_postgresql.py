"""Commands and tunasync's workers on a real PostgreSQL that two managers share."""

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sitegen.go_worker import Go
from tests.sitegen.kit import PATIENCE, Manager
from tests.sitegen.test_api_commands import Site
from tests.system.postgresql import Server, Sharing


@pytest.fixture
def managers(tmp_path: Path, server: Server) -> Iterator[tuple[Manager, Manager]]:
    address = server.database("skipjack")
    writers = {"writes_from": ["127.0.0.1"]}
    made = [Sharing(tmp_path / name, address, tunasync=writers) for name in ("one", "two")]
    with made[0].serving(), made[1].serving():
        yield made[0], made[1]
    for manager in made:
        manager.session.close()


def test_a_command_that_one_manager_takes_reaches_a_worker_that_asks_the_other(
    managers: tuple[Manager, Manager],
) -> None:
    site = Site(managers[0])
    site.begin()
    headers = {"Authorization": f"Bearer {site.workers['w1']}"}

    def held() -> object:
        url = f"{managers[1].url}/api/v1/commands?worker=w1&wait=60"
        return managers[1].session.get(url, headers=headers, timeout=300).json()["commands"][0]["kind"]

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(held)
        site.give("ping", worker="w1")
        assert answer.result(PATIENCE) == "ping"


def test_a_webhook_at_one_manager_wakes_a_worker_that_asks_the_other(tmp_path: Path, server: Server) -> None:
    address, secret = server.database("skipjack"), tmp_path / "secret"
    secret.write_text("a-secret")
    webhook = {"secret": {"file": str(secret)}}
    one, other = (Sharing(tmp_path / name, address, webhook=webhook) for name in ("one", "other"))
    headers = {"Authorization": f"Bearer {one.token()}"}

    def fetch(query: str) -> Any:
        return other.session.get(f"{other.url}/api/v1/commands?{query}", headers=headers, timeout=300).json()

    with one.serving(), other.serving(), concurrent.futures.ThreadPoolExecutor(1) as pool:
        known = fetch("wake=0")["wake"]
        held = pool.submit(fetch, f"wake={known}&wait=60")
        woken = one.session.post(f"{one.url}/api/v1/webhook", headers={"X-Gitlab-Token": "a-secret"}, timeout=300)
        assert woken.json() == {"wake": known + 1}
        assert held.result(PATIENCE)["wake"] == known + 1
    for manager in (one, other):
        manager.session.close()


def test_two_managers_number_commands_without_gaps(managers: tuple[Manager, Manager]) -> None:
    site, other = Site(managers[0]), Site(managers[1])
    site.begin()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: each.give("ping", worker="w1"), [site, other] * 20))
    assert {answer.status_code for answer in answers} == {202}
    assert [each["number"] for each in site.fetch()["commands"]] == list(range(1, 41))
    assert site.fetch(after=40) == {"commands": [], "newest": 40}
    assert site.finish((1, "done", ""), (2, "refused", "no")) == {"taken": 2}
    assert site.call("GET", "overrides", site.reader).json() == {"overrides": []}
    assert len(site.call("GET", "runs?limit=1", site.reader).json()["runs"]) == 1


def test_a_worker_of_tunasync_is_the_same_at_either(managers: tuple[Manager, Manager]) -> None:
    go = Go(managers[0])
    go.register()
    go.status("pre-syncing")
    go.status("success", size="1.23T")
    go.status("disabled", "arch")
    assert go.jobs() == Go(managers[1]).jobs()
    assert go.send("DELETE", "/jobs/disabled") == (200, {"message": "flushed"})
    assert [job["name"] for job in managers[1].get("/jobs")] == ["debian"]
    assert go.send("DELETE", "/workers/w1") == (200, {"message": "deleted"})
    assert managers[1].get("/workers") == []
