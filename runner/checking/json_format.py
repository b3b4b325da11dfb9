"""Print findings as one JSON document for programs of any kind."""

from typing import Any

from runner.base.output import say
from runner.checking.ci_commands import inert_json
from runner.checking.findings import CheckResult
from runner.checking.placed_paths import CheckedFolder
from schemas.problems import Problem


def show(result: CheckResult, folder: CheckedFolder) -> None:
    """Print the document. A problem's `file` is relative to the checked folder, its `path` to the repository."""

    def plain(problem: Problem) -> dict[str, Any]:
        return problem._asdict() | {"path": folder.repository_path(problem.file)}

    document = {
        "mirrors": sorted(result.files),
        "problems": [plain(problem) for problem in result.problems],
        "moves": [move.what for move in result.moves],
        "warnings": [warning.what for warning in result.warnings],
    }
    say(inert_json(document))
