"""Which names mirrors and workers may have.

A name becomes a file name, a part of a URL and a systemd instance name, so it is checked wherever it enters:
in YAML, on the command line and in a report from the network.
"""

import re

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""The same pattern stands in the JSON Schemas; a test keeps them equal."""

_NAME = re.compile(NAME_PATTERN + r"(?<!\n)")


def is_name(text: str) -> bool:
    """Tell whether `text` can name a mirror or a worker: no slash, no leading dot, 64 characters at most."""
    return _NAME.fullmatch(text) is not None
