"""A sync that is killed at one of its own steps: `python -m tests.runner.killed_sync FOLDER URL STEP`.

Steps are the calls that change the mirror's directory, and the starts of processes. Ends with 0 when there are fewer.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.subprocesses import supervisor
from tests.runner.syncing import Site


def main() -> int:
    """Sync until that step."""
    folder, url, step = sys.argv[1:]
    left = int(step)

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*words, **named)

        return call

    for name in ("unlink", "rmdir", "utime"):
        setattr(os, name, dying(getattr(os, name)))
    supervisor.run = dying(supervisor.run)
    site = Site(Path(folder), url)
    return 0 if site.sync(max_delete="100%").status == "success" else 1


if __name__ == "__main__":
    sys.exit(main())
