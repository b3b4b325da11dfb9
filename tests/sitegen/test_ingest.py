"""The writer thread over a real store, without HTTP."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from sitegen.messages.model import Delivery, Kept
from sitegen.storage.store import Store, StoreError
from sitegen.web.ingest import Ingest
from sitegen.web.waiting import NotKept
from tests.sitegen.kit import PATIENCE, delivery_of, report_of, status_of


def deliveries(count: int) -> list[Delivery]:
    return [delivery_of(report_of(1, status_of(f"m{number}")), worker=f"w{number}") for number in range(count)]


def keep_all(ingest: Ingest, items: Sequence[Delivery]) -> list[Any]:
    async def main() -> list[Any]:
        return await asyncio.gather(*(ingest.keep(item) for item in items), return_exceptions=True)

    return asyncio.run(main())


def test_many_deliveries_share_a_commit(store: Store) -> None:
    pokes: list[int] = []
    with Ingest(store, lambda: pokes.append(1)) as ingest:
        answers = keep_all(ingest, deliveries(200))
    assert [answer.acknowledged for answer in answers] == [1] * 200
    assert ingest.deliveries == 200
    assert ingest.commits <= 10
    assert len(pokes) == ingest.commits
    assert len(store.facts().statuses) == 200


def test_one_poisoned_delivery_does_not_spoil_its_neighbours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real, gate = store.apply, threading.Event()

    def apply(batch: Sequence[Delivery]) -> Kept:
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
    def apply(_batch: Sequence[Delivery]) -> Kept:
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
