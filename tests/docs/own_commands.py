"""The command lines of Skipjack itself: those that pages and messages show, and what its programs take."""

import argparse
import contextlib
import functools
import io
import re
import shlex
from collections.abc import Iterator

import runner.cli
import sitegen.cli

from .pages import PAGES, inline

PARSERS = {"skipjack": functools.cache(runner.cli._parser), "skipjack-manager": functools.cache(sitegen.cli._parser)}
"""What makes the parser of each program, once: it has more than a hundred options, and each page asks many times."""

_ENDS = {"|", "||", "&&", ";", "&", ">", ">>"}


def words_of(command: str) -> Iterator[list[str]]:
    """The simple commands of a line of shell, each as words."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[str] = []
    for word in lexer:
        if word in _ENDS:
            yield found
            found = []
        else:
            found.append(word)
    yield found


def filled(words: list[str]) -> list[str]:
    """Return a command with values for names such as NAME or ID, without optional parts in brackets and dots."""
    plain = [re.sub(r"[\[\]…]", "", word) for word in words[1:]]
    return ["1" if word == "ID" else "7d" if word == "TIME" else word for word in plain if word]


def parses(program: str, words: list[str]) -> str:
    """Why a program does not take these words; empty when it does."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            PARSERS[program]().parse_args(words)
        except SystemExit:
            return said.getvalue().splitlines()[-1]
    return ""


def names_a_command(program: str, words: list[str]) -> bool:
    """Return whether words are the name of a command, perhaps with its options, as in a sentence: `run --dry-run`."""
    parser, rest = PARSERS[program](), list(words)
    while rest and rest[0] in (below := _commands_of(parser)):
        parser = below[rest.pop(0)]
    options = [word for word in rest if not word.isupper()]
    return rest != list(words) and all(word in parser._option_string_actions for word in options)


def _commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def in_full(code: str) -> str:
    """Return a command of Skipjack that a text may shorten, as `token list`, with its program; empty for anything else.

    A single word is a name and no command line, and an arrow belongs to a drawing.
    """
    words = code.split()
    if len(words) < 2 or "→" in words:
        return ""
    if words[0] in PARSERS:
        return code if re.match(r"[a-z]", words[1]) else ""
    return next((f"{program} {code}" for program, parser in PARSERS.items() if words[0] in _commands_of(parser())), "")


def in_lines(page: str) -> list[str]:
    """Return the commands of Skipjack within lines of a page, each once and with its program."""
    return list(dict.fromkeys(full for code in inline(page) if (full := in_full(code))))


def to_run() -> list[str]:
    """Return the complete commands in lines of all pages, which a reader can enter unchanged."""
    found = dict.fromkeys(command for page in PAGES for command in in_lines(page))
    return [command for command in found if not parses(command.split()[0], filled(shlex.split(command)))]
