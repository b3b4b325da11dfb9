"""Start one of the worker's programs and hold it at a named phase, where a test can end it.

    python -m tests.soak.at_phase PHASE tick STATE_DIR
    python -m tests.soak.at_phase PHASE run STATE_DIR NAME [NUMBER]
    python -m tests.soak.at_phase PHASE courier SETTINGS

It is the program itself, in which one function waits for ever once it is reached. It says PHASE on stdout then.
"""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from runner import hooks
from runner.courier.client import ManagerClient
from runner.error_boundary import guarded
from runner.journal.journal import Journal
from runner.journal.outbox import Outbox
from runner.journal.run_table import RunTable
from runner.subprocesses import launch
from runner.tick import crash_recovery, entry

STAGES = ("pre_job", "pre_exec", "post_exec", "post_success", "post_fail")


def _hold() -> None:
    sys.stdout.write(sys.argv[1] + "\n")
    sys.stdout.flush()
    while True:
        signal.pause()


def _before(owner: Any, name: str) -> Callable[[], None]:
    """Hold when a function is called, which must exist: a phase of a renamed one would never come."""
    assert callable(getattr(owner, name))
    return lambda: setattr(owner, name, lambda *_words, **_options: _hold())


def _after(owner: Any, name: str) -> Callable[[], None]:
    """Hold when a function has done its work."""
    function = getattr(owner, name)

    def held(*words: Any, **options: Any) -> None:
        function(*words, **options)
        _hold()

    return lambda: setattr(owner, name, held)


def _stage(name: str) -> Callable[[], None]:
    """Hold in a hook of our own."""
    barrier = ModuleType("barrier")
    setattr(barrier, name, lambda _job: _hold())

    def add() -> None:
        sys.modules["runner.hooks.barrier"] = barrier
        hooks.HOOKS["barrier"] = ()

    return add


PHASES: dict[str, Callable[[], None]] = {
    "launched": _before(launch, "launch"),  # the journal says launching, and no process was started
    "beginning": _before(Journal, "begin"),  # the locks are held
    "begun": _after(Journal, "begin"),
    **{name: _stage(name) for name in STAGES},
    "ending": _before(RunTable, "delete_old"),  # within the last transaction
    "ended": _after(Journal, "end"),
    "ending-orphans": _before(crash_recovery, "_signal_holders"),
    "sending": _before(ManagerClient, "send"),
    "sent": _before(Outbox, "acknowledge"),  # the manager has committed, and the worker does not know
}


def main(phase: str, program: str, *words: str) -> int:
    """Run a program until the phase."""
    PHASES[phase]()
    if program == "courier":
        return guarded(lambda: _courier(Path(words[0])))
    return entry.main([program, *words])


def _courier(settings: Path) -> int:
    from runner.courier.courier import once
    from schemas.config.settings import load_runner

    return once(load_runner(settings), settings, start=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
