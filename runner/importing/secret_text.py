"""The secrets of a configuration: their values and lines, and the comments that may hold one.

They must not come into the repository, since git keeps them for ever.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, unquote

from runner.importing.toml_source import Comment, Source, TomlPath
from schemas.addresses import without_secrets

SECRET_NAME = re.compile(r"passw|secret|token|api_?key|credential", re.I)
"""Names of options and variables whose values are secrets."""

_SECRET_WORD = re.compile(
    r"(?<![a-z])(?:pass|pass ?(?:phrase|code)|pw|pwd|psw|log[ -]?in|logged in|bearer|auth|authorization|creds?"
    r"|(?:access|api|auth|private|secret)[ _-]?keys?|kennwort|mot de passe|contraseña)(?![a-z])|密码|口令|密钥|令牌",
    re.I,
)
"""Words that people write beside secrets. Only letters continue a word; digits and `_` end it."""

_IN_ADDRESS = re.compile(r"//[^/?#\s]*?:([^\s]+)@")
_IN_WORD = re.compile(r"(?:passw|secret|token|api_?key|credential)\w*[=:]\s*([^\s&\"']+)", re.I)


class Secrets:
    """The secret values in the files that were read, and the lines of their options."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._lines: set[tuple[str, int]] = set()

    def learn(self, source: Source) -> None:
        """Note the secrets of a file, also those of options that tunasync does not know."""
        for path, text in _texts(source.value, ()):
            found = [*_IN_ADDRESS.findall(text), *_IN_WORD.findall(text)]
            if any(isinstance(part, str) and SECRET_NAME.search(part) for part in path):
                found.append(text)
                self._lines.add((source.file, source.line(path)))
            for each in filter(None, map(str.strip, found)):
                # Also as it stands in an address, and as it stands elsewhere if it was found in one.
                self._values |= {each, quote(each, safe=""), unquote(each)}

    def in_block(self, file: str, line: int, block: Sequence[Comment]) -> bool:
        """Return whether any line of a block of comments beside the option at `line` may hold a secret."""
        first, last = block[0].line, block[-1].line
        near = (line,) if first == line else (line, *range(first - 1, last + 2))
        return any((file, each) in self._lines for each in near) or any(map(self._in_comment, block))

    def _in_comment(self, comment: Comment) -> bool:
        text = comment.text
        if SECRET_NAME.search(text) or _SECRET_WORD.search(text) or without_secrets(text) != text:
            return True
        return any(value in text for value in self._values)


def blocks(line: int, comments: Sequence[Comment]) -> Iterator[Sequence[Comment]]:
    """Yield the comments of the option at `line` in blocks of consecutive lines; one on its own line is a block."""
    block: list[Comment] = []
    for comment in comments:
        if block and (comment.line != block[-1].line + 1 or line in (comment.line, block[-1].line)):
            yield block
            block = []
        block.append(comment)
    if block:
        yield block


def _texts(value: Any, path: TomlPath) -> Iterator[tuple[TomlPath, str]]:
    """Yield all strings in a value, with their paths."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _texts(below, (*path, key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _texts(below, (*path, number))
