"""Wishes: files by which one program asks for another."""

import time
from pathlib import Path

from runner.base import wishes
from runner.base.places import Places


def test_a_wish_is_there_until_it_is_taken(tmp_path: Path) -> None:
    places = Places(str(tmp_path))
    wishes.leave(places, "measure/debian")
    wishes.leave(places, "measure/debian")
    assert wishes.open_ones(places, "measure") == ["debian"]
    wishes.take(places, "measure/debian")
    wishes.take(places, "measure/debian")
    assert wishes.open_ones(places, "measure") == []


def test_a_wish_that_cannot_be_taken_back_slows_its_program_down(tmp_path: Path) -> None:
    places = Places(str(tmp_path))
    Path(places.wish("tick")).mkdir(parents=True)
    began = time.monotonic()
    wishes.take(places, "tick")
    assert time.monotonic() - began >= wishes.UNTAKEN_PAUSE
