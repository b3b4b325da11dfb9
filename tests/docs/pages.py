"""Reads the documents for tests: every fenced block with its place, and code within lines."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
MADE = {".git", ".venv", "build", "node_modules"}
"""Folders with pages of others."""

PAGES = tuple(
    str(path.relative_to(ROOT))
    for folder in (ROOT, *sorted(path for path in ROOT.iterdir() if path.is_dir() and path.name not in MADE))
    for path in sorted(folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
)
"""Every page that there is, so that none is forgotten."""

RUN_IN = {
    "README.md": "tests/system/test_documents.py",
    "docs/api.md": "tests/system/test_documents.py",
    "docs/configuration.md": "tests/e2e/test_init.py",
    "docs/containers.md": "tests/system/test_documents.py",
    "docs/from-tunasync.md": "tests/system/test_migration.py",
    "docs/manager.md": "tests/system/test_documents.py",
    "docs/moving.md": "tests/e2e/test_moving_guide.py",
    "docs/plugins.md": "tests/e2e/test_plugins_page.py",
    "docs/settings.md": "tests/system/test_documents.py",
    "docs/signatures.md": "tests/runner/test_signatures_page.py",
    "docs/systemd.md": "tests/system/test_documents.py",
}
"""The test that runs the commands of each page, on a machine of its own."""

SPOKEN_OF = {
    "git checkout": "what the program does without",
    "git config --global": "a name for settings, without any",
    "git config --system": "the same",
    "git ls-remote": "what the program itself runs",
    "git revert": "a way to change a repository, without a commit",
    "podman system migrate": "what the program itself runs",
    "su -s /bin/sh skipjack -c 'podman pull …'": "the page says not to; tests/system/test_image_store.py shows why",
    "tunasynctl list": "a program of tunasync, which is not here",
    "tunasynctl start": "the same",
}
"""Commands within lines that no test runs, and why."""

_PROGRAMS = re.compile(
    r"(apt-get|chgrp|chmod|chown|curl|docker|git|install(?! --)|journalctl|loginctl|mkdir|mv|nginx|openssl|pg_dump|"
    r"pg_restore|pip|podman|psql|rm|rsync|sqlite3|ssh|su|sudo|systemctl|systemd-\w+|tunasynctl|usermod) \S"
)
_UNIT_LINE = re.compile(r"[A-Z]\w+=\S*")

_FENCE = re.compile(r"```(\w*)\n(.*?)\n```$", re.M | re.S)
_DOCUMENT = re.compile(r"^(.*<<'(\w+)')\n(?:.*\n)*?\2$", re.M)
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

    What a command reads from the block itself (`<<'EOF'`) is left out. Of a recorded session these are the rows behind
    `$`.
    """
    text = _DOCUMENT.sub(r"\1", block.text)
    if block.language != "sh":
        text = "\n".join(row.removeprefix("$ ") for row in text.splitlines() if row.startswith("$ "))
    pending = ""
    for row in text.splitlines():
        pending += re.sub(r"(^|\s)#\s.*$", "", row).rstrip()
        if pending.endswith("\\"):
            pending = pending[:-1]
        elif pending.endswith(("|", "&&")):
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
    """Return the code within lines of a page, without its blocks."""
    return _CODE.findall(_FENCE.sub("", read(page)))


def commands_in_lines(page: str) -> list[str]:
    """Return the commands of other programs within lines of a page, each once; see own_commands.py for Skipjack's."""
    return list(dict.fromkeys(code for code in inline(page) if _PROGRAMS.match(code) and code not in SPOKEN_OF))


def unit_lines(page: str) -> list[str]:
    """The settings of units that a page names with a value, each once."""
    return list(dict.fromkeys(code for code in inline(page) if _UNIT_LINE.fullmatch(code) and not code.endswith("=")))
