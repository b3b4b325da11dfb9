"""Where the worker keeps its things: every path below the state folder, in one place.

A plain class in a module without imports of weight: even an idle tick loads it.
"""

import os

DELETIONS = ".deletions."
"""How files of `runner.providers.deletion_record` begin; a mirror's name follows."""


class StateLayout:
    """The files of one worker; `state_dir` is all that the lean programs need to be told.

    - `plan`: what the newest valid configuration means for this worker; written by follow alone.
    - `journal`: states, runs and the outbox.
    - `agenda`: how long there is nothing to do, as the last tick found; may be deleted at any time.
    - `checkout`: the clone of the config repository.
    - `launcher`: which service manager runs are units of; written by `skipjack install` alone.
    - `containers`: a file for each mirror that may have one, while it may.
    - `units`: which of the units that start our programs are dead, as they were last checked.
    - `rejected`: what the manager rejected of late; written by the courier alone.
    - `notes`: what the last follow found wrong on this machine; see `runner/follow/noted.py`.
    - `unreported`: why the manager takes no reports, and since when; written by the courier alone.
    - `messages`: what ticks and runs said that neither a terminal nor systemd listened to.
    - `home`: the home of programs whose user has none that is out of the mirrors' reach.
    """

    OWN = (
        "plan.db", "journal.db", "agenda", "checkout", "launcher", "containers", "messages.log", "home", "locks",
        "wishes", "rejected",
    )  # fmt: skip
    """The names of what lies there, which no mirror may have as its directory."""

    def __init__(self, state_dir: str) -> None:
        self.state_dir = state_dir
        self.plan = os.path.join(state_dir, "plan.db")
        self.journal = os.path.join(state_dir, "journal.db")
        self.next_wake = os.path.join(state_dir, "agenda")
        self.checkout = os.path.join(state_dir, "checkout")
        self.launcher = os.path.join(state_dir, "launcher")
        self.containers = os.path.join(state_dir, "containers")
        self.units = os.path.join(state_dir, "units")
        self.rejected = os.path.join(state_dir, "rejected")
        self.notes = os.path.join(state_dir, "notes")
        self.unreported = os.path.join(state_dir, "unreported")
        self.messages = os.path.join(state_dir, "messages.log")
        self.home = os.path.join(state_dir, "home")

    def forget_deletions(self, kept: set[str]) -> None:
        """Remove what runs of mirrors other than these were about to delete when they were killed."""
        for name in os.listdir(self.state_dir):
            if name.startswith(DELETIONS) and name.removeprefix(DELETIONS).removesuffix(".new") not in kept:
                try:
                    os.unlink(os.path.join(self.state_dir, name))
                except OSError:
                    continue  # the next follow tries again

    def start_request(self, name: str) -> str:
        """The file by which a program is asked for under systemd."""
        return os.path.join(self.state_dir, "wishes", name)

    def containers_left(self) -> list[str]:
        """The mirrors that may have a container, their runs at work or not."""
        try:
            return [name for name in os.listdir(self.containers) if not name.startswith(".")]
        except FileNotFoundError:
            return []

    def has_container(self, name: str) -> bool:
        """Whether a mirror may have a container."""
        return os.path.exists(os.path.join(self.containers, name))

    def lock(self, kind: str, name: str) -> str:
        """The lock file of a kind (`supervisor`, `mirror`, `slot`, `program`) for one name."""
        return os.path.join(self.state_dir, "locks", kind, name)

    def next_tick(self, *, only_requested: bool) -> str:
        """The lock of the tick that waits for the one at work: one that starts only what was asked for by name, or
        one that starts all that is due."""
        return self.lock("program", "next-requested-tick" if only_requested else "next-tick")
