"""Which rsync options decide what rsync prints: Skipjack sets them itself, since it reads that output.

A definition that sets one of the harmless ones runs without it. An output format is an error: rsync would print names
of upstream files as whole lines, and an upstream could give a file the name of any message.
"""

from collections.abc import Sequence

from schemas.rsync import rsync_options

HARMLESS = frozenset({
    "--verbose", "--no-verbose", "--quiet", "--itemize-changes", "--no-itemize-changes", "--info", "--debug",
    "--progress", "--no-progress", "--stderr", "--msgs2stderr", "--no-msgs2stderr", "--outbuf",
})  # fmt: skip
"""Canonical names of options that change how much rsync prints, or where to."""

FORMATS = frozenset({"--out-format", "--log-file-format"})
"""Canonical names of options that change what a line of rsync looks like."""


def without_output(words: Sequence[str]) -> tuple[str, ...]:
    """Return a list of options without those that decide what rsync prints; what rsync cannot read stays as it is."""
    reading = rsync_options.read(words)
    found = reading.named(*HARMLESS, *FORMATS) if reading.fault is None else ()
    return rsync_options.without(words, found) if found else tuple(words)


def harmless(words: Sequence[str]) -> tuple[str, ...]:
    """Return the options of a list that it runs without, as they are written."""
    return _spellings(words, HARMLESS)


def formats(words: Sequence[str]) -> tuple[str, ...]:
    """Return the options of a list that set an output format, as they are written."""
    return _spellings(words, FORMATS)


def _spellings(words: Sequence[str], names: frozenset[str]) -> tuple[str, ...]:
    found = rsync_options.read(words).named(*names) if words else ()
    return tuple(dict.fromkeys([each.spelling for each in found]))
