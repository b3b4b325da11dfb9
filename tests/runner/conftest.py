"""What the tests of the worker are given."""

from pathlib import Path

import pytest

from .importing import Bench


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A folder to import in, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path, capsys)
