"""What follow does when definitions of two revisions meet in one plan."""

from pathlib import Path

import pytest

from runner import plan
from runner.places import Places
from runner.schedule import rules_of
from schemas.records import SyncWindows
from tests.e2e.parts import ConfigRepository, Worker

MIRROR = "provider: command\nupstream: https://files.example/\ncommand: /bin/true\n"


@pytest.fixture
def repository(tmp_path: Path) -> ConfigRepository:
    made = ConfigRepository(tmp_path)
    files = {"_site.yml": "title: x\ntime_zone: Europe/Berlin\n", "_workers.yml": "workers: {w1: {}}\n"}
    made.commit(files | {"_defaults.yml": f"worker: w1\n{MIRROR}"}, "Begin")
    return made


@pytest.fixture
def worker(tmp_path: Path, repository: ConfigRepository) -> Worker:
    return Worker(tmp_path / "w", "w1", repository.url)


def after(worker: Worker) -> dict[str, tuple[str, ...]]:
    with plan.opened(Places(str(worker.state)).plan) as opened:
        assert [each.mirror.after for each in opened.mirrors()] == [due.after for due in opened.due()]
        return {due.name: due.after for due in opened.due()}


def test_a_kept_definition_does_not_wait_for_one_that_now_comes_after_it(
    repository: ConfigRepository, worker: Worker
) -> None:
    repository.commit({"a.yml": "after: [b]\n", "b.yml": "retry: 1\n", "c.yml": "after: [b]\n"}, "a after b")
    worker.command("follow")
    assert after(worker) == {"a": ("b",), "b": (), "c": ("b",)}

    repository.commit({"a.yml": "broken: 1\n", "b.yml": "after: [a]\n"}, "b after a, which is broken")
    worker.command("follow", check=False)

    assert after(worker) == {"a": (), "b": ("a",), "c": ("b",)}


def test_a_broken_predecessor_keeps_its_last_definition_and_one_that_never_had_any_is_waited_for(
    repository: ConfigRepository, worker: Worker
) -> None:
    repository.commit({"a.yml": "retry: 1\n", "b.yml": "after: [a]\n"}, "Begin")
    worker.command("follow")
    repository.commit({"a.yml": "broken: 1\n", "new.yml": "broken: 1\n", "c.yml": "after: [new]\n"}, "Break")
    worker.command("follow", check=False)

    assert after(worker) == {"a": (), "b": ("a",), "c": ("new",)}
    with plan.opened(Places(str(worker.state)).plan) as opened:
        assert rules_of(opened.header).unusable == {"a", "new"}


def test_the_plan_has_the_zone_and_the_hours_and_keeps_them_when_a_revision_is_refused(
    repository: ConfigRepository, worker: Worker
) -> None:
    hours = "sync_windows: {allowed: ['22:00-06:00'], stop_running: true}"
    repository.commit(
        {"_workers.yml": f"workers: {{w1: {{{hours}}}}}\n", "a.yml": f"cron: 0 4 * * *\n{hours}\n"}, "Set"
    )
    worker.command("follow")
    repository.commit({"_site.yml": "titel: x\n"}, "Break")
    worker.command("follow", check=False)

    windows = SyncWindows(("22:00-06:00",), (), True)
    with plan.opened(Places(str(worker.state)).plan) as opened:
        assert (opened.header.time_zone, opened.header.sync_windows) == ("Europe/Berlin", windows)
        (due,) = opened.due()
        assert due == plan.due(opened.mirrors()[0].mirror)
        assert (due.cron, due.sync_windows, due.jitter) == ("0 4 * * *", windows, 120)


def test_logs_that_would_lie_in_anothers_folder_turn_away_the_mirror_that_says_so(
    repository: ConfigRepository, worker: Worker
) -> None:
    (worker.folder / "logs").mkdir()
    (worker.folder / "logs/link").symlink_to("c")
    definitions = {"a.yml": "log_dir: {}/logs/b", "b.yml": "", "c.yml": "", "d.yml": "log_dir: {}/logs/link"}
    repository.commit({name: f"{text.format(worker.folder)}\n" for name, text in definitions.items()}, "Mix logs up")

    done = worker.command("follow", check=False)

    assert sorted(after(worker)) == ["b", "c"]
    assert f"a.yml: `log_dir` {worker.folder}/logs/b is where the logs of `b` are. Set another one" in done.stderr
    assert f"d.yml: `log_dir` {worker.folder}/logs/link is where the logs of `c` are. Set another one" in done.stderr
