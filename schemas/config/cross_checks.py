"""Conflicts between mirrors: of names, previous names, directories, logs, snapshots and `after`.

A mirror with a problem of its own is compared as well, by its keys with known values, so that one round reports all
problems.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from schemas.config import folders, rename_rules, timing
from schemas.config.inheritance import Merged
from schemas.config.yaml_file import Document, suggest
from schemas.problems import CONFLICT, Problem
from schemas.records import Mirror

KEYS = frozenset({
    "mirror_dir", "mirror_subdir", "log_dir", "btrfs_snapshot", "snapshot_path", "formerly", "after",
})  # fmt: skip
"""Keys of a mirror that are compared with those of other mirrors, beside its name and worker. With another value of one
of them, a mirror can be in conflict with files that have not changed; with another value of any other key it cannot."""


class PartialMirror(NamedTuple):
    """A mirror on one worker with only its KEYS; `unknown` are those with a wrong value.

    The worker is empty if it is not known. `merged` has the keys with their places.
    """

    mirror: Mirror
    merged: Merged
    unknown: frozenset[str] = frozenset()


class Declaration(NamedTuple):
    """One mirror as its file declares it: a record for each of its workers, or its problems.

    A mirror that inherits from a broken file is not sound, even without problems of its own. `pattern_files` are the
    files of the repository with patterns that its problems are about.
    """

    name: str
    document: Document
    mirrors: tuple[Mirror, ...] = ()
    partial_mirrors: tuple[PartialMirror, ...] = ()
    problems: tuple[Problem, ...] = ()
    sound: bool = True
    pattern_files: frozenset[str] = frozenset()


def cross_checked(declared: Sequence[Declaration], beside: Callable[[], Sequence[str]] = tuple) -> list[Declaration]:
    """Return the mirrors; those in conflict with others are no longer sound and have the problem.

    `beside` returns names of mirrors that are not compared, for suggestions.

    A sound mirror is compared only with sound ones, so that a broken mirror does not quarantine another one.
    """
    once = _once_each(declared)
    sound = [each for each in once if each.sound]
    # Broken ones are compared in a second pass, in which only they get problems.
    broken = {each.document.file for each in once if not each.sound}
    found: dict[str, list[Problem]] = {}
    for rule in (_claims, _clashes, functools.partial(_after_problems, beside)):
        for file, problem in rule(sound, once):
            found.setdefault(file, []).append(problem)
        for file, problem in rule(once, once) if broken else ():
            if file in broken:
                found.setdefault(file, []).append(problem)
    return [_rejected(each, found.get(each.document.file, ())) for each in once]


def _rejected(declared: Declaration, problems: Iterable[Problem]) -> Declaration:
    new = tuple(dict.fromkeys(problem._replace(rule=CONFLICT) for problem in problems))
    return declared._replace(mirrors=(), problems=(*declared.problems, *new), sound=False) if new else declared


def _once_each(declared: Sequence[Declaration]) -> list[Declaration]:
    """Reject a name that two files declare, in both files: either may be the one that is meant."""
    files: dict[str, list[str]] = {}
    for each in declared:
        files.setdefault(each.name.lower(), []).append(each.document.file)
    result = []
    for each in declared:
        others = [file for file in files[each.name.lower()] if file != each.document.file]
        if others and not each.name.startswith("_"):  # a file whose name begins so declares no mirror
            todo = "Rename or remove one of them; upper and lower case count as equal."
            what = Problem(each.document.file, 1, 1, f"`{others[0]}` declares the mirror `{each.name}` as well.", todo)
            each = _rejected(each, [what])
        result.append(each)
    return result


def _unknown(partial: PartialMirror) -> frozenset[str]:
    """Return the wrong keys of a mirror that have an effect: `mirror_subdir` has none beside `mirror_dir`."""
    return partial.unknown - {"mirror_subdir"} if partial.mirror.mirror_dir is not None else partial.unknown


class _Compared:
    """The mirrors with known values of some keys, and the documents that declare them."""

    def __init__(self, declared: Sequence[Declaration], keys: Iterable[str] = ()) -> None:
        compared = [
            (each.document, partial)
            for each in declared
            for partial in each.partial_mirrors
            if _unknown(partial).isdisjoint(keys)
        ]
        # By identity, because the records of two files can be equal.
        self._documents = {id(partial.mirror): document for document, partial in compared}
        self._merged = {id(partial.mirror): partial.merged for _, partial in compared}
        self._sound = {id(mirror) for each in declared if each.sound for mirror in each.mirrors}
        self.mirrors = [partial.mirror for _, partial in compared]

    def document(self, mirror: Mirror) -> Document:
        """Return the file of one of `mirrors`; the record itself is the key, not its value."""
        return self._documents[id(mirror)]

    def merged(self, mirror: Mirror) -> Merged:
        """Return the keys of one of `mirrors`, with their places."""
        return self._merged[id(mirror)]

    def to_blame(self, one: Mirror, other: Mirror) -> Document:
        """Return the file that reports the conflict of a pair: the first one's, unless only the other is broken."""
        return self.document(other if id(one) in self._sound and id(other) not in self._sound else one)


def _claims(judged: Sequence[Declaration], declared: Sequence[Declaration]) -> Iterator[tuple[str, Problem]]:
    """Yield previous names that a mirror cannot have."""
    compared = _Compared(judged, ["formerly"])
    # A mirror on several workers claims its names once.
    claiming = {compared.document(mirror).file: mirror for mirror in compared.mirrors}.values()
    files = {each.name: each.document.file for each in declared}
    for mirror, place, what, todo in rename_rules.wrong_claims(claiming, files):
        document = compared.document(mirror)
        yield document.file, document.problem(("formerly", place), what, todo)


class Clash(NamedTuple):
    """A way in which two mirrors collide: the keys that are compared, the pairs, the message and what to do."""

    keys: tuple[str, ...]
    pairs: Callable[[Sequence[Mirror]], folders.Pairs]
    place: tuple[str, ...]
    what: str
    todo: str


CLASHES: tuple[Clash, ...] = (
    Clash(
        ("mirror_dir", "mirror_subdir"),
        folders.overlaps,
        (),
        "The directory of `{0}` lies in that of `{1}` ({2}).",
        "Set another `mirror_subdir` or `mirror_dir`: the outer mirror's sync would delete these files.",
    ),
    Clash(
        ("log_dir",),
        folders.shared_logs,
        ("log_dir",),
        "`{0}` has the same `log_dir` as `{1}` ({2}).",
        "Set another one, or leave it out: each mirror needs a separate folder for logs.",
    ),
    Clash(
        ("btrfs_snapshot", "snapshot_path"),
        folders.shared_snapshots,
        ("snapshot_path",),
        "The snapshot of `{0}` has the path of that of `{1}` ({2}), or lies in it.",
        "Set another one, or leave it out: one snapshot would replace the other.",
    ),
    Clash(
        ("mirror_dir", "mirror_subdir", "btrfs_snapshot", "snapshot_path"),
        folders.snapshots_in_directories,
        ("snapshot_path",),
        "The snapshot of `{0}` lies in the directory of `{1}` ({2}).",
        "Set another `snapshot_path`, or leave it out: the sync of that directory would delete the snapshot.",
    ),
    Clash(
        ("mirror_dir", "mirror_subdir", "btrfs_snapshot", "snapshot_path"),
        folders.directories_in_snapshots,
        ("mirror_dir",),
        "The directory of `{0}` lies in the snapshot of `{1}` ({2}).",
        "Set another `mirror_dir`: each new snapshot replaces the one before.",
    ),
    Clash(
        ("mirror_dir", "mirror_subdir", "log_dir"),
        folders.logs_in_directories,
        ("log_dir",),
        "The `log_dir` of `{0}` lies in the directory of `{1}` ({2}).",
        "Set another one, or leave it out: the sync of that directory would delete the logs.",
    ),
    Clash(
        ("log_dir", "btrfs_snapshot", "snapshot_path"),
        folders.logs_in_snapshots,
        ("log_dir",),
        "The `log_dir` of `{0}` lies in the snapshot of `{1}` ({2}).",
        "Set another one, or leave it out: a snapshot cannot be written to.",
    ),
)


def _clashes(judged: Sequence[Declaration], _declared: Sequence[Declaration]) -> Iterator[tuple[str, Problem]]:
    """Yield mirrors whose directory, logs or snapshot collides with another one's."""
    for clash in CLASHES:
        compared = _Compared(judged, clash.keys)
        for one, other in clash.pairs([mirror for mirror in compared.mirrors if mirror.worker]):
            document = compared.to_blame(one, other)
            what = clash.what.format(one.name, other.name, compared.document(other).file)
            yield document.file, document.problem(clash.place, what, clash.todo)


def _after_problems(
    beside: Callable[[], Sequence[str]], judged: Sequence[Declaration], declared: Sequence[Declaration]
) -> Iterator[tuple[str, Problem]]:
    """Yield mirrors whose `after` names a missing mirror or leads back to themselves."""
    placed = {each.name for each in judged if any(partial.mirror.worker for partial in each.partial_mirrors)}
    known = frozenset(each.name for each in declared)
    compared = _Compared(judged)
    renamed = rename_rules.current_names(compared.mirrors)
    for mirror, place, what in timing.after_problems(compared.mirrors, known - placed):
        name = mirror.after[place]
        todo = "Remove it from `after`." if name in known else suggest(name, sorted({*known, *beside()}))
        if name in renamed:
            todo = f"Its name is now `{renamed[name]}`."
        yield compared.document(mirror).file, compared.merged(mirror).problem("after", what, todo, place)
