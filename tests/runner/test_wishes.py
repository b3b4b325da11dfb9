"""Wishes: files by which one program asks for another."""

import time
from pathlib import Path

from runner.base import start_requests
from runner.base.state_dir import Places


def test_a_wish_is_there_until_it_is_taken(tmp_path: Path) -> None:
    places = Places(str(tmp_path))
    start_requests.leave(places, "measure/debian")
    start_requests.leave(places, "measure/debian")
    assert start_requests.open_ones(places, "measure") == ["debian"]
    start_requests.take(places, "measure/debian")
    start_requests.take(places, "measure/debian")
    assert start_requests.open_ones(places, "measure") == []


def test_a_wish_that_cannot_be_taken_back_slows_its_program_down(tmp_path: Path) -> None:
    places = Places(str(tmp_path))
    Path(places.wish("tick")).mkdir(parents=True)
    began = time.monotonic()
    start_requests.take(places, "tick")
    assert time.monotonic() - began >= start_requests.UNTAKEN_PAUSE
