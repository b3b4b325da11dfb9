"""Options that make rsync exit before it connects: unknown ones, wrong values, and pairs that exclude each other.

The machine's policy rejects some of them as well; here the author of a definition sees them first.
"""

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from schemas.config.judgeable_keys import is_known, judged
from schemas.config.upstreams import daemon_host
from schemas.problems import shown
from schemas.rsync import rsync_filters, rsync_options
from schemas.rsync.rsync_options import Option

Said = Iterator[tuple[str, str]]
"""Problems of a list of options: the predicate of a sentence about its key, and what to do."""

_FAULTS = {
    rsync_options.UNWANTED_VALUE: "gives a value to `{}`, which takes none",
    rsync_options.NOT_A_NUMBER: "gives `{}` a value that is not a number",
    rsync_options.EXPANDED: "has `!#:+` in the value of `{}`, which rsync replaces by another word of the command line",
    rsync_options.END: "has `{}`, after which rsync reads every word as a file name",
}
_SIZES = frozenset({"--max-size", "--min-size", "--max-alloc", "--bwlimit", "--block-size"})
# As rsync(1) describes a size: a unit such as K, KB or KiB, then `+1` or `-1`.
_SIZE = re.compile(r"[0-9]*[.,]?[0-9]*(?:[bkmgtp](?:i?b)?)?(?:[+-]1)?", re.IGNORECASE)
_PATTERNS = frozenset("+-HPRS")
"""Kinds of filter rules that need a pattern."""
_QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)

BUILT_IN = ("--delete-after", "--delay-updates")
"""Built-in options of the providers that rsync does not accept together with some others."""

_DAEMON = "rsync://rsync.example.org/all/"
_WHEN = {"--delete-before": 0, "--delete-during": 1, "--delete-delay": 1, "--delete-after": 2}
"""When each option deletes; rsync rejects options with different numbers together."""
_DELAYED = ("--delay-updates", "--no-delay-updates")
_PAIRS = (
    (("--inplace", "--no-inplace"), _DELAYED),
    (("--append", "--no-append"), _DELAYED),
    (("--append-verify", "--no-append"), _DELAYED),
    (("--write-devices", "--no-write-devices"), _DELAYED),
    (("--append", "--no-append"), ("--whole-file", "--no-whole-file")),
    (("--append-verify", "--no-append"), ("--whole-file", "--no-whole-file")),
    (("--secluded-args", "--no-secluded-args"), ("--old-args", "--no-old-args")),
)
"""Pairs of options that exclude each other, each option with the one that turns it off."""


class _Placed(NamedTuple):
    """An option and the key that contains it; the key is empty for a built-in option."""

    option: Option
    key: str


def in_list(words: Sequence[str]) -> Said:
    """Yield the problems of one list of options, judged without the other lists."""
    reading = rsync_options.read_past_faults(words)
    for option in reading.options:
        yield from _value(option)
    for fault in reading.faults:
        if fault.kind == rsync_options.UNKNOWN:
            yield _unknown(words[fault.word], fault.spelling)
        elif fault.kind in _FAULTS:
            todo = "Remove it." if fault.kind == rsync_options.END else "Correct it, or remove it."
            yield f"{_FAULTS[fault.kind].format(shown(fault.spelling))}.", todo
    for number in reading.operands:
        what = f"has `{shown(words[number])}`, which rsync would read as a source or a target."
        yield what, "List only options; Skipjack adds the source and the target."


def _unknown(word: str, spelling: str) -> tuple[str, str]:
    option, blank, value = word.partition(" ")
    if blank:
        name = rsync_options.canonical(option)
        joined = option.startswith("--") and name is not None and rsync_options.takes_value(name)
        todo = f"Write `{shown(f'{option}={value.strip()}')}`." if joined else "Write each option as a separate entry."
        return f"has `{shown(word)}` as one word, which is not an option of rsync.", todo
    near = difflib.get_close_matches(spelling, rsync_options.spellings(), n=1) if spelling.startswith("--") else ()
    todo = f"Did you mean `{near[0]}`? rsync does not accept abbreviations." if near else "Correct it, or remove it."
    return f"has the unknown option `{shown(spelling)}`.", todo


def _value(option: Option) -> Said:
    value = option.value or ""
    if option.name in _SIZES and (not _SIZE.fullmatch(value) or not re.search("[0-9]", value)):
        yield (
            f"gives `{option.spelling}` the value `{shown(value)}`, which rsync does not accept as a size.",
            "Write for example `10M`.",
        )
    if option.name == "--filter":
        rule = rsync_filters.read(value)
        if not rule.kind or (rule.kind in _PATTERNS and not rule.pattern and "C" not in rule.modifiers):
            yield f"has an invalid filter rule: `{shown(value)}`.", "Write for example `- *.iso`."


def together(names: Sequence[str], keys: dict[str, Any], *, complete: bool) -> Iterator[tuple[str, str, str]]:
    """Yield options that exclude each other: the key, what is wrong, and what to do.

    `complete` says that `names` are all lists that have options.
    """
    built_in = BUILT_IN if is_known(keys, "rsync_override") and not keys.get("rsync_override") else ()
    readings = {name: rsync_options.read_past_faults(keys[name]) for name in names}
    placed = [_Placed(option, "") for option in rsync_options.read(built_in).options]
    placed += [_Placed(option, name) for name, reading in readings.items() for option in reading.options]
    yield from judged(_without_daemon(placed, keys))
    timed = [each for each in placed if each.option.name in _WHEN]
    for each in timed:
        if _WHEN[each.option.name] != _WHEN[timed[0].option.name]:
            yield _pair(each, timed[0], "Remove one of them.")
            break
    # Corrected, an unknown option may turn off one of a pair.
    if not complete or any("no" in fault.spelling for reading in readings.values() for fault in reading.faults):
        return
    for one, other in _PAIRS:
        first, second = _last(placed, one), _last(placed, other)
        if first is not None and second is not None:
            later, earlier = sorted((first, second), key=placed.index, reverse=True)
            yield _pair(later, earlier, f"Remove one of them, or add `{other[1]}`.")


def _without_daemon(placed: Sequence[_Placed], keys: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for each in placed:
        if each.option.name == "--contimeout" and daemon_host(keys.get("upstream", _DAEMON)) is None:
            what = f"`{each.key}` has `--contimeout`, which rsync accepts only for an rsync daemon."
            yield each.key, what, "Remove it; for ssh, set `ConnectTimeout` in its configuration."


def _last(placed: Sequence[_Placed], names: tuple[str, str]) -> _Placed | None:
    """Return the last option that turns a feature on; None if a later one turns it off."""
    found = [each for each in placed if each.option.name in names]
    return found[-1] if found and found[-1].option.name == names[0] else None


def _pair(later: _Placed, earlier: _Placed, todo: str) -> tuple[str, str, str]:
    spelling = f"`{earlier.option.spelling}`"
    place = f"{spelling} in `{earlier.key}`" if earlier.key else f"the built-in {spelling}"
    what = f"`{later.key}` has `{later.option.spelling}`, which rsync does not accept together with {place}."
    if not earlier.key and todo == "Remove one of them.":
        todo = "Remove it, or list all options in `rsync_override`."
    return later.key, what, todo


def quoted(words: Sequence[str]) -> Iterator[str]:
    """Yield the options whose values are in quotes: no shell removes them, so rsync takes them literally."""
    for option in rsync_options.read(words).options:
        if option.value and _QUOTED.fullmatch(option.value):
            yield f"{option.spelling}={option.value}"
