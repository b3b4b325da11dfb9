"""Every command line of ours in the documents is one that the programs take; tests/system runs them all."""

import argparse
import ast
import contextlib
import io
import re
import shlex
import subprocess
from collections.abc import Iterator

import pytest

import runner.cli
import sitegen.cli

from .pages import PAGES, ROOT, RUN_IN, SPOKEN_OF, Block, blocks, commands, inline

PARSERS = {"skipjack": runner.cli._parser, "skipjack-manager": sitegen.cli._parser}

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


def own_commands() -> Iterator[tuple[str, list[str]]]:
    """Every command of ours with its place, in blocks and in lines; a line may shorten one, as `token list`."""
    for page in PAGES:
        for block in blocks(page):
            if block.language in ("sh", "console") or block.text.startswith("$ "):
                for command in commands(block):
                    yield from ((str(block), words) for words in words_of(command) if words and words[0] in PARSERS)
        for code in inline(page):
            if re.match(r"skipjack(-manager)? [a-z]", code):
                yield from ((page, words) for words in words_of(code) if words and words[0] in PARSERS)


def filled(words: list[str]) -> list[str]:
    """A command with values in the place of names such as NAME or ID, and without what stands in brackets or dots."""
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
    """Whether words are the name of a command alone, as a text speaks of it: `skipjack start`."""
    parser: argparse.ArgumentParser | None = PARSERS[program]()
    for word in words:
        actions = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)] if parser else []
        if not actions or word not in actions[0].choices:
            return False
        parser = actions[0].choices[word]
    return True


def test_there_are_commands() -> None:
    assert len(list(own_commands())) > 100


@pytest.mark.parametrize(
    ("place", "words"),
    [pytest.param(place, words, id=f"{place} {shlex.join(words)}") for place, words in dict.fromkeys(
        (place, tuple(words)) for place, words in own_commands())],
)  # fmt: skip
def test_the_programs_take_every_command_line(place: str, words: tuple[str, ...]) -> None:
    """A text may name a command without the words that it needs; a block may not."""
    given = filled(list(words))
    why = parses(words[0], given)
    assert not why or (":" not in place and names_a_command(words[0], given)), f"{place}: {shlex.join(words)}: {why}"


@pytest.mark.parametrize("words", [["skipjack", "frobnicate"], ["skipjack", "next", "--frobnicate"]])
def test_a_command_that_is_none_would_be_seen(words: list[str]) -> None:
    assert parses(words[0], words[1:])
    assert not names_a_command(words[0], words[1:])


def test_the_commands_of_each_page_are_run_by_a_test() -> None:
    assert {page for page in PAGES if blocks(page, "sh")} == RUN_IN.keys()
    for page, test in RUN_IN.items():
        assert page in (ROOT / test).read_text("utf-8"), test


def test_nothing_is_said_to_be_spoken_of_that_no_page_names() -> None:
    assert {code for page in PAGES for code in inline(page)} >= SPOKEN_OF.keys()


def told() -> Iterator[tuple[str, str]]:
    """Every command of ours that a message names in quotes, with its module; a value stands as 1."""
    for room in ("runner", "sitegen", "schemas"):
        for path in sorted((ROOT / room).rglob("*.py")):
            for text in _texts(ast.parse(path.read_text("utf-8"))):
                for code in re.findall(r"`(skipjack(?:-manager)? [a-z][^`|]*)`", text):
                    yield str(path.relative_to(ROOT)), code


def _texts(parsed: ast.Module) -> Iterator[str]:
    for node in ast.walk(parsed):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_programs_take_every_command_that_a_message_names() -> None:
    found = list(told())
    assert len(found) > 50
    for module, code in found:
        words = shlex.split(code)
        why = parses(words[0], filled(words))
        assert not why or names_a_command(words[0], filled(words)), f"{module}: `{code}`: {why}"


def test_every_target_of_make_is_one() -> None:
    found = {
        word
        for page in PAGES
        for code in [*inline(page), *(command for block in blocks(page, "sh") for command in commands(block))]
        if code.startswith("make ")
        for word in code.split()[1:]
        if "=" not in word
    }
    assert {"demo", "test", "test-system", "bench"} <= found
    for target in sorted(found):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_a_command_of_several_rows_is_one() -> None:
    block = Block(
        "x.md", 1, "sh", 'VERSION=1  # a word\ncurl -d \'{"a": 1,\n "b": 2}\' \\\n  https://x/#top\na |\n    b'
    )
    assert list(commands(block)) == ["VERSION=1", 'curl -d \'{"a": 1, "b": 2}\'   https://x/#top', "a |     b"]
