"""Start requests: files with which one program asks systemd to start another."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.base import start_requests
from runner.base.state_dir import StateLayout
from runner.subprocesses import spawn


def test_a_request_stays_until_it_is_taken(tmp_path: Path) -> None:
    layout = StateLayout(str(tmp_path))
    start_requests.leave(layout, "measure/debian")
    start_requests.leave(layout, "measure/debian")
    assert start_requests.pending(layout, "measure") == ["debian"]
    start_requests.take(layout, "measure/debian")
    start_requests.take(layout, "measure/debian")
    assert start_requests.pending(layout, "measure") == []


def test_a_request_that_cannot_be_removed_slows_its_program_down(tmp_path: Path) -> None:
    layout = StateLayout(str(tmp_path))
    (Path(layout.start_request("tick")) / "x").mkdir(parents=True)
    began = time.monotonic()
    start_requests.take(layout, "tick")
    assert time.monotonic() - began >= start_requests.UNTAKEN_PAUSE


@pytest.mark.parametrize("idle", [True, False])
def test_a_tick_stays_active_after_its_work_while_its_request_cannot_be_removed(tmp_path: Path, idle: bool) -> None:
    """The path unit would start it about 50 times a minute. Root may remove every file, so the answer is replaced."""
    layout = StateLayout(str(tmp_path))
    start_requests.leave(layout, "start")
    code = f"""
import os
from runner.base import start_requests
from runner.tick import entry
os.access = lambda path, _mode: path != {layout.start_requests!r}
start_requests.take = lambda *_words: False
start_requests.time.sleep = lambda seconds: print(seconds)
entry._is_idle = lambda _layout: {idle}
entry._start = lambda *_words: print("works") or 0
entry.main(["tick", {layout.state_dir!r}])
os.unlink({layout.start_request("start")!r})
entry.main(["tick", {layout.state_dir!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    worked = [] if idle else ["works"]
    assert done.stdout.splitlines() == [*worked, str(start_requests.STUCK_PAUSE), *worked]


def test_a_folder_in_the_place_of_a_request_is_removed(tmp_path: Path) -> None:
    layout = StateLayout(str(tmp_path))
    Path(layout.start_request("tick")).mkdir(parents=True)
    assert start_requests.take(layout, "tick")
    assert not start_requests.take(layout, "tick")


def test_a_mirror_whose_request_cannot_be_removed_is_not_measured_without_end(tmp_path: Path) -> None:
    path = Path(StateLayout(str(tmp_path)).start_request("measure/debian"))
    (path / "x").mkdir(parents=True)
    done = subprocess.run(
        spawn.lean("measure", str(tmp_path)), timeout=300, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"ERROR debian: cannot remove the request {path}. Check its owner, and whether the disk is read-only.\n"
    )
