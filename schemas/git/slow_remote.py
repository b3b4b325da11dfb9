"""Remote repositories that one fetch's time is too short for: the next one gets more time, and goes on in steps.

git cannot go on with a pack that was cut off. But the newest commit alone, and then ever more of the history before it,
are fetches of their own, and what such a step has brought stays.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from schemas.git.checkout import is_shallow
from schemas.git.git_command import Git, GitFailed
from schemas.regular_files import read_beginning, regular
from schemas.units import setting_duration

MOST = 600
"""Seconds for which a fetch is never given more time than the settings say: a follow may take 15 minutes in all."""

_FIRST_STEP = 16
_NO_SHALLOW = "shallow"
"""What servers and transports that know no cut-off histories say."""


class FetchTimeout:
    """How much time a fetch has: twice that of the one before, after each that took too long. `folder` remembers it."""

    def __init__(self, folder: Path, timeout: int) -> None:
        self._file = folder / "slow"
        self._timeout = timeout
        self.failures = self._read()

    @property
    def limit(self) -> int:
        """Seconds for this fetch."""
        return max(self._timeout, min(self._timeout << min(self.failures, 16), MOST))

    @property
    def first_step(self) -> int:
        """How many commits of history a fetch asks for first: fewer after each that took too long."""
        return max(1, _FIRST_STEP >> max(0, self.failures - 1))

    def ran_out(self) -> None:
        """Remember that a fetch took too long. Where that cannot be written the next one has no more time."""
        self.failures += 1
        aside = self._file.with_name("slow.new")
        with suppress(OSError):
            with open(aside, "w", encoding="ascii", opener=regular) as file:
                file.write(f"{self.failures}\n")
            aside.replace(self._file)

    def was_enough(self) -> None:
        """Remember that a fetch has ended in time."""
        if self.failures:
            self.failures = 0
            with suppress(OSError):
                self._file.unlink()

    def _read(self) -> int:
        try:
            return max(0, int(read_beginning(self._file, 20)))
        except (OSError, ValueError):
            return 0


def is_begun(folder: Path, into: str) -> bool:
    """Whether a fetch has brought something into the repository in a folder."""
    return (folder / into).exists()


def in_steps(made: Callable[[float], Git], patience: FetchTimeout, url: str, reference: str, into: str) -> bool:
    """Fetch a reference into a repository, or go on with that, as long as `patience` allows; `made` gives a git that
    may take so many seconds.

    False when the remote repository cannot give a part of its history. Raises GitFailed; what the steps before have
    brought then stays.
    """
    limit = patience.limit
    until = time.monotonic() + limit
    too_long = f"it took longer than {setting_duration(limit)}"

    def step(*options: str) -> None:
        left = until - time.monotonic()
        if left < 1:
            raise GitFailed(too_long, timed_out=True)
        try:
            made(left).fetch(url, reference, into, *options)
        except GitFailed as failure:
            if not failure.timed_out:
                raise
            raise GitFailed(too_long, status=failure.status, timed_out=True) from failure

    folder = made(limit).folder
    if is_begun(folder, into) and not is_shallow(folder):
        step()
        return True
    if not is_shallow(folder):
        try:
            step("--depth=1")
        except GitFailed as failure:
            if _NO_SHALLOW in failure.reason:
                return False
            raise
    commits, before = patience.first_step, b""
    while is_shallow(folder) and (end := (folder / "shallow").read_bytes()) != before:
        began = time.monotonic()
        step(f"--deepen={commits}")
        now = time.monotonic()
        commits, before = _next_step(commits, now - began, until - now), end
    return True


def _next_step(commits: int, took: float, left: float) -> int:
    """How many commits to fetch next, after so many `took` those seconds: what should need half of the time that is
    left, since a step that takes too long brings nothing."""
    return max(1, min(2 * commits, int(commits * left / 2 / max(took, 0.001))))
