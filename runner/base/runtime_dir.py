"""The run directory (`run_dir`): progress and the courier's socket, which need not survive a reboot.

Runs and reports do not depend on it, so a program that cannot use it logs that and continues.
"""

import os

from schemas.errors import SkipjackError
from schemas.user_names import name_of

_AT_BOOT = "A reboot empties /run: let root create the folder at boot, as the lines of `skipjack install --cron` do."


def make(path: str) -> SkipjackError | None:
    """Create the folder if it is missing; return the error if it cannot be used."""
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
    except OSError as error:
        return _missing(path, error.strerror or str(error))
    if os.access(path, os.W_OK | os.X_OK):
        return None
    todo = f"Give it to the worker's user as root: `chown -R {name_of(os.geteuid())}: {path}`."
    return _missing(path, "it belongs to another user", todo)


def _missing(path: str, why: str, todo: str = _AT_BOOT) -> SkipjackError:
    return SkipjackError(f"cannot use the run folder {path}: {why}. Live progress is not shown.", todo)
