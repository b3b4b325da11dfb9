"""What the tests of the worker are given."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.journal import journal
from runner.journal.journal import Journal
from tests import prepared

from . import forecasting
from .forecasting import Proposal
from .importing import Bench
from .scripted_manager import Says, ScriptedManager, Serve


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A folder to import in, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path, capsys)


@pytest.fixture(scope="session", autouse=True)
def prepared_commands() -> Iterator[None]:
    """Let each start of one of our commands be a fork."""
    with prepared.in_use():
        yield


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The path of a journal that does not exist yet."""
    return str(tmp_path / "journal.db")


@pytest.fixture
def book(path: str) -> Iterator[Journal]:
    """An open, empty journal."""
    with journal.opened(path) as opened:
        yield opened


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[ScriptedManager] = []

    def start(says: Says) -> ScriptedManager:
        started.append(ScriptedManager(says))
        return started[-1]

    yield start
    for manager in started:
        manager.close()


@pytest.fixture(scope="session")
def proposal_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository that proposals copy."""
    return forecasting.begun(tmp_path_factory.mktemp("proposal"))


@pytest.fixture
def proposal(tmp_path: Path, proposal_base: Path, capsys: pytest.CaptureFixture[str]) -> Proposal:
    """A change of a config repository that somebody proposes."""
    return Proposal(tmp_path, proposal_base, capsys)
