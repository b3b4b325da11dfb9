"""Which options change the output of rsync? Skipjack sets them itself, since it reads that output.

A harmless one in a definition is removed. An output format is an error: rsync would print names of upstream files as
whole lines, and an upstream could give a file the text of any message as its name.
"""

from collections.abc import Sequence

from schemas.rsync import rsync_options

HARMLESS = frozenset({
    "--verbose", "--no-verbose", "--quiet", "--itemize-changes", "--no-itemize-changes", "--info", "--debug",
    "--progress", "--no-progress", "--stderr", "--msgs2stderr", "--no-msgs2stderr", "--outbuf",
})  # fmt: skip
"""Canonical names of options that change how much rsync prints, or where."""

FORMATS = frozenset({"--out-format", "--log-file-format"})
"""Canonical names of options that change the format of rsync's lines."""


def without_output(words: Sequence[str]) -> tuple[str, ...]:
    """Return a list of options without those that change rsync's output; a list that rsync rejects is unchanged."""
    reading = rsync_options.read(words)
    found = reading.named(*HARMLESS, *FORMATS) if reading.fault is None else ()
    return rsync_options.without(words, found) if found else tuple(words)


def harmless(words: Sequence[str]) -> tuple[str, ...]:
    """Return the options of a list that are removed, as written."""
    return _spellings(words, HARMLESS)


def formats(words: Sequence[str]) -> tuple[str, ...]:
    """Return the options of a list that set an output format, as written."""
    return _spellings(words, FORMATS)


def _spellings(words: Sequence[str], names: frozenset[str]) -> tuple[str, ...]:
    found = rsync_options.read(words).named(*names) if words else ()
    return tuple(dict.fromkeys([each.spelling for each in found]))
