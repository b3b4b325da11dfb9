"""Active runs of mirrors that this worker no longer has: removed, moved to another worker, or denied by policy.

Such a run may finish. Until then it is shown and can be stopped, although its mirror is not in the plan.
"""

from collections.abc import Collection, Iterable

from runner.plan.plan import Plan, Planned


def find(opened: Plan, active: Iterable[str]) -> list[str]:
    """Return the mirrors with an active run that are not in the plan, by neither a current nor a previous name."""
    gone = {name for name in active if not opened.has(name)}
    return sorted(gone - _previous_names(opened.renamed())) if gone else []


def among(mirrors: Collection[Planned], active: Iterable[str]) -> list[str]:
    """Return what `find` does for a plan with these mirrors."""
    return sorted(set(active) - {each.mirror.name for each in mirrors} - _previous_names(mirrors))


def _previous_names(mirrors: Iterable[Planned]) -> set[str]:
    return {name for each in mirrors for name in each.mirror.formerly}


def problem(name: str) -> tuple[str, str]:
    """Return the problem of such a run, and what an administrator can do."""
    return (
        f"`{name}` is still being synced, although this worker no longer has it.",
        f"The run may finish; `skipjack stop {name}` on this worker ends it.",
    )
