"""Processes are killed in each phase: nothing is lost or repeated, and the next tick continues.

The phases are named by the programs themselves, which wait where a test wants to end them.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base import locks
from schemas.states import ENDS
from tests import prepared
from tests.e2e.parts import PATIENCE, REPOSITORY, ConfigRepository, Manager, Worker, wait_until
from tests.soak import truth
from tests.soak.killing import soak
from tests.soak.truth import JournalRun

IN_A_RUN = ("begun", "pre_job", "pre_exec", "post_exec", "post_success", "post_fail", "ending", "ended")
MIRRORS = (*(phase.replace("_", "-") for phase in IN_A_RUN), "launched", "beginning", "run", "provider", "both", "deaf")


class Site:
    """A worker with a mirror for each test, which has run once, and the manager that it reports to."""

    def __init__(self, folder: Path, manager: Manager, repository: ConfigRepository) -> None:
        self.folder, self.manager = folder, manager
        self.worker = Worker(folder / "w", "w1", repository.url, manager)
        self.started: list[subprocess.Popen[str]] = []
        # `NAME.closed` keeps the provider at work, `NAME.fails` makes it fail
        name = f"{self.worker.folder}/$TUNASYNC_MIRROR_NAME"
        text = f"while [ -e {name}.closed ]; do sleep 0.02; done\n[ ! -e {name}.fails ]\n"
        script = truth.provider(self.worker.folder, "script", text)
        mirror = f"provider: command\nupstream: https://files.example/\ncommand: {script}\ninterval: 1h\nretry: 1\n"
        repository.commit(
            {
                "_site.yml": "title: Test Mirrors\n",
                "_workers.yml": "workers: {w1: {slots: 20}}\n",
                "_defaults.yml": "worker: w1\nmin_free_space: 0B\nmeasure_size: false\njitter: 0s\nretry_delay: 0s\n",
                **{f"{name}.yml": mirror for name in MIRRORS},
            },
            "Begin",
        )
        self.worker.command("once")

    def hold(self, phase: str, *words: str) -> subprocess.Popen[str]:
        """Start a program and wait until it has come to a phase, where it stays."""
        program = [sys.executable, "-m", "tests.soak.at_phase", phase, *words]
        process = subprocess.Popen(
            program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, start_new_session=True
        )
        self.started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == f"{phase}\n"
        return process

    def hold_run(self, phase: str, mirror: str, *number: str) -> subprocess.Popen[str]:
        """Hold a run of a mirror."""
        return self.hold(phase, "run", str(self.worker.state), mirror, *number)

    def runs(self, mirror: str) -> list[JournalRun]:
        """All runs of a mirror."""
        return [run for run in truth.past(self.worker) if run.mirror == mirror]

    def pass_time(self, mirror: str, seconds: int) -> None:
        """Let a mirror's past be longer ago."""
        truth.execute(
            self.worker, "UPDATE mirror SET last_ended_at = last_ended_at - ? WHERE name = ?", seconds, mirror
        )
        truth.execute(self.worker, "UPDATE run SET launched_at = launched_at - ? WHERE mirror = ?", seconds, mirror)

    def flag(self, mirror: str, name: str) -> Path:
        """A file that controls a mirror's provider."""
        return self.worker.folder / f"{mirror}.{name}"

    def goes_on(self, mirror: str) -> None:
        """Check that the next ticks bring a new success, and that the manager shows everything as it was."""
        dead = self.runs(mirror)[-1]
        self.pass_time(mirror, 61)
        self.worker.command("tick")
        wait_until(lambda: self.runs(mirror)[-1].status == "success" and self.runs(mirror)[-1].id > dead.id, "success")
        wait_until(lambda: not list(truth.leftovers(self.worker)), "all is at rest")
        assert list(truth.violations(self.worker)) == []
        self.worker.command("courier")
        wait_until(lambda: not list(truth.differences(self.worker, self.manager, [mirror])), f"{mirror} on its page")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("phases")
    repository = ConfigRepository(folder)
    with Manager(folder / "m") as manager:
        yield Site(folder, manager, repository)


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    # A tick that the end of a run has asked for may still be at work, and would start what a test makes due.
    wait_until(lambda: not truth.programs(shared.worker), "nothing is at work")
    yield shared
    for process in shared.started:
        kill(process)
    shared.started.clear()
    for pid in truth.providers(shared.worker):
        os.kill(pid, signal.SIGKILL)


def kill(process: subprocess.Popen[str]) -> None:
    """End it, if it has not ended, as nothing can prevent."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@pytest.mark.parametrize("phase", IN_A_RUN)
def test_a_killed_run(site: Site, phase: str) -> None:
    mirror = phase.replace("_", "-")
    if phase == "post_fail":
        site.flag(mirror, "fails").touch()
    run = site.hold_run(phase, mirror)
    at_work = site.runs(mirror)[-1]
    assert (at_work.status in ENDS) == (phase == "ended")

    kill(run)
    site.worker.command("tick")

    assert site.runs(mirror)[-1].status == ("success" if phase == "ended" else "interrupted")
    assert site.runs(mirror)[-1].attempts == (0 if phase in ("begun", "pre_job", "pre_exec") else 1)
    site.flag(mirror, "fails").unlink(missing_ok=True)
    if phase == "ended":
        site.pass_time(mirror, 3600)
    site.goes_on(mirror)
    assert len(site.runs(mirror)) == 3


def test_a_tick_killed_between_record_and_start(site: Site) -> None:
    site.pass_time("launched", 3601)
    kill(site.hold("launched", "tick", str(site.worker.state)))

    site.worker.command("tick")
    assert site.runs("launched")[-1].status == "launching", "it may yet come up"
    site.pass_time("launched", 31)
    site.worker.command("tick")

    assert site.runs("launched")[-1].status == "launch-failed"
    site.goes_on("launched")


def test_a_launched_run_killed_before_it_begins(site: Site) -> None:
    site.pass_time("beginning", 3601)
    kill(site.hold("launched", "tick", str(site.worker.state)))
    number = site.runs("beginning")[-1].id
    run = site.hold_run("beginning", "beginning", str(number))
    site.pass_time("beginning", 31)
    site.worker.command("tick")
    assert site.runs("beginning")[-1].status == "launching", "it holds its lock, so it may take any time"

    kill(run)
    site.worker.command("tick")

    assert site.runs("beginning")[-1].status == "launch-failed"
    site.goes_on("beginning")


@pytest.mark.parametrize("victims", ["run", "provider", "both"])
def test_a_provider_is_at_work(site: Site, victims: str) -> None:
    site.flag(victims, "closed").touch()
    run = site.worker.start("run", victims)
    group = wait_until(lambda: truth.providers(site.worker, victims), "the provider is at work")
    # the provider is killed first, so that its run cannot tell
    if victims == "both":
        os.kill(run.pid, signal.SIGSTOP)
    if victims in ("provider", "both"):
        os.killpg(os.getpgid(group[0]), signal.SIGKILL)
    if victims in ("run", "both"):
        run.kill()
    run.wait(PATIENCE)
    site.worker.command("tick")

    assert site.runs(victims)[-1].status == ("failed" if victims == "provider" else "interrupted")
    assert truth.providers(site.worker, victims) == []
    site.flag(victims, "closed").unlink()
    if victims == "provider":
        site.pass_time(victims, 3600)
    site.goes_on(victims)


def test_a_killed_run_that_was_ending_orphans_and_a_run_that_waits_are_not_orphans(site: Site) -> None:
    site.flag("deaf", "closed").touch()
    run = site.worker.start("run", "deaf")
    wait_until(lambda: truth.providers(site.worker, "deaf"), "the provider is at work")
    run.kill()
    run.wait()
    ender = site.hold("ending-orphans", "tick", str(site.worker.state))
    assert locks.is_held(site.worker.lock("supervisor", "deaf")), "no run may begin while orphans are ended"
    kill(ender)
    code = "import os, sys; os.open(sys.argv[1], os.O_RDWR); print('open', flush=True); sys.stdin.read()"
    words = [sys.executable, "-c", code, site.worker.lock("mirror", "deaf")]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as bystander:
        site.started.append(bystander)
        assert bystander.stdout is not None
        assert bystander.stdout.readline() == "open\n"

        site.worker.command("tick")

        assert bystander.poll() is None
        bystander.communicate("")
        assert bystander.returncode == 0
    assert truth.providers(site.worker, "deaf") == []
    assert site.runs("deaf")[-1].status == "interrupted"
    site.flag("deaf", "closed").unlink()
    site.goes_on("deaf")


@pytest.mark.parametrize("phase", ["sending", "sent"])
def test_a_killed_courier(site: Site, phase: str) -> None:
    site.worker.command("run", "run")
    waiting = site.worker.pending()
    assert waiting

    kill(site.hold(phase, "courier", str(site.worker.settings)))

    assert site.worker.pending() == waiting
    site.worker.command("courier")
    assert site.worker.pending() == 0
    wait_until(lambda: not list(truth.differences(site.worker, site.manager, ["run"])), "the page has each run once")


def test_all_die_at_once_at_every_phase(site: Site) -> None:
    mirrors = [phase.replace("_", "-") for phase in IN_A_RUN]
    site.flag("post-fail", "fails").touch()
    site.flag("run", "closed").touch()
    held = [site.hold_run(phase, mirror) for phase, mirror in zip(IN_A_RUN[:-2], mirrors, strict=False)]
    run = site.worker.start("run", "run")
    wait_until(lambda: truth.providers(site.worker, "run"), "the provider is at work")
    held.append(site.hold("sent", "courier", str(site.worker.settings)))
    held.append(site.hold_run("ending", "ending"))  # last: it keeps the journal to itself
    ids = {name: site.runs(name)[-1].id for name in (*mirrors[:-2], "run")}

    for process in held:
        kill(process)
    run.kill()
    site.manager.stop(signal.SIGKILL)
    run.wait()
    site.flag("post-fail", "fails").unlink()
    site.flag("run", "closed").unlink()
    site.manager.start()
    site.worker.command("tick")

    def ended() -> bool:
        return {site.runs(name)[-1].status for name in ids} == {"interrupted"}

    wait_until(ended, "all are settled")
    assert {name: site.runs(name)[-1].id for name in ids} == ids
    for name in ids:
        site.pass_time(name, 61)
    site.worker.command("tick")
    wait_until(lambda: {site.runs(name)[-1].status for name in ids} == {"success"}, "all go on")
    wait_until(lambda: not list(truth.leftovers(site.worker)), "all is at rest")
    assert list(truth.violations(site.worker)) == []
    site.worker.command("courier")
    wait_until(lambda: not list(truth.differences(site.worker, site.manager, list(MIRRORS))), "the pages tell it all")


@pytest.mark.parametrize("deaths", [3, pytest.param(20, marks=pytest.mark.release)])
def test_random_kills_lose_nothing_and_repeat_nothing(tmp_path: Path, deaths: int) -> None:
    """`make soak` does the same for longer. It finds the processes to kill by their command lines."""
    with prepared.out_of_use():
        result = soak(tmp_path, deaths=deaths, seed=6, tell=lambda _text: None)

    assert (result.problems, result.deaths.total()) == ([], deaths)
