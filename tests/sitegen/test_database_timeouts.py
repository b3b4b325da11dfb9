"""Queries to a database that hangs time out, and the number of waiting threads is limited."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, cast

import pytest
from starlette.requests import Request

from schemas.records import ManagerSettings
from sitegen.storage import token_store
from sitegen.storage.store import Store
from sitegen.web import db_timeout, ingest, responses
from sitegen.web.access import Access
from sitegen.web.db_timeout import NotAnswered, in_thread, read_in_thread
from sitegen.web.ingest import Ingest
from sitegen.web.pending_reports import NotKept
from sitegen.web.token_cache import TokenCache
from tests.sitegen.kit import PATIENCE, delivery_of, new_token, report_of, status_of


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db_timeout, "PATIENCE", 0.2)
    monkeypatch.setattr(db_timeout, "THREADS", 3)
    monkeypatch.setattr(ingest, "PATIENCE", 0.2)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What sets timeouts that no busy machine reaches, once nothing hangs any more."""

    def wait() -> None:
        monkeypatch.setattr(db_timeout, "PATIENCE", PATIENCE)
        monkeypatch.setattr(ingest, "PATIENCE", PATIENCE)

    return wait


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """What hangs until this is set."""
    event = threading.Event()
    yield event
    event.set()


def test_a_query_times_out_and_its_thread_is_busy_until_it_ends(
    hanging: threading.Event, late: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[int] = []

    def ask(number: int) -> None:
        begun.append(number)
        hanging.wait()

    async def main() -> None:
        asked = await asyncio.gather(*(in_thread(ask, number) for number in range(10)), return_exceptions=True)
        assert [type(answer) for answer in asked] == [NotAnswered] * 10
        for answer in asked:
            await responses.of(Request({"type": "http"}), cast(NotAnswered, answer))
        late()
        hanging.set()
        assert await in_thread(str, 1) == "1"
        assert len(begun) == 3, "the others waited for a thread; what was given up before it began is never done"

    asyncio.run(main())
    assert len([line for line in caplog.messages if "has not answered" in line]) == 3, "only those that hang are logged"


def test_reads_that_hang_leave_threads_to_workers(hanging: threading.Event, late: Callable[[], None]) -> None:
    async def main() -> None:
        late()
        reads = [asyncio.ensure_future(read_in_thread(hanging.wait)) for _ in range(10)]
        await asyncio.sleep(0)
        assert await in_thread(str, 1) == "1"
        assert not any(read.done() for read in reads)
        hanging.set()
        assert await asyncio.gather(*reads) == [True] * 10
        assert await asyncio.gather(*(read_in_thread(str, number) for number in range(9))) == list("012345678")

    asyncio.run(main())


def test_a_query_that_gets_a_thread_late_has_time_left(
    hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a long queue none would be answered otherwise, and the database would work for nobody."""
    monkeypatch.setattr(db_timeout, "PATIENCE", PATIENCE)
    monkeypatch.setattr(db_timeout, "_SHARE", 0.0001)

    async def main() -> None:
        first = [asyncio.ensure_future(in_thread(hanging.wait)) for _ in range(3)]
        await asyncio.sleep(0)  # they have the threads
        with pytest.raises(NotAnswered) as late:
            await in_thread(str, 1)
        assert not late.value.has_begun
        hanging.set()
        assert await asyncio.gather(*first) == [True] * 3

    asyncio.run(main())


def test_a_token_that_expires_from_the_cache_is_never_queried_in_the_event_loop(
    store: Store, monkeypatch: pytest.MonkeyPatch, late: Callable[[], None]
) -> None:
    late()
    asking: list[str] = []
    find = token_store.find

    def watched(*arguments: Any) -> Any:
        asking.append(threading.current_thread().name)
        return find(*arguments)

    monkeypatch.setattr(token_store, "find", watched)
    ticks = count()
    monkeypatch.setattr("sitegen.web.access.TokenCache", lambda opened: TokenCache(opened, lambda: 0.3 * next(ticks)))
    access = Access(store, ManagerSettings("", "", "", ""))
    header = b"Bearer " + new_token(store, "w1", "worker").encode()
    request = Request({"type": "http", "headers": [(b"authorization", header)]})

    async def main() -> None:
        for _ in range(100):
            assert await access.checked(access.worker, request) == "w1"

    asyncio.run(main())
    assert len(asking) > 1, "the token was forgotten again and again"
    assert all(name.startswith("database") for name in asking)


def test_an_exception_in_a_thread_is_raised_to_the_caller() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(in_thread(int, "x"))


def test_a_delivery_that_timed_out_is_skipped_unless_its_commit_has_begun(
    store: Store, late: Callable[[], None]
) -> None:
    async def main(opened: Ingest) -> None:
        sent = [delivery_of(report_of(1, status_of(f"m{number}")), worker=f"w{number}") for number in range(3)]
        with store.database.writing():  # every other writer has to wait
            refused = await asyncio.gather(*map(opened.keep, sent[:1]), return_exceptions=True)
            refused += await asyncio.gather(*map(opened.keep, sent[1:]), return_exceptions=True)
        assert [type(answer) for answer in refused] == [NotKept] * 3
        assert "it has not answered for 0.2 s. Send the report again" in str(refused[0])
        late()
        assert (await opened.keep(sent[2])).acknowledged == 1
        assert (await opened.keep(sent[0])).acknowledged == 1

    with Ingest(store, lambda: None) as opened:
        asyncio.run(main(opened))
        assert opened.deliveries == 3, "the first was committed late, and again without effect"
    assert sorted(store.facts().statuses) == [("w0", "m0"), ("w2", "m2")]
