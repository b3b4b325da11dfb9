"""The exported policies of workers that a config repository carries, for checks of pull requests.

No worker judges by them. An invalid file is a problem that rejects nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence

from schemas.config import exported_policy
from schemas.config.exported_policy import ExportedPolicy
from schemas.config.sources import POLICIES, SourceFile
from schemas.config.yaml_file import parse, suggest
from schemas.problems import FILE_NAME, InvalidConfigError, Problem, shown

_ENDING = ".yml"
_EXPORT = "Write it again with `skipjack policy export --into DIR`, or remove it."


def read_all(
    files: Iterable[SourceFile], workers: Sequence[str] | None
) -> tuple[Mapping[str, ExportedPolicy | None], tuple[Problem, ...]]:
    """Return the policy of each worker with a file, None for an invalid one, and the problems of all files.

    `workers` are the declared ones, None if they are not known. A file of any other name is not parsed.
    """
    found: dict[str, ExportedPolicy | None] = {}
    problems: list[Problem] = []
    for file in files:
        name = file.path.removeprefix(POLICIES).removesuffix(_ENDING)
        if what := _misplaced(file, name, workers):
            problems.append(what)
            continue
        found[name], faults = _read(file, name)
        problems += faults
    return found, tuple(problems)


def _misplaced(file: SourceFile, name: str, workers: Sequence[str] | None) -> Problem | None:
    """Return the problem of a file's name; None if it is that of a worker."""
    if not file.path.endswith(_ENDING):
        todo = f"Rename it to `WORKER{_ENDING}`."
        return Problem(file.path, 1, 1, "The file name does not end with `.yml`.", todo, FILE_NAME)
    if workers is not None and name not in workers:
        what = f"No worker is called `{shown(name)}`."
        return Problem(file.path, 1, 1, what, f"{suggest(name, workers)} Rename the file, or remove it.", FILE_NAME)
    return None


def _read(file: SourceFile, name: str) -> tuple[ExportedPolicy | None, tuple[Problem, ...]]:
    if file.data is None:
        return None, (Problem(file.path, 1, 1, "The file is a symbolic link.", _EXPORT, FILE_NAME),)
    document = parse(file.data, file.path)
    try:
        policy = exported_policy.from_document(document)
    except InvalidConfigError as error:
        return None, tuple(_with_command(problem) for problem in error.problems)
    if policy.worker != name:
        what = f"The file contains the policy of the worker `{policy.worker}`, not of `{shown(name)}`."
        return None, (document.problem(("worker",), what, _EXPORT),)
    return policy, ()


def _with_command(problem: Problem) -> Problem:
    """Return a problem of the content with the command that writes it again: it is not meant to be edited."""
    return problem._replace(todo=_EXPORT)
