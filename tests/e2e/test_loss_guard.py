"""No provider empties a mirror and calls it a success: the tree is compared with the last accepted success."""

import shutil
import time
from pathlib import Path

import pytest
import requests

from runner.base.state_dir import StateLayout
from runner.journal import journal
from tests.e2e.gate import Gate, status, syncing, upcoming
from tests.e2e.parts import ConfigRepository, Manager, RsyncDaemon, Worker, wait_until

LATER = "interval: 1d\n"
FILES = 80
MAKE = f"i=0; while [ $i -lt {FILES} ]; do echo content > file-$i; i=$((i+1)); done"
HALF = "for i in 0 1 2 3 4; do rm -f file-$i*; done"
ACCEPT = "If that is right, run `skipjack run m --max-delete 100%`"


class Scripted:
    """The mirror `m`, whose command does what the test writes into a script."""

    def __init__(self, repository: ConfigRepository, worker: Worker, more: str = "") -> None:
        self.worker, self.script = worker, worker.folder / "script"
        self.published, self.mourned = worker.folder / "published", worker.folder / "mourned"
        self.does(MAKE)
        self.script.chmod(0o755)
        repository.commit(
            {
                "m.yml": f"{LATER}provider: command\nupstream: https://files.example/\ncommand: {self.script}\n"
                f"exec_on_success: [sh -c 'echo >> {self.published}']\n"
                f"exec_on_failure: [sh -c 'echo >> {self.mourned}']\n{more}"
            },
            "Add m",
        )
        worker.command("once")
        assert self.lines() == (1, 0)

    def does(self, text: str) -> None:
        """Let the next attempts do that, in the mirror's directory."""
        self.script.write_text(f"#!/bin/sh\n{text}\n")

    def lines(self) -> tuple[int, int]:
        """How often `exec_on_success` and `exec_on_failure` ran."""
        found = [path.read_text().count("\n") if path.exists() else 0 for path in (self.published, self.mourned)]
        return found[0], found[1]

    def run(self, *words: str) -> tuple[str, str]:
        """Run it; gives the status and the reason."""
        self.worker.command("run", "m", *words, check=False)
        run = self.worker.run_of("m")
        return run.status, run.reason

    @property
    def last_success(self) -> float | None:
        """When the last success ended."""
        with journal.opened(StateLayout(str(self.worker.state)).journal) as book:
            return book.states()["m"].last_success_at

    def accepted(self) -> tuple[int | None, int | None]:
        """The figures of the last accepted success."""
        with journal.opened(StateLayout(str(self.worker.state)).journal) as book:
            past = book.past("m")
        return past.files, past.bytes


def test_a_command_that_empties_its_directory_fails_until_the_operator_accepts_it(
    repository: ConfigRepository, worker: Worker
) -> None:
    m = Scripted(repository, worker)
    success = m.last_success
    assert m.accepted() == (FILES, FILES * 8)
    dry = worker.command("run", "m", "--dry-run").stdout
    assert "\ncompared:   after the run, with the last accepted success (80 files, 640 B)\n" in dry
    m.does("rm -rf ./* ; exit 0")
    figures = f"no file is left: {FILES} of {FILES} files (640 B) are gone since the last accepted success. {ACCEPT}"
    for _again in range(2):
        assert m.run() == ("refused", figures)
    assert (m.last_success, m.accepted(), m.lines()) == (success, (FILES, FILES * 8), (1, 2))
    assert figures in (worker.folder / "logs/m/latest").read_text()

    dry = worker.command("run", "m", "--dry-run", "--max-delete", "100%").stdout
    assert "\ncompared:   with nothing: any loss is accepted\n" in dry
    assert m.run("--max-delete", "100%") == ("success", "")
    assert (m.accepted(), m.lines()) == ((0, 0), (2, 2))
    assert m.run() == ("success", ""), "there was nothing left to lose"
    m.does(MAKE)
    assert m.run() == ("success", "")
    assert m.accepted() == (FILES, FILES * 8)


def test_neither_attempts_nor_failed_runs_hide_a_loss(repository: ConfigRepository, worker: Worker) -> None:
    m = Scripted(repository, worker, "retry: 2\nmax_delete: 10%\n")
    m.does(f"[ -e {worker.folder}/second ] && exit 0; touch {worker.folder}/second; {HALF}; exit 7")
    status_, reason = m.run()
    assert (status_, worker.run_of("m").attempts) == ("refused", 2)
    assert "45 of 80 files (360 B) are gone since the last accepted success; `max_delete: 10%` allows 8." in reason

    m.does("rm -f file-5 file-6; exit 1")
    assert m.run()[0] == "failed"
    m.does("exit 0")
    assert "47 of 80 files" in m.run()[1]
    m.does(MAKE)
    assert m.run() == ("success", ""), "files that came back are not lost"
    assert m.lines()[0] == 2


def test_small_losses_add_up_only_from_one_success_to_the_next(repository: ConfigRepository, worker: Worker) -> None:
    m = Scripted(repository, worker, "max_delete: 10%\n")
    m.does("ls | head -n 8 | xargs rm")
    assert m.run() == ("success", "")
    assert m.accepted() == (72, 576)
    assert "8 of 72 files (64 B) are gone since the last accepted success; `max_delete: 10%` allows 7" in m.run()[1]
    assert "16 of 72 files" in m.run()[1]


def test_only_the_operator_on_the_machine_accepts_deletions_and_the_site_shows_why(
    repository: ConfigRepository, manager: Manager, reporter: Worker
) -> None:
    m = Scripted(repository, reporter)
    success = m.last_success
    m.does("rm -rf ./*")
    for kind, words in (("start", ("--force",)), ("restart", ())):
        before = reporter.run_of("m").id
        reporter.command(kind, "m", *words)
        wait_until(lambda before=before: reporter.run_of("m").id > before, "it ran")  # type: ignore[misc]
        status(reporter, "m", "refused")
    manager.job("m")
    order = {"kind": "start", "mirrors": ["m"], "force": True}
    answer = requests.post(f"{manager.url}/api/v1/commands", json=order, headers=manager.operator(), timeout=300)
    assert answer.ok
    before = reporter.run_of("m").id
    reporter.command("courier")
    wait_until(lambda: reporter.run_of("m").id > before, "the manager's command began a run")
    status(reporter, "m", "refused")
    reporter.command("courier")

    wait_until(lambda: (manager.published("mirrors/m.json") or {}).get("status") == "refused", "the page shows it")
    page = manager.published("mirrors/m.json")
    assert page["last_success_at"] == success
    assert page["runs"][0]["reason"].startswith("no file is left: 80 of 80 files")
    wait_until(lambda: "no file is left: 80 of 80 files" in manager.page("mirrors/m.html"), "the page shows it")
    assert manager.jobs()["m"]["status"] == "failed"
    assert m.lines()[0] == 1


@pytest.mark.parametrize(
    "options",
    [
        "rsync_override: [-a, --delete]\nrsync_override_only: true\n",
        "rsync_options: [--max-delete=1000]\n",
    ],
)
def test_an_rsync_that_deletes_by_its_own_rules_is_compared(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker, options: str
) -> None:
    repository.commit({"m.yml": f"{LATER}upstream: {upstream.url('files')}\n{options}"}, "Add m")
    worker.command("once")
    assert worker.run_of("m").status == "success"
    for path in list(tree.rglob("*.txt"))[:25]:
        path.unlink()

    worker.command("run", "m", check=False)

    run = worker.run_of("m")
    assert (run.status, "25 of 41 files (" in run.reason) == ("refused", True), run
    worker.command("run", "m", "--max-delete", "100%")
    worker.command("run", "m")


def test_after_an_upgrade_without_figures_a_loss_is_one_of_what_the_directory_held_before_the_run(
    repository: ConfigRepository, worker: Worker
) -> None:
    m = Scripted(repository, worker)

    def forget() -> None:
        with journal.opened(StateLayout(str(worker.state)).journal) as book, book.together() as db:
            db.execute("UPDATE mirror SET files_in = NULL, accepted_files = NULL, accepted_bytes = NULL")

    forget()
    m.does("rm -rf ./*")
    status, reason = m.run()
    assert (status, reason.partition(":")[0]) == ("refused", "no file is left")
    m.does("touch one")
    status, reason = m.run()
    assert (status, "are gone since the first look at the directory" in reason) == ("refused", True)
    assert m.run("--max-delete", "100%") == ("success", "")
    assert m.accepted() == (1, 0)


def test_after_an_upgrade_a_directory_that_was_always_empty_is_not_a_loss(
    repository: ConfigRepository, worker: Worker
) -> None:
    m = Scripted(repository, worker)
    m.does("rm -rf ./*")
    assert m.run("--max-delete", "100%") == ("success", "")
    with journal.opened(StateLayout(str(worker.state)).journal) as book, book.together() as db:
        db.execute("UPDATE mirror SET files_in = NULL, accepted_files = NULL, accepted_bytes = NULL, size = NULL")
    for _again in range(2):
        assert m.run() == ("success", "")


def test_an_accepted_loss_stays_accepted_where_folders_remain(repository: ConfigRepository, worker: Worker) -> None:
    m = Scripted(repository, worker)
    m.does("rm -f file-*; mkdir -p empty/folders")
    assert m.run()[0] == "refused"
    assert m.run("--max-delete", "100%") == ("success", "")
    for _again in range(2):
        assert m.run() == ("success", "")


def test_a_run_without_figures_ends_no_refusal_and_forgets_no_figures(
    repository: ConfigRepository, worker: Worker
) -> None:
    m = Scripted(repository, worker)
    blind = f"{LATER}provider: command\nupstream: https://files.example/\ncommand: {m.script}\nmeasure_size: false\n"
    m.does("rm -f file-[1-7]*")
    assert m.run()[0] == "refused"
    repository.commit({"m.yml": blind}, "Measure nothing")
    worker.command("follow")
    unknown = "the figures are unknown, and the loss of the last refused run is still not accepted"
    for _again in range(2):
        assert m.run() == ("refused", f"{unknown}. {ACCEPT}")
    assert m.accepted() == (FILES, FILES * 8)
    assert m.run("--max-delete", "100%") == ("success", "")
    assert m.run() == ("success", "")


def test_the_first_run_on_a_filled_directory_may_not_empty_it(repository: ConfigRepository, worker: Worker) -> None:
    (worker.root / "m/deep").mkdir(parents=True)
    (worker.root / "m/deep/file").write_text("from tunasync's time")
    text = f"{LATER}provider: command\nupstream: https://files.example/\ncommand: sh -c 'rm -rf ./*'\n"
    repository.commit({"m.yml": text}, "Add m")
    worker.command("once", check=False)
    run = worker.run_of("m")
    gone = "no file is left: 1 of 1 files (20 B) are gone since the first look at the directory"
    assert (run.status, run.reason) == ("refused", f"{gone}. {ACCEPT}")


def test_another_provider_neither_ends_a_refusal_nor_hides_the_loss_of_a_failed_run(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker
) -> None:
    m = Scripted(repository, worker)
    shutil.rmtree(tree)
    tree.mkdir()
    for number in range(10):
        (tree / f"file-{number}").write_text("content\n")
    m.does("rm -f file-[1-9]?; exit 1")
    assert m.run()[0] == "failed"
    done = f"exec_on_success: [sh -c 'echo >> {m.published}']\n"
    repository.commit({"m.yml": f"{LATER}upstream: {upstream.url('files')}\n{done}"}, "Take rsync")
    worker.command("follow")
    figures = "70 of 80 files (560 B) are gone since the last accepted success; `max_delete: 50%` allows 40"
    for _again in range(2):
        assert m.run() == ("refused", f"{figures}. {ACCEPT}")
    assert (m.accepted(), m.lines()[0]) == ((FILES, FILES * 8), 1)
    assert m.run("--max-delete", "100%") == ("success", "")
    assert (m.accepted(), m.lines()[0]) == ((10, 80), 2)
    assert m.run() == ("success", "")


def test_a_stopped_deletion_stays_stopped_after_a_rename_and_next_shows_the_command(
    repository: ConfigRepository, worker: Worker
) -> None:
    m = Scripted(repository, worker)
    m.does("rm -rf ./*")
    assert m.run()[0] == "refused"
    text = f"{LATER}provider: command\nupstream: https://files.example/\ncommand: {m.script}\n"
    repository.commit({"m.yml": None, "n.yml": f"{text}formerly: [m]\nmirror_dir: {worker.root}/m\n"}, "Call it n")
    worker.command("follow")
    worker.command("run", "n", check=False)
    figures = "no file is left: 80 of 80 files (640 B) are gone since the last accepted success"
    accept = "If that is right, run `skipjack run n --max-delete 100%`"
    assert worker.run_of("n").reason == f"{figures}. {accept}"
    assert upcoming(worker)["n"]["why"].endswith(f"; last run refused: {figures}. {accept}")


def test_the_operators_permission_holds_for_one_run_that_ends_as_a_success(
    repository: ConfigRepository, worker: Worker
) -> None:
    m = Scripted(repository, worker)
    m.does("rm -rf ./*; exit 1")
    assert m.run("--max-delete", "100%")[0] == "failed"
    m.does("rm -rf ./*; kill -9 $PPID; exit 0")
    m.run("--max-delete", "100%")
    worker.command("tick")
    status(worker, "m", "interrupted")
    m.does("exit 0")
    assert m.run()[1].startswith("no file is left: 80 of 80 files")
    assert m.accepted() == (FILES, FILES * 8)


def test_a_walk_takes_the_place_of_measuring_in_the_background(repository: ConfigRepository, worker: Worker) -> None:
    Scripted(repository, worker)
    assert worker.run_of("m").size == FILES * 8
    with journal.opened(StateLayout(str(worker.state)).journal) as book:
        assert not book.needs_size("m", time.time())


def test_an_empty_upstream_that_was_accepted_is_not_a_loss_afterwards(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker
) -> None:
    repository.commit({"m.yml": f"{LATER}upstream: {upstream.url('files')}\n"}, "Add m")
    worker.command("once")
    shutil.rmtree(tree)
    tree.mkdir()
    worker.command("run", "m", check=False)
    assert worker.run_of("m").status == "refused"
    worker.command("run", "m", "--max-delete", "100%")
    assert list((worker.root / "m").iterdir()) == []
    worker.command("run", "m")


def test_a_command_that_takes_an_rsyncs_place_is_compared_with_what_that_left(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    repository.commit({"m.yml": f"{LATER}upstream: {upstream.url('files')}\n"}, "Add m")
    worker.command("once")
    files = len([path for path in (worker.root / "m").rglob("*") if path.is_symlink() or path.is_file()])
    command = "sh -c 'rm -r folder-0 folder-1 folder-2'"
    text = f"{LATER}provider: command\nupstream: https://files.example/\ncommand: {command}\n"
    repository.commit({"m.yml": text}, "Take a script")
    worker.command("follow")
    worker.command("run", "m", check=False)
    run = worker.run_of("m")
    assert (run.status, f"30 of {files} files (" in run.reason) == ("refused", True), run


def test_an_acceptance_is_never_dropped_for_want_of_a_slot(repository: ConfigRepository, worker: Worker) -> None:
    m = Scripted(repository, worker)
    (worker.folder / "gate").mkdir()
    gate = Gate(worker.folder / "gate")
    repository.commit(
        {"_workers.yml": "workers:\n  w1: {slots: 1}\n", "busy.yml": gate.mirror()}, "Let one sync at a time"
    )
    worker.command("follow")
    m.does("rm -rf ./*")
    assert m.run()[0] == "refused"
    worker.command("tick")
    syncing(worker, gate, "busy")
    before = worker.run_of("m").id
    for words in (("--max-delete", "100%"), ("--from-empty",)):
        done = worker.command("run", "m", *words, check=False)
        assert done.returncode == 1
        assert (
            "all slots are busy, and `--max-delete` and `--from-empty` apply only to a run that starts now"
            in done.stderr
        )
    assert (worker.run_of("m").id, worker.states()["m"]) == (before, "refused")
    gate.open.touch()
    status(worker, "busy", "success")
    assert m.run("--max-delete", "100%") == ("success", "")
