import errno
import os
import tempfile
from pathlib import Path

import pytest

from runner import error_boundary
from schemas.bug_reports import KEPT, LARGEST, keep
from schemas.error_boundary import BUG
from sitegen import boundary as managers


def names(folder: Path, name: str = "skipjack-bug") -> list[str]:
    return sorted(path.name for path in folder.glob(f"{name}-*"))


def test_a_bug_that_comes_again_and_again_leaves_a_few_files(tmp_path: Path) -> None:
    (tmp_path / "skipjack-bug-notes").mkdir()
    (tmp_path / "skipjack-manager-bug-1.txt").touch()
    for number in range(KEPT + 15):
        path = keep(f"bug {number}", "skipjack-bug", [str(tmp_path)])
        assert path is not None
        os.utime(path, (number, number))

    kept = sorted(path.read_text() for path in tmp_path.glob("skipjack-bug-*.txt"))
    assert kept == sorted(f"bug {number}" for number in range(15, 15 + KEPT))
    assert (tmp_path / "skipjack-bug-notes").exists() and (tmp_path / "skipjack-manager-bug-1.txt").exists()


def test_files_of_earlier_releases_are_counted(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"skipjack-bug-17{number:08}-7.txt").touch()
        os.utime(tmp_path / f"skipjack-bug-17{number:08}-7.txt", (number, number))
    keep("new", "skipjack-bug", [str(tmp_path)])
    assert len(names(tmp_path)) == KEPT
    assert names(tmp_path)[-2:] != names(tmp_path)[:2]
    assert any(path.read_text() == "new" for path in tmp_path.iterdir())


def test_a_long_report_keeps_both_ends(tmp_path: Path) -> None:
    path = keep("first line\n" + "\N{PILE OF POO}" * LARGEST + "\nlast line", "skipjack-bug", [str(tmp_path)])
    assert path is not None
    written = Path(path).read_bytes()
    assert len(written) <= LARGEST
    assert written.startswith(b"first line\n") and written.endswith(b"\nlast line") and b"\n[...]\n" in written


def test_a_report_is_its_owners_alone_and_has_no_secrets_of_addresses(tmp_path: Path) -> None:
    path = keep("ValueError: https://bob:hunter2@h/?token=hunter2 caf\udce9", "skipjack-bug", [str(tmp_path)])
    assert path is not None
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in Path(path).read_text() and "https://h/" in Path(path).read_text()


def test_a_folder_that_takes_no_file_is_passed_over_and_left_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, free = tmp_path / "full", tmp_path / "free"
    full.mkdir()
    free.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(free))
    really = os.fdopen

    def fdopen(handle: int, mode: str) -> object:
        if Path(f"/proc/self/fd/{handle}").readlink().is_relative_to(full):
            os.close(handle)
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(handle, mode)

    monkeypatch.setattr(os, "fdopen", fdopen)
    path = keep("bug", "skipjack-bug", [str(full), None])
    assert path is not None and Path(path).parent == free
    assert list(full.iterdir()) == []
    assert keep("bug", "skipjack-bug", [str(tmp_path / "missing")]) is None


def test_programs_of_both_rooms_keep_few_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}:/elsewhere")
    for _each in range(KEPT + 3):
        assert error_boundary.guarded(lambda: int("x"), str(tmp_path)) == BUG
        assert managers._failed(KeyError("x")) == BUG
    assert (len(names(tmp_path)), len(names(tmp_path, "skipjack-manager-bug"))) == (KEPT, KEPT)
    said = capsys.readouterr().err
    assert f"Please report it with the file {tmp_path}/skipjack-bug-" in said
    assert f"Please report it with the file {tmp_path}/skipjack-manager-bug-" in said
