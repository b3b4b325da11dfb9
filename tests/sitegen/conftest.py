from collections.abc import Iterator
from pathlib import Path

import pytest

from sitegen.storage.store import Store
from tests import prepared
from tests.sitegen.kit import Manager


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(str(tmp_path / "state")) as opened:
        yield opened


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.session.close()


@pytest.fixture(scope="session", autouse=True)
def prepared_commands() -> Iterator[None]:
    """Start each command by a fork of a prepared process."""
    with prepared.in_use():
        yield
