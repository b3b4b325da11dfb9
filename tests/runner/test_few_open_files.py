"""The lean programs with few open files (`ulimit -n`): they end with 1, and say that this is the reason."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from runner.base.mirror_paths import Paths
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.plan import plan
from runner.plan.plan import Header, Planned
from runner.subprocesses import spawn
from schemas.records import Mirror


@pytest.fixture
def layout(tmp_path: Path) -> StateLayout:
    made = StateLayout(str(tmp_path / "state"))
    Path(made.state_dir).mkdir()
    mirror = Mirror("m", "w1", "command", "https://x.example/", command="/bin/true", cron="0 0 29 2 *")
    paths = Paths(f"{tmp_path}/m", str(tmp_path), f"{tmp_path}/log")
    plan.write(made.plan, Header("w1", 1, "a" * 40, "a" * 40, "x", str(tmp_path)), [Planned(mirror, paths, "a" * 40)])
    with journal.opened(made.journal):
        return made


@pytest.mark.parametrize("limit", [5, 6, 7])
@pytest.mark.parametrize("program", ["run", "tick"])
def test_the_limit_is_the_reason(layout: StateLayout, program: str, limit: int) -> None:
    """Without this SQLite's failure was reported as a full disk, a damaged plan, or a bug."""
    words = spawn.lean(program, layout.state_dir, *(["m"] if program == "run" else []))
    # Under `make coverage` the program would also be measured, and open more files.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    line = ["sh", "-c", f"ulimit -n {limit}; exec {shlex.join(words)}"]

    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=env)

    assert done.returncode == 1, done.stderr
    assert "aise the limit (`ulimit -n`" in done.stderr
    assert "Traceback" not in done.stderr
