"""The programs accept every command line of Skipjack in the documents; tests/system runs them all."""

import ast
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .own_commands import PARSERS, filled, in_full, in_lines, names_a_command, parses, words_of
from .pages import PAGES, ROOT, RUN_IN, SPOKEN_OF, Block, blocks, commands, inline, read


def own_commands() -> Iterator[tuple[str, list[str]]]:
    """Every command of Skipjack with its place, in blocks and in lines; a line may shorten one, as `token list`."""
    for page in PAGES:
        for block in blocks(page):
            if block.language in ("sh", "console") or block.text.startswith("$ "):
                for command in commands(block):
                    yield from ((str(block), words) for words in words_of(command) if words and words[0] in PARSERS)
        for code in in_lines(page):
            yield from ((page, words) for words in words_of(code) if words and words[0] in PARSERS)


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


@pytest.mark.parametrize(
    "words",
    [["skipjack", "frobnicate"], ["skipjack", "next", "--frobnicate"], ["skipjack", "run", "NAME", "--frobnicate"]],
)
def test_a_command_that_is_none_would_be_seen(words: list[str]) -> None:
    assert parses(words[0], words[1:])
    assert not names_a_command(words[0], words[1:])


def test_the_commands_of_each_page_are_run_by_a_test() -> None:
    assert {page for page in PAGES if blocks(page, "sh")} == RUN_IN.keys()
    for page, test in RUN_IN.items():
        assert page in (ROOT / test).read_text("utf-8"), test


def test_every_word_of_the_list_is_in_a_page() -> None:
    assert {code for page in PAGES for code in inline(page)} >= SPOKEN_OF.keys()


TEXTS = {
    ".py",
    ".json",
    ".html",
    ".js",
    ".service",
    ".timer",
    ".path",
    ".socket",
    ".slice",
    ".conf",
    ".rules",
    ".sysusers",
}
"""How files end of which people read something."""


def told() -> Iterator[tuple[str, str]]:
    """Yield every command of Skipjack that a message, a page of the site or a schema has as code, with its file.

    A value in it is 1.
    """
    for room in ("runner", "sitegen", "schemas"):
        for path in sorted((ROOT / room).rglob("*")):
            for text in _texts(path) if path.suffix in TEXTS else ():
                for code in re.findall(r"(?:`|<code>)([^`|<>]+)(?:`|</code>)", text):
                    if full := in_full(code):
                        yield str(path.relative_to(ROOT)), full


def _texts(path: Path) -> Iterator[str]:
    """The texts of a file: the strings of a module or a schema, or a template as it is."""
    text = path.read_text("utf-8")
    if path.suffix == ".json":
        yield from re.findall(r'"description": "(.*)"', json.dumps(json.loads(text), ensure_ascii=False, indent=1))
    if path.suffix not in (".py", ".json"):
        yield text
    for node in ast.walk(ast.parse(text)) if path.suffix == ".py" else ():
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_programs_take_every_command_that_a_message_names() -> None:
    found = list(told())
    assert len(found) > 50 and {".py", ".json", ".html", ".rules"} <= {Path(file).suffix for file, _code in found}
    for module, code in found:
        words = shlex.split(code)
        why = parses(words[0], filled(words))
        assert not why or names_a_command(words[0], filled(words)), f"{module}: `{code}`: {why}"


def quoted() -> Iterator[tuple[str, str]]:
    """What pages quote of the programs' messages: in tables of them, and between two backticks."""
    for page in PAGES:
        for row in re.findall(r"^\| (`.*?) \|", read(page).partition("| The log or the status shows |")[2], re.M):
            yield from ((page, code) for code in re.findall(r"`([^`]+)`", row) if code[0].isalpha())
        yield from ((page, code) for code in re.findall(r"(?<!`)``([^`].*?)``(?!`)", read(page)))


def test_messages_that_pages_quote_are_those_of_the_programs() -> None:
    """A name, a number or the three dots of a page stand for what a message fills in."""
    sources = "\n".join(text for path in sorted((ROOT / "runner").rglob("*.py")) for text in _texts(path))
    found = list(quoted())
    assert len(found) > 6 and ("docs/configuration.md", "it exceeded its `memory_limit` of …") in found
    for page, code in found:
        fixed = [part for part in re.split(r"podman|docker|skipjack-NAME|…|\(\d+\)", code) if part.strip()]
        assert re.search(".*".join(map(re.escape, fixed)), sources), f"{page}: no message says `{code}`"


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


def test_the_input_of_a_command_in_its_block_is_not_a_command() -> None:
    text = "cat > x <<'EOF'\nskipjack it's\nEOF\nskipjack next\ncat > y <<'EOF'\nz\nEOF"
    assert list(commands(Block("x.md", 1, "sh", text))) == ["cat > x <<'EOF'", "skipjack next", "cat > y <<'EOF'"]
