"""Read a plan that an untrusted job has made, so that nothing in it acts as Markdown that `skipjack plan` never writes.

A pull request can change the job that makes its plan, so the file may have any content. The result is a comment of a
trusted user: it must not mention people, link, embed or hide.
"""

import os
import re
from pathlib import Path

from runner.forecast.markdown import MARK, MOST
from schemas.errors import SkipjackError
from schemas.problems import printable
from schemas.regular_files import read_open, regular

_MOST_BYTES = 4 * MOST

_FENCE = re.compile(r"(`{3,})(?:diff|text)")
_WORD = r"[A-Za-z0-9 .,:;%()'/+=…]|\*\*|->|(?<=\w)-(?=\w)|`[A-Za-z0-9 =._-]+`"
_TEXT = rf"(?:{_WORD})*+"
_CODE = r"<code>(?:[^<>&]|&(?:amp|lt|gt|quot|#x27);)*</code>"
_LINE = re.compile(
    rf"{_TEXT}|</details>|<details(?: open)?><summary>(?:{_CODE})?{_TEXT}</summary>|"
    rf"<p><sub>(?:{_CODE}|{_WORD})*+</sub></p>"
)
"""A line outside of fenced blocks. `<code>` stands only in blocks of HTML, where no Markdown is read."""

_ACTIVE = re.compile(r"www\.|://|GH-[0-9]|^ *(?:[+]|[0-9]+[.)]) |^=+$", re.I)
"""What forges turn into links, lists and headings although its characters are harmless."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def read(file: Path) -> str:
    """Return the text of a plan for a comment, with the mark as its first line.

    SkipjackError if the file is not a regular one, too large or not in UTF-8.
    """
    try:
        descriptor = regular(file, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            data = read_open(descriptor, file, _MOST_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(file, error.strerror or "it cannot be opened") from error
    try:
        text = data.decode()
    except ValueError as error:
        raise _unreadable(file, "it is not in UTF-8") from error
    if len(text) > MOST:
        raise _unreadable(file, f"it has more than {MOST} characters")
    if not text.removeprefix(MARK).strip():
        raise _unreadable(file, "it is empty")
    return safe(text)


def _unreadable(file: Path, why: str) -> SkipjackError:
    what = f"cannot read the plan {printable(os.fspath(file))}: {why}."
    return SkipjackError(what, "Nothing was written. Make it with `skipjack plan BASE..HEAD --format markdown`.")


def safe(text: str) -> str:
    """Return a plan with the mark; a text in another form than plans have becomes one block of plain text."""
    body = text.removeprefix(MARK).strip("\n")
    if is_plan(body):
        return f"{MARK}\n{body}\n"
    lines = "\n".join(printable(line) for line in body.split("\n"))[: MOST - 1000]
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", lines)), default=0))
    if len(fence) > 100:
        fence, lines = "```", "The text is not shown: it has too many backticks in a row."
    return (
        f"{MARK}\nThis text is not in the form of a plan, so it is shown as it is.\n\n{fence}text\n{lines}\n{fence}\n"
    )


def is_plan(body: str) -> bool:
    """Return whether a text has only what `skipjack plan` writes: blocks and code, folds, and plain sentences."""
    if _CONTROL.search(body):
        return False
    fence, previous, depth = "", "", 0
    for line in body.split("\n"):
        if fence:
            if line == fence:
                fence = ""
            elif fence in line:
                return False
        elif opened := _FENCE.fullmatch(line):
            # Behind a line of HTML it would still be HTML, and its content as well.
            if previous:
                return False
            fence = opened[1]
        elif not _LINE.fullmatch(line) or _ACTIVE.search(re.sub(_CODE, "", line)):
            return False
        depth += line.startswith("<details") - (line == "</details>") if not fence else 0
        if depth < 0:
            return False
        previous = line
    return not fence and depth == 0
