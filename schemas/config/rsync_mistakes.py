"""Options with which rsync ends before it asks the upstream: unknown ones, wrong values, and pairs that it refuses.

The machine's policy refuses some of them as well; here the author of a definition sees them first.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.config.upstreams import daemon_host
from schemas.problems import shown
from schemas.rsync import rsync_filters, rsync_options
from schemas.rsync.rsync_options import Option

Said = Iterator[tuple[str, str]]
"""What is wrong with a list, to be read after its key, and what to do."""

_FAULTS = {
    rsync_options.UNWANTED_VALUE: "gives a value to `{}`, which takes none",
    rsync_options.NOT_A_NUMBER: "gives `{}` a value that is not a number",
    rsync_options.EXPANDED: "has `!#:+` in the value of `{}`, which takes another word out of the command line",
}
_SIZES = frozenset({"--max-size", "--min-size", "--max-alloc", "--bwlimit", "--block-size"})
_SIZE = re.compile(r"[0-9]*[.,]?[0-9]*(?:[bkmgtp](?:i?b)?)?(?:[+-]1)?", re.IGNORECASE)
_PATTERNS = frozenset("+-HPRS")
_QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)

BUILT_IN = ("--delete-after", "--delay-updates")
"""Those of the providers' own options that others are not taken together with."""

_DAEMON = "rsync://rsync.example.org/all/"
_WHEN = {"--delete-before": 0, "--delete-during": 1, "--delete-delay": 1, "--delete-after": 2}
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
"""Pairs of options, each with the one that turns it off, that rsync does not take together."""


class _Placed(NamedTuple):
    """An option and the key that it stands in; empty for a built-in one."""

    option: Option
    key: str


def in_list(words: Sequence[str]) -> Said:
    """What is wrong with a list of options by itself."""
    reading = rsync_options.read(words)
    for option in reading.options:
        yield from _value(option)
    fault = reading.fault
    if fault is not None and fault.kind == rsync_options.UNKNOWN:
        yield _unknown(words[fault.word], fault.spelling)
    elif fault is not None and fault.kind in _FAULTS:
        yield f"{_FAULTS[fault.kind].format(shown(fault.spelling))}.", "Correct it, or remove it."
    values = {option.value_word for option in reading.options}
    if any(word == "--" and number not in values for number, word in enumerate(words)):
        yield "has `--`, after which rsync takes all words for files.", "Remove it."
    elif reading.operands:
        what = f"has `{shown(words[reading.operands[0]])}`, which rsync would take for a source or a target."
        yield what, "Write options alone; source and target are added by themselves."


def _unknown(word: str, spelling: str) -> tuple[str, str]:
    option, blank, value = word.partition(" ")
    if blank:
        name = rsync_options.canonical(option)
        joined = option.startswith("--") and name is not None and rsync_options.takes_value(name)
        todo = f"Write `{shown(f'{option}={value.strip()}')}`." if joined else "Make each option an entry of its own."
        return f"has `{shown(word)}` as one word, which rsync does not know.", todo
    near = difflib.get_close_matches(spelling, rsync_options.spellings(), n=1) if spelling.startswith("--") else ()
    todo = f"Did you mean `{near[0]}`? rsync knows no abbreviations." if near else "Correct it, or remove it."
    return f"has `{shown(spelling)}`, which rsync does not know.", todo


def _value(option: Option) -> Said:
    value = option.value or ""
    if option.name in _SIZES and (not _SIZE.fullmatch(value) or not re.search("[0-9]", value)):
        yield (
            f"gives `{option.spelling}` the value `{shown(value)}`, which is no size for rsync.",
            "Write such as `10M`.",
        )
    if option.name == "--filter":
        rule = rsync_filters.read(value)
        if not rule.kind or (rule.kind in _PATTERNS and not rule.pattern and "C" not in rule.modifiers):
            yield f"has a filter rule that rsync does not take: `{shown(value)}`.", "Write such as `- *.iso`."


def together(names: Sequence[str], keys: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The key of an option that rsync does not take together with another one, with why and what to do."""
    built_in = () if keys.get("rsync_override") else BUILT_IN
    placed = [_Placed(option, "") for option in rsync_options.read(built_in).options]
    placed += [_Placed(option, name) for name in names for option in rsync_options.read(keys[name]).options]
    for each in placed:
        if each.option.name == "--contimeout" and daemon_host(keys.get("upstream", _DAEMON)) is None:
            what = f"`{each.key}` has `--contimeout`, which rsync takes only for an upstream that is a daemon."
            yield each.key, what, "Remove it; ssh has `ConnectTimeout` in its own configuration."
    timed = [each for each in placed if each.option.name in _WHEN]
    for each in timed:
        if _WHEN[each.option.name] != _WHEN[timed[0].option.name]:
            yield _pair(each, timed[0], "Remove one of them.")
            break
    for one, other in _PAIRS:
        first, second = _last(placed, one), _last(placed, other)
        if first is not None and second is not None:
            later, earlier = sorted((first, second), key=placed.index, reverse=True)
            yield _pair(later, earlier, f"Remove one of them, or add `{other[1]}`.")


def _last(placed: Sequence[_Placed], names: tuple[str, str]) -> _Placed | None:
    """The option that turns something on, unless one that turns it off follows."""
    found = [each for each in placed if each.option.name in names]
    return found[-1] if found and found[-1].option.name == names[0] else None


def _pair(later: _Placed, earlier: _Placed, todo: str) -> tuple[str, str, str]:
    spelling = f"`{earlier.option.spelling}`"
    place = f"{spelling} in `{earlier.key}`" if earlier.key else f"the built-in {spelling}"
    what = f"`{later.key}` has `{later.option.spelling}`, which rsync does not take together with {place}."
    if not earlier.key and todo == "Remove one of them.":
        todo = "Remove it, or write all options into `rsync_override`."
    return later.key, what, todo


def quoted(words: Sequence[str]) -> Iterator[str]:
    """The options of a list whose values are in quotes, which no shell removes."""
    for option in rsync_options.read(words).options:
        if option.value and _QUOTED.fullmatch(option.value):
            yield f"{option.spelling}={option.value}"
