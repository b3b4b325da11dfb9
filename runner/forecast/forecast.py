"""The records of a forecast: what a change of the config repository will do on each worker.

`compare` makes them and the renderers show them. They have no times and nothing of the machine that made them, so the
forecast of a change stays the same until the change, a policy or the live facts differ.
"""

from typing import NamedTuple

from schemas.problems import Problem

ADDED, REMOVED, CHANGED, RENAMED = "added", "removed", "changed", "renamed"
MOVED_HERE, MOVED_AWAY = "moved-here", "moved-away"
REPAIRED, QUARANTINED = "repaired", "quarantined"
"""What happens to a mirror on one worker. A quarantined mirror is invalid, so its worker keeps the last valid
definition; a repaired one was quarantined before."""

KINDS = (ADDED, REPAIRED, MOVED_HERE, RENAMED, CHANGED, MOVED_AWAY, REMOVED, QUARANTINED)
"""All kinds, in the order in which they are shown."""

UNCHANGED = "unchanged"

NO_POLICY, ALLOWED, DENIED = "none", "allowed", "denied"
"""Verdicts by a worker's exported policy; `none` without one."""


class RevisionLabel(NamedTuple):
    """A revision as the command line names it, and its commit; the commit is empty for the work tree."""

    name: str
    commit: str


class ValueChange(NamedTuple):
    """A key of a mirror or worker in effect, inherited or not, as text without secrets; None if not set."""

    key: str
    before: str | None
    after: str | None


class MirrorForecast(NamedTuple):
    """One mirror on one worker.

    `others` are the workers that it moves from or to. `previous` is its previous name, `left` the directory that it
    had under that name, if that differs. `before` and `after` are the command lines of a run, empty where they stay the
    same or a plug-in decides them. `first_run` is in words, empty if the mirror runs already. `in_force` says that the
    worker has a valid definition of a quarantined mirror. `size` is in bytes, None if it is not known. `denied` says
    that the exported policy denies the new definition, so that the worker keeps the one in force, if there is one.
    """

    name: str
    kind: str
    directory: str
    changes: tuple[ValueChange, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    previous: str = ""
    left: str = ""
    others: tuple[str, ...] = ()
    first_run: str = ""
    in_force: bool = False
    size: int | None = None
    denied: bool = False


class SharedChange(NamedTuple):
    """A change of one key that several mirrors of a worker have in common; `example` is one of them.

    `before` and `after` are the command lines of the example, empty if they stay the same.
    """

    change: ValueChange
    mirrors: tuple[str, ...]
    example: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class DayLoad(NamedTuple):
    """Runs that start in each hour of an average day in the site's time zone, before and after; and the slots.

    `busy_before` and `busy_after` are the slots that are in use on average; None if no durations are known.
    """

    before: tuple[float, ...]
    after: tuple[float, ...]
    slots_before: int
    slots_after: int
    busy_before: float | None = None
    busy_after: float | None = None


class MirrorNote(NamedTuple):
    """What is wrong or doubtful with some mirrors, in one sentence, and what to do. No name if it concerns all."""

    mirrors: tuple[str, ...]
    what: str
    todo: str


class PolicyVerdict(NamedTuple):
    """The verdict of a worker's exported policy about the mirrors that change."""

    state: str = NO_POLICY
    denied: tuple[MirrorNote, ...] = ()


class LiveWorker(NamedTuple):
    """What the running site knows of a worker.

    `exported_policy` is `current`, `outdated` or `missing`; None if the worker does not report its policy. `free` are
    the free bytes after its newest run that reported them, None if none did. `added` are the bytes of new mirrors whose
    size is known from other copies, `expected` those with their growth in 90 days; `unknown` counts the others.
    `fits` says whether the expected bytes are free.
    """

    exported_policy: str | None = None
    free: int | None = None
    added: int = 0
    expected: int = 0
    unknown: int = 0
    fits: bool | None = None


class WorkerForecast(NamedTuple):
    """One worker that a change affects. `kind` is ADDED, REMOVED, or UNCHANGED; `mirrors` are sorted by kind and name.

    `load` is None if the day stays the same, `live` without facts of the running site.
    """

    name: str
    kind: str
    changes: tuple[ValueChange, ...]
    mirrors: tuple[MirrorForecast, ...]
    shared: tuple[SharedChange, ...]
    load: DayLoad | None = None
    policy: PolicyVerdict = PolicyVerdict()
    warnings: tuple[MirrorNote, ...] = ()
    live: LiveWorker | None = None


class Forecast(NamedTuple):
    """The future of a change.

    `rejected` means that the site or the workers are invalid at the head: every worker keeps the revision in force.
    `unknown_base` means the same for the base, so there is nothing to compare with. `problems` are all of the head,
    `fixed` those of the base that the head has no more, `site` the changes of `_site.yml`, `notes` facts about the
    comparison as a whole, `warnings` those that concern several workers.
    `live_failure` is why the facts of the running site are missing although they were asked for.
    """

    base: RevisionLabel
    head: RevisionLabel
    workers: tuple[WorkerForecast, ...] = ()
    site: tuple[ValueChange, ...] = ()
    problems: tuple[Problem, ...] = ()
    fixed: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[MirrorNote, ...] = ()
    rejected: bool = False
    unknown_base: bool = False
    live_failure: str = ""

    @property
    def is_fine(self) -> bool:
        """Return whether the head is valid and no exported policy denies it.

        So a change that corrects an invalid base is fine, although it cannot be compared: checks must let it pass.
        """
        denied = any(worker.policy.state == DENIED for worker in self.workers)
        return not (self.problems or self.rejected or denied or self.live_failure)

    @property
    def is_empty(self) -> bool:
        """Return whether nothing changes."""
        return not (self.workers or self.site or self.problems or self.fixed)

    @property
    def mirror_names(self) -> list[str]:
        """Return the names of all mirrors that the change affects, with previous ones, sorted, each once."""
        single = {name for worker in self.workers for each in worker.mirrors for name in (each.name, each.previous)}
        shared = {name for worker in self.workers for each in worker.shared for name in each.mirrors}
        return sorted((single | shared) - {""})


def count(forecast: Forecast, kind: str) -> int:
    """Return how many mirrors of all workers have a kind; a mirror on two workers counts twice."""
    return sum(mirror.kind == kind for worker in forecast.workers for mirror in worker.mirrors)


def count_changed(forecast: Forecast) -> int:
    """Return how many mirrors have changed keys: alone, or in common with others."""
    return sum(
        len(
            {mirror.name for mirror in worker.mirrors if mirror.kind == CHANGED}
            | {name for shared in worker.shared for name in shared.mirrors}
        )
        for worker in forecast.workers
    )
