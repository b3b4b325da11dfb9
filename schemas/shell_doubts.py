"""What looks like shell syntax in a line that no shell reads, and may be meant for the program: worth a warning."""

import re
from collections.abc import Iterable, Iterator

from schemas.problems import shown
from schemas.shell_syntax import find, is_address, split

_QUOTE = "Put it into quotes if the program needs it as it is; otherwise run the line with `sh -c '...'`."
_JOIN = "Write the words on one line, or use a script."
_GLOB = re.compile(r"\*|\?|\[[^\]]+\]")
_BRACES = re.compile(r"\{[^{}]*(?:,|\.\.)[^{}]*\}")
_OPERATOR = re.compile(r"[;|&<>]")


def of_lines(key: str, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What is doubtful in the command lines of a key, and what to do."""
    for line in lines:
        if doubt := find_doubtful(line):
            found, todo = doubt
            yield f"`{key}` contains {found}, which looks like shell syntax, but no shell runs the line.", todo


def find_doubtful(line: str) -> tuple[str, str] | None:
    """The first doubtful word outside of quotes and what to do; None for a line in which `find` finds something."""
    words, plain = split(line)
    if not words or find(line):
        return None
    for number in range(1, len(words)):
        is_last = number == len(words) - 1
        if _is_doubtful(plain[number], words[number - 1], is_last=is_last):
            return f"`{shown(words[number])}`", _QUOTE
    if line.strip().count("\n") > sum(word.count("\n") for word in words):
        return "a line break", _JOIN
    return None


def _is_doubtful(bare: str, before: str, *, is_last: bool) -> bool:
    """Whether a shell would read a word in another way; options and their values are the program's."""
    if bare in (";", "?") or is_address(bare):
        return False  # `;` ends a command of find(1), or `find` has it
    if bare.startswith("#") or _BRACES.search(bare):
        return True
    if bare.startswith("-"):
        return bare.endswith(">") and not is_last
    if _OPERATOR.search(bare):
        return True
    return "=" not in bare and not before.startswith("-") and bool(_GLOB.search(bare))
