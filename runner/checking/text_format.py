"""Print findings for people: problems on standard output, warnings and moves as log lines."""

from runner.base.output import log, say
from runner.checking.ci_commands import inert, inert_path
from runner.checking.findings import CheckResult
from runner.checking.placed_paths import CheckedFolder
from schemas.standard_streams import WARNING


def show(result: CheckResult, folder: CheckedFolder) -> None:
    """Print everything, and how many mirrors are valid."""
    for move in result.moves:
        log(inert(move.what), about="validate")
    for warning in result.warnings:
        log(inert(warning.what), about="validate", level=WARNING)
    for problem in result.problems:
        say(inert(str(problem._replace(file=inert_path(folder.typed_path(problem.file))))))
    say(result.summary())
