"""Where the worker keeps its things: every path below the state folder, in one place."""

import os
from typing import NamedTuple


class Places(NamedTuple):
    """The files of one worker; `state_dir` is all that the lean programs need to be told."""

    state_dir: str

    @property
    def plan(self) -> str:
        """What the newest valid configuration means for this worker; written by follow alone."""
        return os.path.join(self.state_dir, "plan.db")

    @property
    def journal(self) -> str:
        """States, runs and the outbox."""
        return os.path.join(self.state_dir, "journal.db")

    @property
    def agenda(self) -> str:
        """What the last tick found: how long there is nothing to do. May be deleted at any time."""
        return os.path.join(self.state_dir, "agenda")

    @property
    def checkout(self) -> str:
        """The clone of the config repository."""
        return os.path.join(self.state_dir, "checkout")

    @property
    def messages(self) -> str:
        """What runs and ticks said that were started by another program and not from a terminal or by systemd."""
        return os.path.join(self.state_dir, "messages.log")

    def lock(self, kind: str, name: str) -> str:
        """The lock file of a kind (`supervisor`, `mirror`, `slot`, `program`) for one name."""
        return os.path.join(self.state_dir, "locks", kind, name)
