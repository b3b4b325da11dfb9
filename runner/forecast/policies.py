"""The exported policies of a revision, and which of them a change replaces."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from schemas.config import exported_policy
from schemas.config.exported_policy import ExportedPolicy
from schemas.config.sources import MAX_BYTES, POLICIES, SourceFile
from schemas.errors import SkipjackError
from schemas.problems import InvalidConfigError, Problem, printable
from schemas.regular_files import read_regular


class Policies(NamedTuple):
    """Exported policies by worker, and the problems of invalid files."""

    by_worker: Mapping[str, ExportedPolicy]
    problems: tuple[Problem, ...] = ()


NO_POLICIES = Policies({})


def of_revision(files: Iterable[SourceFile]) -> Policies:
    """Read the files of the folder with exported policies."""
    found: dict[str, ExportedPolicy] = {}
    problems: list[Problem] = []
    for file in files:
        path = POLICIES + file.path
        if file.data is None:
            problems.append(Problem(path, 1, 1, "It is not a regular file.", "Write the exported policy itself."))
            continue
        try:
            policy = exported_policy.read(path, file.data)
        except InvalidConfigError as refused:
            problems += refused.problems
        else:
            found[policy.worker] = policy
    return Policies(found, tuple(problems))


def of_files(paths: Iterable[Path]) -> dict[str, ExportedPolicy]:
    """Read exported policies that the command line names. SkipjackError if one cannot be read or is invalid."""
    return {policy.worker: policy for policy in map(_read, paths)}


def _read(path: Path) -> ExportedPolicy:
    try:
        data = read_regular(path, MAX_BYTES)
    except OSError as error:
        what = f"cannot read the exported policy {path}: {error.strerror}."
        raise SkipjackError(what, "Write it with `skipjack policy export` on the worker.") from error
    return exported_policy.read(printable(str(path)), data)


def replaced(base: Policies, head: Policies) -> list[str]:
    """Return a note for each policy that a change adds, replaces or removes: it is judged by what it brings itself."""
    workers = sorted(base.by_worker.keys() | head.by_worker.keys())
    return [
        f"The exported policy of {worker} changes as well. Compare it: the worker judges by its own policy alone."
        for worker in workers
        if _digest(base, worker) != _digest(head, worker)
    ]


def _digest(policies: Policies, worker: str) -> str:
    found = policies.by_worker.get(worker)
    return found.digest if found else ""
