"""Print findings as workflow commands of GitHub Actions, which Forgejo and Gitea understand as well.

The runner shows each as an annotation at its line of the pull request.
"""

from runner.base.output import masked, say
from runner.checking.findings import CheckResult, message
from runner.checking.placed_paths import CheckedFolder
from schemas.problems import Problem
from schemas.terminal import plain

_IN_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTY = str.maketrans(_IN_MESSAGE | {":": "%3A", ",": "%2C"})
_ESCAPES = str.maketrans(_IN_MESSAGE)
"""What the runner unescapes, in a message and in a property."""


def show(result: CheckResult, folder: CheckedFolder) -> None:
    """Print a command for each finding, and how many mirrors are valid."""
    for level, problem in result.by_level():
        say(_command(level, problem, folder), has_addresses=False)
    say(result.summary())


def _command(level: str, problem: Problem, folder: CheckedFolder) -> str:
    properties = {
        "file": folder.repository_path(problem.file),
        "line": str(problem.line),
        "col": str(problem.column),
        "title": f"skipjack ({problem.rule})",
    }
    words = ",".join(f"{key}={_safe(value).translate(_IN_PROPERTY)}" for key, value in properties.items())
    return f"::{level} {words}::{_safe(message(problem)).translate(_ESCAPES)}"


def _safe(text: str) -> str:
    """Return text without secrets and control characters; masked before it is escaped, which would hide a secret."""
    return plain(masked(text))
