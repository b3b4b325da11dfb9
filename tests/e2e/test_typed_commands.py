"""A command that a person types starts what its name says, and nothing else that is due."""

import re
from pathlib import Path

import pytest

from tests import prepared
from tests.e2e.fake_manager import FakeManager
from tests.e2e.gate import Gate, status, upcoming
from tests.e2e.parts import BIN, PATIENCE, ConfigRepository, RsyncDaemon, Worker, wait_until
from tests.soak import truth

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def due(repository: ConfigRepository, worker: Worker, gate: Gate) -> Worker:
    """A worker with four due mirrors that end at once, and two slots; nothing has run on it yet."""
    gate.open.touch()
    repository.commit({f"{name}.yml": gate.mirror() for name in NAMES}, "Add mirrors")
    return worker


def test_a_follow_plans_and_prints_what_is_due(due: Worker) -> None:
    said = due.command("follow").stdout.splitlines()

    assert said[0] == "due now, with 2 slots: a, b, c, d"
    assert said[1].startswith("nothing was started: the next tick ")
    assert truth.at_rest(due) == {}
    assert {row["waits_for"] for row in upcoming(due).values()} == {"due"}


def test_a_follow_shows_the_next_run(repository: ConfigRepository, worker: Worker, gate: Gate) -> None:
    many = {f"m{number:02}.yml": gate.mirror() for number in range(13)}
    repository.commit(many | {"later.yml": gate.mirror("cron: 30 4 1 1 *\n")}, "Add many")

    said = worker.command("follow").stdout.splitlines()

    assert said[0] == f"due now, with 2 slots: {', '.join(f'm{number:02}' for number in range(10))} and 3 more"
    assert said[2].startswith("next: later, ") and said[2].endswith("; cron schedule 30 4 1 1 *")


def test_a_follow_of_a_unit_or_a_cron_line_starts_due_mirrors(due: Worker) -> None:
    assert due.command("follow", "--start").stdout == ""

    for name in NAMES:
        status(due, name, "success")


def test_next_and_a_dry_run_work_before_the_first_follow_and_leave_nothing(due: Worker) -> None:
    before = sorted(due.folder.rglob("*"))

    rows = upcoming(due)
    said = due.command("run", "a", "--dry-run")

    assert {name: row["waits_for"] for name, row in rows.items()} == dict.fromkeys(NAMES, "due")
    assert said.stdout.splitlines()[0].startswith("a, as of ") and f"directory:  {due.root}/a, below" in said.stdout
    assert "there is no plan yet; making a temporary one from the repository" in said.stderr
    assert "this shows the plan for revision " in said.stderr
    assert sorted(due.folder.rglob("*")) == before
    missing = due.command("run", "nobody", "--dry-run", check=False)
    assert (missing.returncode, "has no mirror `nobody`" in missing.stderr) == (1, True)


def test_every_line_on_standard_error_has_a_level_and_a_program(
    repository: ConfigRepository, worker: Worker, tmp_path: Path
) -> None:
    secret = "upstream: rsync://127.0.0.1:9/m/\nusername: u\npassword: {file: " + f"{tmp_path}/none" + "}\n"
    repository.commit({"bad.yml": "retry: often\n", "secret.yml": secret, "x.ymal": ""}, "Add two")

    temporary = worker.command("next").stderr.splitlines()
    followed = worker.command("follow", check=False).stderr.splitlines()
    validated = prepared.run([str(BIN / "skipjack"), "validate", str(repository.tree)], timeout=PATIENCE)

    lines = [*temporary, *followed, *validated.stderr.splitlines()]
    assert [line for line in lines if not re.match("(INFO|WARNING|ERROR) (follow|next|validate): ", line)] == []
    assert any(line.startswith("WARNING follow: bad.yml:1:8: ") for line in temporary)
    assert any(re.match(f"WARNING follow: \\S+ cannot read the secret {tmp_path}/none ", line) for line in followed)
    assert validated.stderr.startswith("WARNING validate: x.ymal is ignored: ")
    assert validated.stdout.endswith("\n2 problems; 1 mirror is valid\n")


@pytest.mark.parametrize("provider", ["rsync", "two-stage-rsync"])
def test_a_first_dry_run_of_rsync_shows_the_transfers_and_leaves_nothing(
    repository: ConfigRepository, worker: Worker, upstream: RsyncDaemon, provider: str
) -> None:
    repository.commit({"m.yml": f"provider: {provider}\nupstream: {upstream.url('files')}\n"}, "Add m")
    before = sorted(worker.folder.rglob("*"))

    said = worker.command("run", "m", "--dry-run").stdout

    assert "folder-3/file 3 " in said
    assert sorted(worker.folder.rglob("*")) == before


def test_next_changes_no_byte_of_the_journal(repository: ConfigRepository, due: Worker, gate: Gate) -> None:
    due.command("once")
    assert set(truth.at_rest(due).values()) == {"success"}
    repository.commit({"a.yml": None, "new.yml": gate.mirror("formerly: [a]\n")}, "Rename a")
    due.command("follow")
    files = {path: path.read_bytes() for path in sorted(due.state.glob("journal.db*")) if "-shm" not in path.name}

    row = upcoming(due)["new"]

    assert (row["status"], row["waits_for"], row["why"]) == ("success", "later", "every 1h")
    assert {path: path.read_bytes() for path in files} == files
    assert (due.folder / "logs/a").is_dir() and not (due.folder / "logs/new").exists()


@pytest.mark.parametrize("words", [("start", "b"), ("restart", "b"), ("start", "--force", "b"), ("run", "b")])
def test_a_command_that_names_a_mirror_starts_only_that_one(due: Worker, words: tuple[str, ...]) -> None:
    due.command("follow")

    due.command(*words)

    status(due, "b", "success")
    assert truth.at_rest(due) == {"b": "success"}
    due.command("tick")
    for name in NAMES:
        status(due, name, "success")


def test_start_requests_beyond_the_slots_start_one_after_the_other(due: Worker) -> None:
    due.command("follow")

    due.command("start", "a", "b", "c")

    for name in "abc":
        status(due, name, "success")
    assert truth.at_rest(due) == dict.fromkeys("abc", "success")


def test_a_run_by_hand_waits_for_a_slot(repository: ConfigRepository, worker: Worker, gate: Gate) -> None:
    repository.commit({f"{name}.yml": gate.mirror() for name in NAMES}, "Add mirrors")
    worker.command("follow")
    worker.command("start", "a", "b")
    for name in "ab":
        status(worker, name, "syncing")

    assert "no slot is free" in worker.command("run", "c").stderr

    gate.open.touch()
    for name in "abc":
        status(worker, name, "success")
    assert truth.at_rest(worker) == dict.fromkeys("abc", "success")


@pytest.mark.parametrize("verb", ["stop", "disable", "enable"])
def test_a_command_that_starts_no_mirror_starts_no_due_ones(due: Worker, verb: str) -> None:
    due.command("follow")
    due.command("disable", "a")

    due.command(verb, "a")

    expected = {"stop": {"a": "paused"}, "disable": {"a": "disabled"}, "enable": {}}
    assert truth.at_rest(due) == expected[verb]


def test_a_failed_run_by_hand_starts_no_other(repository: ConfigRepository, due: Worker, gate: Gate) -> None:
    repository.commit({"a.yml": gate.mirror().replace(str(gate.script), "/bin/false")}, "Break a")
    due.command("follow")

    assert due.command("run", "a", check=False).returncode == 1

    assert truth.at_rest(due) == {"a": "failed"}


@pytest.mark.parametrize("start", [False, True])
def test_a_courier_by_hand_starts_only_mirrors_that_a_command_names(
    due: Worker, fake: FakeManager, *, start: bool
) -> None:
    due.report_to(fake.url, "secret")
    due.command("follow")
    fake.give("start", "b")
    fake.give("reload")
    fake.revision = "b" * 40

    due.command("courier", *(["--start"] if start else []))

    status(due, "b", "success")
    wait_until(lambda: "is in force already" in due.messages(), "it followed")
    if start:
        for name in NAMES:
            status(due, name, "success")
    else:
        assert truth.at_rest(due) == {"b": "success"}
