"""Mirrors whose runs last until a test lets them end, and what is waited for while they do."""

import json
from pathlib import Path
from typing import Any

from tests.e2e.parts import Worker, wait_until


class Gate:
    """A provider that notes each start with its number of process, and waits for a file to be there."""

    def __init__(self, folder: Path) -> None:
        self.starts, self.open = folder / "starts", folder / "gate"
        self.script = folder / "script"
        self.script.write_text(
            f"#!/bin/sh\necho $TUNASYNC_MIRROR_NAME $$ >> {self.starts}\n"
            f"while [ ! -e {self.open} ]; do sleep 0.05; done\n"
        )
        self.script.chmod(0o755)

    def begun(self, name: str) -> list[int]:
        """The processes that began for a mirror, in order."""
        text = self.starts.read_text() if self.starts.exists() else ""
        return [int(line.split()[1]) for line in text.splitlines() if line.split()[0] == name]

    def mirror(self, more: str = "") -> str:
        """A definition with this provider."""
        return f"provider: command\nupstream: https://files.example/\ncommand: {self.script}\n{more}"


def syncing(worker: Worker, gate: Gate, name: str, times: int = 1) -> None:
    """Wait until a mirror is being synced, for the n-th time."""
    wait_until(lambda: len(gate.begun(name)) >= times, f"{name} is at work")
    wait_until(lambda: worker.states()[name] == "syncing", f"{name} is syncing")


def status(worker: Worker, name: str, expected: str) -> None:
    """Wait until a mirror has a status."""
    wait_until(lambda: worker.states().get(name) == expected, f"{name} is {expected}")


def upcoming(worker: Worker) -> dict[str, dict[str, Any]]:
    """What `skipjack next` says, by mirror."""
    return {row["mirror"]: row for row in json.loads(worker.command("next", "--json").stdout)["mirrors"]}
