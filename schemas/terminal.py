"""Text from outside, fit for a terminal: an upstream's banner must not move a cursor, set a title or hide a line.

Cheap to import: every program that prints does it.
"""

_KEPT = "\t\u00a0\u2002\u2003\u2009\u202f\u3000"
"""Spaces that Python does not call printable, and that no terminal obeys."""


def plain(text: str) -> str:
    """Return text with everything spelled out that a terminal would obey or no encoding can write; lines stay."""
    return text if text.isprintable() else "\n".join(map(_line, text.split("\n")))


def _line(line: str) -> str:
    return line if line.isprintable() else "".join(map(_letter, line))


def _letter(letter: str) -> str:
    return letter if letter.isprintable() or letter in _KEPT else letter.encode("unicode_escape").decode()
