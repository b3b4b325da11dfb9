"""Named pipes in the place of files: every command rejects them at once, and none waits for a writer."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.parts import BIN, PATIENCE, ConfigRepository, Manager, Worker, free_port

DEFINITION = "provider: command\nupstream: https://x.example/\ncommand: /bin/true\n"


def ended(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command, which must not hang."""
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)


def pipe(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@pytest.fixture
def worker(repository: ConfigRepository, tmp_path: Path) -> Worker:
    repository.commit({"a.yml": DEFINITION}, "Add a")
    worker = Worker(tmp_path / "w", "w1", repository.url)
    worker.command("follow")
    return worker


@pytest.mark.parametrize("name", ["runner.yml", "policy.yml"])
def test_settings_and_the_policy_are_regular_files(worker: Worker, name: str) -> None:
    path = pipe(worker.folder / name)
    done = ended(worker.words("follow"))
    assert done.returncode == 1
    assert f"{path}: it is a named pipe" in done.stderr


@pytest.mark.parametrize("key", ["token", "ca_cert"])
def test_a_file_that_settings_name_is_a_regular_one(worker: Worker, key: str) -> None:
    token = worker.folder / "token"
    token.write_text("x" * 43)
    path = pipe(worker.folder / key)
    more = f", ca_cert: {path}" if key == "ca_cert" else ""
    with worker.settings.open("a") as file:
        file.write(f"manager: {{url: 'https://127.0.0.1:{free_port()}', token: {{file: {token}}}{more}}}\n")
    done = ended(worker.words("courier"))
    assert done.returncode == 1
    assert str(path) in done.stderr and "named pipe" in done.stderr, done.stderr


def test_a_definition_in_a_folder_that_is_checked_is_a_regular_file(repository: ConfigRepository) -> None:
    path = pipe(repository.tree / "b.yml")
    done = ended([str(BIN / "skipjack"), "validate", str(repository.tree)])
    assert done.returncode == 1
    assert f"{path}: it is a named pipe" in done.stderr


def test_a_configuration_to_import_is_a_regular_file(tmp_path: Path) -> None:
    path = pipe(tmp_path / "worker.conf")
    done = ended([str(BIN / "skipjack"), "import", "tunasync", str(path), "--into", str(tmp_path / "into")])
    assert done.returncode == 1
    assert f"{path}: it is a named pipe" in done.stderr


def test_the_managers_settings_are_a_regular_file(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "m")
    path = pipe(manager.settings)
    done = ended([str(BIN / "skipjack-manager"), "check", "--settings", str(path)])
    assert done.returncode == 1
    assert f"{path}: it is a named pipe" in done.stderr + done.stdout
