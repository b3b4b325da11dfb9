"""`make figures`: how much and how fast, each figure beside a baseline that is measured in the same minute.

`make bench` (`compare.py`) tells whether a change costs anything.

Absolute figures drift with the machine's mood; quote the ratios. Nothing here is asserted.
"""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.bench import (
    fleet,
    forecast,
    idle_day,
    idle_tick,
    ingest,
    long_polls,
    publish,
    reads,
    run_cost,
    run_to_page,
    sync,
    units,
    validate,
)
from tests.e2e.parts import REPOSITORY, end_on_signals

FOLDER = REPOSITORY / "build" / "figures"


def main() -> int:
    """Run every benchmark in turn."""
    end_on_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    shutil.rmtree(FOLDER / "data", ignore_errors=True)
    (FOLDER / "data").mkdir(parents=True)
    installed = _installed()
    idle_tick.measure(FOLDER / "data" / "idle", installed)
    idle_day.measure(FOLDER / "data" / "day", installed)
    forecast.measure(FOLDER / "data" / "forecast", installed)
    sync.measure(FOLDER / "data" / "sync", installed)
    run_cost.measure(FOLDER / "data" / "cost", installed)
    run_to_page.measure(FOLDER / "data" / "page")
    publish.measure(FOLDER / "data" / "publish")
    ingest.measure(FOLDER / "data" / "ingest")
    fleet.measure(FOLDER / "data" / "fleet")
    long_polls.measure(FOLDER / "data" / "polls")
    reads.measure(FOLDER / "data" / "reads")
    units.measure(FOLDER / "data" / "units")
    validate.measure(FOLDER / "data" / "validate", installed)
    shutil.rmtree(FOLDER / "data")
    return 0


def _installed() -> Path:
    """The Python of a virtual environment with Skipjack installed as users have it (not editable)."""
    venv = FOLDER / "venv"
    print(f"installing into {venv.relative_to(REPOSITORY)}")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
    constraints = ["--constraint", str(REPOSITORY / "constraints.txt")]
    pip = [str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", *constraints]
    subprocess.run([*pip, str(REPOSITORY)], check=True)
    return venv / "bin/python"


if __name__ == "__main__":
    sys.exit(main())
