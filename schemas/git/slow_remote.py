"""Fetch from a slow remote repository: after a timeout the next fetch gets more time and proceeds in steps.

git cannot resume an interrupted pack. But the newest commit, and then more and more of the history before it, are
separate fetches, and the result of each step stays.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from schemas.backoff import doubled
from schemas.git.checkout import is_shallow
from schemas.git.git_command import Git, GitFailed
from schemas.regular_files import read_beginning, replace_regular
from schemas.units import setting_duration

MOST = 600
"""Seconds up to which the timeout is raised above the setting: a follow may take 15 minutes in all."""

_FIRST_STEP = 16
_NO_SHALLOW = "shallow"
"""A word in the errors of servers and transports that do not support shallow fetches."""


class FetchTimeout:
    """The timeout of a fetch, doubled after each timeout; a file in `folder` keeps the count."""

    def __init__(self, folder: Path, timeout: int) -> None:
        self._file = folder / "slow"
        self._timeout = timeout
        self.failures = self._read()

    @property
    def limit(self) -> int:
        """Seconds for this fetch."""
        return max(self._timeout, min(doubled(self._timeout, self.failures + 1), MOST))

    @property
    def first_step(self) -> int:
        """Commits of history that the first step fetches: fewer after each timeout."""
        return max(1, _FIRST_STEP >> max(0, self.failures - 1))

    def ran_out(self) -> None:
        """Count a timeout. If the file cannot be written, the next fetch does not get more time."""
        self.failures += 1
        with suppress(OSError):
            replace_regular(self._file, f"{self.failures}\n")

    def was_enough(self) -> None:
        """Reset the count after a fetch without a timeout."""
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
    """Return whether a fetch has stored something in the repository in a folder."""
    return (folder / into).exists()


def in_steps(made: Callable[[float], Git], timeout: FetchTimeout, url: str, reference: str, into: str) -> bool:
    """Fetch a reference in steps, or continue to, within `timeout`; `made` returns a Git with a limit in seconds.

    Returns False if the remote repository does not support shallow fetches. Raises GitFailed; the results of the
    steps before it stay.
    """
    limit = timeout.limit
    until = time.monotonic() + limit
    too_long = f"it took longer than {setting_duration(limit)}"

    def step(*options: str) -> None:
        left = until - time.monotonic()
        if left < 1:  # timeout(1) gets whole seconds, and takes 0 for no limit
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
    commits, before = timeout.first_step, b""
    # A step that moves nothing ends this: a shallow remote repository has no older commits.
    while is_shallow(folder) and (end := (folder / "shallow").read_bytes()) != before:
        began = time.monotonic()
        step(f"--deepen={commits}")
        now = time.monotonic()
        commits, before = _next_step(commits, now - began, until - now), end
    return True


def _next_step(commits: int, took: float, left: float) -> int:
    """Return how many commits to fetch next, after so many `took` those seconds.

    They should need half of the time that is left, since a step with a timeout stores nothing.
    """
    return max(1, min(2 * commits, int(commits * left / 2 / max(took, 0.001))))
