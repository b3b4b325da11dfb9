"""Find shell syntax in a line that is run without a shell: the runner splits it into words and starts the first one.

tunasync does the same, so a redirection or a variable that worked in a terminal reaches the program as a plain word. A
quoted word is ignored, because a program such as `sh -c` may read it as a script. `shell_doubts` finds words that a
program may need literally, such as a pattern with `*`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

# As in sh(1): nothing is escaped within single quotes, and a backslash escapes within double quotes.
_QUOTED = r"""'[^']*'|"(?:[^"\\]|\\.)*"|\\."""
_WORD = re.compile(rf"(?:[^\s'\"\\]|{_QUOTED})+", re.DOTALL)
_PART = re.compile(_QUOTED, re.DOTALL)

# No value has these characters: `yaml_file` rejects them.
_QUOTE, _ESCAPE = "\0", "\1"
"""Placeholders for a quoted part and for an escaped character in a word without its quotes."""

_OPERATOR = re.compile(r"&&|\|\||\|&?|;+|&")
_AND_OR = re.compile(r"&&|\|\|")
_BEGINNING = re.compile(r"&&|\|\||\|&?|;")
_REDIRECTION = re.compile(r"(?:[0-9]*|&)(?:>>?|<{1,3}|<>|>\||[<>]&)(?![A-Za-z0-9_]*=)")
_TO_DEVICE = re.compile(r"[0-9&]?>>?(?=/dev/)")
_REDIRECTION_INSIDE = re.compile(r"[^=]*?(?<![-=<>])(>>?(?![=>0-9])|<(?![=<>!0-9-]))")
"""A redirection within a word, but not after `=`, in `->`, or where versions are compared (`x>=3`)."""
_REDIRECTION_IN_VALUE = re.compile(r".*?(?<![-=<>])(>>?(?![=>0-9]|$)|<(?![=<>!0-9-]|$))", re.DOTALL)
"""The same after `=`, where a sign at the end may belong to the value (`--format=%n>`)."""
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=")
_EXPANSION = re.compile(r"\$(?:\0|[A-Za-z_][A-Za-z0-9_]*|\{[^}]*\}?|\(|[0-9@*#?!$])|`")
_HOME = re.compile(r"~[a-z0-9_-]*(?=/|$)")
SCRIPT_OPTION = re.compile(r"-[a-z]*c")
_FIND_ACTIONS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
"""Options of find(1) after which the next word `;` ends a command."""
_ENDS_OF_ACTION = frozenset({";", r"\;", "';'", '";"'})
_BUILTINS = frozenset({
    ".", ":", "{", "(", "[[", "!", "alias", "break", "builtin", "case", "cd", "continue", "declare", "eval", "exec",
    "exit", "export", "for", "function", "if", "let", "local", "popd", "pushd", "read", "readonly", "return", "set",
    "shift", "shopt", "source", "trap", "typeset", "ulimit", "umask", "unset", "until", "wait", "while",
})  # fmt: skip
"""First words that only a shell understands: there are no programs with these names."""
_NO, _IF_NEEDED, _ALWAYS = range(3)
_SHELL = {
    _NO: "",
    _IF_NEEDED: "If it is needed, run the line in a shell with `sh -c '...'`, or put it into a script.",
    _ALWAYS: "Run the line in a shell with `sh -c '...'`, or put it into a script.",
}
_NOT_NEEDED = "No redirection is needed: the program's output goes to the mirror's log."


class ShellSyntax(NamedTuple):
    """Syntax that only a shell understands, as the line has it.

    `instead` says what to write instead, empty if only a shell helps; `shell` is whether a shell is needed.
    """

    found: str
    instead: str = ""
    shell: int = _ALWAYS


def find(line: str) -> list[ShellSyntax]:
    """Return all shell syntax outside of quotes, each kind once; nothing if a quote is not closed."""
    words, plain = split(line)
    return list({syntax.found: syntax for syntax in _all(words, plain)}.values())


def remedy(found: Iterable[ShellSyntax]) -> str:
    """Return what to do about all that `find` returned for a line: in a shell, all of it works."""
    found = list(found)
    shell = max(syntax.shell for syntax in found)
    instead = dict.fromkeys(syntax.instead for syntax in found if shell != _ALWAYS)
    return " ".join(filter(None, [*instead, _SHELL[shell]]))


def _all(words: list[str], plain: list[str]) -> Iterator[ShellSyntax]:
    program = 0
    while program < len(words) and (assignment := _ASSIGNMENT.match(plain[program])):
        yield ShellSyntax(words[program], f"Set `{assignment[1]}` in `env`.", _NO)
        program += 1
    for number in range(program, len(words)):
        word, bare = words[number], plain[number]
        if number == program and (syntax := _as_program(word, bare)):
            yield syntax
        else:
            yield from _in_word(words[:number], word, bare)


def _as_program(word: str, bare: str) -> ShellSyntax | None:
    """Return the shell syntax in the first word, which names the program."""
    if word in _BUILTINS or bare.startswith("("):
        return ShellSyntax(word)
    operator = re.search(r"[;|&]+", bare)
    return ShellSyntax(operator[0]) if operator else None


def split(line: str) -> tuple[list[str], list[str]]:
    """Return the words of a line, and the same words without quoted parts; no words if a quote is not closed."""
    if _WORD.sub("", line).strip():
        return [], []
    words = _WORD.findall(line)
    return words, [_PART.sub(lambda part: _ESCAPE if part[0].startswith("\\") else _QUOTE, word) for word in words]


def _in_word(before: list[str], word: str, bare: str) -> Iterator[ShellSyntax]:
    if (operator := _operator(word, bare)) and not (word == ";" and _is_in_action(before)):
        yield ShellSyntax(operator)
    if redirection := _redirection(word, bare):
        is_input = "<" in redirection
        yield ShellSyntax(redirection) if is_input else ShellSyntax(redirection, _NOT_NEEDED, _IF_NEEDED)
    for expansion in _EXPANSION.finditer(bare if _is_script(before) else bare + _in_double_quotes(word)):
        yield ShellSyntax(expansion[0].replace(_QUOTE, "'"), "Write the value itself.", _IF_NEEDED)
    if home := _HOME.match(word):
        yield ShellSyntax(home[0], "Write the whole path.", _NO)
    if "\\\n" in _PART.findall(word):
        yield ShellSyntax("\\", "Remove the backslash at the end of the line.", _NO)
    if before and re.fullmatch("#+", word):
        yield ShellSyntax(word, "Remove the comment, or write it on a separate line above the key.", _NO)


def _redirection(word: str, bare: str) -> str:
    if _REDIRECTION.match(word):
        return word
    if device := _TO_DEVICE.search(bare):
        return device[0]
    # A pair, as in `<name>`, is text for the program.
    if re.search("<.*>", bare):
        return ""
    inside = _REDIRECTION_INSIDE.match(bare) or _REDIRECTION_IN_VALUE.match(bare)
    return inside[1] if inside else ""


def _in_double_quotes(word: str) -> str:
    return "".join(part for part in _PART.findall(word) if part.startswith('"'))


def _operator(word: str, bare: str) -> str:
    """Return the operator that is the word or its beginning or end, or `&&` or `||` within it; empty if none."""
    if _OPERATOR.fullmatch(word):
        return word
    ends = r";$" if is_address(bare) else r"[;&]$"
    found = _BEGINNING.match(word) or _AND_OR.search(bare) or re.search(ends, bare)
    return found[0] if found else ""


def _is_in_action(before: list[str]) -> bool:
    """Return whether a `;` after these words ends a command of find(1), which has not ended yet."""
    for word in reversed(before):
        if word in _FIND_ACTIONS:
            return True
        if word in _ENDS_OF_ACTION:
            return False
    return False


def is_address(bare: str) -> bool:
    """Return whether a word is an address or a query, in which `&` and `;` separate names."""
    return "://" in bare or ("?" in bare and "=" in bare)


def _is_script(before: list[str]) -> bool:
    """Return whether a word follows `-c` or the like, so that another program may expand it."""
    return any(SCRIPT_OPTION.fullmatch(each) for each in before[1:])
