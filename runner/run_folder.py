"""The run folder (`run_dir`): progress and the courier's socket, which a reboot may take away.

No run and no report depends on it, so a program that cannot have it says so and goes on.
"""

import os

from schemas.errors import SkipjackError


def make(path: str) -> SkipjackError | None:
    """Make the folder if it is missing; returns what is wrong when it cannot be had."""
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
    except OSError as error:
        return _missing(path, error.strerror or str(error))
    return None if os.access(path, os.W_OK | os.X_OK) else _missing(path, "it belongs to another user")


def _missing(path: str, why: str) -> SkipjackError:
    return SkipjackError(
        f"The run folder {path} cannot be used: {why}. Live progress is not shown.",
        "A reboot empties /run: let root make the folder at boot, as the lines of `skipjack install --cron` do.",
    )
