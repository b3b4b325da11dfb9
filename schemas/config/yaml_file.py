"""Parse YAML strictly, and keep the line and column of every value.

YAML 1.1 reads `on` as true, `010` as 8 and `12:30` as 750, and accepts a key twice. People write these files, so plain
scalars follow the core schema of YAML 1.2, and everything ambiguous is reported as a problem with its place.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import yaml
from yaml.events import CollectionEndEvent, CollectionStartEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from schemas.config.judgeable_keys import MERGE_KEY, NOTHING, KeyPath, keys_at
from schemas.config.sources import MAX_BYTES
from schemas.problems import YAML, Problem, shown

MAX_NODES = 20_000
MAX_DEPTH = 20
MOST_LISTED = 20
"""Known words that a message lists."""

"""Limits of one file beside its size: a small file can repeat an anchor until it fills the memory."""


WHOLE: frozenset[KeyPath] = frozenset({()})
"""The wrong paths of a file that could not be parsed."""

_LITERALS: dict[str, bool | None] = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_LITERALS |= dict.fromkeys(("", "~", "null", "Null", "NULL"))
_WORDS_OF_1_1 = re.compile(r"(?i:y|n|yes|no|on|off)")
# 18 digits fit into 64 bits, and Python converts no number of thousands of digits.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?[0-9]{1,18}\.[0-9]{1,18}")
_TRAPS = re.compile(
    r"[-+]?(0[xob][0-9a-f_]+|[0-9][0-9_]*(\.[0-9_]*)?(e[-+]?[0-9]+)?|\.[0-9_]+(e[-+]?[0-9]+)?"
    r"|[0-9]+(:[0-9]{1,2})+(\.[0-9]*)?|\.inf|\.nan)",
    re.I,
)
"""Everything that some YAML parser reads as a number. Numbers on which all parsers agree are matched before."""

_TAG = re.compile(r"(?:&\S+\s+)?(!\S*)")
# The markers of git merge(1); the one with bars is of the styles diff3 and zdiff3.
_CONFLICT = re.compile(r"^(?:<{7}|>{7}|={7}|\|{7})(?: .*)?$", re.M)
_CONTROL = re.compile(r"[\0-\x08\x0b-\x1f\x7f]")
_NESTING = re.compile(r"[\[{]|[-?][ \t\n]")
_MAX_NESTING = 500
"""Characters that can begin a nested node; with fewer of them the C parser cannot exhaust its stack."""


class Document(NamedTuple):
    """A parsed file: its value, the nodes that the value came from, and all problems.

    `value` holds everything that could be parsed. `wrong` has the paths of values that cannot be used; the empty path
    stands for the whole file.
    """

    file: str
    value: Any
    node: Node | None
    problems: tuple[Problem, ...]
    wrong: frozenset[KeyPath] = NOTHING

    @property
    def keys(self) -> dict[str, Any]:
        """The top keys; reading a wrong one raises UnknownValueError."""
        return keys_at(self.value, self.wrong)

    def at(self, *base: str) -> dict[str, Any]:
        """Return the keys of the mapping at a path, empty if absent; reading a wrong one raises UnknownValueError."""
        return keys_at(self.value, self.wrong, base)

    def place_of(self, path: Sequence[str | int]) -> tuple[int, int]:
        """Return line and column of the value at `path`, or of the nearest existing node above it."""
        node = self.node
        for step in path:
            below = _child(node, step)
            if below is None:
                break
            node = below
        return _place(node)

    def place_of_key(self, path: Sequence[str | int]) -> tuple[int, int]:
        """Return line and column of the key at `path`, not of its value."""
        node = self.node
        for step in path[:-1]:
            node = _child(node, step)
        if isinstance(node, MappingNode):
            for key, _value in node.value:
                if key.value == path[-1]:
                    return _place(key)
        return self.place_of(path)

    def problem(self, path: Sequence[str | int], what: str, todo: str, *, at_key: bool = False) -> Problem:
        """Return a problem at the place of `path`."""
        line, column = self.place_of_key(path) if at_key else self.place_of(path)
        return Problem(self.file, line, column, what, todo)


def parse(data: bytes, file: str) -> Document:
    """Parse one YAML file. Never raises for bad input: the document has all problems."""
    if len(data) > MAX_BYTES:
        what = f"The file is larger than {MAX_BYTES // 1024} KiB."
        return _broken(file, 1, 1, what, "Split it, or move other content elsewhere.")
    try:
        text = data.decode("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return _broken(file, line, 1, "The file is not UTF-8 text.", "Save it as UTF-8.")
    try:
        if (deep := _too_deep(text)) is not None:
            return _broken(file, *deep, "The file is nested too deeply.", "Write fewer levels.")
        # The loader in C is 8 times as fast as the one in Python.
        loader = yaml.CSafeLoader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        return _conflict(file, text) or _syntax_problem(file, error)
    except yaml.YAMLError as error:
        line = text.encode()[: getattr(error, "position", 0)].count(b"\n") + 1
        return _broken(file, line, 1, "The file contains a character that YAML does not allow.", "Remove it.")
    reader = _NodeConverter(file, text)
    value = reader.value(node, ()) if node is not None else None
    return Document(file, value, node, tuple(reader.problems), frozenset(reader.wrong))


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Return the known word that was probably meant, as a list of one; an empty list if none is similar."""
    return difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)


def suggest(word: str, known: Sequence[str], place: str = "") -> str:
    """Return a sentence that names the most similar known word; if none is similar, all of them.

    Of more than a reader takes in, it names the `place` with the whole list ("docs/x.md"), or else the first ones.
    """
    if near := nearest(word, known):
        return f"Did you mean `{near[0]}`?"
    if not known:
        return "None is defined yet."
    more = len(known) - MOST_LISTED
    if more > 0 and place:
        return f"See {place} for the {len(known)} known ones."
    listed = ", ".join(f"`{name}`" for name in sorted(known)[:MOST_LISTED])
    return f"Known: {listed}{f' and {more} more' if more > 0 else ''}."


def _too_deep(text: str) -> tuple[int, int] | None:
    """Return line and column where the nesting could exhaust the C parser's stack; None if it is flat enough.

    Reading events needs no stack but costs time, so files with few nested nodes skip it.
    """
    if len(_NESTING.findall(text)) <= _MAX_NESTING:
        return None
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > _MAX_NESTING and event.start_mark is not None:
            return event.start_mark.line + 1, event.start_mark.column + 1
    return None


def _conflict(file: str, text: str) -> Document | None:
    """Return a document with the problem that git has left a merge conflict in the file; None without a marker."""
    marker = _CONFLICT.search(text)
    if marker is None:
        return None
    line = text.count("\n", 0, marker.start()) + 1
    what = f"The file contains an unresolved merge conflict: this line is its marker `{shown(marker[0].strip())}`."
    return _broken(file, line, 1, what, "Keep one side, and remove the lines with the markers.")


def _syntax_problem(file: str, error: yaml.MarkedYAMLError) -> Document:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    details = " ".join(part for part in (error.context, error.problem) if part)
    return _broken(file, line, column, f"This is not valid YAML: {details}.", "Fix the syntax near this place.")


def _broken(file: str, line: int, column: int, what: str, todo: str) -> Document:
    return Document(file, None, None, (Problem(file, line, column, what, todo, YAML),), WHOLE)


def _place(node: Node | None) -> tuple[int, int]:
    return (node.start_mark.line + 1, node.start_mark.column + 1) if node is not None else (1, 1)


def _child(node: Node | None, step: str | int) -> Node | None:
    if isinstance(node, MappingNode):
        return next((value for key, value in node.value if key.value == str(step)), None)
    if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
        child: Node = node.value[step]
        return child
    return None


class _NodeConverter:
    """Converts nodes to plain values and collects the problems."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._text = text
        self.problems: list[Problem] = []
        self.wrong: set[KeyPath] = set()
        self._nodes = 0

    def value(self, node: Node, path: KeyPath) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES or len(path) > MAX_DEPTH:
            # Reported once, however many values follow.
            if self._nodes <= MAX_NODES + 1:
                self._nodes = MAX_NODES + 1
                self._report(
                    (),
                    node,
                    "The file has too many values, or is nested too deeply.",
                    "Write fewer levels, and no anchors.",
                )
            return None
        tag = _TAG.match(self._text, node.start_mark.index)
        if tag and node.start_mark.index < node.end_mark.index:
            self._report(path, node, f"The tag `{shown(tag[1])}` is not supported.", "Remove it.")
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, place)) for place, item in enumerate(node.value)]
        return self._scalar(node, path) if isinstance(node, ScalarNode) else None

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._report(None, key, "A key must be a word.", "Quote it if it is meant as text.")
            elif key.value == MERGE_KEY:
                self._report(
                    (*path, MERGE_KEY), key, "Merge keys are not supported.", "Put shared keys into `_defaults.yml`."
                )
            elif key.value in result:
                self._report(
                    (*path, key.value), key, f"The key `{shown(key.value)}` is set twice.", "Keep one of them."
                )
            else:
                result[key.value] = self.value(value, (*path, key.value))
                if result[key.value] is None and isinstance(value, ScalarNode):
                    self._report(
                        (*path, key.value), key, f"`{shown(key.value)}` has no value.", "Add one, or remove the line."
                    )
        return result

    def _scalar(self, node: ScalarNode, path: KeyPath) -> Any:
        text: str = node.value
        if _CONTROL.search(text):
            self._report(path, node, f"`{shown(text)}` contains a control character.", "Remove it.")
        if node.style in ("'", '"', "|", ">"):
            return text
        if text in _LITERALS:
            return _LITERALS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _WORDS_OF_1_1.fullmatch(text):
            self._report(
                path,
                node,
                f"`{text}` is a boolean for some YAML parsers and a word for others.",
                "Write `true` or `false`, or quote it.",
            )
        elif _TRAPS.fullmatch(text):
            self._report(
                path,
                node,
                f"`{shown(text)}` is a number that YAML parsers read differently.",
                "Quote it if it is meant as text, or write it as a plain decimal number.",
            )
        return text

    def _report(self, path: KeyPath | None, node: Node, what: str, todo: str) -> None:
        if path is not None:
            self.wrong.add(path)
        self.problems.append(Problem(self.file, *_place(node), what, todo, YAML))
