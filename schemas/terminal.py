"""Make untrusted text safe for a terminal: an upstream's banner must not move the cursor, set a title or hide a line.

Cheap to import: every program that prints does.
"""

_KEPT = "\t\u00a0\u2002\u2003\u2009\u202f\u3000"
"""Spaces that are not printable for Python, but harmless for a terminal."""


def plain(text: str) -> str:
    """Return text with control characters, and those that cannot be encoded, as escapes; line breaks stay."""
    return text if text.isprintable() else "\n".join(map(_line, text.split("\n")))


def _line(line: str) -> str:
    return line if line.isprintable() else "".join(map(_letter, line))


def _letter(letter: str) -> str:
    return letter if letter.isprintable() or letter in _KEPT else letter.encode("unicode_escape").decode()
