"""What follow finds out about mirrors that had other names: where their files are, and renames that were taken back.

Only the former plan tells where files were when one commit renames a mirror and sets another folder for it, and what a
mirror was called before a `git revert`.
"""

from collections.abc import Collection, Iterator, Mapping

from runner.base.mirror_paths import has_files, left_behind, moving
from runner.plan.plan import Planned, Shown

_STILL_THERE = "named as it was formerly; its runs are refused."

Former = Mapping[str, Planned]
"""The mirrors of the former plan, by name."""


def traced(mirrors: list[Planned], declared: Collection[str], former: Former) -> tuple[list[Planned], list[Shown]]:
    """The mirrors with what the former plan tells of their other names, and problems with renames that were taken back.

    `declared` are the names of all that the revision declares, soundly or not.
    """
    taken = {each.paths.directory for each in mirrors}
    gone = {
        name: other.mirror.name
        for other in former.values()
        if other.mirror.name not in declared
        for name in other.mirror.formerly
    }
    found: list[Planned] = []
    problems: list[Shown] = []
    for each in mirrors:
        mirror, before = each.mirror, former.get(each.mirror.name)
        unsaid = before.mirror.formerly if before else (gone[mirror.name],) if mirror.name in gone else ()
        names = tuple(name for name in unsaid if name not in declared and name not in mirror.formerly)
        known = _placed(each, (*mirror.formerly, *names), former, taken)
        if names and (before is None or left_behind(known.mirror, known.paths)):
            problems.append(_taken_back(mirror.name, names[0]))
            found.append(known)
        else:
            found.append(_placed(each, mirror.formerly, former, taken))
    return found, problems


def _placed(each: Planned, formerly: tuple[str, ...], former: Former, taken: Collection[str]) -> Planned:
    """The mirror with these former names, and the directory that it had under one of them, rather one with files."""
    if not formerly:
        return each
    before = former.get(each.mirror.name)
    known = [before.paths.former] if before else []
    for name in formerly:
        if name in former:
            known += [former[name].paths.directory, former[name].paths.former]
    free = [place for place in known if place and place not in taken]
    place = next(filter(has_files, free), free[0] if free else "")
    return each._replace(mirror=each.mirror._replace(formerly=formerly), paths=each.paths._replace(former=place))


def _taken_back(name: str, later: str) -> Shown:
    what = f"`{name}` was called `{later}` until now, which its file does not say."
    return name, f"{name}.yml", what, f"Add `formerly: [{later}]` to it, so that its history goes on."


def is_move(what: str) -> bool:
    """Whether a problem is only that somebody has to move a renamed mirror's files."""
    return what.endswith(_STILL_THERE)


def unmoved(mirrors: list[Planned]) -> tuple[str, ...]:
    """Mirrors whose files are still where a former name has them."""
    return tuple(name for name, *_words in moves(mirrors) if name)


def moves(mirrors: list[Planned]) -> Iterator[Shown]:
    """What people have to see to, since renamed mirrors' files are still where a former name has them."""
    for mirror, paths, _revision in mirrors:
        if old := left_behind(mirror, paths):
            what = f"The files of `{mirror.name}` are still in {old}, {_STILL_THERE}"
            todo = f"Move them with `{moving(mirror, old, paths.directory)}`, or set `mirror_dir: {old}`."
            yield mirror.name, f"{mirror.name}.yml", what, todo
