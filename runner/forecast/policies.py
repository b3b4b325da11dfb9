"""The exported policies that a plan judges by, and which of them a change replaces."""

from collections.abc import Mapping

from runner.forecast.compare import ConfigState
from schemas.config.exported_policy import ExportedPolicy

Policies = Mapping[str, ExportedPolicy]
"""Exported policies by worker."""


def of_state(state: ConfigState) -> dict[str, ExportedPolicy]:
    """Return the valid policies in a config repository."""
    found = state.catalogue.policies if state.catalogue else {}
    return {worker: policy for worker, policy in found.items() if policy is not None}


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
