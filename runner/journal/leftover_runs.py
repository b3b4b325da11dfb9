"""Runs under way of mirrors that this worker no longer has: removed, moved to another worker, or denied since.

Such a run may finish. Until then it is shown and can be stopped, although the plan knows nothing of it.
"""

from collections.abc import Collection, Iterable

from runner.plan.plan import Plan, Planned


def find(opened: Plan, active: Iterable[str]) -> list[str]:
    """Of the mirrors with a run under way those that are not in the plan, neither as they are called now nor before."""
    gone = {name for name in active if not opened.has(name)}
    return sorted(gone - _former_names(opened.renamed())) if gone else []


def among(mirrors: Collection[Planned], active: Iterable[str]) -> list[str]:
    """Return what `find` does for a plan with these mirrors."""
    return sorted(set(active) - {each.mirror.name for each in mirrors} - _former_names(mirrors))


def _former_names(mirrors: Iterable[Planned]) -> set[str]:
    return {name for each in mirrors for name in each.mirror.formerly}


def problem(name: str) -> tuple[str, str]:
    """What is so of such a run, and what an administrator may do."""
    return (
        f"`{name}` is still being synced, although this worker no longer has it.",
        f"The run may finish; `skipjack stop {name}` on this worker ends it.",
    )
