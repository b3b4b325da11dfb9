"""What looks like shell syntax in a line that no shell reads, and may be meant for the program: worth a warning."""

import re
from collections.abc import Iterable, Iterator

from schemas.config.shell_syntax import SCRIPT_OPTION, find, is_address, split
from schemas.problems import shown

_QUOTE = "Put it into quotes if the program needs it as it is; otherwise run the line with `sh -c '...'`."
_JOIN = "Write the words on one line, or use a script."
_GLOB = re.compile(r"\*|\?|\[[^\]]+\]")
_BRACES = re.compile(r"\{[^{}]*(?:,|\.\.)[^{}]*\}")
_OPERATOR = re.compile(r"[;|&<>]")
_IN_OPTION = re.compile(r"[;|&]")
_IN_ADDRESS = re.compile(r"\||;/")
"""A `;` before the path of another program, since addresses may have one; a `|` belongs into none."""
_SHELL = re.compile(r"(?:.*/)?(?:ba|da|k|z)?sh")


def of_lines(key: str, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What is doubtful in the command lines of a key, and what to do."""
    for line in lines:
        if doubt := find_doubtful(line):
            found, todo = doubt
            yield f"`{key}` contains {found}, which looks like shell syntax, but no shell runs the line.", todo
        if script := find_cut_script(line):
            what = f"`{key}` contains `{shown(script)}`, of which the shell runs only the first word as a script."
            yield what, "Put the whole script into quotes."


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


def find_cut_script(line: str) -> str:
    """A shell's `-c` with a script of many words without quotes, such as `sh -c cd /x`; empty where there is none."""
    words, plain = split(line)
    for number in range(len(words) - 3):
        shell, option, script = plain[number : number + 3]
        if _SHELL.fullmatch(shell) and SCRIPT_OPTION.fullmatch(option) and script == words[number + 2]:
            return " ".join(words[number : number + 4])
    return ""


def _is_doubtful(bare: str, before: str, *, is_last: bool) -> bool:
    """Whether a shell would read a word in another way; patterns in options and their values are the program's."""
    if bare in (";", "?"):
        return False  # `;` ends a command of find(1), or `find` has it
    if is_address(bare):
        return bool(_IN_ADDRESS.search(bare))
    if bare.startswith("#") or _BRACES.search(bare):
        return True
    if bare.startswith("-"):
        return bool(_IN_OPTION.search(bare)) or (bare.endswith(">") and not is_last)
    if _OPERATOR.search(bare):
        return True
    return "=" not in bare and not before.startswith("-") and bool(_GLOB.search(bare))
