"""Containers that outlived their runs: the worker's side of what `runner/hooks/container.py` does."""

import os
from collections.abc import Mapping, Sequence

from runner import programs
from runner.output import log
from runner.places import Places


def ask(argv: Sequence[str], timeout: float, more: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a short program of the system, as hooks do: its exit code and what it said, or CannotRun.

    `more` is added to its environment.
    """
    try:
        return programs.ask(argv, timeout, more)
    except programs.CannotStart as error:
        from runner.api import CannotRun  # a tick loads this module and hardly ever gets here

        raise CannotRun(str(error)) from error


def left(places: Places) -> list[str]:
    """The mirrors that may have a container, their runs at work or not."""
    try:
        return [name for name in os.listdir(places.containers) if not name.startswith(".")]
    except FileNotFoundError:
        return []


def is_left(places: Places, name: str) -> bool:
    """Whether a mirror may have a container."""
    return os.path.exists(os.path.join(places.containers, name))


def end(places: Places, name: str) -> bool:
    """Remove the container that a mirror may have, as one who holds its supervisor's lock; tells whether it is gone."""
    from runner.hooks import container_end

    marker = container_end.marker_of(places.state_dir, name)
    found = container_end.read_marker(marker)
    if found is not None:
        program, container = found
        log(f"removes the container {container} of a run that is gone", about=name)
        if reason := container_end.remove(program, container, ask):
            log(f"it may still be there: {reason}. If you know that it is not, remove {marker}", about=name)
            return False
    container_end.remove_marker(marker)
    return True
