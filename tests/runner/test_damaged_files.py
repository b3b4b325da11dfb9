"""Plans and journals with altered bytes: every program says what is damaged and what to do, and never ends as a bug."""

import os
import random
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from runner import cli, error_boundary
from runner.base.mirror_paths import Paths
from runner.base.state_dir import StateLayout
from runner.courier import delivery
from runner.courier.client import Acknowledgement
from runner.journal import journal
from runner.journal.command_table import CommandTable
from runner.journal.damage import examine
from runner.journal.journal import Ending, Subject
from runner.overrides import operator_commands, override_store
from runner.plan import plan
from runner.plan.plan import Header, Planned
from runner.subprocesses import launch
from runner.tick import cycle, next_runs, release
from schemas.errors import SkipjackError
from schemas.records import Mirror, Repository, RunnerSettings
from schemas.report import Probe
from tests.cases import crossed, some
from tests.e2e.parts import ConfigRepository, Worker

AGAIN = [("follow",), ("follow", "--again")]
ROUNDS = 10
MIRRORS = 12


class Manager:
    """Takes every report."""

    def send(self, envelope: dict[str, list[dict[str, int]]]) -> Acknowledgement:
        return Acknowledgement(max((report["number"] for report in envelope["reports"]), default=0), None)


class DamagedState:
    """The state of a worker, sound and to be damaged, and what its programs do with it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.layout = folder, StateLayout(str(folder))
        folder.mkdir()
        (folder / "run").mkdir()
        self._make_plan()
        self._make_journal()
        self._sound = {path: Path(path).read_bytes() for path in (self.layout.plan, self.layout.journal)}

    def _make_plan(self) -> None:
        mirrors = [
            Planned(
                Mirror(f"m{number}", "w1", "command", "https://x.example/", command="/bin/true"),
                Paths(f"/srv/m{number}", "/srv", f"/log/m{number}"), "a" * 40,
            )
            for number in range(MIRRORS)
        ]  # fmt: skip
        plan.write(self.layout.plan, Header("w1", 4, "a" * 40, "a" * 40, "x", str(self.folder / "run")), mirrors)

    def _make_journal(self) -> None:
        with journal.opened(self.layout.journal) as book:
            for number in range(MIRRORS):
                subject = Subject(f"m{number}", "https://x.example/", True, "a" * 40)
                for status in ("success", "failed", "success"):
                    run = book.begin(None, subject, 1e9)
                    assert run is not None
                    book.end(run, subject.name, Ending(status, reason="why", log_tail="x" * 300, size=5), 1e9 + 5)
                book.probed(subject.name, Probe(1e9, 1e9, 1e9, True), 1e9)
            override_store.override(book, [Subject("m3", "x", True, "a" * 40)], "disabled", "root", 1e9)
            override_store.request(book, [Subject("m4", "x", True, "a" * 40)], "root", 1e9)
            override_store.release(book, "root", 1e9)

    def restore(self) -> None:
        shutil.rmtree(self.folder)
        (self.folder / "run").mkdir(parents=True)
        for name, data in self._sound.items():
            Path(name).write_bytes(data)

    def programs(self) -> Iterator[Callable[[], object]]:
        settings = RunnerSettings(
            "w1", Repository("file:///x"), state_dir=str(self.folder), run_dir=str(self.folder / "run")
        )
        yield lambda: next_runs.upcoming(settings, as_json=False)
        yield lambda: cycle.work(self.layout, time.time())
        yield lambda: operator_commands.execute_and_print(
            self.layout, operator_commands.OperatorCommand("disable", ["m1"], "root")
        )
        yield lambda: operator_commands.execute_and_print(
            self.layout, operator_commands.OperatorCommand("enable", ["m3"], "root")
        )
        yield lambda: release.release(settings, "root")
        yield lambda: delivery.deliver(settings, Manager())  # type: ignore[arg-type] # it has what is needed
        yield self._commands

    def _commands(self) -> None:
        with journal.opened(self.layout.journal) as book:
            CommandTable(book).waiting()


@pytest.fixture(scope="module")
def made_machine(tmp_path_factory: pytest.TempPathFactory) -> DamagedState:
    """What each test gets in its sound state: to make it takes longer than most of them."""
    return DamagedState(tmp_path_factory.mktemp("machine") / "state")


@pytest.fixture
def machine(made_machine: DamagedState, monkeypatch: pytest.MonkeyPatch) -> DamagedState:
    monkeypatch.setattr(launch, "launch", lambda *_words, **_named: {})
    monkeypatch.setattr(launch, "want_tick", lambda *_words, **_named: None)
    made_machine.restore()
    return made_machine


def altered(data: bytes, chance: random.Random) -> bytes:
    """The same with a bit or a byte altered, a part zeroed, or its end cut off."""
    found, at = bytearray(data), chance.randrange(len(data))
    match chance.choice(["bit", "bit", "byte", "zeros", "ones", "end"]):
        case "bit":
            found[at] ^= 1 << chance.randrange(8)
        case "byte":
            found[at] = chance.randrange(256)
        case "zeros":
            length = min(chance.choice([16, 512, 4096]), len(data) - at)
            found[at : at + length] = bytes(length)
        case "ones":
            length = min(chance.choice([4, 64]), len(data) - at)
            found[at : at + length] = b"\xff" * length
        case _:
            del found[at:]
    return bytes(found)


def ended(program: Callable[[], object]) -> int:
    program()
    return 0


@pytest.mark.parametrize("seed", some(range(10), every=10))
@pytest.mark.parametrize("name", ["plan.db", "journal.db"])
def test_altered_bytes_never_end_a_program_as_a_bug(
    machine: DamagedState, name: str, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(seed)
    path = machine.folder / name
    sound = path.read_bytes()
    for _ in range(ROUNDS):
        machine.restore()
        path.write_bytes(altered(sound, chance))
        for program in machine.programs():
            code = error_boundary.guarded(partial(ended, program), str(machine.folder))
            assert code in (0, 1), capsys.readouterr().err


def test_a_plan_is_on_the_disk_before_it_replaces_the_old_one(
    machine: DamagedState, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, str]] = []
    sync, replace = os.fsync, os.replace

    def traced_sync(descriptor: int) -> None:
        steps.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        sync(descriptor)

    def traced_replace(old: str, new: str) -> None:
        steps.append(("replace", old))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", traced_sync)
    monkeypatch.setattr(os, "replace", traced_replace)
    with plan.opened(machine.layout.plan) as opened:
        plan.write(machine.layout.plan, opened.header, list(opened.mirrors()))
    aside = f"{machine.layout.plan}.new"
    assert steps == [("sync", aside), ("replace", aside), ("sync", str(Path(aside).parent))]


def test_an_altered_letter_in_the_plan_is_found_and_leads_into_no_other_directory(machine: DamagedState) -> None:
    path = Path(machine.layout.plan)
    data = path.read_bytes()
    assert data.count(b"/srv/m7") >= 1
    path.write_bytes(data.replace(b"/srv/m7", b"/srv/m8"))
    with plan.opened(machine.layout.plan) as opened:
        assert opened.mirror("m6") is not None
        with pytest.raises(SkipjackError, match=r"^cannot read the plan .*plan\.db: a row of it was altered .*--again"):
            _try(machine, "m7")


def _try(machine: DamagedState, name: str) -> None:
    with plan.opened(machine.layout.plan) as opened:
        opened.mirror(name)


@pytest.mark.parametrize(
    "column", ["interval = 7", "jitter = 99", "name = 'm70'", "after = 'm1'", "cron = '* * * * *'"]
)
def test_an_altered_schedule_in_the_plan_is_found(machine: DamagedState, column: str) -> None:
    with closing(sqlite3.connect(machine.layout.plan)) as connection, connection:
        connection.execute(f"UPDATE mirror SET {column} WHERE name = 'm7'")
    connection.close()
    with pytest.raises(SkipjackError, match="a row of it was altered"), plan.opened(machine.layout.plan) as opened:
        opened.due()


def with_right_sums(path: Path, change: str, value: str) -> None:
    """Alter a plan as a program would that writes it wrongly."""
    columns = "name, interval, cron, since, jitter, after, sync_windows, backoff_limit, retry_after_failure"
    sound = f"SELECT {columns} FROM mirror"
    run = "SELECT name, formerly, revision, paths, definition FROM mirror"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change, (value,))
        for text in connection.execute("SELECT content FROM header").fetchall():
            connection.execute("UPDATE header SET sum = ?", (plan._sum(text),))
        for column, query in (("due_sum", sound), ("sum", run)):
            for row in connection.execute(query).fetchall():
                connection.execute(f"UPDATE mirror SET {column} = ? WHERE name = ?", (plan._sum(row), row[0]))


@pytest.mark.parametrize("value", ["", "{", "null", "3", "[]", "{}", '{"name": 5}', "[" * 20_000, "\\ud800"])
@pytest.mark.parametrize("table_and_column", ["header.content", "mirror.definition", "mirror.paths"])
def test_damaged_json_in_the_plan_is_reported_although_its_checksum_is_right(
    machine: DamagedState, table_and_column: str, value: str
) -> None:
    table, column = table_and_column.split(".")
    with_right_sums(Path(machine.layout.plan), f"UPDATE {table} SET {column} = ?", value)

    with (
        pytest.raises(
            SkipjackError, match=r"^cannot read the plan .*plan\.db: .* is damaged .*`skipjack follow --again`"
        ),
        plan.opened(machine.layout.plan) as opened,
    ):
        opened.mirrors()


@pytest.mark.parametrize("value", ["{", "null", "3", "[]", "[1]", "[" * 20_000])
def test_a_damaged_window_in_the_plan_is_reported(machine: DamagedState, value: str) -> None:
    with_right_sums(Path(machine.layout.plan), "UPDATE mirror SET sync_windows = ?", value)
    if value in ("null", "[]"):  # as none
        with plan.opened(machine.layout.plan) as opened:
            assert all(due.sync_windows is None for due in opened.due())
        return
    with pytest.raises(SkipjackError, match="a schedule is damaged"), plan.opened(machine.layout.plan) as opened:
        opened.due()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE mirror SET status = 'sucess'", "UPDATE mirror SET last_ended_at = 'x'", "UPDATE mirror SET probe = '['",
        "UPDATE mirror SET last_ended_at = 1e300", "UPDATE released SET at = -9e10",
        "UPDATE mirror SET unreached = -1", "UPDATE override SET kind = 'disablee'",
        "UPDATE run SET status = x'00'",
        "UPDATE outbox SET content = '{}'", "UPDATE mirror SET failures = 'y'",
        "INSERT INTO command (number, kind, mirrors, force, issued_by) VALUES (1, 'ping', '7', 0, 'x')",
    ],
)  # fmt: skip
def test_impossible_values_in_a_journal_are_reported(machine: DamagedState, change: str) -> None:
    assert examine(machine.layout.journal) is None
    connection = sqlite3.connect(machine.layout.journal, isolation_level=None)
    connection.execute(change)
    connection.close()
    assert examine(machine.layout.journal) is not None


@pytest.mark.parametrize(
    ("column", "value"),
    crossed(
        ["override.made_at", "request.made_at", "released.at", "mirror.last_ended_at"],
        ["'{}'", "'x'", "1e300", "-9e10", "4611686018427387904", "x'00ff'"],
        every=2,
    ),
)
def test_each_program_reports_a_wrong_time_in_the_journal_as_damage(
    machine: DamagedState, column: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table, name = column.split(".")
    with closing(sqlite3.connect(machine.layout.journal, isolation_level=None)) as connection:
        connection.execute(f"UPDATE {table} SET {name} = {value}")
    for program in machine.programs():
        code = error_boundary.guarded(partial(ended, program), str(machine.folder))
        told = capsys.readouterr().err
        assert code == 0 or (code, f"a value of `{name}` in `{table}` is invalid" in told) == (1, True), told


def test_a_command_reports_a_damaged_time_in_the_journal(
    machine: DamagedState, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mirrors").mkdir()
    folder = machine.folder
    text = f"worker: w1\nrepository: {{url: 'file:///x'}}\nmirror_root: {tmp_path}/mirrors\n"
    (tmp_path / "runner.yml").write_text(f"{text}state_dir: {folder}\nrun_dir: {folder}/run\n")
    with closing(sqlite3.connect(machine.layout.journal, isolation_level=None)) as connection:
        connection.execute("UPDATE released SET at = 'x'")

    assert cli.main(["release", "--settings", str(tmp_path / "runner.yml")]) == 1

    assert "journal.db is damaged: a value of `at` in `released` is invalid" in capsys.readouterr().err


def test_a_journal_that_is_missing_or_sound_explains_no_error(machine: DamagedState) -> None:
    assert error_boundary.damage_behind(TypeError("ours"), str(machine.folder)) is None
    Path(machine.layout.journal).unlink()
    assert error_boundary.damage_behind(TypeError("ours"), str(machine.folder)) is None


def renamed_to_no_text(path: Path) -> None:
    """Damage the name of a table so that SQLite's own message about it is not valid text."""
    data = path.read_bytes()
    at = data.index(b"CREATE TABLE ") + len(b"CREATE TABLE ")
    path.write_bytes(data[:at] + b"\xe8(" + data[at + 2 :])


@pytest.mark.parametrize("name", ["plan.db", "journal.db"])
def test_damaged_names_are_reported(machine: DamagedState, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    renamed_to_no_text(machine.folder / name)
    for program in list(machine.programs())[:2]:
        assert error_boundary.guarded(partial(ended, program), str(machine.folder)) == 1
        assert name in capsys.readouterr().err


def test_a_bug_stays_a_bug_while_the_journal_is_sound(machine: DamagedState) -> None:
    with pytest.raises(KeyError, match="ours"), journal.opened(machine.layout.journal):
        raise KeyError("ours")


# Follow makes a plan again, whatever is in its place


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a config repository that each test gets a copy of: to make it takes git ten processes."""
    files = {"_site.yml": "title: x\n", "_workers.yml": "workers: {w1: {}}\n"}
    mirror = "worker: w1\nprovider: command\nupstream: https://x.example/\ncommand: /bin/true\n"
    folder = tmp_path_factory.mktemp("repository")
    ConfigRepository(folder).commit(files | {"a.yml": mirror}, "Begin")
    return folder


@pytest.fixture
def worker(tmp_path: Path, begun: Path) -> Worker:
    (tmp_path / "x").mkdir()
    repository = ConfigRepository(tmp_path / "x", begun)
    made = Worker(tmp_path / "w", "w1", repository.url)
    made.command("follow")
    return made


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def nonsense(path: Path) -> None:
    path.write_bytes(b"nonsense" * 1000)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def altered_in_the_middle(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"/bin/true", b"/bin/trve"))


def a_directory(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def no_header(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM header")
    connection.close()


@pytest.mark.parametrize(
    ("damage", "words"),
    crossed([emptied, nonsense, cut_off, altered_in_the_middle, a_directory, no_header], AGAIN, every=2),
)
def test_follow_makes_any_plan_again(worker: Worker, damage: Callable[[Path], None], words: tuple[str, ...]) -> None:
    damage(worker.state / "plan.db")
    refused = worker.command("run", "a", check=False)
    assert (refused.returncode, "skipjack follow" in refused.stderr) == (1, True), refused.stderr

    worker.command(*words)

    worker.command("run", "a")
    assert worker.states() == {"a": "success"}


def lose_the_remote(worker: Worker) -> None:
    """Name a config repository that is not there."""
    text = worker.settings.read_text()
    worker.settings.write_text(re.sub(r"url: '(file:[^']*|/[^']*)'", r"url: '\1-away'", text, count=1))
    assert "-away'" in worker.settings.read_text()


def of_another_release(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA user_version=999")
    connection.close()


@pytest.mark.parametrize(
    ("damage", "words"),
    crossed([emptied, nonsense, a_directory, no_header, of_another_release, Path.unlink], AGAIN, every=2),
)
def test_without_the_remote_a_plan_that_cannot_be_used_is_rebuilt_from_the_checkout(
    worker: Worker, damage: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    with plan.opened(str(worker.state / "plan.db")) as opened:
        revision = opened.header.revision
    damage(worker.state / "plan.db")
    lose_the_remote(worker)

    done = worker.command(*words, check=False)

    assert done.returncode == 1
    assert "cannot fetch" in done.stderr
    assert f"the plan was rebuilt from revision {str(revision)[:12]} of the checkout" in done.stderr
    assert "stays in force" not in done.stderr
    worker.command("tick")
    worker.command("run", "a")
    assert worker.states() == {"a": "success"}


def test_without_the_remote_a_usable_plan_stays_as_it_is_unless_it_is_to_be_rebuilt(
    worker: Worker, tmp_path: Path
) -> None:
    place = worker.state / "plan.db"
    (tmp_path / "x/config.git").rename(tmp_path / "x/away")
    before = place.stat().st_ino

    plain = worker.command("follow", check=False)
    assert (plain.returncode, place.stat().st_ino) == (1, before)
    assert "The plan in force stays in use." in plain.stderr

    again = worker.command("follow", "--again", check=False)
    assert (again.returncode, place.stat().st_ino != before) == (1, True)
    assert "the plan was rebuilt from revision" in again.stderr


def test_without_the_remote_and_a_checkout_nothing_is_said_to_be_in_force(worker: Worker) -> None:
    place = worker.state / "plan.db"
    emptied(place)
    shutil.rmtree(worker.state / "checkout")
    lose_the_remote(worker)

    done = worker.command("follow", check=False)

    assert (done.returncode, place.stat().st_size) == (1, 0)
    assert "there is no usable plan" in done.stderr and "stays in force" not in done.stderr


def test_an_empty_plan_is_called_damaged(worker: Worker) -> None:
    emptied(worker.state / "plan.db")
    assert "is damaged: it is empty (0 bytes)" in worker.command("tick", check=False).stderr


def test_a_directory_in_the_place_of_a_new_plan_is_moved_away_and_kept(worker: Worker) -> None:
    (worker.state / "plan.db.new/inside").mkdir(parents=True)
    worker.command("follow", "--again")
    (kept,) = worker.state.glob("plan.db.new.directory-*")
    assert (kept / "inside").is_dir()


def test_every_program_reports_a_state_folder_that_is_a_file(worker: Worker, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    worker.settings.write_text(worker.settings.read_text().replace(str(worker.state), str(place)))
    for words in (("tick",), ("next",), ("run", "a"), ("follow",), ("disable", "a"), ("once",)):
        done = worker.command(*words, check=False)
        assert (done.returncode, "bug" in done.stderr, "Traceback" in done.stderr) == (1, False, False), done.stderr


@pytest.mark.parametrize("words", [("next",), ("follow",), ("tick",), ("disable", "a"), ("once",)])
@pytest.mark.parametrize("name", ["", "locks"])
def test_a_link_to_nothing_in_the_place_of_a_folder_is_reported_with_its_target(
    worker: Worker, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: tuple[str, ...]
) -> None:
    place = worker.state / name if name else worker.state
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "missing")
    code = cli.main([words[0], *words[1:], "--settings", str(worker.settings)])
    told = capsys.readouterr().err
    if name and code == 0:
        return  # it needs no lock
    assert (code, f"{place} is a link to {tmp_path}/missing, which does not exist" in told) == (1, True), told


def test_a_checkout_that_is_a_link_to_nothing_is_reported_with_its_target(worker: Worker, tmp_path: Path) -> None:
    place = worker.state / "checkout"
    place.rename(tmp_path / "moved")
    place.symlink_to(tmp_path / "missing")
    told = worker.command("follow", check=False).stderr
    assert f"cannot use the checkout {place}: {place} is a link to {tmp_path}/missing, which does not" in told
    assert "or remove the link" in told and "chown" not in told
