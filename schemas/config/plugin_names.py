"""Which names may a plug-in have?"""

import re

from schemas.config import built_in
from schemas.config.schema_set import schema
from schemas.mirror_record import Mirror
from schemas.problems import shown

PATTERN = r"^[a-z][a-z0-9-]{0,31}$"
"""The schema of a policy contains the pattern as well; a test keeps them equal."""

_NAME = re.compile(PATTERN)


def problem(name: str) -> str:
    """Return why no plug-in can have a name; empty if one can."""
    if not _NAME.fullmatch(name):
        return f"`{shown(name)}` is not a valid name: use up to 32 of `a-z0-9-`, and begin with a letter"
    if kind := built_in.kind_of(name):
        return f"it is hidden by the built-in {kind} `{name}`"
    if name in schema("mirror")["properties"] or name in Mirror._fields:
        return f"`{name}` is a key of every mirror, so it cannot be the key of a plug-in"
    return ""
