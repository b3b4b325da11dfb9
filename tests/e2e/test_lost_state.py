"""Lost state is not treated as a new machine: every program fails, with the command that starts without state."""

import itertools
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from runner.base import locks
from runner.base.state_dir import StateLayout
from runner.journal import journal
from tests import prepared
from tests.cases import crossed, some
from tests.e2e.parts import PATIENCE, ConfigRepository, Manager, Worker, wait_until

WORKER_COMMANDS = (
    ("tick",), ("follow",), ("follow", "--again"), ("run", "a"), ("once",), ("next",), ("courier",), ("start", "a"),
    ("stop", "a"), ("disable", "a"), ("restart", "a"), ("enable", "a"),
)  # fmt: skip
MANAGER_COMMANDS = (
    ("serve",), ("publish",), ("publish", "--once"), ("token", "list"), ("token", "add", "w2"), ("check",), ("audit",),
    ("backup", "copy.db"), ("forget", "w1"),
)  # fmt: skip


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def emptied_with_what_lies_beside_it(path: Path) -> None:
    for beside in path.parent.glob(f"{path.name}-*"):
        beside.unlink()
    path.write_bytes(b"")


def cut_off(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(4096)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def removed(path: Path) -> None:
    path.unlink()


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_to_nothing(path: Path) -> None:
    """As when the link leads to a disk that is not mounted; no file beside it shows that it was in use."""
    for beside in (path, *path.parent.glob(f"{path.name}-*"), path.parent / "agenda", path.parent / "plan.db-mark"):
        beside.unlink(missing_ok=True)
    path.symlink_to("/none/journal.db")


def of_another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    connection.close()


LOSSES = (
    emptied,
    emptied_with_what_lies_beside_it,
    cut_off,
    removed,
    a_directory,
    of_another_program,
    a_link_to_nothing,
)


@pytest.fixture
def lone(repository: ConfigRepository, tmp_path: Path) -> Worker:
    """A worker on which the mirror `a` is disabled, and a manager is named that is not there."""
    worker = Worker(tmp_path / "w", "w1", repository.url)
    worker.report_to("http://127.0.0.1:1", "x" * 43)
    repository.commit(
        {"a.yml": f"provider: command\nupstream: https://x.example/\ncommand: touch {tmp_path}/ran\n"}, "Add a"
    )
    worker.command("follow")
    worker.command("disable", "a")
    with journal.opened(StateLayout(str(worker.state)).journal) as book:
        wait_until(lambda: not book.active(), "a run that a tick began meanwhile has ended")
    (tmp_path / "ran").unlink(missing_ok=True)
    return worker


def described(done: "subprocess.CompletedProcess[str]") -> set[str]:
    """The messages that a command gave, without what changes from one to the next."""
    return set(re.findall(r"(?:[Cc]annot use the|[Tt]he) (?:journal|file|database) .*", done.stderr))


def removal(path: Path) -> str:
    """The command that messages give to start over."""
    return f"`rm -rf -- {path} {path}-wal {path}-shm {path}-journal {path}-mark {path}-reserve"


def run_what_is_said(message: str) -> None:
    """Run the command to start over that a message names."""
    (command,) = re.findall(r"run `(rm [^`]*)`", message)
    subprocess.run(["/bin/sh", "-c", command], check=True, timeout=60)


@pytest.mark.parametrize(
    ("lose", "commands"), crossed(LOSSES, [WORKER_COMMANDS[start::3] for start in range(3)], every=3)
)
def test_every_program_of_the_worker_refuses_a_lost_journal_alike(
    lone: Worker, tmp_path: Path, lose: Callable[[Path], None], commands: Sequence[tuple[str, ...]]
) -> None:
    path = Path(StateLayout(str(lone.state)).journal)
    lose(path)
    before = path.stat().st_size if path.exists() else None

    done = [lone.command(*words, check=False) for words in commands]

    assert [each.returncode for each in done] == [1] * len(done), [each.stderr for each in done]
    said = {message for each in done for message in described(each)}
    assert len(said) == 1, said
    assert all(described(each) for each in done)
    message = said.pop()
    assert str(path) in message and "restore a backup" in message and removal(path) in message
    assert (path.stat().st_size if path.exists() else None) == before, "nothing was made in its place"
    assert not (tmp_path / "ran").exists(), "a disabled mirror must not run"


def test_a_new_machine_starts_without_ceremony_and_so_does_one_whose_journal_was_removed_on_purpose(
    lone: Worker, tmp_path: Path
) -> None:
    remove_every_file_of(Path(StateLayout(str(lone.state)).journal))
    (lone.state / "agenda").unlink(missing_ok=True)

    lone.command("once", check=False)

    assert (tmp_path / "ran").exists(), "nothing is disabled in a new journal"


def remove_every_file_of(path: Path) -> None:
    """Remove a database with all that belongs to it, as when a folder was not restored."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def an_agenda(worker: Worker) -> Path:
    path = Path(StateLayout(str(worker.state)).next_wake)
    path.write_text("")
    return path


def a_plan_without_marks(worker: Worker) -> Path:
    """As if it were of the last release that left no mark beside the journal."""
    path = Path(StateLayout(str(worker.state)).plan)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=5")
    return path


def shared_memory(worker: Worker) -> Path:
    path = Path(StateLayout(str(worker.state)).journal + "-shm")
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize("trace", [an_agenda, a_plan_without_marks, shared_memory])
def test_a_missing_journal_of_a_release_without_marks_is_refused(
    lone: Worker, tmp_path: Path, trace: Callable[[Worker], Path]
) -> None:
    path = Path(StateLayout(str(lone.state)).journal)
    with locks.Held(lone.lock("program", "tick"), wait=PATIENCE):  # a run that ended wants a tick, which may come late
        remove_every_file_of(path)
        (lone.state / "agenda").unlink(missing_ok=True)
        left = trace(lone)

    done = [lone.command(*words, check=False) for words in WORKER_COMMANDS]

    assert [each.returncode for each in done] == [1] * len(done), [each.stderr for each in done]
    shows, other = f"{left} shows that it was in use", f"the plan {left} was written by another version"
    assert all(shows in each.stderr or other in each.stderr for each in done), done
    assert not path.exists() and not (tmp_path / "ran").exists()

    said = done[WORKER_COMMANDS.index(("follow",))].stderr
    assert shows in said, "it is the first program to run after an upgrade"
    run_what_is_said(said)
    assert not left.exists()
    assert "journal" not in lone.command("follow", check=False).stderr
    lone.command("once", check=False)
    assert (tmp_path / "ran").exists(), "nothing is disabled in a new journal"


def files_that_show_nothing(worker: Worker) -> None:
    for name in ("locks/program", "wishes", "containers"):
        (worker.state / name).mkdir(parents=True, exist_ok=True)
    for name in ("locks/program/tick", "launcher", "messages.log", "journal.db.bak"):
        (worker.state / name).write_text("")


@pytest.mark.parametrize("first", [("follow",), ("tick",), ("next",), ("once",), ("courier",), ("follow", "--start")])
def test_a_first_installation_starts_without_a_question_in_any_order(
    repository: ConfigRepository, tmp_path: Path, first: tuple[str, ...]
) -> None:
    worker = Worker(tmp_path / "w", "w1", repository.url)
    files_that_show_nothing(worker)
    repository.commit(
        {"a.yml": f"provider: command\nupstream: https://x.example/\ncommand: touch {tmp_path}/ran\n"}, "Add a"
    )

    said = worker.command(*first, check=False).stderr
    for words in (("follow",), ("next",), ("tick",), ("follow",), ("once",)):
        done = worker.command(*words, check=False)
        assert done.returncode == 0, (words, done.stderr)
        said += done.stderr

    assert "journal" not in said
    wait_until(lambda: (tmp_path / "ran").exists(), "the mirror runs")


@pytest.mark.parametrize("lose", [emptied, removed, a_directory])
def test_the_command_to_start_over_removes_the_journal_and_no_copy_of_it(
    lone: Worker, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    path = Path(StateLayout(str(lone.state)).journal)
    lose(path)
    if path.is_dir():
        (path / "inside").write_text("")
    copy = path.with_name("journal.db.bak")
    copy.write_text("a copy")

    run_what_is_said(lone.command("tick", check=False).stderr)
    lone.command("once", check=False)

    assert (tmp_path / "ran").exists(), "nothing is disabled in a new journal"
    assert copy.read_text() == "a copy"


def test_a_journal_of_an_earlier_release_gets_its_mark(lone: Worker) -> None:
    mark = Path(StateLayout(str(lone.state)).journal + "-mark")
    mark.unlink()

    lone.command("tick")

    assert mark.exists()


@pytest.fixture
def stopped(tmp_path: Path) -> Manager:
    """A manager that has a token and is not at work."""
    manager = Manager(tmp_path / "m")
    manager.token("w1")
    return manager


def ask(manager: Manager, *words: str) -> "subprocess.CompletedProcess[str]":
    program = str(Path(manager._words[0]))
    command = [program, *words, "--settings", str(manager.settings)]
    return prepared.run(command, timeout=300, cwd=manager.folder)


@pytest.mark.parametrize("lose", LOSSES)
def test_every_program_of_the_manager_refuses_a_lost_database(stopped: Manager, lose: Callable[[Path], None]) -> None:
    path = stopped.folder / "state/manager.db"
    lose(path)
    before = path.stat().st_size if path.exists() else None

    done = {words: ask(stopped, *words) for words in MANAGER_COMMANDS}

    assert {words: each.returncode for words, each in done.items()} == dict.fromkeys(done, 1), done
    for words, each in done.items():
        said = each.stdout + each.stderr
        assert str(path) in said and "backup" in said and "bug" not in said, (words, said)
        if lose not in (cut_off, of_another_program):  # `check` judges what is left of those
            assert removal(path) in said, (words, said)
    assert (path.stat().st_size if path.exists() else None) == before, "nothing was made in its place"


def a_lock_of_the_publisher(manager: Manager) -> Path:
    path = manager.folder / "state/publish.lock"
    path.touch()
    return path


def a_checkout(manager: Manager) -> Path:
    path = manager.folder / "state/checkout"
    path.mkdir()
    return path


def own_pages(manager: Manager) -> Path:
    path = manager.site / "status.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"generator": "Skipjack 0.1.0", "mirrors": []}')
    return path


def shared_memory_of_the_database(manager: Manager) -> Path:
    path = manager.folder / "state/manager.db-shm"
    path.touch()
    return path


@pytest.mark.parametrize("trace", [a_lock_of_the_publisher, a_checkout, own_pages, shared_memory_of_the_database])
def test_a_missing_database_of_a_release_without_marks_is_refused(
    stopped: Manager, trace: Callable[[Manager], Path]
) -> None:
    path = stopped.folder / "state/manager.db"
    remove_every_file_of(path)
    left = trace(stopped)

    done = {words: ask(stopped, *words) for words in MANAGER_COMMANDS}

    assert {words: each.returncode for words, each in done.items()} == dict.fromkeys(done, 1), done
    for words, each in done.items():
        assert f"{left} shows that it was in use" in each.stdout + each.stderr, (words, each)
    assert not path.exists()

    run_what_is_said(done["check",].stderr)
    assert not left.exists()
    assert len(stopped.token("w1")) == 43


def test_files_beside_no_database_do_not_count_as_one(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "m")
    state = manager.folder / "state"
    state.mkdir(exist_ok=True)
    (state / "serve.lock").touch()
    manager.site.mkdir(exist_ok=True)
    (manager.site / "status.json").write_text('[{"name": "debian", "status": "success"}]')
    assert len(manager.token("w1")) == 43


def test_the_files_beside_a_database_of_postgresql_show_nothing_of_one_of_sqlite(tmp_path: Path) -> None:
    manager = Manager(tmp_path / "m")
    state = manager.folder / "state"
    state.mkdir(exist_ok=True)
    (state / "checkout").mkdir()
    (state / "postgresql-mark").write_text("postgresql://db.example/skipjack\n")
    own_pages(manager)
    assert len(manager.token("w1")) == 43


_FIRST = {"publish": ("publish", "--once"), "token": ("token", "add", "w9")}


@pytest.mark.parametrize("order", some(itertools.permutations([*_FIRST, "serve"]), every=2), ids="-".join)
def test_a_first_manager_starts_without_a_question_in_any_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    manager = Manager(tmp_path / "m")
    for name in order:
        if name == "serve":
            manager.start()
            manager.stop()
        else:
            done = ask(manager, *_FIRST[name])
            own = name == "publish" and "has no config repository" in done.stderr
            assert done.returncode == (1 if own else 0), (name, done.stderr)


def test_a_manager_whose_database_was_removed_on_purpose_starts_with_an_empty_one(stopped: Manager) -> None:
    for path in (stopped.folder / "state").glob("manager.db*"):
        path.unlink()

    assert ask(stopped, "check").returncode == 1, "there is nothing to check yet"
    assert len(stopped.token("w1")) == 43
    assert ask(stopped, "check").returncode == 0


@pytest.mark.parametrize("lose", [emptied, removed, a_directory])
def test_the_command_to_start_over_removes_the_database_and_no_copy_of_it(
    stopped: Manager, lose: Callable[[Path], None]
) -> None:
    path = stopped.folder / "state/manager.db"
    lose(path)
    copy = path.with_name("manager.db.bak")
    copy.write_text("a copy")

    done = ask(stopped, "token", "list")
    run_what_is_said(done.stdout + done.stderr)

    assert len(stopped.token("w1")) == 43
    assert copy.read_text() == "a copy"


def test_a_backup_is_restored_as_the_page_describes(stopped: Manager) -> None:
    assert ask(stopped, "backup", "copy.db").returncode == 0
    path = stopped.folder / "state/manager.db"
    path.write_bytes(b"")
    for lost in path.parent.glob("manager.db*"):
        lost.unlink()
    shutil.move(stopped.folder / "copy.db", path)

    done = ask(stopped, "token", "list")

    assert (done.returncode, "w1" in done.stdout) == (0, True)
