"""All that the tests of the store prove on SQLite holds on a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sitegen.store import Store
from tests.sitegen.store_cases import *  # noqa: F403 - their tests are ours, on another store
from tests.system.postgresql import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def store(server: Server, tmp_path: Path) -> Iterator[Store]:
    with Store(str(tmp_path), server.database("skipjack")) as opened:
        yield opened
