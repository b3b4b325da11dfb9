"""Does a policy's list of programs allow one?"""

from collections.abc import Sequence

from runner.base.mirror_paths import lies_in


def allows(programs: Sequence[str] | None, program: str) -> bool:
    """Return whether a program is in the list, by its path or below a folder of it; None allows any."""
    return programs is None or any(_covers(allowed, program) for allowed in programs)


def _covers(allowed: str, program: str) -> bool:
    if allowed.endswith("/"):
        return program.startswith("/") and lies_in(program, allowed)
    return program == allowed
