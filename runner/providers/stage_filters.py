"""Which rules of a first stage's profile may hide an exclude of the mirror?

rsync applies the first rule that matches, and the profile comes before the mirror's own filters. So an include of the
profile, such as `+ by-hash/`, would win over the mirror's `--exclude=by-hash/`: the first stage would fetch what the
second one never removes. Such an include is left out. Its files then come in the second stage, by the mirror's filters.
"""

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from schemas.regular_files import read_regular
from schemas.rsync import rsync_filters, rsync_options

_INCLUDES, _EXCLUDES = frozenset("+S"), frozenset("-H")
_WILD = re.compile(r"[*?\[\\]")
_ANY = "*"
"""A pattern that is not known, such as one in a file that cannot be read: it may match everything."""

_BEGINS = {"*.diff": ("Contents-", "Packages", "Sources", "Translation-")}
"""How names begin that match an include of Debian's profile; `--exclude=binary-*/` shall not leave it out."""


def without_hiding(profile: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    """Return the rules of a profile without includes for which one of the mirror's own options may have an exclude."""
    own_names = [_last(pattern) for pattern in _excludes(own) if not _covers_contents(pattern)]
    return tuple([rule for rule in profile if not _hides(rsync_filters.read(rule), own_names)])


def _hides(rule: rsync_filters.Rule, own_names: Sequence[str]) -> bool:
    return rule.kind in _INCLUDES and any(_may_meet(_last(rule.pattern), name) for name in own_names)


def _excludes(words: Sequence[str]) -> Iterator[str]:
    """Yield the patterns that these options exclude."""
    for option in rsync_options.read(words).options:
        value = option.value or ""
        if option.name in ("--exclude", "--include"):
            yield from _excluded(value, is_plain=option.name == "--exclude")
        elif option.name in ("--exclude-from", "--include-from"):
            yield from _in_file(value, is_plain=option.name == "--exclude-from")
        elif option.name == "--filter":
            yield from _in_rule(value)


def _in_rule(text: str) -> Iterator[str]:
    rule = rsync_filters.read(text)
    if rule.kind in _EXCLUDES:
        yield f"{rule.pattern}/{_ANY}" if "!" in rule.modifiers else rule.pattern  # a negated rule matches other names
    elif rule.kind in (rsync_filters.MERGE, rsync_filters.DIR_MERGE):
        yield f"/{_ANY}"


def _in_file(path: str, *, is_plain: bool) -> Iterator[str]:
    """Yield the excludes of a file of patterns. Only which of them there are matters here: rsync gets a copy later."""
    try:
        content = os.fsdecode(read_regular(path))
    except OSError:
        yield f"/{_ANY}"
        return
    for line in re.split("[\n\r\0]", content):
        if line.strip() and line[0] not in "#;":
            yield from _excluded(line, is_plain=is_plain)


def _excluded(text: str, *, is_plain: bool) -> Iterator[str]:
    """Yield the pattern of one line or option, whose `+ ` or `- ` overrides whether it `is_plain`ly an exclude."""
    if text.startswith("- ") or (is_plain and not text.startswith("+ ")):
        yield text.removeprefix("- ")


def _covers_contents(pattern: str) -> bool:
    """Return whether a pattern also matches everything in a folder that it matches, so that no include hides it."""
    return pattern == "*" or pattern.endswith("**")


def _last(pattern: str) -> str:
    return pattern.rstrip("/").rpartition("/")[2]


def _may_meet(include: str, exclude: str) -> bool:
    """Return whether a name may match both patterns, judged by their text before and after all wildcards."""
    if not _WILD.search(include) or not _WILD.search(exclude):
        return fnmatchcase(include, exclude) or fnmatchcase(exclude, include)
    (begin, end), (other_begin, other_end) = _ends(include), _ends(exclude)
    begins = _BEGINS.get(include, (begin,))
    return any(_fit(each, other_begin) for each in begins) and _fit(end[::-1], other_end[::-1])


def _ends(pattern: str) -> tuple[str, str]:
    """Return the text of a pattern before its first wildcard and after its last one."""
    return _WILD.split(pattern)[0], _WILD.split(pattern)[-1].rpartition("]")[2]


def _fit(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
