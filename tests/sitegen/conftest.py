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
    """Let each start of one of our commands be a fork."""
    with prepared.in_use():
        yield
