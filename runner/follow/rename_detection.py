"""Rename detection: where the files of a renamed mirror are, and which renames were reverted.

Only the previous plan has the old directory when one commit renames a mirror and sets another directory for it, and
the name that a mirror had before a `git revert`.
"""

from collections.abc import Collection, Iterator, Mapping

from runner.base.mirror_paths import has_files, left_behind, moving
from runner.plan.plan import Planned, PlanProblem

_STILL_THERE = "under its previous name; its runs are refused."

Previous = Mapping[str, Planned]
"""The mirrors of the previous plan, by name."""


def with_previous_names(
    mirrors: list[Planned], declared: Collection[str], previous: Previous
) -> tuple[list[Planned], list[PlanProblem]]:
    """Return the mirrors with their previous names and directories, and a problem for each reverted rename.

    `declared` has the names of all mirrors of the revision, also of the invalid ones.
    """
    # The files in these belong to another mirror by now.
    taken = {each.paths.directory for each in mirrors}
    gone = {
        name: other.mirror.name
        for other in previous.values()
        if other.mirror.name not in declared
        for name in other.mirror.formerly
    }
    found: list[Planned] = []
    problems: list[PlanProblem] = []
    for each in mirrors:
        mirror, before = each.mirror, previous.get(each.mirror.name)
        unsaid = before.mirror.formerly if before else (gone[mirror.name],) if mirror.name in gone else ()
        names = tuple(name for name in unsaid if name not in declared and name not in mirror.formerly)
        known = _with_directory(each, (*mirror.formerly, *names), previous, taken)
        if names and (before is None or left_behind(known.mirror, known.paths)):
            problems.append(_reverted(mirror.name, names[0]))
            found.append(known)
        else:
            found.append(_with_directory(each, mirror.formerly, previous, taken))
    return found, problems


def _with_directory(each: Planned, formerly: tuple[str, ...], previous: Previous, taken: Collection[str]) -> Planned:
    """Return the mirror with these previous names and the directory that it had under one of them.

    A directory with files is preferred; one that another mirror has by now (`taken`) never counts.
    """
    if not formerly:
        return each
    before = previous.get(each.mirror.name)
    known = [before.paths.previous] if before else []
    for name in formerly:
        if name in previous:
            known += [previous[name].paths.directory, previous[name].paths.previous]
    free = [place for place in known if place and place not in taken]
    place = next(filter(has_files, free), free[0] if free else "")
    return each._replace(mirror=each.mirror._replace(formerly=formerly), paths=each.paths._replace(previous=place))


def _reverted(name: str, later: str) -> PlanProblem:
    what = f"`{name}` was called `{later}` until now, but its file does not list that name."
    return name, f"{name}.yml", what, f"Add `formerly: [{later}]`, so that `{name}` continues the history of `{later}`."


def is_move(what: str) -> bool:
    """Return whether a problem is only that the files of a renamed mirror have to be moved."""
    return what.endswith(_STILL_THERE)


def unmoved(mirrors: list[Planned]) -> tuple[str, ...]:
    """Return the mirrors whose files are still in the directory of a previous name."""
    return tuple(name for name, *_words in moves(mirrors) if name)


def moves(mirrors: list[Planned]) -> Iterator[PlanProblem]:
    """Yield a problem, with the command to move, for each mirror with files in the directory of a previous name."""
    for mirror, paths, _revision in mirrors:
        if old := left_behind(mirror, paths):
            what = f"The files of `{mirror.name}` are still in {old}, {_STILL_THERE}"
            todo = f"Move them with `{moving(mirror, old, paths.directory)}`, or set `mirror_dir: {old}`."
            yield mirror.name, f"{mirror.name}.yml", what, todo
