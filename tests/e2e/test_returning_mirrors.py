"""A page shows when a mirror runs next as soon as that is known: before its first run, or after it came back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.parts import ConfigRepository, Manager, Worker, wait_until

TWO = "workers:\n  w1: {slots: 2}\n  w2: {slots: 2}\n"
MIRROR = "provider: command\nupstream: https://x.example/\ncommand: touch synced\ninterval: 1d\njitter: 0s\n"
OTHER = f"{MIRROR}worker: w2\n"


class Shown:
    """What the manager publishes about the mirrors."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager

    def copy(self, mirror: str, worker: str = "w1") -> dict[str, Any]:
        for each in (self.manager.published() or {"mirrors": []})["mirrors"]:
            for copy in each["copies"]:
                if (each["name"], copy["worker"]) == (mirror, worker):
                    found: dict[str, Any] = copy
                    return found
        return {}

    def next_run(self, mirror: str, worker: str = "w1") -> float | None:
        at: float | None = self.copy(mirror, worker).get("next_run_at")
        return at

    def wait_for(self, mirror: str, next_run: float | None, worker: str = "w1") -> None:
        """Wait until a copy has this next run, also on its page."""
        wait_until(
            lambda: self.copy(mirror, worker).get("next_run_at", 0) == next_run, f"{mirror} runs next at {next_run}"
        )
        wait_until(
            lambda: ("not scheduled" in self.manager.page(f"mirrors/{mirror}.html")) == (next_run is None), "its page"
        )


@pytest.fixture
def shown(repository: ConfigRepository, manager: Manager, reporter: Worker) -> Shown:
    """A manager that shows a mirror `m`, which has been synced on `w1` and runs there again in a day."""
    repository.commit({"_workers.yml": TWO, "m.yml": MIRROR}, "Begin")
    reporter.command("once")
    found = Shown(manager)
    wait_until(lambda: found.next_run("m"), "it has a next run")
    return found


def test_a_mirror_that_waits_for_its_first_run_or_has_another_schedule_shows_its_next_run(
    repository: ConfigRepository, reporter: Worker, shown: Shown
) -> None:
    planned = shown.next_run("m")
    assert planned is not None
    new = MIRROR.replace("interval: 1d", 'cron: "0 0 29 2 *"')
    repository.commit({"m.yml": MIRROR.replace("interval: 1d", "interval: 2d"), "new.yml": new}, "Change and add")

    reporter.command("once")

    shown.wait_for("m", planned + 86400)
    wait_until(lambda: shown.next_run("new"), "the new mirror has a next run")
    assert shown.copy("new")["status"] == "none"
    wait_until(lambda: "not scheduled" not in shown.manager.page("mirrors/new.html"), "its page")
    assert "-02-29 00:00" in shown.manager.page("mirrors/new.html")


LEAVES: dict[str, Callable[[ConfigRepository, Worker], object]] = {
    "moved": lambda repository, _worker: repository.commit({"m.yml": OTHER}, "Move it"),
    "removed": lambda repository, _worker: repository.commit({"m.yml": None}, "Remove it"),
    "invalid worker": lambda repository, _worker: (
        repository.commit({"_workers.yml": "workers:\n  w2: {slots: 2}\n", "m.yml": OTHER}, "Remove the worker")
        and None
    ),
    "denied": lambda _repository, worker: _deny(worker),
}


def _deny(worker: Worker) -> None:
    with (worker.folder / "policy.yml").open("a") as policy:
        policy.write("providers: [rsync]\n")


@pytest.mark.parametrize("how", LEAVES)
def test_a_mirror_that_left_its_worker_and_came_back_shows_its_next_run(
    repository: ConfigRepository, reporter: Worker, shown: Shown, how: str
) -> None:
    planned, allowed = shown.next_run("m"), (reporter.folder / "policy.yml").read_text()
    runs = reporter.run_of("m").id
    LEAVES[how](repository, reporter)
    reporter.command("once", check=False)
    (reporter.folder / "policy.yml").write_text(allowed)
    repository.commit({"_workers.yml": TWO, "m.yml": f"{MIRROR}title: Again\n"}, "Give it back")

    reporter.command("once")

    shown.wait_for("m", planned)
    assert shown.copy("m")["status"] == "success"
    assert reporter.run_of("m").id == runs, "it has not run"


@pytest.mark.parametrize("off", ["disable", "stop"])
def test_a_mirror_that_is_enabled_again_shows_its_next_run(reporter: Worker, shown: Shown, off: str) -> None:
    planned, runs = shown.next_run("m"), reporter.run_of("m").id
    reporter.command(off, "m")
    reporter.command("once")
    shown.wait_for("m", None)

    reporter.command("enable", "m")
    reporter.command("once")

    shown.wait_for("m", planned)
    assert (shown.copy("m")["status"], reporter.run_of("m").id) == ("success", runs)


def test_a_mirror_that_was_renamed_after_it_had_been_removed_shows_its_next_run(
    repository: ConfigRepository, reporter: Worker, shown: Shown
) -> None:
    planned, runs = shown.next_run("m"), reporter.run_of("m").id
    repository.commit({"m.yml": None}, "Remove it")
    reporter.command("once")
    repository.commit(
        {"n.yml": f"{MIRROR}formerly: [m]\nmirror_dir: {reporter.root}/m\n"}, "Bring it back under another name"
    )

    reporter.command("once")

    shown.wait_for("n", planned)
    assert reporter.run_of("n").id == runs


def test_a_mirror_that_returns_to_another_worker_shows_the_next_run_there(
    repository: ConfigRepository, manager: Manager, reporter: Worker, shown: Shown, tmp_path: Path
) -> None:
    other = Worker(tmp_path / "w2", "w2", repository.url, manager)
    repository.commit({"m.yml": OTHER}, "Move it")
    other.command("once")
    wait_until(lambda: shown.next_run("m", "w2"), "it has a next run there")
    planned, runs = shown.next_run("m", "w2"), other.run_of("m").id
    for definition in (MIRROR, OTHER):
        repository.commit({"m.yml": definition}, "Move it")
        reporter.command("once")
        other.command("once")

    shown.wait_for("m", planned, "w2")
    assert other.run_of("m").id == runs
    assert shown.copy("m") == {}


def test_the_mirrors_of_a_worker_with_a_new_name_show_their_next_runs(
    repository: ConfigRepository, manager: Manager, reporter: Worker, shown: Shown
) -> None:
    """Its settings change first, so for a while the worker is not in the list and has no mirror."""
    planned, runs = shown.next_run("m"), reporter.run_of("m").id
    text = reporter.settings.read_text().replace("worker: w1", "worker: w9")
    reporter.settings.write_text(text)
    (reporter.folder / "token").write_text(manager.token("w9") + "\n")
    reporter.command("once", check=False)
    repository.commit({"_workers.yml": "workers:\n  w9: {slots: 2}\n", "_defaults.yml": "worker: w9\n"}, "Rename it")

    reporter.command("once")

    shown.wait_for("m", planned, "w9")
    assert (shown.copy("m", "w9")["status"], reporter.run_of("m").id) == ("success", runs)
