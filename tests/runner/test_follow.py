"""`follow`: one plan of the definitions of two revisions, failed fetches, and what is printed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import cli
from runner.base import locks
from runner.base.mirror_paths import paths_of
from runner.base.state_dir import StateLayout
from runner.follow import separate_folders
from runner.journal import journal
from runner.plan import plan
from runner.plan.plan import Planned
from runner.plan.schedule import rules_of
from runner.subprocesses import spawn
from schemas.records import Mirror, Policy, Repository, RunnerSettings, SyncWindows
from tests.cases import some
from tests.e2e.parts import ConfigRepository, Worker
from tests.schemas.damage import DAMAGE

MIRROR = "provider: command\nupstream: https://files.example/\ncommand: /bin/true\n"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a config repository that each test gets a copy of: to make it takes git ten processes."""
    files = {"_site.yml": "title: x\ntime_zone: Europe/Berlin\n", "_workers.yml": "workers: {w1: {}}\n"}
    folder = tmp_path_factory.mktemp("repository")
    ConfigRepository(folder).commit(files | {"_defaults.yml": f"worker: w1\n{MIRROR}"}, "Begin")
    return folder


@pytest.fixture
def repository(tmp_path: Path, begun: Path) -> ConfigRepository:
    return ConfigRepository(tmp_path, begun)


@pytest.fixture
def worker(tmp_path: Path, repository: ConfigRepository) -> Worker:
    return Worker(tmp_path / "w", "w1", repository.url)


@contextlib.contextmanager
def without_remote(repository: ConfigRepository) -> Iterator[None]:
    """Keep the remote repository out of reach for a while."""
    away = repository.remote.rename(repository.remote.with_suffix(".away"))
    yield
    away.rename(repository.remote)


def after(worker: Worker) -> dict[str, tuple[str, ...]]:
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        assert [each.mirror.after for each in opened.mirrors()] == [due.after for due in opened.due()]
        return {due.name: due.after for due in opened.due()}


def test_a_kept_definition_drops_an_after_that_became_circular(repository: ConfigRepository, worker: Worker) -> None:
    repository.commit({"a.yml": "after: [b]\n", "b.yml": "retry: 1\n", "c.yml": "after: [b]\n"}, "a after b")
    worker.command("follow")
    assert after(worker) == {"a": ("b",), "b": (), "c": ("b",)}

    repository.commit({"a.yml": "broken: 1\n", "b.yml": "after: [a]\n"}, "b after a, which is broken")
    worker.command("follow", check=False)

    assert after(worker) == {"a": (), "b": ("a",), "c": ("b",)}


def test_an_invalid_predecessor_keeps_its_last_definition_and_a_new_invalid_one_blocks(
    repository: ConfigRepository, worker: Worker
) -> None:
    repository.commit({"a.yml": "retry: 1\n", "b.yml": "after: [a]\n"}, "Begin")
    worker.command("follow")
    repository.commit({"a.yml": "broken: 1\n", "new.yml": "broken: 1\n", "c.yml": "after: [new]\n"}, "Break")
    worker.command("follow", check=False)

    assert after(worker) == {"a": (), "b": ("a",), "c": ("new",)}
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        assert rules_of(opened.header).unusable == {"a", "new"}


def test_a_refused_revision_keeps_time_zone_and_sync_windows(repository: ConfigRepository, worker: Worker) -> None:
    hours = "sync_windows: {allowed: ['22:00-06:00'], stop_running: true}"
    repository.commit(
        {"_workers.yml": f"workers: {{w1: {{{hours}}}}}\n", "a.yml": f"cron: 0 4 * * *\n{hours}\n"}, "Set"
    )
    worker.command("follow")
    repository.commit({"_site.yml": "titel: x\n"}, "Break")
    worker.command("follow", check=False)

    windows = SyncWindows(("22:00-06:00",), (), True)
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        assert (opened.header.time_zone, opened.header.sync_windows) == ("Europe/Berlin", windows)
        (due,) = opened.due()
        assert due._replace(since=0.0) == plan.due(opened.mirrors()[0].mirror)
        assert (due.cron, due.sync_windows, due.jitter) == ("0 4 * * *", windows, 120)


def test_a_log_dir_in_the_folder_of_another_mirror_quarantines_the_mirror_that_sets_it(
    repository: ConfigRepository, worker: Worker
) -> None:
    (worker.folder / "logs").mkdir()
    (worker.folder / "logs/link").symlink_to("c")
    definitions = {"a.yml": "log_dir: {}/logs/b", "b.yml": "", "c.yml": "", "d.yml": "log_dir: {}/logs/link"}
    repository.commit({name: f"{text.format(worker.folder)}\n" for name, text in definitions.items()}, "Mix logs up")

    done = worker.command("follow", check=False)

    assert sorted(after(worker)) == ["b", "c"]
    assert f"a.yml: `log_dir` {worker.folder}/logs/b is the log folder of `b`. Set another one" in done.stderr
    assert f"d.yml: `log_dir` {worker.folder}/logs/link is the log folder of `c`. Set another one" in done.stderr


def test_a_log_dir_inside_another_mirrors_folders_is_rejected(tmp_path: Path) -> None:
    """Neither an upstream nor a container may lead the logs of another mirror elsewhere."""
    settings = RunnerSettings("w1", Repository("u"), mirror_root=f"{tmp_path}/m", log_dir=f"{tmp_path}/logs")
    policy = Policy(log_roots=(str(tmp_path),))
    fields: dict[str, dict[str, Any]] = {
        "boxed": {"docker_image": "s:3"},
        "plain": {},
        "in-logs-of-boxed": {"log_dir": f"{tmp_path}/logs/boxed/x"},
        "in-plain": {"log_dir": f"{tmp_path}/m/plain/logs"},
        "in-logs-of-plain": {"log_dir": f"{tmp_path}/logs/plain/x"},
    }
    mirrors = [Mirror(name, "w1", "rsync", "rsync://h/x/")._replace(**each) for name, each in fields.items()]
    planned = [Planned(each, paths_of(each, settings, policy), "c") for each in mirrors]

    kept, problems = separate_folders.logs(planned)

    assert {each.mirror.name for each in kept} == {"boxed", "plain", "in-logs-of-plain"}
    told = {name: what for name, _file, what, _todo in problems}
    assert "a folder that `boxed` writes to" in told["in-logs-of-boxed"]
    assert "a folder that `plain` writes to" in told["in-plain"]
    boxed = mirrors[0]._replace(log_dir=f"{tmp_path}/logs")
    above = Planned(boxed, paths_of(boxed, settings, policy), "c")
    kept, _problems = separate_folders.logs([above, planned[1]])
    assert [each.mirror.name for each in kept] == ["plain"], "a container above the logs of others goes, not they"


def since(worker: Worker) -> dict[str, float]:
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        return {due.name: due.since for due in opened.due()}


def test_a_renamed_mirror_keeps_the_start_of_its_cron_schedule(repository: ConfigRepository, worker: Worker) -> None:
    began = time.time()
    repository.commit({"a.yml": "cron: 0 4 1 3 *\n", "b.yml": "cron: 0 4 1 3 *\n"}, "Begin")
    worker.command("follow")
    first = since(worker)
    assert began <= first["a"] == first["b"] <= time.time()

    a = "cron: 0 4 1 3 *\nretry: 7\nformerly: [a]\n"
    repository.commit({"a.yml": None, "new.yml": a, "b.yml": "cron: 0 5 1 3 *\n"}, "Rename a, change b's times")
    worker.command("follow", "--again")

    second = since(worker)
    assert (second["new"], second["b"] > first["b"]) == (first["a"], True)


def problems(worker: Worker) -> str:
    return worker.command("follow", check=False).stderr


def test_a_rename_with_a_new_folder_finds_the_files_in_the_old_one(
    repository: ConfigRepository, worker: Worker
) -> None:
    repository.commit({"old.yml": "mirror_subdir: distributions\n"}, "Begin")
    worker.command("follow")
    old, new = worker.root / "distributions/old", worker.root / "linux/os/new"
    old.mkdir(parents=True, exist_ok=True)
    (old / "file").touch()
    text = "mirror_subdir: linux/os\nformerly: [old]\n"
    repository.commit({"old.yml": None, "new.yml": text}, "Rename and move")

    move = f"mkdir -p {new.parent} && mv -T {old} {new}"
    assert f"The files of `new` are still in {old}, " in (told := problems(worker))
    assert move in told
    repository.commit({"new.yml": f"{text}retry: 5\n"}, "It is kept in mind")
    assert move in problems(worker)
    assert worker.command("follow").returncode == 0, "the revision is sound; a person has something to do"
    assert move in worker.command("run", "new", check=False).stderr
    assert worker.states() == {"new": "refused"}
    subprocess.run(move, shell=True, check=True)
    with without_remote(repository):
        done = worker.command("follow", check=False)
    assert (done.returncode, "the plan was rebuilt from revision" in done.stderr) == (1, True), done.stderr
    assert worker.states() == {"new": "queued"}, "it does not back off any more, although nothing could be fetched"
    assert problems(worker).endswith(" is in force already, with 1 mirror for w1\n")
    worker.command("run", "new")
    assert (new / "file").exists()


def test_a_directory_that_another_mirror_has_by_now_is_not_the_previous_one(
    repository: ConfigRepository, worker: Worker
) -> None:
    repository.commit({"old.yml": "mirror_subdir: x\n"}, "Begin")
    worker.command("follow")
    (worker.root / "x/old").mkdir(parents=True, exist_ok=True)
    (worker.root / "x/old/file").touch()

    other = f"mirror_dir: {worker.root}/x/old\n"
    repository.commit({"old.yml": None, "new.yml": "formerly: [old]\n", "other.yml": other}, "Rename, and take over")

    assert worker.command("follow").returncode == 0


def test_a_reverted_rename_keeps_its_history_and_asks_for_formerly(
    repository: ConfigRepository, worker: Worker
) -> None:
    repository.commit({"old.yml": "retry: 1\n"}, "Begin")
    worker.command("once")
    renamed = repository.commit({"old.yml": None, "new.yml": "retry: 1\nformerly: [old]\n"}, "Rename")
    worker.command("once")
    old, new = worker.root / "old", worker.root / "new"
    old.rmdir()
    new.mkdir(exist_ok=True)
    (new / "file").touch()
    repository.git("revert", "--no-edit", renamed)
    repository.git("push", "-q", "origin", "HEAD")

    told = problems(worker)

    todo = "Add `formerly: [new]`, so that `old` continues the history of `new`."
    assert f"old.yml: `old` was called `new` until now, but its file does not list that name. {todo}" in told
    assert f"Move them with `mv -T {new} {old}`" in told
    assert f"mv -T {new} {old}" in worker.command("run", "old", check=False).stderr
    repository.commit({"old.yml": "retry: 2\n"}, "It is kept in mind")
    assert todo in problems(worker)
    worker.command("tick")
    assert list(worker.states()) == ["old"], "the journal has gone back as well"
    new.rename(old)
    assert todo not in problems(worker)
    worker.command("run", "old")


def test_the_password_of_the_repository_is_written_nowhere(
    repository: ConfigRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text(f'[url "{repository.url}"]\n insteadOf = https://git.example.org/m.git\n')
    worker = Worker(tmp_path / "w", "w1", "https://user:s3cret@git.example.org/m.git")
    told = worker.command("follow")
    assert "is now in force" in told.stdout + told.stderr
    files = [path for path in worker.folder.rglob("*") if path.is_file() and path != worker.settings]
    assert Path(StateLayout(str(worker.state)).plan) in files
    assert [path for path in files if b"s3cret" in path.read_bytes()] == []


@pytest.mark.parametrize(
    "kind",
    some(
        [
            "empty reference", "empty HEAD", "empty objects", "flipped bits in a pack", "a named pipe for config",
            "a named pipe for refs/skipjack/fetched", "named pipes for small objects",
        ],
        every=3,
    ),
)  # fmt: skip
def test_a_damaged_checkout_is_fetched_again_and_the_plan_stays_current(
    repository: ConfigRepository, worker: Worker, kind: str
) -> None:
    repository.commit({"debian.yml": "retry: 1\n", "os/gnu.yml": "retry: 1\n"}, "Begin")
    worker.command("follow")
    checkout = worker.state / "checkout/repository.git"
    DAMAGE[kind](checkout)
    (checkout / "refs/skipjack/fetched.lock").touch()
    repository.commit({"debian.yml": "retry: 5\n"}, "Change")
    worker.command("follow")
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        assert {each.mirror.name: each.mirror.retry for each in opened.mirrors()} == {"debian": 5, "gnu": 1}
    assert "is in force already" in worker.command("follow").stdout + worker.command("follow").stderr


def test_a_damaged_checkout_of_a_rewritten_history_keeps_the_plan(repository: ConfigRepository, worker: Worker) -> None:
    repository.commit({"debian.yml": "retry: 1\n", "os/gnu.yml": ""}, "Begin")
    repository.commit({"debian.yml": "retry: 2\n"}, "Change")
    worker.command("follow")
    DAMAGE["empty objects"](worker.state / "checkout/repository.git")
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    repository.git("push", "--quiet", "--force", "origin", "HEAD")
    told = worker.command("follow", check=False)
    assert told.returncode == 1 and "Its history was rewritten" in told.stderr
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        assert {each.mirror.name: each.mirror.retry for each in opened.mirrors()} == {"debian": 2, "gnu": 2}
    worker.command("follow", "--accept-rewrite")
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        assert {each.mirror.name: each.mirror.retry for each in opened.mirrors()} == {"debian": 1, "gnu": 2}


def test_a_worker_shows_the_problems_of_its_own_mirrors_and_of_those_that_may_be_its_own(
    repository: ConfigRepository, worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        "_workers.yml": "workers:\n  w1: {slots: 2}\n  w2: {slots: 2}\n",
        "other.yml": "worker: w2\nretry: often\n",
        "both.yml": "worker: {w1: {}, w2: {}}\nretry: often\n",
        "moved.yml": "retry: 1\n",
    }
    repository.commit({**files, "both.yml": "worker: {w1: {}, w2: {}}\n"}, "Begin")
    assert worker.command("follow").returncode == 0, "the problem of another worker's mirror"
    repository.commit({**files, "any.yml": "worker: [w2\n", "moved.yml": "worker: w2\nretry: often\n"}, "Break more")
    worker.command("follow", check=False)

    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        shown = {place.partition(":")[0] for _mirror, place, _what, _todo in opened.header.problems}
        assert {each.mirror.name for each in opened.mirrors()} == {"both", "moved"}, "it keeps the last definition"
    assert shown == {"both.yml", "any.yml", "moved.yml"}
    assert "other.yml" not in worker.command("next").stderr
    assert cli.main(["validate", str(repository.tree)]) == 1
    printed = capsys.readouterr().out
    assert [name in printed for name in ("other.yml:2:8", "both.yml:2:8", "any.yml", "moved.yml:2:8")] == [True] * 4


def test_a_worker_removed_from_the_list_syncs_nothing_and_reports_it(
    repository: ConfigRepository, worker: Worker
) -> None:
    workers = "workers:\n  w1: {slots: 2}\n  w2: {slots: 2}\n"
    repository.commit({"_workers.yml": workers, "a.yml": "retry: 1\n", "gone.yml": "retry: 1\n"}, "Begin")
    worker.command("follow")
    other = "worker: w2\n"
    taken = repository.commit(
        {"_workers.yml": "workers:\n  w2: {slots: 2}\n", "a.yml": other, "gone.yml": None}, "Replace the worker"
    )

    done = worker.command("follow", check=False)

    assert done.returncode == 1
    assert "The worker `w1` of this machine is not listed, so it syncs nothing. Known workers: `w2`." in done.stderr
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        assert (list(opened.mirrors()), opened.header.revision) == ([], taken)
    shown = worker.command("next").stderr
    assert "WARNING next: _workers.yml:1:1: The worker `w1` of this machine" in shown
    assert "launched 0 runs" in worker.command("tick").stderr
    repository.commit({"_workers.yml": workers, "a.yml": "retry: 1\n"}, "Take it back")
    worker.command("follow")
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        assert [each.mirror.name for each in opened.mirrors()] == ["a"]


def test_a_stricter_policy_applies_even_if_the_fetch_fails(repository: ConfigRepository, worker: Worker) -> None:
    repository.commit({"a.yml": "retry: 1\n"}, "Begin")
    worker.command("follow")
    with without_remote(repository):
        assert "The plan in force stays in use." in worker.command("follow", check=False).stderr
        policy = worker.folder / "policy.yml"
        policy.write_text(f"{policy.read_text()}programs: []\n")
        told = worker.command("follow", check=False).stderr
        assert "a.yml: " in told and "the plan was rebuilt from revision" in told
        with plan.opened(StateLayout(str(worker.state)).plan) as opened:
            assert opened.mirrors() == []
        assert "rebuilt" not in worker.command("follow", check=False).stderr, "once is enough"


def test_leftovers_of_a_killed_run_of_a_removed_mirror_are_removed(
    repository: ConfigRepository, worker: Worker
) -> None:
    repository.commit({"a.yml": "formerly: [old]\n", "b.yml": "retry: 1\n"}, "Begin")
    worker.command("follow")
    for name in ("a", "b", "b.new", "old"):
        (Path(worker.state) / f".deletions.{name}").write_text("x")
    repository.commit({"b.yml": None}, "Remove b")
    worker.command("follow")
    assert sorted(path.name for path in Path(worker.state).glob(".deletions*")) == [".deletions.a", ".deletions.old"]


def test_a_quiet_follow_prints_only_problems(repository: ConfigRepository, worker: Worker) -> None:
    repository.commit({"a.yml": "retry: 1\n"}, "Begin")
    assert worker.command("follow", "--quiet").stderr == ""
    repository.commit({"a.yml": "retry: 2\n"}, "Change it")
    assert worker.command("follow", "--start", "--quiet").stderr == ""
    assert worker.command("follow", "--quiet").stderr == ""
    repository.commit({"a.yml": "retry: x\n"}, "Break it")
    for _again in range(2):
        assert "a.yml:1:8" in worker.command("follow", "--quiet", check=False).stderr


def test_quiet_commands_print_nothing_before_the_first_plan_and_after_a_merge_and_a_crash(
    repository: ConfigRepository, worker: Worker
) -> None:
    def tick() -> str:
        done = subprocess.run(
            spawn.lean("tick", str(worker.state), "quiet"), capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def follow_quietly() -> str:
        done = worker.command("follow", "--start", "--quiet")
        return str(done.stdout + done.stderr)

    def status() -> str:
        with journal.opened(layout.journal) as book:
            return book.states()["a"].status

    layout = StateLayout(str(worker.state))
    assert tick() == ""
    repository.commit({"a.yml": "command: sleep 1000\njitter: 0s\n"}, "Begin")
    assert follow_quietly() == ""
    supervisor = layout.lock("supervisor", "a")
    assert tick() == ""
    deadline = time.monotonic() + 120
    while not (locks.is_held(layout.lock("mirror", "a")) and status() == "syncing"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    holders = locks.holders(supervisor)
    assert holders
    for pid in holders:
        os.kill(pid, signal.SIGKILL)
    while locks.is_held(supervisor):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert tick() == ""
    assert status() == "interrupted"
    repository.commit({"a.yml": None, "b.yml": "formerly: [a]\n"}, "Rename it")
    assert (follow_quietly(), tick()) == ("", "")


def test_files_that_look_like_definitions_get_a_warning_and_the_others_apply(
    repository: ConfigRepository, worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.commit(
        {
            "a.yml": "retry: 1\n", "b.ymal": "retry: 1\n", "os/c.yml.bak": "x", "d.json": "{}", "README.md": "x",
            "os/.e.yml": "retry: 1\n",
        },
        "Begin",
    )  # fmt: skip
    followed = worker.command("follow").stderr
    assert cli.main(["validate", str(repository.tree)]) == 0
    printed, checked = capsys.readouterr()
    for path in ("b.ymal", "d.json", "os/c.yml.bak"):
        words = f"{path} is ignored: only files that end with `.yml` are definitions. Rename it"
        assert words in followed and words in checked
    words = "os/.e.yml is ignored: its name begins with a dot. Rename it if it is a definition"
    assert words in followed and words in checked
    assert ("README" in followed, followed.count("is ignored")) == (False, 4)
    assert printed == "1 mirror is valid\n"


OPENED = """
import sys

opened = []
sys.addaudithook(lambda event, details: opened.append(details[0]) if event == "open" else None)

from runner import cli

code = cli.main(["follow", "--settings", sys.argv[1]])
print(opened.count(sys.argv[2]))
sys.exit(code)
"""


def test_a_follow_reads_the_policy_once(repository: ConfigRepository, worker: Worker) -> None:
    """All of a plan is made by the same rules, even if someone changes the policy meanwhile."""
    repository.commit({"a.yml": "retry: 1\n", "b.yml": "retry: 1\n"}, "Begin")
    words = [sys.executable, "-c", OPENED, str(worker.settings), str(worker.folder / "policy.yml")]
    for change in ({"c.yml": "retry: 1\n"}, {"a.yml": "broken: 1\n"}, {"_site.yml": "titel: x\n"}):
        repository.commit(change, "Change")
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.stdout.endswith("\n1\n"), done.stdout + done.stderr
