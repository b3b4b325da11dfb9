"""Real parts for each test, below its own temporary folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import prepared
from tests.e2e.fake_manager import FakeManager
from tests.e2e.gate import Gate
from tests.e2e.parts import ConfigRepository, Manager, RsyncDaemon, Worker, wait_until
from tests.e2e.plugin_parts import Environment, GitDaemon, copied_example, push
from tests.e2e.recorder import Recorder
from tests.shared import made_once


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the upstream serves: files, folders, a link, awkward names."""
    root = tmp_path / "upstream-files"
    for number in range(40):
        folder = root / f"folder-{number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {number} ünï.txt").write_bytes(bytes([number]) * (number * 100))
    (root / "latest").symlink_to("folder-0")
    return root


@pytest.fixture
def upstream(tmp_path: Path, tree: Path) -> Iterator[RsyncDaemon]:
    """A running rsync daemon with the module `files`, and `secret` for a user with a password."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    secrets = folder / "secrets"
    secrets.write_text("mirror:open sesame\n")
    secrets.chmod(0o600)
    options = f"secrets file = {secrets}"
    with RsyncDaemon(folder, {"files": tree}, options) as daemon:
        yield daemon


@pytest.fixture
def recorder(upstream: RsyncDaemon) -> Iterator[Recorder]:
    """A proxy in front of the daemon."""
    recorder = Recorder(upstream.port)
    yield recorder
    recorder.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """What lets runs end; it opens when the test is over."""
    gate = Gate(tmp_path)
    yield gate
    gate.open.touch()


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a config repository that each test gets a copy of: to make it takes git ten processes."""
    files = {
        "_site.yml": "title: Test Mirrors\ncategories: {os: Operating systems}\n",
        "_workers.yml": "workers:\n  w1: {slots: 2}\n",
        "_defaults.yml": "worker: w1\nprovider: rsync\ninterval: 1h\nretry: 1\njitter: 0s\nretry_delay: 0s\n",
    }
    folder = tmp_path_factory.mktemp("repository")
    ConfigRepository(folder).commit(files, "Begin")
    return folder


@pytest.fixture
def repository(tmp_path: Path, begun: Path) -> ConfigRepository:
    """A config repository with a site, a worker `w1` of two slots, and no mirror yet."""
    return ConfigRepository(tmp_path, begun)


@pytest.fixture
def manager(tmp_path: Path, repository: ConfigRepository) -> Iterator[Manager]:
    """A running manager whose pages show the first revision of the repository.

    Before that it would show each reported mirror without its definition, for example without its title.
    """
    with Manager(tmp_path / "m", repository.url) as manager:
        wait_until(lambda: (manager.published() or {}).get("revision"), "the manager has the first revision")
        yield manager


@pytest.fixture
def worker(tmp_path: Path, repository: ConfigRepository) -> Worker:
    """A worker without a manager."""
    return Worker(tmp_path / "w", "w1", repository.url)


@pytest.fixture
def reporter(tmp_path: Path, repository: ConfigRepository, manager: Manager) -> Worker:
    """A worker that reports to the manager."""
    return Worker(tmp_path / "w", "w1", repository.url, manager)


@pytest.fixture
def fake() -> Iterator[FakeManager]:
    """A manager that answers as a test says, and records what it gets."""
    with FakeManager() as fake:
        yield fake


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the example plug-in, which no test changes; pip takes seconds to install it."""

    def make(folder: Path) -> None:
        Environment(folder / "venv").install(copied_example(folder))

    return Environment(made_once(tmp_path_factory, "example", make) / "venv")


@pytest.fixture
def source(tmp_path: Path) -> Iterator[GitDaemon]:
    """A running git server with the repository `project`: two commits on its default branch, and a tag."""
    with GitDaemon(tmp_path / "source") as daemon:
        daemon.create("project")
        push(daemon, "project", "one")
        push(daemon, "project", "two", tag="v1")
        yield daemon


@pytest.fixture(scope="session", autouse=True)
def prepared_commands() -> Iterator[None]:
    """Let each start of one of our commands be a fork, and each publisher of a manager."""
    with prepared.in_use(publisher=True):
        yield
