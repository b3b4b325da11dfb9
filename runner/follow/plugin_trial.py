"""Can a plug-in be used on this machine? Its module is imported in a process that cannot harm this one.

Follow and `skipjack plugins` never import the code of a plug-in themselves.
"""

import os
import sys

from runner.base import environment
from runner.subprocesses import spawn
from schemas.plugins import Plugin, named
from schemas.terminal import plain

LIMIT = 10.0
"""Seconds that the import of a plug-in may take."""

_PATIENCE = 30.0
"""Seconds beyond the limit until the process that watches the import is given up."""

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plugin_trial_program.py")


def why_broken(plugin: Plugin) -> str:
    """Return why a plug-in cannot be used, for the start of a sentence; empty if it can.

    The import has no standard input, a small environment without secrets, and limits for its time and its output.
    Everything that it starts is ended with it.
    """
    # As runs start, so that a plug-in cannot pass here by a package that its runs do not find.
    words = [sys.executable, "-I", "-S", _PROGRAM, "watch", f"{LIMIT:g}", *plugin]
    surroundings = {"PATH": environment.search_path(()), "HOME": "/", "LC_ALL": "C.UTF-8"}
    try:
        code, output = spawn.ask(words, LIMIT + _PATIENCE, surroundings, alone=True)
    except spawn.CannotStart as error:
        return f"{named(plugin)} cannot be tried: {error}"
    if code:
        last = (output.strip().splitlines() or [""])[-1]
        return f"{named(plugin)} cannot be tried: its trial ended with the exit code {code}: {plain(last[-200:])}"
    return output and f"{named(plugin)} {output}"
