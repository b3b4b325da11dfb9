"""Words that look like shell syntax in a line that is run without a shell, but may be meant for the program.

They are warnings. Syntax that is certainly wrong is an error of `shell_syntax`.
"""

import re
from collections.abc import Iterable, Iterator

from schemas.config.shell_syntax import SCRIPT_OPTION, find, is_address, split
from schemas.problems import shown

_QUOTE = "Quote it if the program needs it literally; otherwise run the line with `sh -c '...'`."
_JOIN = "Write the words on one line, or use a script."
_GLOB = re.compile(r"\*|\?|\[[^\]]+\]")
_BRACES = re.compile(r"\{[^{}]*(?:,|\.\.)[^{}]*\}")
_OPERATOR = re.compile(r"[;|&<>]")
_IN_OPTION = re.compile(r"[;|&]")
_IN_ADDRESS = re.compile(r"\||;/")
"""A `|`, which no address contains, or a `;` before the path of another program; other addresses may contain `;`."""
_SHELL = re.compile(r"(?:.*/)?(?:ba|da|k|z)?sh")


def of_lines(key: str, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the doubtful syntax in the command lines of a key, and what to do."""
    for line in lines:
        if doubt := find_doubtful(line):
            found, todo = doubt
            yield f"`{key}` contains {found}, which looks like shell syntax, but no shell runs the line.", todo
        if script := find_cut_script(line):
            what = f"`{key}` contains `{shown(script)}`, but the shell runs only its first word as a script."
            yield what, "Quote the whole script."


def find_doubtful(line: str) -> tuple[str, str] | None:
    """Return the first doubtful word outside of quotes and what to do; None if `find` reports an error."""
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
    """Return a `-c` with an unquoted script of several words, such as `sh -c cd /x`; empty if there is none."""
    words, plain = split(line)
    for number in range(len(words) - 3):
        shell, option, script = plain[number : number + 3]
        if _SHELL.fullmatch(shell) and SCRIPT_OPTION.fullmatch(option) and script == words[number + 2]:
            return " ".join(words[number : number + 4])
    return ""


def _is_doubtful(bare: str, before: str, *, is_last: bool) -> bool:
    """Return whether a shell would change a word; patterns in options and their values are for the program."""
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
