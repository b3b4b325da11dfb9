"""What does a file say that is compared with other files? From parsed YAML, or from the lines that name such keys.

Each answer may have more than the file says, never less: it only decides which files are read and compared.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

_PATHS = ("mirror_dir", "mirror_subdir", "log_dir", "snapshot_path")
_NAMES = ("formerly", "after")

KEYS = (*_PATHS, *_NAMES, "password")
"""The keys of a mirror that are compared; `btrfs_snapshot` only matters together with one of them.

A policy denies a mirror whose directory holds the file with the password of another one.
"""

WORDS = (*KEYS, "exclude_file", "\\")
"""What a line has that sets one of the keys or names a pattern file. With escapes, YAML can write any key."""

AFTER = 8
"""Lines after such a line that a list in block style may have to be understood without a parser."""

_PLAIN = rb"[A-Za-z0-9/][A-Za-z0-9._/+@%~-]*"
_END = rb"[ \t]*(?:#.*)?\r?"
_SCALAR = re.compile(rb"[ ]*(%s):[ ]+(?:(%s)|'(%s)'|\"(%s)\")%s" % ("|".join(_PATHS).encode(), *[_PLAIN] * 3, _END))
_PASSWORD = re.compile(rb"[ ]*password:[ ]+\{[ ]*(?:file|credential):[ ]+(%s)[ ]*\}%s" % (_PLAIN, _END))
_FLOW = re.compile(rb"[ ]*(%s):[ ]+\[((?:[ ]*%s[ ]*,?)*)\]%s" % ("|".join(_NAMES).encode(), _PLAIN, _END))
_BLOCK = re.compile(rb"([ ]*)(%s):%s" % ("|".join(_NAMES).encode(), _END))
_ENTRY = re.compile(rb"([ ]*)-[ ]+(%s)%s" % (_PLAIN, _END))
_NEXT_KEY = re.compile(rb"[ ]*[a-z][a-z0-9_]*:(?:[ ].*)?")
_COMMENT = re.compile(rb"[ \t]*(#.*)?\r?")

_ANY = "|".join(KEYS).encode()
_MAY_SET = re.compile(
    rb"(?<![a-z0-9_])(?:%s)[\"']?[ \t\r]*:|&.*(?:%s)|(?:\?.*|^[ \t\"']*)(?:%s)[\"']?%s$" % (_ANY, _ANY, _ANY, _END)
)
"""A line that sets a key that is compared, has an anchor whose text may be one, or one as the text of a complex key."""


class ComparedKeys(NamedTuple):
    """What a file says that is compared, in lower case: paths, names in `formerly` and `after`, files of passwords."""

    paths: frozenset[str] = frozenset()
    formerly: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    passwords: frozenset[str] = frozenset()

    def __or__(self, other: tuple[Any, ...]) -> "ComparedKeys":
        return ComparedKeys(*(own | more for own, more in zip(self, other, strict=True)))


NOTHING = ComparedKeys()


def of_value(value: object) -> ComparedKeys:
    """Return what parsed YAML says, at any depth: for all workers or for one."""
    found: dict[str, set[str]] = {key: set() for key in KEYS}
    _collect(value, found)
    return _compared(found)


def _compared(found: dict[str, set[str]]) -> ComparedKeys:
    paths = frozenset(path for key in _PATHS for path in found[key])
    passwords = frozenset(file for file in found["password"] if file[:1] == "/")  # else the name of a credential
    return ComparedKeys(paths, frozenset(found["formerly"]), frozenset(found["after"]), passwords)


def _collect(value: object, found: dict[str, set[str]]) -> None:
    if isinstance(value, dict):
        for key, each in value.items():
            if key in found:
                found[key].update(_texts(each))
            _collect(each, found)


def _texts(value: object) -> Iterator[str]:
    values = value if isinstance(value, list) else [*value.values()] if isinstance(value, dict) else [value]
    yield from (each.lower() for each in values if isinstance(each, str))


def of_lines(lines: Iterable[bytes]) -> ComparedKeys | None:
    """Return what the lines of a file say that have one of WORDS, each with AFTER lines after it.

    None if that takes a parser.
    """
    found: dict[str, set[str]] = {key: set() for key in KEYS}
    text = list(lines)
    for place, line in enumerate(text):
        if b"\\" in line and b'"' in line:
            return None
        if not _MAY_SET.search(line):
            continue
        after = text[place + 1 :]
        said = _scalar(line, after) or _flow(line) or _block(line, after)
        if said is None:
            return None
        found[said[0]].update(each.decode().lower() for each in said[1])
    return _compared(found)


def _scalar(line: bytes, after: list[bytes]) -> tuple[str, list[bytes]] | None:
    if password := _PASSWORD.fullmatch(line):
        return "password", [password[1]]
    match = _SCALAR.fullmatch(line)
    if match is None or (match[2] and after and not _ends_scalar(after[0])):
        return None
    return match[1].decode(), [match[2] or match[3] or match[4]]


def _ends_scalar(line: bytes) -> bool:
    """Return whether a line does not continue a scalar without quotes; a comment ends it, an empty line does not."""
    comment = _COMMENT.fullmatch(line)
    return bool(comment[1]) if comment else _NEXT_KEY.fullmatch(line) is not None


def _flow(line: bytes) -> tuple[str, list[bytes]] | None:
    match = _FLOW.fullmatch(line)
    return (match[1].decode(), [each.strip() for each in match[2].split(b",")]) if match else None


def _block(line: bytes, after: list[bytes]) -> tuple[str, list[bytes]] | None:
    """Return the entries of a list in block style, if it ends among the lines that follow."""
    head = _BLOCK.fullmatch(line)
    if head is None:
        return None
    entries: list[bytes] = []
    for each in after[:AFTER]:
        entry = _ENTRY.fullmatch(each)
        if entry:
            entries.append(entry[2])
        elif not _COMMENT.fullmatch(each):
            return (head[2].decode(), entries) if entries and _NEXT_KEY.fullmatch(each) else None
    return (head[2].decode(), entries) if len(after) < AFTER else None
