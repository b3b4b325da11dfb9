"""The next-wake cache must never show that a tick is idle if it is not."""

import os
from pathlib import Path

import pytest

from runner.base import next_wake


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    for name in ("plan", "journal"):
        (tmp_path / name).write_text(name)
    return tuple(str(tmp_path / name) for name in ("plan", "journal", "wal"))


def test_the_cache_holds_until_its_time_and_names_the_runs_to_watch(files: tuple[str, ...], tmp_path: Path) -> None:
    path, (current, _newest) = str(tmp_path / "agenda"), next_wake.stamp(files)
    next_wake.write(path, current, 100.0, 200.0, ["debian", "ubuntu"])

    assert next_wake.read(path, current, 100.0) == ["debian", "ubuntu"]
    assert next_wake.read(path, current, 199.9) == ["debian", "ubuntu"]
    assert next_wake.read(path, current, 200.0) is None


def test_a_clock_that_was_set_back_invalidates_the_cache(files: tuple[str, ...], tmp_path: Path) -> None:
    path, (current, _newest) = str(tmp_path / "agenda"), next_wake.stamp(files)
    next_wake.write(path, current, 100.0, 200.0, [])

    assert next_wake.read(path, current, 99.0) is None


@pytest.mark.parametrize("change", ["grow", "replace", "appear", "touch"])
def test_any_change_of_a_watched_file_invalidates_the_cache(
    files: tuple[str, ...], tmp_path: Path, change: str
) -> None:
    path, (before, _newest) = str(tmp_path / "agenda"), next_wake.stamp(files)
    next_wake.write(path, before, 100.0, 200.0, [])
    plan, journal, wal = map(Path, files)
    if change == "grow":
        journal.write_text("more than before")
    elif change == "replace":
        (tmp_path / "new").write_text("plan")
        (tmp_path / "new").rename(plan)
    elif change == "appear":
        wal.touch()
    else:
        os.utime(plan, (1, 1))

    assert next_wake.read(path, next_wake.stamp(files)[0], 150.0) is None


@pytest.mark.parametrize("text", ["", "skipjack-agenda-1", "skipjack-agenda-1\nx\n1.0", "other\nx\n1.0 2.0", "\0"])
def test_a_torn_or_foreign_cache_is_ignored(tmp_path: Path, text: str) -> None:
    path = tmp_path / "agenda"
    path.write_text(text)

    assert next_wake.read(str(path), "x", 1.5) is None


def test_a_missing_cache_is_not_an_error(tmp_path: Path) -> None:
    assert next_wake.read(str(tmp_path / "none"), "x", 1.5) is None
