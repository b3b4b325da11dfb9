"""`make soak`: kill processes at random moments, for as long as you like, and see whether anything is lost or doubled.

    python -m tests.soak [--deaths N] [--seed N]

The seed decides whom and when; what the processes are doing then is up to the machine.
"""

import argparse
import random
import signal
import sys
import tempfile
from pathlib import Path

from tests.e2e.parts import end_on_signals
from tests.soak.killing import soak


def main() -> int:
    """Soak and give the exit code: 1 when anything was not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Random deaths.")
    parser.add_argument("--deaths", type=int, default=200, help="default: 200")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="default: a new one each time")
    arguments = parser.parse_args()
    end_on_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    _tell(f"seed {arguments.seed}")
    folder = Path(tempfile.mkdtemp(prefix="skipjack-soak-"))
    result = soak(folder, arguments.deaths, arguments.seed, _tell)
    for problem in result.problems:
        _tell(f"WRONG: {problem}")
    runs = ", ".join(f"{count} {status}" for status, count in result.ends.most_common())
    deaths = ", ".join(f"{count} {kind}" for kind, count in sorted(result.deaths.items()))
    _tell(f"{result.deaths.total()} deaths ({deaths}) in {result.seconds:.0f} s")
    _tell(f"{result.ends.total()} runs ({runs}); {len(result.problems)} problems; all files are in {folder}")
    return 1 if result.problems else 0


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
