"""Does a policy's list of programs allow one?"""

import os
from collections.abc import Callable, Sequence

from runner.base.mirror_paths import is_below, lies_in


def allows(programs: Sequence[str] | None, program: str, real: Callable[[str], str] = os.path.realpath) -> bool:
    """Return whether the list has a program, or a folder that it is in; None allows any. `real` follows all links."""
    return programs is None or any(_covers(allowed, program, real) for allowed in programs)


def _covers(allowed: str, program: str, real: Callable[[str], str]) -> bool:
    if not allowed.endswith("/"):
        return program == allowed
    # Its path must begin in the folder as well: another path could lead there through a link of an upstream, which
    # leads to a file of the upstream by the time that the program is started.
    written = os.path.normpath(program)
    folders = (os.path.normpath(allowed), real(allowed))
    return any(is_below(written, each) for each in folders) and lies_in(program, allowed, real)
