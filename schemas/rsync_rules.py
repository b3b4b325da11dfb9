"""Rules about the lists of rsync options of a mirror, whatever a machine allows."""

from collections.abc import Iterator

from schemas import rsync_options
from schemas.inheritance import Merged
from schemas.problems import Problem, shown

_LISTS = ("rsync_options", "rsync_options_extra", "rsync_override")


def mirror_problems(merged: Merged) -> Iterator[Problem]:
    """Lists that end in an option without its value: it would take the first word of whatever follows."""
    for key in _LISTS:
        fault = rsync_options.read(merged.keys.get(key, ())).fault
        if fault is not None and fault.kind == rsync_options.NO_VALUE:
            what = f"`{key}` ends in `{shown(fault.spelling)}` without its value."
            yield merged.problem(key, what, "Add the value after it, or remove the option.")
