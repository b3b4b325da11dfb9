"""Start requests: files with which one program asks systemd to start another."""

import time
from pathlib import Path

from runner.base import start_requests
from runner.base.state_dir import StateLayout


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
    Path(layout.start_request("tick")).mkdir(parents=True)
    began = time.monotonic()
    start_requests.take(layout, "tick")
    assert time.monotonic() - began >= start_requests.UNTAKEN_PAUSE
