"""Keep text of a repository from being a command to the CI service that reads the output of the job.

GitHub, Gitea and Forgejo read `::error::` at the start of a line, and `##[error]` anywhere; Azure Pipelines `##vso[…]`.
"""

import json
import re

_COMMAND = re.compile(r"#(?=#\w*\[)")

_BEGINS_NONE = re.compile(r"[\w./~-]")
"""The first character of a path that begins no command."""


def inert_path(path: str) -> str:
    """Return a path with which a line can begin."""
    return path if _BEGINS_NONE.match(path) else f"./{path}"


def inert(line: str) -> str:
    """Return a line without the commands that count anywhere in it."""
    return _COMMAND.sub(r"\\x23", line)


def inert_json(document: object) -> str:
    """Return a document as JSON without commands; it means the same to every parser of JSON."""
    return _COMMAND.sub(r"\\u0023", json.dumps(document, indent=2))
