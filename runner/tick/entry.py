"""Entry of the lean programs, started as `python -I -S entry.py PROGRAM STATE_DIR …`.

    entry.py tick STATE_DIR [requested | quiet]
    entry.py run STATE_DIR NAME [NUMBER | [max-delete=LIMIT] [from-empty] [while-held]]
    entry.py settle STATE_DIR NAME
    entry.py measure STATE_DIR [NAME]

Without site packages and unneeded imports an idle tick costs little more than Python's own start. People type
`skipjack`, which does the same.
"""

import errno
import gc
import os
import sys
import time

if not __package__:  # started by its path: the packages lie beside each other, wherever they are installed
    sys.path.append(__file__.rsplit("/", 3)[0])


def _unusable(error: Exception) -> int | str:
    """Return an exit code, reported, or a message for exit code 1 about what keeps a program from its error boundary.

    Mostly it is a half-installed release; systemd must not take this for an expected failure.
    """
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        todo = "Raise the limit (`ulimit -n`, or `LimitNOFILE=` of the unit)."
        return f"ERROR skipjack: {error.filename}: {error.strerror}. {todo}"
    sys.excepthook(type(error), error, error.__traceback__)
    return 3


try:
    from runner.base import start_requests
    from runner.base.state_dir import StateLayout
except Exception as error:
    sys.exit(_unusable(error))


def main(words: list[str]) -> int:
    """Run one program and return its exit code."""
    gc.disable()  # imports leave no garbage, so each collection would only cost time
    program, state_dir, *rest = words
    layout = StateLayout(state_dir)
    if program == "tick":
        # Both, or the path unit would start this program again for the other one.
        everything, requested = start_requests.take(layout, "tick"), start_requests.take(layout, "start")
        if requested and not everything:
            rest.append("requested")
        if _is_idle(layout):
            start_requests.wait_if_stuck(layout, "tick", "start")
            return 0
    try:
        from runner.error_boundary import guarded
    except Exception:
        if program == "tick":  # its request was taken, and no tick has begun
            start_requests.leave(layout, "tick")
        raise
    code = guarded(lambda: _start(program, layout, rest), state_dir)
    if program == "tick":
        start_requests.wait_if_stuck(layout, "tick", "start")
    return code


def _is_idle(layout: StateLayout) -> bool:
    """Return whether a tick has nothing to do. Whatever fails here fails again in the tick, which reports it."""
    try:
        from runner.base import next_wake  # a run does without

        return next_wake.is_idle(layout, time.time())
    except Exception:
        return False


def _start(program: str, layout: StateLayout, rest: list[str]) -> int:
    if program == "tick":
        from runner.tick import tick

        if "quiet" in rest:
            from runner.base import output

            output.hush()
            if not os.path.lexists(layout.plan):
                return 0  # as right after the installation; `follow` reports why there is no plan yet
        tick.tick(layout, only_requested="requested" in rest, patient=False)
        from runner.base.next_wake import are_units_unchecked

        if are_units_unchecked(layout, time.time()):
            from runner.subprocesses import unit_health

            unit_health.check(layout)
        return 0
    if program == "measure":
        from runner.run.measure import measure, measure_wanted

        return measure(layout, rest[0]) if rest else measure_wanted(layout)
    if program == "settle":
        from runner.tick.crash_recovery import recover_unit

        recover_unit(layout, rest[0], time.time())
        return 0
    from runner.plan.deletion_limits import as_limit
    from runner.run.run import Allowed, run

    # A run may take days, so garbage must be collected; what was imported is never garbage and need not be searched.
    gc.freeze()
    gc.enable()
    name, *more = rest
    limit = next((word.partition("=")[2] for word in more if word.startswith("max-delete=")), None)
    number = next((int(word) for word in more if word.isdigit()), None)
    allowed = Allowed(as_limit(limit), "from-empty" in more, "while-held" in more)
    return run(layout, name, number, allowed)


if __name__ == "__main__":
    code: int | str
    try:
        code = main(sys.argv[1:])
    except Exception as error:  # what `guarded` itself needs is missing
        code = _unusable(error)
    gc.freeze()  # saves the collection at exit, too
    sys.exit(code)
