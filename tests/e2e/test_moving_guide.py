"""docs/moving.md, command by command: two workers of tunasync move one after the other, beside a server that answers as
its manager does."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from runner.base.state_dir import StateLayout
from runner.journal import journal
from tests import prepared
from tests.docs.pages import blocks, commands
from tests.e2e.gate import upcoming
from tests.e2e.parts import BIN, ConfigRepository, RsyncDaemon, Worker, wait_until
from tests.e2e.tunasync_model import ZERO, Model

PAGE = "docs/moving.md"
TUNASYNC = """\
[global]
name = "{name}"
mirror_dir = "{folder}/srv"
log_dir = "{folder}/logs/{{{{.Name}}}}"
concurrent = 2
interval = 120

[[mirrors]]
name = "both"
upstream = "{upstream}"
role = "{role}"

[[mirrors]]
name = "{name}-late"
upstream = "{upstream}"

[[mirrors]]
name = "{name}-off"
upstream = "{upstream}"
"""
ON_THE_MACHINE = ("skipjack install ", "systemctl ")
"""Commands that change the machine: tests/system/test_migration.py gives them on one of its own."""


class MovingSite:
    """A site of two workers, the folder in which an admin gives the commands, and tunasync's manager."""

    def __init__(
        self, folder: Path, repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, model: Model
    ) -> None:
        self.folder, self._repository, self._model = folder / "admin", repository, model
        self._tree = tree
        self.folder.mkdir()
        self.workers = {name: Worker(folder / name, name, repository.url) for name in ("alpha", "beta")}
        for name, worker in self.workers.items():
            (worker.folder / "policy.yml").unlink()
            role = "master" if name == "alpha" else "slave"
            text = TUNASYNC.format(name=name, folder=worker.folder, upstream=upstream.url("files"), role=role)
            (self.folder / f"{name}.conf").write_text(text)
            self._begin(name)

    def _begin(self, name: str) -> None:
        """Let tunasync's worker have synced its mirrors: what it told its manager, and its files."""
        never = {"last_online": ZERO, "last_register": ZERO}
        self._post("/workers", {"id": name, "url": "http://localhost:6000/", "token": ""} | never)
        for mirror, hours in (("both", 0.5), (f"{name}-late", 3), (f"{name}-off", 0.5)):
            for word in ("pre-syncing", "syncing", "success"):
                self._post(f"/workers/{name}/jobs/{mirror}", self._job(name, mirror, word))
            at = datetime.now(UTC) - timedelta(hours=hours)
            job = self._model.jobs[name, mirror]
            job |= dict.fromkeys(("last_update", "last_ended"), at.strftime("%Y-%m-%dT%H:%M:%S.%f000Z"))
            job["next_schedule"] = (at + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
            files = self.workers[name].folder / "srv" / mirror
            shutil.copytree(self._tree, files, symlinks=True)
            (files / "file of tunasync").touch()
        self._post(f"/workers/{name}/jobs/{name}-off", self._job(name, f"{name}-off", "disabled"))

    def _job(self, worker: str, mirror: str, word: str) -> dict[str, Any]:
        job = {"name": mirror, "worker": worker, "is_master": True, "status": word, "error_msg": ""}
        return job | {"upstream": "rsync://up.example.org/files/", "size": "1.23G" if word == "success" else "unknown"}

    def _post(self, path: str, body: dict[str, Any]) -> None:
        requests.post(f"{self._model.url}{path}", json=body, timeout=300).raise_for_status()

    def give(self, number: int, name: str = "alpha") -> dict[str, str]:
        """Give the commands of a block of the page for a worker; gives the output of each."""
        block = blocks(PAGE, "sh")[number]
        said = {}
        for command in commands(block):
            if not command.startswith(ON_THE_MACHINE):
                said[command] = self._run(self._here(command, name), name)
        return said

    def _here(self, text: str, name: str) -> str:
        """A text of the page with the places of this test."""
        text = text if name == "alpha" else text.replace("alpha", name)
        text = text.replace("git@git.example.org:mirrors.git main", f"{self._repository.remote} +main")
        text = text.replace("git@git.example.org:mirrors.git", self._repository.url)
        text = text.replace("http://manager.example.org:14242", self._model.url)
        return text.replace("/etc/skipjack/runner.yml", str(self.workers[name].settings))

    def _run(self, command: str, name: str) -> str:
        words = shlex.split(command)
        if words[0] == "skipjack":
            own = [] if words[1] in ("import", "validate") else ["--settings", str(self.workers[name].settings)]
            done = prepared.run([str(BIN / "skipjack"), *words[1:], *own], timeout=300, cwd=self.folder)
        else:
            identity = ["-c", "user.name=Ada", "-c", "user.email=ada@mirrors.example"]
            words[1:1] = identity if words[0] == "git" else []
            done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return str(done.stdout)

    def set_up(self, name: str) -> None:
        """Change the settings as the page says, and keep the worker's state in the folder of this test."""
        (block,) = blocks(PAGE, "yaml")
        path, worker = self.folder / f"{name}-runner.yml", self.workers[name]
        settings = yaml.safe_load(path.read_text()) | yaml.safe_load(self._here(block.text, name))
        assert (settings["worker"], settings["start"]) == (name, "held")
        settings |= {"state_dir": str(worker.state), "run_dir": f"{worker.folder}/run"}
        path.write_text(yaml.safe_dump(settings | {"policy": f"{worker.folder}/policy.yml"}))

    def wait_for_run(self, name: str, mirror: str) -> None:
        """Wait until a mirror was synced by its new worker; before that it has the state of the old one."""

        def has_ended() -> bool:
            with journal.opened(StateLayout(str(self.workers[name].state)).journal) as book:
                run = book.last_run(mirror)
            return run is not None and run.status == "success"

        wait_until(has_ended, f"{mirror} was synced")

    def report(self, name: str) -> None:
        """Let a worker report until tunasync's manager shows the states that it has."""

        def is_shown() -> bool:
            self.workers[name].command("courier")
            shown = {mirror: job["status"] for mirror, job in self.shown(name).items()}
            return shown == self.workers[name].states()

        wait_until(is_shown, f"the manager shows the states of {name}")

    def shown(self, name: str) -> dict[str, dict[str, Any]]:
        """What tunasync's manager shows of a worker's mirrors."""
        return {mirror: dict(job) for (worker, mirror), job in self._model.jobs.items() if worker == name}


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as model:
        yield model


def test_a_site_moves_worker_by_worker(
    tmp_path: Path, repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, model: Model
) -> None:
    site = MovingSite(tmp_path, repository, upstream, tree, model)
    site.give(0)
    for name in ("alpha", "beta"):
        elsewhere = "beta" if name == "alpha" else "alpha"
        before, untouched = site.shown(name), site.shown(elsewhere)
        worker = site.workers[name]
        folders = {path.name: path.stat().st_ino for path in (worker.folder / "srv").iterdir()}
        site.set_up(name)

        site.give(1, name)
        assert worker.states() == {}, "the trial changes nothing"
        said = site.give(2, name)

        late = f"{name}-late"
        assert "taken over: 3 of 3 mirrors" in next(text for command, text in said.items() if "takeover" in command)
        site.wait_for_run(name, late)
        site.report(name)
        assert worker.states() == {"both": "success", late: "success", f"{name}-off": "disabled"}
        rows = upcoming(worker)
        there = datetime.fromisoformat(before["both"]["next_schedule"]).timestamp()
        assert 0 <= rows["both"]["at"] - there < 3600, "it runs next when tunasync would have run it"
        after = site.shown(name)
        assert after["both"]["last_update"] == before["both"]["last_update"], "no success that was not ours"
        assert after[late]["last_update"] > before[late]["last_update"]
        assert site.shown(elsewhere) == untouched
        srv = worker.folder / "srv"
        assert {path.name: path.stat().st_ino for path in srv.iterdir()} == folders, "the files stay where they are"
        assert (srv / "both/file of tunasync").exists() and (srv / late / "folder-1").is_dir()
        assert not (srv / late / "file of tunasync").exists()
