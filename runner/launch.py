"""How a tick starts runs: as processes of their own that outlive it."""

from collections.abc import Mapping

from runner import process
from runner.output import log
from runner.places import Places


def launch(places: Places, runs: Mapping[str, int]) -> list[str]:
    """Start a run for each mirror, announced under its number; gives the names of those that could not be started."""
    failed = []
    for name, number in runs.items():
        try:
            process.detach(process.lean("run", places.state_dir, name, str(number)), places.messages)
        except OSError as error:
            log(f"its run cannot be started: {error.strerror}", about=name)
            failed.append(name)
    return failed
