"""Texts keep to the field's terms: messages, help, descriptions of keys, pages, documents, docstrings, comments, names.

The list has phrases of which a reader had to guess the meaning, and what to write instead. It has no single words that
also have a plain use.
"""

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PHRASES = {
    r"\bmend(s|ed|ing)?\b": "correct, repair",
    r"\bworthless\b": "revoked",
    r"what is old": "the history",
    r"\bwhat died\b": "a crashed run",
    r"^test what(ever)?\b": "the noun itself: `a mirror that …`, `files that …`",
    r"\bby its times\b": "by its cron schedule",
    r"\b(next-wake agenda|ring the bell|poke the|answer(s|ed)? the wish)\b": "next-wake cache, wake-up, start request",
    r"(gone|failed|ended) without a (last )?word": "the process died; failed without a message",
    r"(is|are) (not )?ours to\b": "caused by: this site, the upstream, the network",
    r"sign of life|(not|never|last) heard of": "heartbeat, last seen",
    r"turned away": "rejected",
    r"its hours begin": "waiting for its sync window",
    r"goes on where .* ended": "continues the history of",
    r"(?<!there )\b(is|are) no (?!longer\b|more\b|less\b)\w": "is not a …, unknown …",
    r"\banew\b": "again, a new one",
    r"\bwhoever\b": "who, the user that",
    r"\b(is|are) told( to| of| that| by| again)?\b": "is reported",
    r"\bwhat it is told\b": "what is reported",
    r"\bin vain\b": "without effect",
    r"\border book\b": "overrides",
    r"\bformer names?\b": "previous name",
    r"is looked for no more|is not looked for any more": "is no longer searched for",
    r"somebody (first )?looked": "the first look",
    r"\b(no|some)body (knows|needs|can|may|else|looked|wants|waits|counts)\b": "no program, no user, unknown",
    r"\bgo(es)? on to (its|their) end": "continues until it ends",
    r"\bfor good\b": "permanently",
    r"\bsays? so\b": "reports that, fails with that reason",
    r"\bbecomes? of\b": "the effect on, the state of",
    r"\bwill do\)": "is enough",
    r"\bdead (run|process|worker|unit|publisher|client|server)\b": "killed, failed, stopped, lost",
    r"\b(than|instead of) ours\b": "Skipjack's",
    r"\bdoes no harm\b": "has no effect, is ignored",
}
"""What no text may contain, and what to write instead."""

OF_PRODUCT = {
    r"(?<!there )\b(is|are) no (?!longer\b|more\b|less\b)\w": "is not a …, unknown …",
    r"\b(is|are) told\b": "is reported",
}
"""The same for all but tests."""

ROOMS = ("runner", "schemas", "sitegen", "tests", "docs")
"""The folders with Python files."""

LEFT_OUT = {
    "sitegen/messages/tunasync_": "answers to tunasync's programs: recorded exchanges fix their words",
    "sitegen/web/tunasync_": "the same",
    "tests/test_words.py": "this file has the phrases themselves",
}
"""Beginnings of the paths of files that may contain phrases, and why."""


class PlacedText:
    """A text that people read, and its place."""

    def __init__(self, place: str, text: str) -> None:
        self.place, self.text = place, text


def texts() -> Iterator[PlacedText]:
    """All that people read."""
    for path in modules():
        yield from _strings(path)
    for room in ROOMS:
        for kind in ("*.json", "*.html", "*.j2", "*.js", "*.md", "*.yml"):
            for path in sorted((ROOT / room).rglob(kind)):
                yield from _lines(path)
    for folder in ("install", "authoring"):
        for path in sorted((ROOT / "runner" / folder / "templates").iterdir()):
            yield from _lines(path)
    for path in sorted(
        [*ROOT.glob("*.md"), *(each for each in (ROOT / "mirrors").rglob("*.*") if each.suffix in (".yml", ".md"))]
    ):
        yield from _lines(path)


def modules() -> list[Path]:
    """Return all Python files."""
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def names() -> Iterator[PlacedText]:
    """Yield the names of functions and classes as words; those of tests are sentences."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield PlacedText(f"{path.relative_to(ROOT)}:{node.lineno}", node.name.replace("_", " "))


def _strings(path: Path) -> Iterator[PlacedText]:
    """Yield the strings of a module with more than one word, without its docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings:
            continue
        if isinstance(node.value, str) and " " in node.value:
            yield PlacedText(f"{path.relative_to(ROOT)}:{node.lineno}", node.value)


def notes() -> Iterator[PlacedText]:
    """Yield the docstrings and comments of the source."""
    for path in modules():
        source = path.read_text("utf-8")
        place = path.relative_to(ROOT)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                yield PlacedText(f"{place}:{node.lineno}", " ".join(str(node.value.value).split()))
        comments = {
            token.start[0]: token.string
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        for number, comment in comments.items():
            yield PlacedText(f"{place}:{number}", _joined(comment, comments.get(number + 1, "")))


def _lines(path: Path) -> Iterator[PlacedText]:
    lines = path.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        yield PlacedText(f"{path.relative_to(ROOT)}:{number}", _joined(line, "".join(lines[number : number + 1])))


def _joined(line: str, following: str) -> str:
    """Return a line with the next one, since a phrase may begin in the one and end in the other."""
    return f"{line} {following.strip().removeprefix('#').lstrip()}"


def faults(found: Iterator[PlacedText]) -> list[str]:
    """Where a text holds one of the phrases, and what to say instead."""
    return [
        f"{text.place}: {match[0]!r}, say: {instead}"
        for text in found
        if not text.place.startswith(tuple(LEFT_OUT))
        for phrases in ((PHRASES,) if text.place.startswith("tests/") else (PHRASES, OF_PRODUCT))
        if _any_of(tuple(phrases)).search(text.text)
        for phrase, instead in phrases.items()
        if (match := re.search(phrase, text.text, re.IGNORECASE))
    ]


@functools.cache
def _any_of(phrases: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


def test_texts_keep_to_the_terms_of_the_field() -> None:
    assert faults(texts()) == []


def test_docstrings_and_comments_keep_to_the_terms_of_the_field() -> None:
    assert faults(notes()) == []


def test_names_of_tests_keep_to_the_terms_of_the_field() -> None:
    assert faults(names()) == []


def test_all_kinds_of_texts_are_looked_at() -> None:
    suffixes = {Path(text.place.rpartition(":")[0]).suffix for text in texts()}
    assert {".py", ".json", ".md", ".yml", ".html", ".js", ".service", ".path"} <= suffixes


@pytest.mark.parametrize(
    "text",
    [
        "What is old could not be forgotten, the next try is in 3600 s",
        "make a token worthless",
        "`x` is no rsync address. Mend the quotes.",
        "gone without a last word",
        "This is not ours to mend",
        "the run goes on to its end",
        "test a name that is no mirror is reported",
        "`x` is no known key",
        "`x` is no regular file",
        "revoking makes the token worthless",
        "the order book of the worker",
        "its former names",
        "the worker's sign of life",
        "a worker that was never heard of",
        "the start was turned away",
        "its hours begin then",
        "the mirror runs by its times",
        "it goes on where `debian-old` ended",
        "whose it is to mend: the upstream's",
        "settles what died in the meantime",
        "the courier is told.",
        "test what is held stays held",
    ],
)
def test_a_phrase_is_found(text: str) -> None:
    assert faults(iter([PlacedText("x.py:1", text)]))


def test_a_phrase_is_found_across_the_end_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_words.ROOT", tmp_path)
    monkeypatch.setattr("tests.test_words.ROOMS", ("docs",))
    (tmp_path / "docs").mkdir()
    page, module = tmp_path / "docs/page.md", tmp_path / "docs/module.py"
    page.write_text("A worker which was never\nheard of is listed.\n")
    module.write_text("x = 1\n# The hour in which its\n# hours begin then.\n")
    assert len(faults(_lines(page))) == 1
    assert len(faults(notes())) == 1
