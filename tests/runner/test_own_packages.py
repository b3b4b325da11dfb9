"""Commands end with one clear line when another program's package is imported in place of `schemas`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.parts import BIN

ROOT = Path(__file__).parents[2]
ENTRY = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_path(sys.argv[2], run_name='__main__')"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A folder with a package `schemas` of another program."""
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "__init__.py").write_text("")
    return tmp_path


def failure(words: list[str], folder: Path, path: str = "") -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PYTHONPATH": path} if path else {}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


@pytest.mark.parametrize("command", ["skipjack", "skipjack-manager"])
def test_a_foreign_package_on_the_path_is_reported(other: Path, tmp_path: Path, command: str) -> None:
    said = failure([str(BIN / command), "--version"], tmp_path, str(other))

    words = f"ERROR {command}: cannot start: `{other}/schemas/__init__.py` is imported in place of Skipjack's own"
    assert said.startswith(words) and said.count("\n") == 1 and "PYTHONPATH" in said


@pytest.mark.parametrize("module", ["runner.cli", "sitegen.cli"])
def test_a_foreign_package_in_the_current_folder_is_reported(other: Path, module: str) -> None:
    said = failure([sys.executable, "-m", module, "--version"], other)
    assert f"`{other}/schemas/__init__.py` is imported in place of" in said and said.count("\n") == 1


def test_a_foreign_module_of_that_name_is_reported(tmp_path: Path) -> None:
    (tmp_path / "schemas.py").write_text("")
    said = failure([sys.executable, "-m", "runner.cli", "--version"], tmp_path)
    assert f"`{tmp_path}/schemas.py` is imported in place of" in said


def test_a_tick_names_the_foreign_package(other: Path) -> None:
    words = [sys.executable, "-I", "-S", "-c", ENTRY, str(other), str(ROOT / "runner/tick/entry.py"), str(other)]
    assert f"`{other}/schemas/__init__.py` is imported in place of" in failure(words, other)


def test_a_folder_of_that_name_without_a_module_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    words = [sys.executable, "-m", "runner.cli", "--version"]
    assert subprocess.run(words, cwd=tmp_path, capture_output=True, check=True).stdout.startswith(b"skipjack ")
