"""The exported policies that a plan judges by, and which of them a change replaces."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from runner.forecast.compare import ConfigState
from schemas.config import exported_policy
from schemas.config.exported_policy import ExportedPolicy
from schemas.config.sources import MAX_BYTES
from schemas.errors import SkipjackError
from schemas.problems import printable
from schemas.regular_files import read_regular

Policies = Mapping[str, ExportedPolicy]
"""Exported policies by worker."""


def of_state(state: ConfigState) -> dict[str, ExportedPolicy]:
    """Return the valid policies in a config repository."""
    found = state.catalogue.policies if state.catalogue else {}
    return {worker: policy for worker, policy in found.items() if policy is not None}


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
    return [
        f"The exported policy of {worker} changes as well. Compare it: the worker judges by its own policy alone."
        for worker in sorted(base.keys() | head.keys())
        if _digest(base, worker) != _digest(head, worker)
    ]


def _digest(policies: Policies, worker: str) -> str:
    found = policies.get(worker)
    return found.digest if found else ""
