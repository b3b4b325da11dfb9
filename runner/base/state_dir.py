"""The layout of the state directory: every path below it, in one place.

A plain class in a module with almost no imports, since every idle tick loads it.
"""

import os

DELETIONS = ".deletions."
"""The prefix of the files of `runner.providers.deletion_record`; a mirror's name follows, after `~` in a new file."""


class StateLayout:
    """The files of one worker. Its `state_dir` is the only argument that tick and run get about the machine.

    - `plan`: what this worker must do, from the newest valid configuration; written only by follow.
    - `journal`: states, runs and the outbox.
    - `next_wake`: until when there is nothing to do, a cache of the last tick; may be deleted at any time.
    - `checkout`: the clone of the config repository.
    - `launcher`: the service manager that runs are units of; written only by `skipjack install`.
    - `containers`: a marker file for each mirror that may have a container now.
    - `units`: the units of our programs that had failed at the last check.
    - `rejected`: what the manager rejected lately; written only by the courier.
    - `notes`: problems of this machine that the last follow found; see `runner/follow/noted.py`.
    - `unreported`: why and since when the manager takes no reports; written only by the courier.
    - `leftovers`: how many things were without a definition when follow counted them last.
    - `messages`: the log of ticks and runs that have neither a terminal nor systemd.
    - `patterns`: copies of pattern files, in a folder for each mirror that has a run now.
    - `repository_patterns`: pattern files of the config repository, each by git's name of its content; written only by
      follow, and read by runs.
    - `home`: `HOME` for programs if mirrors could write to the home of the worker's user.
    - `locks`: the lock files, in a folder for each kind.
    - `start_requests`: files that path units of systemd watch.
    """

    def __init__(self, state_dir: str) -> None:
        self.state_dir = state_dir
        self.plan = os.path.join(state_dir, "plan.db")
        self.journal = os.path.join(state_dir, "journal.db")
        # "agenda" and "wishes" stay as the first release named them: installed path units watch "wishes".
        self.next_wake = os.path.join(state_dir, "agenda")
        self.checkout = os.path.join(state_dir, "checkout")
        self.launcher = os.path.join(state_dir, "launcher")
        self.containers = os.path.join(state_dir, "containers")
        self.units = os.path.join(state_dir, "units")
        self.rejected = os.path.join(state_dir, "rejected")
        self.notes = os.path.join(state_dir, "notes")
        self.unreported = os.path.join(state_dir, "unreported")
        self.leftovers = os.path.join(state_dir, "leftovers")
        self.messages = os.path.join(state_dir, "messages.log")
        self.home = os.path.join(state_dir, "home")
        self.patterns = os.path.join(state_dir, "patterns")
        self.repository_patterns = os.path.join(state_dir, "repository-patterns")
        self.locks = os.path.join(state_dir, "locks")
        self.start_requests = os.path.join(state_dir, "wishes")

    def own(self) -> list[str]:
        """Return the files and folders that no definition may use as a mirror's directory, logs or snapshot."""
        return [path for name, path in vars(self).items() if name != "state_dir"]

    def beside_own(self) -> list[str]:
        """Return how the paths of further files begin: replacements, those of databases, and deletion records."""
        replacements = [f"{path}.new" for path in self.own()]
        of_databases = [f"{database}{mark}" for database in (self.plan, self.journal) for mark in "-."]
        return [*replacements, *of_databases, os.path.join(self.state_dir, DELETIONS)]

    def forget_deletions(self, kept: set[str]) -> None:
        """Remove the deletion records of all mirrors that are not `kept`; killed runs leave them behind."""
        for name in os.listdir(self.state_dir):
            if name.startswith(DELETIONS) and name.removeprefix(DELETIONS).removeprefix("~") not in kept:
                try:
                    os.unlink(os.path.join(self.state_dir, name))
                except OSError:
                    continue  # the next follow tries again

    def pattern_copies(self, name: str) -> str:
        """Return the folder for the copies of the pattern files of a mirror's run."""
        return os.path.join(self.patterns, name)

    def start_request(self, name: str) -> str:
        """Return the file that requests the start of a program under systemd."""
        return os.path.join(self.start_requests, name)

    def containers_left(self) -> list[str]:
        """Return the mirrors that may have a container, whether or not their runs are active."""
        try:
            return [name for name in os.listdir(self.containers) if not name.startswith(".")]
        except FileNotFoundError:  # no mirror had a container yet
            return []

    def has_container(self, name: str) -> bool:
        """Return whether a mirror may have a container."""
        return os.path.exists(os.path.join(self.containers, name))

    def lock(self, kind: str, name: str) -> str:
        """Return the lock file of a kind (`supervisor`, `mirror`, `slot`, `program`) for one name."""
        return os.path.join(self.locks, kind, name)

    def next_tick(self, *, only_requested: bool) -> str:
        """Return the lock of the tick that waits for the active one.

        There are two: for a tick that launches only mirrors requested by name, and one that launches all that is due.
        """
        return self.lock("program", "next-requested-tick" if only_requested else "next-tick")
