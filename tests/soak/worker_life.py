"""A worker's life in fast motion: short intervals, timers that start whatever should be there, and a manager."""

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

from runner.subprocesses import spawn
from tests.e2e.parts import ConfigRepository, Manager, Worker, wait_until
from tests.soak import truth

SLOTS = 3
TICK_EVERY = 0.5
"""Seconds; a real timer starts one each minute."""

SCRIPTS = {
    "quick": "true\n",
    "slow": "sleep 0.7\n",
    "children": "setsid sleep 0.4 & sleep 0.2\nwait\n",
    "deaf": "trap '' TERM HUP\nfor i in 1 2 3 4 5 6; do sleep 0.1; done\n",
    # every other attempt fails; the flag lies in the mirror's directory
    "fails": "if [ -e flag ]; then rm flag; else touch flag; exit 7; fi\n",
    "again": "sleep 0.1\nif [ -e flag ]; then rm flag; else touch flag; exit 7; fi\n",
}
"""What the providers of the six mirrors do."""


class Life:
    """A worker with six mirrors on three slots, its lingering courier and its manager, while the `with` block runs."""

    def __init__(self, folder: Path) -> None:
        self.repository = ConfigRepository(folder)
        self.manager = Manager(folder / "m")
        self.worker = Worker(folder / "w", "w1", self.repository.url, self.manager)
        self.repository.commit(
            {
                "_site.yml": "title: Soak\n",
                "_workers.yml": f"workers: {{w1: {{slots: {SLOTS}}}}}\n",
                **{f"{name}.yml": self._mirror(name, text) for name, text in SCRIPTS.items()},
            },
            "Begin",
        )
        self.pace("1s")
        self._log = (folder / "soak.log").open("ab")
        self._children: list[subprocess.Popen[bytes]] = []
        self._courier: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._timers = threading.Thread(target=self._start_what_is_missing)

    def _mirror(self, name: str, text: str) -> str:
        script = truth.provider(self.worker.folder, f"script-{name}", text)
        retry = 2 if name == "again" else 1
        return f"provider: command\nupstream: https://files.example/\ncommand: {script}\nretry: {retry}\n"

    def pace(self, interval: str) -> None:
        """Give all mirrors an interval."""
        text = (
            f"worker: w1\nmin_free_space: 0B\nmeasure_size: false\ninterval: {interval}\njitter: 0s\nretry_delay: 0s\n"
        )
        self.repository.commit({"_defaults.yml": text}, f"Sync every {interval}")

    def __enter__(self) -> "Life":
        self.worker.command("follow")
        self.manager.start()
        self._timers.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        self._timers.join()
        for victim in (*self._children, *([self._courier] if self._courier else [])):
            victim.kill()
            victim.wait()
        self.manager.stop()
        for pid in (*self.of("run"), *self.of("tick")):
            self.end(pid)
        for pid in truth.providers(self.worker):
            self.end(pid)
        self._log.close()

    def _start_what_is_missing(self) -> None:
        """What systemd's timers and `Restart=` do."""
        while not self._over.wait(TICK_EVERY):
            self._children = [child for child in self._children if child.poll() is None]
            if len(self._children) < 8:
                words = spawn.lean("tick", str(self.worker.state))
                self._children.append(self._start(words))
            if self._courier is None or self._courier.poll() is not None:
                self._courier = self._start(self.worker.words("courier", "--linger", "--start"))
            if self.manager.process is not None and self.manager.process.poll() is not None:
                with contextlib.suppress(TimeoutError, RuntimeError):  # it was killed while it started
                    self.manager.start()

    def _start(self, words: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True
        )

    # Victims

    def of(self, kind: str) -> list[int]:
        """The processes of a kind: run, tick, provider, courier, manager or publisher."""
        if kind == "provider":
            return truth.providers(self.worker)
        state, settings = str(self.worker.state), str(self.worker.settings)
        marks, word = {
            "run": ((state, "entry.py"), "run"),
            "tick": ((state, "entry.py"), "tick"),
            "courier": ((settings,), "courier"),
            "manager": ((str(self.manager.settings),), "serve"),
            "publisher": ((str(self.manager.settings),), "publish"),
        }[kind]
        return [pid for pid, words in truth.processes(*marks).items() if word in words]

    def end(self, pid: int) -> bool:
        """Kill a process; return False if it has ended already."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return True
        return False

    # The end of the story

    def come_to_rest(self) -> None:
        """Wait until every mirror has succeeded again, then slow down and wait until nothing is active."""
        began = {run.mirror: run.id for run in truth.past(self.worker)}

        def succeeded() -> bool:
            self._give_up_launches()
            runs = truth.past(self.worker)
            return all(
                any(run.mirror == name and run.status == "success" and run.id > began.get(name, 0) for run in runs)
                for name in SCRIPTS
            )

        wait_until(succeeded, "every mirror goes on", 90)
        self.pace("1h")
        self.worker.command("follow")
        wait_until(self._is_at_rest, "nothing is at work", 90)

    def _is_at_rest(self) -> bool:
        self._give_up_launches()
        return "queued" not in self.worker.states().values() and not list(truth.leftovers(self.worker))

    def _give_up_launches(self) -> None:
        """Skip the half minute after which a launched run counts as failed."""
        if not self.of("run") and not self.of("tick"):
            statement = "UPDATE run SET launched_at = launched_at - 31 WHERE status = 'launching'"
            truth.execute(self.worker, statement)
