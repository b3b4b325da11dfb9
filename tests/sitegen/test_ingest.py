"""The writer thread over a real store, without HTTP."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection

from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import AcceptedDeliveries, AuditEntry, Delivery, DeliveryAcknowledgement
from sitegen.messages.tunasync_rules import Message
from sitegen.storage import tables, tunasync_posts, tunasync_store
from sitegen.storage.store import Store, StoreError
from sitegen.storage.tunasync_posts import BatchOutcome, Post
from sitegen.web.ingest import Ingest
from sitegen.web.pending_reports import NotKept
from tests.sitegen.kit import NOW, PATIENCE, delivery_of, report_of, status_of

BY = AuditEntry(NOW, "tunasync", "", "", "tests", {})


def deliveries(count: int) -> list[Delivery]:
    return [delivery_of(report_of(1, status_of(f"m{number}")), worker=f"w{number}") for number in range(count)]


def keep_all(ingest: Ingest, items: Sequence[Delivery]) -> list[Any]:
    async def main() -> list[Any]:
        return await asyncio.gather(*(ingest.keep(item) for item in items), return_exceptions=True)

    return asyncio.run(main())


def test_many_deliveries_share_a_commit(store: Store) -> None:
    wakeups: list[int] = []
    with Ingest(store, lambda: wakeups.append(1)) as ingest:
        answers = keep_all(ingest, deliveries(200))
    assert [answer.acknowledged for answer in answers] == [1] * 200
    assert ingest.deliveries == 200
    assert ingest.commits <= 10
    assert len(wakeups) == ingest.commits
    assert len(store.facts().statuses) == 200


def test_a_delivery_that_fails_does_not_affect_the_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real, gate = store.apply, threading.Event()

    def apply(batch: Sequence[Delivery]) -> AcceptedDeliveries:
        gate.wait(PATIENCE)
        if any(item.envelope.worker == "w3" for item in batch):
            raise ValueError("poison")
        return real(batch)

    monkeypatch.setattr(store, "apply", apply)
    with Ingest(store, lambda: None) as ingest:
        threading.Timer(0.1, gate.set).start()
        answers = keep_all(ingest, deliveries(8))
    assert [isinstance(answer, NotKept) for answer in answers] == [number == 3 for number in range(8)]
    assert len(store.facts().statuses) == 7


def test_a_failing_database_acknowledges_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(_batch: Sequence[Delivery]) -> AcceptedDeliveries:
        raise StoreError("The disk is full.")

    with Ingest(store, lambda: None) as ingest:
        with monkeypatch.context() as broken:
            broken.setattr(store, "apply", apply)
            assert all(isinstance(answer, NotKept) for answer in keep_all(ingest, deliveries(5)))
        assert keep_all(ingest, deliveries(1))[0].acknowledged == 1
    assert (ingest.commits, ingest.deliveries) == (1, 1)


def test_a_worker_that_hung_up_does_not_disturb(store: Store) -> None:
    async def main(ingest: Ingest) -> Any:
        waiting = asyncio.ensure_future(ingest.keep(deliveries(1)[0]))
        await asyncio.sleep(0)
        waiting.cancel()
        return await ingest.keep(deliveries(2)[1])

    with Ingest(store, lambda: None) as ingest:
        assert asyncio.run(main(ingest)).acknowledged == 1
    assert len(store.facts().statuses) == 2


def post_of(worker: str, status: str = "pre-syncing") -> Post:
    return Post(worker, "debian", Message({"name": "debian", "status": status}), 10**18)


def post_all(ingest: Ingest, posts: Sequence[Post], items: Sequence[Delivery] = ()) -> list[Any]:
    async def main() -> list[Any]:
        waiting: list[Any] = [*map(ingest.post, posts), *map(ingest.keep, items)]
        found: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
        return found

    return asyncio.run(main())


def go_workers(store: Store, count: int) -> list[str]:
    names = [f"go{number}" for number in range(count)]
    for name in names:
        store.write(tunasync_store.register, name, "http://go/", 10**18)
    return names


def test_statuses_of_many_workers_of_tunasync_share_a_commit_with_reports(store: Store) -> None:
    names, wakeups = go_workers(store, 32), list[int]()
    before = store.commits
    with Ingest(store, lambda: wakeups.append(1)) as ingest:
        answers = post_all(ingest, [post_of(name) for name in [*names, "nobody"]], deliveries(20))
    assert [answer["worker"] for answer in answers[:32]] == names
    assert isinstance(answers[32], RejectedRequest)
    assert answers[33:] == [DeliveryAcknowledgement(1, False)] * 20
    assert store.commits - before == ingest.commits <= 3
    assert len(wakeups) == ingest.commits


def test_a_status_that_cannot_be_stored_does_not_affect_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, real = go_workers(store, 4), tunasync_posts.apply_in

    def apply(tx: Connection, items: Sequence[Delivery], posts: Sequence[Post]) -> BatchOutcome:
        if any(post.worker == "go2" for post in posts):
            raise ValueError("poison")
        return real(tx, items, posts)

    monkeypatch.setattr(tunasync_posts, "apply_in", apply)
    with Ingest(store, lambda: None) as ingest:
        answers = post_all(ingest, [post_of(name) for name in names], deliveries(1))
    assert [isinstance(answer, NotKept) for answer in answers] == [False, False, True, False, False]
    assert [job["worker"] for job in tunasync_store.jobs(store)] == ["go0", "go1", "go3"]


def test_a_failing_database_answers_no_status(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(_tx: Connection, _items: Sequence[Delivery], _posts: Sequence[Post]) -> BatchOutcome:
        raise StoreError("The disk is full.")

    names = go_workers(store, 2)
    monkeypatch.setattr(tunasync_posts, "apply_in", apply)
    with Ingest(store, lambda: None) as ingest:
        assert all(isinstance(answer, NotKept) for answer in post_all(ingest, [post_of(name) for name in names]))
    assert tunasync_store.jobs(store) == []


def test_changes_of_many_workers_share_a_commit_with_statuses_in_their_order(store: Store) -> None:
    names, wakeups = [f"go{number}" for number in range(16)], list[int]()

    async def main(ingest: Ingest) -> list[Any]:
        waiting: list[Any] = [ingest.keep(each) for each in deliveries(4)]
        for name in names:  # what comes first makes what follows possible
            waiting.append(ingest.change(name, tunasync_store.register, name, f"http://{name}/", 10**18))
            waiting.append(ingest.post(post_of(name)))
            waiting.append(ingest.change(name, tunasync_store.alter, name, "debian", {"size": "3T"}, 10**18))
            times = {"debian": "2030-01-01T00:00:00Z"}
            waiting.append(ingest.change(name, tunasync_store.schedule, name, times, 10**18))
        waiting.append(ingest.change("go0", tunasync_store.forget, "go0", BY))
        waiting.append(ingest.change("go0", tunasync_store.forget, "go0", BY))
        waiting.append(ingest.post(post_of("go1", "disabled")))
        waiting.append(ingest.change("", tunasync_store.flush, BY))
        return await asyncio.gather(*waiting, return_exceptions=True)

    before = store.commits
    with Ingest(store, lambda: wakeups.append(1)) as ingest:
        answers = asyncio.run(main(ingest))
    assert store.commits - before == ingest.commits <= 3
    assert len(wakeups) == ingest.commits
    assert answers[:4] == [DeliveryAcknowledgement(1, False)] * 4
    assert [answer["size"] for answer in answers[6:-4:4]] == ["3T"] * 16
    assert answers[-4] is None
    assert isinstance(answers[-3], RejectedRequest)
    jobs = tunasync_store.jobs(store)
    assert [job["worker"] for job in jobs] == sorted(names[2:])
    assert {job["next_schedule"] for job in jobs} == {"2030-01-01T00:00:00Z"}


def test_a_failed_change_is_rolled_back_and_does_not_affect_the_others(store: Store) -> None:
    go_workers(store, 2)

    def failing(tx: Connection) -> None:
        tunasync_store.forget(tx, "go1", BY)
        raise ValueError("poison")

    async def main(ingest: Ingest) -> list[Any]:
        waiting: list[Any] = [ingest.post(post_of("go0")), ingest.change("go1", failing)]
        waiting += [ingest.post(post_of("go1"))]
        return await asyncio.gather(*waiting, return_exceptions=True)

    with Ingest(store, lambda: None) as ingest:
        answers = asyncio.run(main(ingest))
    assert [type(answer) for answer in answers] == [dict, NotKept, dict]
    assert [job["worker"] for job in tunasync_store.jobs(store)] == ["go0", "go1"]


REFUSED: dict[str, tuple[Any, ...]] = {
    "a worker of ours": (tunasync_store.register, "ours", "http://x/", 10**18),
    "a size of nobody": (tunasync_store.alter, "nobody", "debian", {"size": "1T"}, 10**18, BY),
    "a size of ours": (tunasync_store.alter, "ours", "debian", {"size": "1T"}, 10**18, BY),
    "a size of no mirror": (tunasync_store.alter, "go0", "nosuch", {"size": "1T"}, 10**18, BY),
    "a schedule of nobody": (tunasync_store.schedule, "nobody", {}, 10**18),
    "a schedule of ours": (tunasync_store.schedule, "ours", {"debian": "2030-01-01T00:00:00Z"}, 10**18),
    "nobody": (tunasync_store.forget, "nobody", BY),
    "a damaged job": (tunasync_store.alter, "go0", "bad", {"size": "1T"}, 10**18, BY),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_a_rejected_change_has_written_nothing(store: Store, change: tuple[Any, ...]) -> None:
    go_workers(store, 1)
    store.apply([delivery_of(report_of(1, status_of("debian")), worker="ours")])
    with store.transaction(writing=True) as tx:
        tx.exec_driver_sql("INSERT INTO tunasync_jobs VALUES ('go0', 'bad', '{')")

    work, worker, *arguments = change

    async def main(ingest: Ingest) -> list[Any]:
        waiting: list[Any] = [ingest.change(worker, work, worker, *arguments), ingest.keep(deliveries(1)[0])]
        return await asyncio.gather(*waiting, return_exceptions=True)

    before = rows_of(store)
    with store.transaction(writing=True) as tx, pytest.raises((RejectedRequest, StoreError)):
        work(tx, worker, *arguments)
    assert rows_of(store) == before, "a batch with it is still committed"
    with Ingest(store, lambda: None) as ingest:
        refusal, answer = asyncio.run(main(ingest))
    assert (isinstance(refusal, RejectedRequest | StoreError), answer, ingest.commits) == (
        True,
        DeliveryAcknowledgement(1, False),
        1,
    )


def rows_of(store: Store) -> list[Any]:
    with store.transaction() as tx:
        return [sorted(map(repr, tx.execute(table.select()))) for table in tables.metadata.sorted_tables]


def test_a_change_that_affects_no_page_sends_no_wakeup(store: Store) -> None:
    go_workers(store, 1)
    wakeups: list[int] = []
    with Ingest(store, lambda: wakeups.append(1)) as ingest:
        asyncio.run(ingest.change("go0", tunasync_store.schedule, "go0", {}, 10**18 + 1))
    assert (ingest.commits, wakeups) == (1, [])
