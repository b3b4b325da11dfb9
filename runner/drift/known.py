"""What does the plan of this worker name: mirrors, and the folders that they use?

Other workers of this machine may have the same `mirror_root`, so their folders count as well.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from runner.base.mirror_paths import left_behind
from runner.base.state_dir import StateLayout
from runner.follow import noted, pinned, rename_detection
from runner.install import others
from runner.plan import plan
from runner.plan.plan import Header, Planned, Stamp
from schemas.config.settings import load_runner
from schemas.errors import SkipjackError
from schemas.records import RunnerSettings


class Defined(NamedTuple):
    """What has a definition: names of mirrors, and real paths of folders.

    `names` include those of definitions with problems, and previous names. `used` are the folders of mirrors and of the
    workers of this machine, `above` all folders that they lie in. `unsure` is why this may be incomplete, so that
    nothing may be removed, with what to do; else empty. `behind` says how the plan differs from the repository.
    """

    worker: str
    revision: str
    stamp: Stamp
    names: frozenset[str]
    used: frozenset[str]
    above: frozenset[str]
    behind: tuple[str, ...]
    unsure: str


def load(settings: RunnerSettings) -> Defined:
    """Return what the plan in force names; SkipjackError if there is no usable plan."""
    layout = StateLayout(settings.state_dir)
    with plan.opened(layout.plan) as opened:
        header, mirrors, stamp = opened.header, opened.mirrors(), opened.stamp
    names = {name for each in mirrors for name in (each.mirror.name, *each.mirror.formerly)}
    names |= {problem[0] for problem in header.problems if problem[0]}
    used = set(_of_machine(settings))
    used.update(path for each in mirrors for path in _of_mirror(each))
    unread = ""
    for other in others.of_workers():
        try:
            used |= _of_other(other, settings)
        except SkipjackError as error:
            unread = f"The worker with the settings {other} may use these folders, and its plan cannot be read: {error}"
    behind = tuple(f"{what} {todo}".strip() for _mirror, _about, what, todo in _behind(layout, header))
    unsure = unread or _unsure(header, behind)
    real = frozenset(path for each in used for path in (os.path.normpath(each), os.path.realpath(each)))
    return Defined(header.worker, header.revision or "", stamp, frozenset(names), real, _above(real), behind, unsure)


def _above(paths: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for path in paths:
        while (path := os.path.dirname(path)) not in found:
            found.add(path)
    return frozenset(found)


def _of_machine(settings: RunnerSettings) -> Iterator[str]:
    yield from (settings.state_dir, settings.run_dir, settings.log_dir, settings.snapshot_root)


def _of_mirror(each: Planned) -> Iterator[str]:
    """Yield the folders of a mirror, with the one of a previous name that still has its files."""
    paths = each.paths
    yield from filter(None, (paths.directory, paths.log_dir, paths.snapshot, left_behind(each.mirror, paths)))


def _of_other(file: str, settings: RunnerSettings) -> set[str]:
    """Return the folders of another worker; SkipjackError if they are not known."""
    if not os.path.exists(file):  # it was moved or removed
        return set()
    other = load_runner(Path(file))
    if os.path.realpath(other.state_dir) == os.path.realpath(settings.state_dir):
        return set()
    with plan.opened(StateLayout(other.state_dir).plan, former=True) as opened:
        return {*_of_machine(other), *(path for each in opened.mirrors() for path in _of_mirror(each))}


def _behind(layout: StateLayout, header: Header) -> Iterable[plan.PlanProblem]:
    yield from noted.problems(layout, header, but=noted.MEMORY)
    if header.pin and header.seen != header.revision:
        what = f"This worker is {pinned.described(header)}."
        yield None, pinned.PIN, what, "`skipjack unpin` applies the newest revision."


def _unsure(header: Header, behind: tuple[str, ...]) -> str:
    """Return why a mirror that the plan does not have may have a definition all the same."""
    if behind:
        return behind[0]
    found = [each for each in header.problems if not rename_detection.is_move(each[2])]
    if not found:
        return ""
    _mirror, place, what, _todo = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"The definitions have problems{more}, so mirrors may be missing: {place}: {what} Correct them first."
