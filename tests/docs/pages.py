"""The documents for those who test them: every fenced block with its place, and what stands as code in a line."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "mirrors/README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))

RUN_IN = {
    "README.md": "tests/system/test_documents.py",
    "docs/api.md": "tests/system/test_documents.py",
    "docs/containers.md": "tests/system/test_documents.py",
    "docs/from-tunasync.md": "tests/system/test_migration.py",
    "docs/manager.md": "tests/system/test_documents.py",
    "docs/settings.md": "tests/system/test_documents.py",
    "docs/systemd.md": "tests/system/test_documents.py",
}
"""The test that runs the commands of each page, on a machine of its own."""

_FENCE = re.compile(r"```(\w*)\n(.*?)\n```$", re.M | re.S)
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


class Block(NamedTuple):
    """A fenced block of a page, with the line of its first row; `language` is empty where none is named."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def first(self) -> str:
        """The first row, by which tests name a block: it says more than a number, and stays when others come."""
        return self.text.partition("\n")[0].strip()


def read(page: str) -> str:
    """The text of a page."""
    return (ROOT / page).read_text("utf-8")


def blocks(page: str, *languages: str) -> list[Block]:
    """The blocks of a page, of these languages alone where any is named."""
    text = read(page)
    found = [
        Block(page, text.count("\n", 0, match.start(2)) + 1, match[1], match[2]) for match in _FENCE.finditer(text)
    ]
    return [block for block in found if not languages or block.language in languages]


def commands(block: Block) -> Iterator[str]:
    """The commands of a block of a shell, each as a person gives it: without its comment, rows that go on joined.

    Of a recorded session these are the rows behind `$`.
    """
    text = block.text
    if block.language != "sh":
        text = "\n".join(row.removeprefix("$ ") for row in text.splitlines() if row.startswith("$ "))
    pending = ""
    for row in text.splitlines():
        pending += re.sub(r"(^|\s)#\s.*$", "", row).rstrip()
        if pending.endswith("\\"):
            pending = pending[:-1]
        elif pending.endswith("|"):
            pending += " "
        elif not _is_open(pending):
            if pending:
                yield pending
            pending = ""
    assert not pending, f"{block} has a command without an end: {pending}"


def _is_open(text: str) -> bool:
    try:
        shlex.split(text)
    except ValueError:
        return True
    return False


def inline(page: str) -> list[str]:
    """What stands as code in the lines of a page, without its blocks."""
    return _CODE.findall(_FENCE.sub("", read(page)))
