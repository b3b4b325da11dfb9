"""Readers find files by the pages: each path that a page names exists, and the architecture answers its questions."""

import re

import pytest

from tests.test_architecture import ORDER

from .pages import PAGES, ROOT, inline, read

PATH = re.compile(r"(?:\.ci|\.github|docs|runner|schemas|sitegen|tests)/[\w./-]*")
ROW = re.compile(r"^\| ([^|]+\?) \| (.+) \|$", re.M)

ASKED = (
    "add a provider",
    "add a hook",
    "not due",
    "retries",
    "What is a report",
    "after a crash",
    "What does a machine allow",
    "a token checked",
    "a full disk",
    "Which lock",
    "a command reach",
)


def paths(page: str) -> list[str]:
    return [code for code in inline(page) if PATH.fullmatch(code) and "NAME" not in code]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    assert [path for path in paths(page) if not (ROOT / path).exists()] == []


def test_there_are_paths() -> None:
    assert len(paths("docs/architecture.md")) > 80


def test_each_question_of_the_architecture_is_answered_by_a_file() -> None:
    rows = ROW.findall(read("docs/architecture.md"))
    unanswered = [question for question, answer in rows if not any(map(PATH.match, re.findall(r"`([^`]+)`", answer)))]
    assert unanswered == []
    assert [asked for asked in ASKED if not any(asked in question for question, _answer in rows)] == []


def test_a_name_is_defined_in_the_file_that_a_page_names_for_it() -> None:
    found = re.findall(r"`(\w+)` in `((?:runner|schemas|sitegen)/[\w./]+\.py)`", " ".join(map(read, PAGES)))
    assert found
    undefined = [
        (name, path) for name, path in found if not re.search(rf"\b{name}\b", (ROOT / path).read_text("utf-8"))
    ]
    assert undefined == []


def picture() -> dict[str, list[str]]:
    """Return for each room the names below it in the picture of packages, line by line from the bottom up."""
    found: dict[str, list[str]] = {}
    room = ""
    for line in read("docs/architecture.md").partition("## Packages")[2].split("```")[1].splitlines():
        names = re.split(r" {2,}(?=\S)", line.strip())[0].split()
        if line.startswith("  "):
            found[room] = [*names, *found[room]]
        elif names:
            room = names[0].rstrip("/")
            found[room] = []
    return found


@pytest.mark.parametrize("room", list(ORDER))
def test_the_picture_has_the_packages_in_the_order_in_which_they_may_be_imported(room: str) -> None:
    names = [name.removesuffix(".py").rstrip("/") for name in picture()[room]]
    assert [name for name in names if name in ORDER[room]] == [name for name in ORDER[room] if name]
    beside = {path.stem for path in (ROOT / room).glob("*.py") if not path.name.startswith("__")}
    assert "*" in names or beside <= {*names}


def test_every_test_that_a_page_names_exists() -> None:
    named = {code for page in PAGES for code in inline(page) if re.fullmatch(r"test_\w+", code)}
    defined = {
        name for path in ROOT.glob("tests/**/test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert len(named) >= 5
    assert named - defined == set()
