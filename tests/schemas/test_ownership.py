"""The advice for a user without access to a file in another user's state folder."""

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner import cli, error_boundary
from runner.plan import plan
from schemas import ownership
from schemas.errors import SkipjackError

ANOTHER, NAMELESS = 65534, 54321
NOBODYS = "This worker belongs to the user nobody: run the command as that user (`sudo -u nobody …`) or as root."

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")


def denied(path: Path) -> PermissionError:
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the user nobody, seen by a user without a name."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "plan.db").write_bytes(b"")
    for path in (folder, folder / "plan.db"):
        os.chown(path, ANOTHER, ANOTHER)
    monkeypatch.setattr(os, "geteuid", lambda: NAMELESS)
    return folder


def wrapped(error: Exception) -> SkipjackError:
    try:
        raise SkipjackError("The thing cannot be read.", "Check the path.") from error
    except SkipjackError as wrapper:
        return wrapper


def cannot_open(path: Path) -> Exception:
    try:
        sqlite3.connect(f"file:{path}/none/none.db?mode=ro", uri=True).execute("SELECT 1")
    except sqlite3.Error as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda home: denied(home / "locks/x"), "cannot use {home}/locks/x: Permission denied."),
        (lambda home: denied(home), "cannot use {home}: Permission denied."),
        (lambda home: wrapped(denied(home / "plan.db")), "The thing cannot be read."),
        (lambda home: wrapped(wrapped(denied(home / "home"))), "The thing cannot be read."),
        (lambda home: wrapped(cannot_open(home)), "The thing cannot be read."),
    ],
)
def test_another_user_gets_the_owner_of_the_worker(home: Path, make: Callable[[Path], Exception], what: str) -> None:
    found = ownership.denial(make(home), str(home))
    assert found is not None
    assert str(found) == f"{what.format(home=home)} {NOBODYS}"


def test_other_errors_are_unchanged(home: Path) -> None:
    for error in (
        denied(home.parent / "state-of-another/plan.db"),
        OSError(errno.ENOSPC, "No space left on device", str(home / "plan.db")),
        wrapped(sqlite3.DatabaseError("malformed")),
        SkipjackError("There is no mirror x."),
    ):
        assert ownership.denial(error, str(home)) is None, error
    assert ownership.denial(denied(home / "plan.db"), "") is None


def test_root_and_a_missing_folder_get_no_remedy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ownership.remedy(str(home.parent / "none/plan.db"), str(home.parent / "none")) == ""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert ownership.remedy(str(home / "plan.db"), str(home)) == ""


def test_owners_are_printed_as_sudo_accepts_them(home: Path) -> None:
    os.chown(home, 0, 0)
    assert ownership.remedy(str(home), str(home)) == (
        "This worker belongs to root: run the command as root, as with `sudo`."
    )
    os.chown(home, NAMELESS + 1, 0)
    assert f"(`sudo -u '#{NAMELESS + 1}' …`)" in ownership.remedy(str(home), str(home), "This manager")


def test_the_owner_of_the_folder_gets_the_owner_of_the_file(home: Path) -> None:
    os.chown(home, NAMELESS, NAMELESS)
    path = home / "plan.db"
    words = f"It belongs to the user nobody: change its owner with `sudo chown -R {NAMELESS} {path}`."
    assert ownership.remedy(str(path), str(home)) == words
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "access", lambda *_arguments, **_named: False)
        with pytest.raises(SkipjackError) as refused, plan.opened(str(path)):
            pass
        assert "cannot be read: it is not a file" not in str(refused.value)
        os.chown(path, NAMELESS, NAMELESS)
        assert ownership.remedy(str(path), str(home)) == (
            f"Its mode denies access to its owner: allow it with `chmod u+rwX {path}`."
        )


def test_every_command_and_every_lean_program_asks_the_same_place(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> int:
        raise wrapped(denied(home / "plan.db"))

    assert error_boundary.guarded(fails, str(home)) == 1
    assert NOBODYS in capsys.readouterr().err
    settings = home.parent / "runner.yml"
    settings.write_text(f"worker: w1\nrepository: {{url: 'file:///none'}}\nstate_dir: {home}\n")
    settings.chmod(0o644)
    monkeypatch.setattr(os, "access", lambda *_arguments, **_named: False)
    for words in (
        *(["start", "x"], ["stop", "x"], ["restart", "x"], ["disable", "x"], ["enable", "x"], ["run", "x"]),
        *(["follow"], ["follow", "--start"], ["tick"], ["once"], ["courier"], ["release"], ["hold"]),
    ):
        assert cli.main([*words, "--settings", str(settings)]) == 1, words
        assert capsys.readouterr().err == f"ERROR skipjack: cannot use {home}: Permission denied. {NOBODYS}\n", words


def test_a_read_only_disk_is_not_taken_for_a_mode_that_denies_access(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    os.chown(home, NAMELESS, NAMELESS)
    settings = home.parent / "runner.yml"
    settings.write_text(f"worker: w1\nrepository: {{url: 'file:///none'}}\nstate_dir: {home}\n")
    monkeypatch.setattr(os, "access", lambda *_arguments, **_named: False)
    assert "Its mode denies access" in ownership.remedy(str(home), str(home))
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert ownership.remedy(str(home), str(home)) == ""
    assert cli.main(["follow", "--settings", str(settings)]) == 1
    assert capsys.readouterr().err == (
        f"ERROR skipjack: {home}: Read-only file system. Find out why the file system is read-only: `dmesg` may show"
        " it.\n"
    )


def test_settings_that_this_user_may_not_read_name_who_may(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from schemas.config import settings

    def read(path: Path, _most: int) -> bytes:
        raise denied(path)

    monkeypatch.setattr(settings, "read_regular", read)
    with pytest.raises(SkipjackError, match=r"cannot read .*: Permission denied\. The file belongs to the user nobody"):
        settings.load_runner(home / "plan.db")


def test_an_error_that_is_its_own_cause_ends_the_search(tmp_path: Path) -> None:
    error = OSError("x")
    error.__cause__ = error
    assert ownership.denial(error, str(tmp_path)) is None
