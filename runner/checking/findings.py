"""What a check of a config repository has found, and the rules that it names."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from schemas.mirror_record import Mirror
from schemas.problems import CONFLICT, DEFINITION, FILE_NAME, PLUGIN_SCHEMA, SCHEMA, SECRET, YAML, Problem

POLICY, HINT, IGNORED_FILE, RENAME, UPSTREAM = "policy", "hint", "ignored-file", "rename", "upstream"

RULES = {
    YAML: "A file is YAML that all readers understand in the same way.",
    SCHEMA: "Keys and values are those of the schema.",
    DEFINITION: "The keys that apply to a mirror fit together.",
    CONFLICT: "Mirrors do not collide with each other.",
    FILE_NAME: "A file has a name and a place from which it is read.",
    SECRET: "A file contains no password, token or private key.",
    PLUGIN_SCHEMA: "The schema of a plug-in can be used.",
    POLICY: "The policies of the workers allow the mirror.",
    UPSTREAM: "The upstream of a mirror has the files that it fetches.",
    HINT: "A setting has an effect, and is written in the best way.",
    IGNORED_FILE: "A file that may be meant as a definition is read.",
    RENAME: "The directory of a renamed mirror is moved.",
}
"""Each rule with what holds if nothing breaks it. The names are stable; docs/configuration.md lists them."""

ERROR, WARNING, NOTICE = "error", "warning", "notice"
"""Levels: only errors make the check fail."""


class CheckResult(NamedTuple):
    """The files of the valid mirrors by their names, and what was found, in the order of the output.

    Paths are relative to the checked folder. `warnings` and `moves` have all of their text in `what`. `mirrors` has the
    records of the valid mirrors. `kind` says which mirrors were checked, if not all.
    """

    files: Mapping[str, str]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()
    moves: tuple[Problem, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    kind: str = ""

    def by_level(self) -> Iterator[tuple[str, Problem]]:
        """Yield everything with its level, errors first."""
        yield from ((ERROR, each) for each in self.problems)
        yield from ((WARNING, each) for each in self.warnings)
        yield from ((NOTICE, each) for each in self.moves)

    def summary(self) -> str:
        """Return one line with the numbers of problems and of valid mirrors."""
        mirrors = f"{self.kind}mirror is" if len(self.files) == 1 else f"{self.kind}mirrors are"
        count = len(self.problems)
        problems = f"{count} problem{'s' * (count > 1)}; " if count else ""
        return f"{problems}{len(self.files)} {mirrors} valid"


def message(problem: Problem) -> str:
    """Return what is wrong and what to do, without the place."""
    return f"{problem.what} {problem.todo}".rstrip()
