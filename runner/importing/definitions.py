"""Read the configuration of a tunasync worker as tunasync does: included files, nested mirrors, inherited options."""

import difflib
import glob
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from runner.importing import toml_source
from runner.importing.findings import Finding, LeftOut
from runner.importing.options import MIRROR, SECTIONS, Kinds, wrong
from runner.importing.secret_text import Secrets
from runner.importing.toml_source import Comment, Source, TomlPath
from schemas.errors import SkipjackError
from schemas.problems import printable, shown

_FROM_GLOBAL = ("interval", "retry", "timeout", "exec_on_success", "exec_on_failure")
"""Options of `[global]` that mirrors inherit."""


class Value(NamedTuple):
    """The value of an option, and where it is set."""

    value: Any
    file: str
    line: int

    def finding(self, what: str, todo: str) -> Finding:
        """Return a finding about this value."""
        return Finding(self.file, self.line, what, todo)

    def left_out(self, what: str, todo: str, who: str = "The mirror") -> LeftOut:
        """Return the error for a mirror that cannot be imported because of this value."""
        return LeftOut(self.finding(f"{who} is left out: {what}", todo))


Options = Mapping[str, Value]

Keys = dict[str, Any]
"""Keys of a file that the import writes, with plain values."""
PlacedComments = Mapping[tuple[str, int], Sequence[Comment]]


class Definition(NamedTuple):
    """A mirror: all its options, the names of those that its own table sets, and where that table begins."""

    options: Options
    own: frozenset[str]
    place: Value

    def get(self, option: str, default: Any) -> Any:
        """Return the value of an option."""
        return self.options[option].value if option in self.options else default

    def at(self, option: str) -> Value:
        """Return where an option is set, or where the mirror begins."""
        return self.options.get(option, self.place)


class Config(NamedTuple):
    """The configuration of a worker, without options whose values are empty, which tunasync treats as missing.

    `headers` has where each section begins. The keys of `comments` are the file and line that they describe, those of
    `loose_comments` their own.
    """

    file: str
    sections: Mapping[str, Options]
    headers: Options
    definitions: tuple[Definition, ...]
    findings: tuple[Finding, ...]
    comments: PlacedComments
    loose_comments: PlacedComments
    secrets: Secrets

    def get(self, section: str, option: str, default: Any) -> Any:
        """Return the value of an option of a section."""
        found = self.sections[section].get(option)
        return found.value if found else default

    def at(self, section: str, option: str) -> Value:
        """Return where an option of a section is set, or the first line of the file."""
        return self.sections[section].get(option, Value(None, self.file, 1))


def read(path: str) -> Config:
    """Read the file and those that it includes; SkipjackError lists all errors that tunasync rejects too."""
    source = toml_source.read(path)
    reader = _ConfigReader()
    top = reader.options(source, (), source.value, dict.fromkeys(SECTIONS, "table") | {"mirrors": "tables"})
    sections = {
        name: _set(reader.options(source, (name,), top[name].value, kinds)) if name in top else {}
        for name, kinds in SECTIONS.items()
    }
    reader.above = {option: value for option, value in sections["global"].items() if option in _FROM_GLOBAL}
    definitions = [*reader.mirrors(source, top)]
    if pattern := sections["include"].get("include_mirrors"):
        for included in reader.included(pattern, os.path.dirname(path)):
            definitions += reader.mirrors(included, reader.options(included, (), included.value, {"mirrors": "tables"}))
    if reader.errors:
        raise SkipjackError("\n".join(map(str, reader.errors)))
    headers = {name: top[name] for name in SECTIONS if name in top}
    placed = reader.comments, reader.loose_comments, reader.secrets
    return Config(source.file, sections, headers, tuple(definitions), tuple(reader.findings), *placed)


def _set(options: Options) -> Options:
    return {option: value for option, value in options.items() if value.value}


class _ConfigReader:
    """Reads tables, and collects errors and findings."""

    def __init__(self) -> None:
        self.errors: list[Finding] = []
        self.findings: list[Finding] = []
        self.above: Options = {}
        self.comments: dict[tuple[str, int], Sequence[Comment]] = {}
        self.loose_comments: dict[tuple[str, int], Sequence[Comment]] = {}
        self.secrets = Secrets()

    def options(self, source: Source, path: TomlPath, table: Mapping[str, Any], kinds: Kinds) -> dict[str, Value]:
        """Return the known options of a table; tunasync ignores the case of their names."""
        found = {}
        for key, raw in table.items():
            option = key if key in kinds else key.lower()
            value = Value(raw, source.file, source.line((*path, key)))
            if option not in kinds:
                near = difflib.get_close_matches(option, kinds, n=1)
                todo = f"Did you mean `{near[0]}`?" if near else "Check what uses it."
                self.findings.append(value.finding(f"tunasync has no option `{shown(key)}` here.", todo))
            elif what := wrong(option, kinds[option], raw):
                self.errors.append(value.finding(what, "Correct it; tunasync does not start with it either."))
            else:
                found[option] = value
                if kinds[option] == "pairs":
                    self._gather_comments(source, (*path, key), value)
        return found

    def _gather_comments(self, source: Source, path: TomlPath, table: Value) -> None:
        """Attach the comments of a table's keys to the table, which becomes one key of a mirror."""
        at = (table.file, table.line)
        for key in table.value:
            below = (source.file, source.line((*path, key)))
            if below != at and below in self.comments:
                self.comments[at] = [*self.comments.get(at, ()), *self.comments.pop(below)]

    def mirrors(self, source: Source, top: Options) -> Iterator[Definition]:
        """Yield the mirrors of one file, and collect its comments."""
        self.secrets.learn(source)
        self.comments |= {(source.file, line): texts for line, texts in source.comments.items()}
        self.loose_comments |= {(source.file, line): texts for line, texts in source.loose_comments.items()}
        for number, table in enumerate(top["mirrors"].value if "mirrors" in top else ()):
            yield from self._leaves(source, ("mirrors", number), table, {})

    def _leaves(self, source: Source, path: TomlPath, table: Mapping[str, Any], above: Options) -> Iterator[Definition]:
        """Yield the mirror of a table; for a table with nested mirrors, those instead, which inherit its options."""
        own = self.options(source, path, table, MIRROR)
        children = own.pop("mirrors", None)
        options = self._overlay(above, own)
        if children is None:
            place = Value(None, source.file, source.line(path))
            yield Definition(options, frozenset(_set(own)), place)
            return
        for number, child in enumerate(children.value):
            yield from self._leaves(source, (*path, "mirrors", number), child, options)

    def _overlay(self, above: Options, own: Options) -> Options:
        """Return own options over inherited ones.

        An empty value does not override an inherited one. `rsync` is the empty value of `provider`.
        """
        result = dict(above)
        for option, value in own.items():
            inherited = result.get(option) or self.above.get(option)
            # Go's decoder makes a missing value and an empty one the same, so tunasync merges only what is not empty.
            # That is also why a child cannot turn an inherited `true` into `false`.
            if inherited and (not value.value or (option, value.value) == ("provider", "rsync")):
                self._without_effect(option, value, inherited)
            # tunasync merges tables, but replaces lists.
            elif option == "env" and inherited:
                result[option] = value._replace(value=inherited.value | value.value)
            elif value.value:
                result[option] = value
        return result

    def _without_effect(self, option: str, value: Value, inherited: Value) -> None:
        if value.value != inherited.value:
            what = f"`{option} = {json.dumps(value.value)}` has no effect in tunasync: the inherited value stays."
            self.findings.append(
                value.finding(what, "It stays here as well. If the other one is meant, set it in the mirror's file.")
            )

    def included(self, pattern: Value, folder: str) -> Iterator[Source]:
        """Yield the included files: relative to the current folder, as for tunasync, else to the including file."""
        for base in ("", folder):
            # Go's patterns negate a class by `^`, Python's by `!`. `*` matches a leading dot in Go.
            path = os.path.join(base, pattern.value.replace("[^", "[!"))
            if found := sorted(glob.glob(path, include_hidden=True)):
                yield from map(toml_source.read, found)
                return
        what = f"`include_mirrors` matches no file: {printable(pattern.value)}."
        self.findings.append(pattern.finding(what, "Run this command in the folder in which tunasync runs."))
