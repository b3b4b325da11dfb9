"""Parse timestamp files: a Unix time, a date of mails, of ISO 8601, or as `date -u` prints it."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LINES = 20
"""Lines from the top that are searched for a time."""

_LONGEST = 200
"""Characters of a line at most: an upstream wrote it, and parsing a long one could take minutes."""

_LABEL = re.compile(r"[A-Za-z][A-Za-z -]*[:=]\s*")
_UNIX = re.compile(r"[0-9]{9,11}(\.[0-9]{1,9})?")
_DATE_U = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-9:]{8}) (?:UTC|GMT) ([0-9]{4})")
_LATEST = 1e11
"""Reports with a later time are rejected."""


def read_stamp(data: bytes) -> float | None:
    """Return the first time in a file, in seconds since 1970 UTC, or None. A time without a zone is UTC."""
    lines = data.decode("utf-8", "replace").splitlines()[:_LINES]
    for line in map(str.strip, lines):
        if len(line) > _LONGEST:
            continue
        # The whole line first: the name of a day in a date looks like a label.
        for text in dict.fromkeys((line, _LABEL.sub("", line, count=1))):
            found = _read(text)
            if found is not None and 0 <= found < _LATEST:
                return found
    return None


def _read(text: str) -> float | None:
    if _UNIX.fullmatch(text):
        return float(text)
    if match := _DATE_U.fullmatch(text):
        text = "{1} {0} {3} {2} +0000".format(*match.groups())  # as in mails
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = read(text)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None
