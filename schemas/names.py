"""Which names may mirrors and workers have?

A name becomes a file name, a part of a URL and a systemd instance name, so it is checked at each entry: in YAML, on the
command line, and in a report from the network.
"""

import re

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""The JSON Schemas contain the pattern as well; a test keeps them equal."""

# For Python `$` also matches before a line break at the end, for JSON Schema it does not.
_NAME = re.compile(NAME_PATTERN + r"(?<!\n)")


def is_name(text: str) -> bool:
    """Return whether `text` can name a mirror or a worker: no slash, no leading dot, 64 characters at most."""
    return _NAME.fullmatch(text) is not None
