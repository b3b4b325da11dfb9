"""Real git repositories for the tests that follow one."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.records import Repository


class Origin:
    """A git repository to follow, and the checkout that follows it."""

    def __init__(self, folder: Path, begun: Path | None = None) -> None:
        """Create one, or copy the work tree `begun`."""
        self.work = folder / "origin"
        self.checkout = folder / "checkout"
        if begun is not None:
            shutil.copytree(begun, self.work)
        else:
            self.git("init", "--quiet", "--initial-branch=main", str(self.work), inside=False)

    @property
    def record(self) -> Repository:
        """The settings to follow it."""
        return Repository(self.work.as_uri(), timeout=300)

    def git(self, *words: str, inside: bool = True) -> str:
        """Run git without settings of a user."""
        who = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        place = ["-C", str(self.work)] if inside else []
        return subprocess.run(["git", *place, *who, *words], check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, files: dict[str, str | bytes] | None = None) -> str:
        """Write the files, commit everything, and return the commit."""
        for name, content in (files or {}).items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "A change")
        return self.git("rev-parse", "HEAD")


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work tree of a repository that each test gets a copy of: to make it takes git four processes."""
    made = Origin(tmp_path_factory.mktemp("origin"))
    made.commit({"debian.yml": "retry: 1\n"})
    return made.work


@pytest.fixture
def origin(tmp_path: Path, begun: Path) -> Origin:
    """A repository of one commit with one file."""
    return Origin(tmp_path, begun)


@pytest.fixture
def deaf() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def dead_port() -> int:
    """A port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
