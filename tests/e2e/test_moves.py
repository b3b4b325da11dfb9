"""Mirrors that are renamed, moved to another worker, or on two of them: one page, one history, and nothing twice."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.gate import Gate, status, syncing, upcoming
from tests.e2e.parts import PATIENCE, ConfigRepository, Manager, RsyncDaemon, Worker, validate, wait_until
from tests.e2e.test_whole_path import same_tree

TWO = "workers:\n  w1: {slots: 2}\n  w2: {slots: 2}\n"


@pytest.fixture
def second(tmp_path: Path, repository: ConfigRepository, manager: Manager) -> Worker:
    """Another worker that reports to the manager, `w2`."""
    repository.commit({"_workers.yml": TWO}, "Add a worker")
    return Worker(tmp_path / "w2", "w2", repository.url, manager)


def shown(manager: Manager, name: str, is_so: Callable[[Any], object]) -> dict[str, Any]:
    """What the site says of a mirror, once that is so."""

    def found() -> Any:
        page = manager.published(f"mirrors/{name}.json")
        return page if page and is_so(page) else None

    plain: dict[str, Any] = wait_until(found, f"the site shows {name}")
    return plain


def history(page: dict[str, Any]) -> list[tuple[str, str]]:
    return [(run["worker"], run["status"]) for run in page["runs"]]


def ended(number: int) -> Callable[[Any], bool]:
    return lambda page: len(page["runs"]) == number


def test_a_renamed_mirror_keeps_its_page_its_history_and_its_files(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, manager: Manager, reporter: Worker
) -> None:
    text = f"upstream: {upstream.url('files')}\n"
    repository.commit({"old.yml": text}, "Add old")
    reporter.command("once")
    before = shown(manager, "old", ended(1))
    old, new = reporter.root / "old", reporter.root / "new"

    repository.commit({"old.yml": None, "new.yml": f"{text}formerly: [old]\n"}, "Rename old to new")
    checked = validate(repository.tree)
    assert "INFO validate: `new` was called `old`: its files belong in mirror_root/new" in checked
    assert checked.startswith("1 mirror is valid\n")
    told = reporter.command("follow", check=False)
    assert told.returncode == 0
    move = f"mv -T {old} {new}"
    assert f"new.yml: The files of `new` are still in {old}" in told.stderr
    assert move in told.stderr
    reporter.command("tick")
    reporter.command("courier")

    page = shown(manager, "new", lambda page: page["status"] == "success")
    assert (page["name"], page["formerly"], page["freshness"]) == ("new", ["old"], "fresh")
    assert (page["last_success_at"], page["runs"]) == (before["last_success_at"], before["runs"])
    wait_until(lambda: manager.names() == ["new"], "lists have the new name alone")
    assert list(manager.jobs()) == ["new"]
    assert manager.published("mirrors/old.json") == page
    page_of = {name: (manager.site / f"mirrors/{name}.html").read_text() for name in ("old", "new")}
    assert page_of["old"] == page_of["new"]
    assert '<link rel="canonical" href="new.html">' in page_of["old"]
    assert upcoming(reporter)["new"]["waits_for"] == "later", "it is due when it would have been"

    refused = reporter.command("run", "new", check=False)
    assert refused.returncode == 1
    assert move in reporter.run_of("new").reason
    row = upcoming(reporter)["new"]
    waits = "waiting for its files to be moved; the next follow after that starts it; last run refused: "
    assert (row["waits_for"], row["at"], row["why"]) == ("later", None, waits + reporter.run_of("new").reason)
    assert move in reporter.command("run", "new", "--dry-run", check=False).stderr
    assert not new.exists(), "nothing was fetched again"

    subprocess.run(move.split(), check=True)
    assert "is now in force" in reporter.command("follow").stderr, "the move was seen without a new commit"
    reporter.command("run", "new")
    reporter.command("courier")
    assert same_tree(tree, new) and not old.exists()
    assert reporter.run_of("new").files == 0, "nothing was transferred again"
    assert history(shown(manager, "new", ended(3))) == [("w1", "success"), ("w1", "refused"), ("w1", "success")]
    assert sorted(path.name.partition("_")[0] for path in (reporter.folder / "logs/new").glob("*_01.log*")) == [
        "new", "old",
    ]  # fmt: skip
    runs = requests.get(f"{manager.url}/api/v1/runs?mirror=old", timeout=300).json()["runs"]
    assert [run["mirror"] for run in runs] == ["new"] * 3


def test_a_disabled_mirror_that_is_renamed_stays_disabled(
    repository: ConfigRepository, manager: Manager, reporter: Worker, gate: Gate
) -> None:
    gate.open.touch()
    repository.commit({"old.yml": gate.mirror("mirror_subdir: x\ninterval: 1s\n")}, "Add old")
    reporter.command("once")
    reporter.command("disable", "old")
    repository.commit(
        {"old.yml": None, "new.yml": gate.mirror("mirror_subdir: x\ninterval: 1s\nformerly: [old]\n")}, "Rename"
    )

    reporter.command("once")
    reporter.command("once")

    assert reporter.states() == {"new": "disabled"}
    assert gate.begun("new") == []
    assert shown(manager, "new", lambda page: page["status"] == "disabled")["runs"][0]["status"] == "success"
    assert "new: follows its schedule" in reporter.command("enable", "new").stdout
    reporter.command("tick")
    status(reporter, "new", "success")


def rename_during_a_run(repository: ConfigRepository, worker: Worker, gate: Gate) -> None:
    """Let a run of `old` begin, which the gate holds, and follow its new name `new`."""
    directory = f"mirror_dir: {worker.root}/files\ninterval: 1s\n"
    repository.commit({"old.yml": gate.mirror(directory)}, "Add old")
    worker.command("follow", "--start")
    syncing(worker, gate, "old")
    repository.commit({"old.yml": None, "new.yml": gate.mirror(f"{directory}formerly: [old]\n")}, "Rename")
    worker.command("follow")


def test_the_new_name_waits_for_a_run_under_the_previous_one_which_gets_its_commands(
    repository: ConfigRepository, worker: Worker, gate: Gate
) -> None:
    rename_during_a_run(repository, worker, gate)

    worker.command("tick")
    assert upcoming(worker)["new"]["waits_for"] == "running"
    by_hand = worker.command("run", "new", check=False)
    assert (by_hand.returncode, gate.begun("new")) == (1, [])
    assert (
        "cannot sync new: a run under its previous name old is still active. Wait for the end of that run."
        in by_hand.stderr
    )

    said = worker.command("stop", "new").stdout
    assert said == "new: paused until `skipjack start`; stopping its run\n"
    status(worker, "new", "paused")
    assert worker.run_of("new").status == "stopped"
    assert "old" not in worker.states()

    gate.open.touch()
    worker.command("start", "new")
    status(worker, "new", "success")
    assert (len(gate.begun("old")), len(gate.begun("new"))) == (1, 1)


def test_a_mirror_begins_under_its_new_name_when_the_run_under_the_old_one_has_ended(
    repository: ConfigRepository, worker: Worker, gate: Gate
) -> None:
    rename_during_a_run(repository, worker, gate)

    once = worker.start("once")
    wait_until(lambda: upcoming(worker)["new"]["waits_for"] == "running", "it waits")
    gate.open.touch()

    assert once.wait(PATIENCE) == 0
    status(worker, "new", "success")
    worker.command("run", "new")
    assert (len(gate.begun("old")), "old" in worker.states()) == (1, False)


def test_a_moved_mirror_keeps_one_page_with_the_runs_of_both_workers(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, manager: Manager, reporter: Worker, second: Worker
) -> None:
    text = f"upstream: {upstream.url('files')}\n"
    repository.commit({"debian.yml": f"{text}worker: w1\n"}, "Add Debian")
    reporter.command("once")
    shown(manager, "debian", ended(1))

    repository.commit({"debian.yml": f"{text}worker: w2\n"}, "Move it")
    reporter.command("once")
    page = shown(manager, "debian", lambda page: [copy["worker"] for copy in page["copies"]] == ["w2"])
    assert (page["freshness"], page["cause"], history(page)) == ("unknown", "never", [("w1", "success")])
    second.command("once")

    page = shown(manager, "debian", ended(2))
    assert history(page) == [("w2", "success"), ("w1", "success")]
    assert (page["freshness"], [copy["worker"] for copy in page["copies"]]) == ("fresh", ["w2"])
    assert (manager.names(), list(manager.jobs())) == (["debian"], ["debian"])
    assert same_tree(tree, reporter.root / "debian"), "the files on the old worker are left to people"
    assert "has no mirror `debian`" in reporter.command("run", "debian", check=False).stderr
    order = {"kind": "stop", "mirrors": ["debian"]}
    given = requests.post(f"{manager.url}/api/v1/commands", json=order, headers=manager.operator(), timeout=300).json()
    assert [command["worker"] for command in given["commands"]] == ["w2"]


def test_a_run_that_is_under_way_when_its_mirror_is_moved_may_finish_and_is_in_the_history(
    repository: ConfigRepository, manager: Manager, reporter: Worker, second: Worker, gate: Gate
) -> None:
    repository.commit({"a.yml": gate.mirror("worker: w1\n")}, "Add a")
    reporter.command("follow", "--start")
    syncing(reporter, gate, "a")
    repository.commit({"a.yml": gate.mirror("worker: w2\n")}, "Move it")
    reporter.command("follow")
    reporter.command("courier")
    moved = shown(manager, "a", lambda page: [copy["worker"] for copy in page["copies"]] == ["w2"])
    assert (moved["status"], moved["runs"]) == ("none", [])

    gate.open.touch()
    status(reporter, "a", "success")
    reporter.command("courier")
    assert history(shown(manager, "a", ended(1))) == [("w1", "success")]
    reporter.command("tick")
    second.command("once")
    assert history(shown(manager, "a", ended(2))) == [("w2", "success"), ("w1", "success")]
    assert len(gate.begun("a")) == 2


def test_a_second_copy_is_taken_from_the_first_and_both_are_one_mirror(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, manager: Manager, reporter: Worker, second: Worker,
    tmp_path: Path,
) -> None:  # fmt: skip
    with RsyncDaemon(tmp_path / "daemon", {"ours": reporter.root}) as ours:
        text = (
            f"upstream: {upstream.url('files')}\nworker:\n  w1: {{}}\n"
            f"  w2: {{role: slave, upstream: '{ours.url('ours')}debian/'}}\n"
        )
        repository.commit({"debian.yml": text}, "Add Debian")
        reporter.command("once")
        second.command("once")

    assert same_tree(tree, second.root / "debian")
    page = shown(manager, "debian", ended(2))
    copies = {copy["worker"]: (copy["is_master"], copy["upstream"], copy["status"]) for copy in page["copies"]}
    assert copies == {
        "w1": (True, upstream.url("files"), "success"), "w2": (False, f"{ours.url('ours')}debian/", "success"),
    }  # fmt: skip
    assert history(page) == [("w2", "success"), ("w1", "success")]
    assert manager.jobs()["debian"]["is_master"] is True
    order = {"kind": "disable", "mirrors": ["debian"]}
    given = requests.post(f"{manager.url}/api/v1/commands", json=order, headers=manager.operator(), timeout=300).json()
    assert sorted(command["worker"] for command in given["commands"]) == ["w1", "w2"]


def test_a_mirror_may_be_moved_and_renamed_at_once(
    repository: ConfigRepository, upstream: RsyncDaemon, manager: Manager, reporter: Worker, second: Worker
) -> None:
    text = f"upstream: {upstream.url('files')}\n"
    repository.commit({"old.yml": f"{text}worker: w1\n"}, "Add old")
    reporter.command("once")
    repository.commit({"old.yml": None, "new.yml": f"{text}worker: w2\nformerly: [old]\n"}, "Move and rename")
    for each in (reporter, second):
        each.command("once")
    assert history(shown(manager, "new", ended(2))) == [("w2", "success"), ("w1", "success")]
    # A publication writes the lists after the mirrors' own files.
    wait_until(lambda: manager.names() == ["new"], "the lists have the new name alone")
