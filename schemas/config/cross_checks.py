"""What is wrong between mirrors: names, former names, directories, logs and snapshots that get in each other's way.

A mirror with a problem of its own is judged as well, by those of its keys that are known, so that all problems show
in one round.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from schemas.config import rename_rules, rules, timing
from schemas.config.yaml_file import Document, suggest
from schemas.problems import Problem
from schemas.records import Mirror

KEYS = frozenset({
    "mirror_dir", "mirror_subdir", "log_dir", "btrfs_snapshot", "snapshot_path", "formerly", "after",
})  # fmt: skip
"""Keys of a mirror that other mirrors are compared with."""


class PartialMirror(NamedTuple):
    """A mirror on one worker as far as others are compared with it; `unknown` are those of KEYS that are wrong.

    The worker is empty when nobody knows on which one it is.
    """

    mirror: Mirror
    unknown: frozenset[str] = frozenset()


class Declaration(NamedTuple):
    """One mirror as its file declares it: a record for each of its workers, or what is wrong with it.

    Not sound and yet without problems of its own is one that inherits from a broken file. `twice` says that
    another file declares the same name.
    """

    name: str
    document: Document
    mirrors: tuple[Mirror, ...] = ()
    sketches: tuple[PartialMirror, ...] = ()
    problems: tuple[Problem, ...] = ()
    sound: bool = True
    twice: bool = False


def cross_checked(declared: Sequence[Declaration]) -> list[Declaration]:
    """Return the mirrors; those that cannot be used beside the others are no longer sound and say why.

    A sound mirror is judged beside the sound ones alone: one that is broken anyway takes no other one with it.
    """
    once = _once_each(declared)
    sound = [each for each in once if each.sound]
    broken = {each.document.file for each in once if not each.sound}
    found: dict[str, list[Problem]] = {}
    for rule in (_claims, _clashes, _astray):
        for file, problem in rule(sound, once):
            found.setdefault(file, []).append(problem)
        for file, problem in rule(once, once) if broken else ():
            if file in broken:
                found.setdefault(file, []).append(problem)
    return [_turned_away(each, found.get(each.document.file, ())) for each in once]


def _turned_away(declared: Declaration, problems: Iterable[Problem]) -> Declaration:
    new = tuple(dict.fromkeys(problems))
    return declared._replace(mirrors=(), problems=(*declared.problems, *new), sound=False) if new else declared


def _once_each(declared: Sequence[Declaration]) -> list[Declaration]:
    """Turn away a name that stands in two files, in both: nobody can tell which one is meant."""
    files: dict[str, list[str]] = {}
    for each in declared:
        files.setdefault(each.name.lower(), []).append(each.document.file)
    result = []
    for each in declared:
        others = [file for file in files[each.name.lower()] if file != each.document.file]
        if others:
            todo = "Rename or remove one of them; letters' case makes no difference."
            what = Problem(each.document.file, 1, 1, f"`{others[0]}` declares the mirror `{each.name}` as well.", todo)
            each = _turned_away(each, [what])._replace(twice=True)
        result.append(each)
    return result


def _unknown(sketch: PartialMirror) -> frozenset[str]:
    """The keys of a mirror that are wrong and would have an effect: `mirror_subdir` has none beside `mirror_dir`."""
    return sketch.unknown - {"mirror_subdir"} if sketch.mirror.mirror_dir is not None else sketch.unknown


class _Compared:
    """The mirrors of which some keys are known, and the documents that they come from."""

    def __init__(self, declared: Sequence[Declaration], keys: Iterable[str] = (), *, twice: bool = False) -> None:
        self._documents = {
            id(sketch.mirror): each.document
            for each in declared
            for sketch in each.sketches
            if (twice or not each.twice) and _unknown(sketch).isdisjoint(keys)
        }
        self._sound = {id(mirror) for each in declared if each.sound for mirror in each.mirrors}
        self.mirrors = [
            sketch.mirror for each in declared for sketch in each.sketches if id(sketch.mirror) in self._documents
        ]

    def document(self, mirror: Mirror) -> Document:
        """The file of one of the mirrors, which is the very record that a rule was given."""
        return self._documents[id(mirror)]

    def to_blame(self, one: Mirror, other: Mirror) -> Document:
        """The file of the one of a pair that has to say what is wrong: the first, unless only the other is broken."""
        return self.document(other if id(one) in self._sound and id(other) not in self._sound else one)


def _claims(judged: Sequence[Declaration], declared: Sequence[Declaration]) -> Iterator[tuple[str, Problem]]:
    """Former names that a mirror cannot have."""
    documents = {each.name: each.document for each in declared}
    compared = _Compared(judged, ["formerly"])
    first = {mirror.name: mirror for mirror in reversed(compared.mirrors)}
    claiming = [mirror for mirror in compared.mirrors if first[mirror.name] is mirror]
    for name, place, what, todo in rename_rules.wrong_claims(
        claiming, {name: file.file for name, file in documents.items()}
    ):
        yield documents[name].file, documents[name].problem(("formerly", place), what, todo)


_Pairs = Callable[[Sequence[Mirror]], Iterator[tuple[Mirror, Mirror]]]


class _Clash(NamedTuple):
    """How mirrors' files could get mixed up: the keys that say so, the pairs, what it is, and what to do."""

    keys: tuple[str, ...]
    pairs: _Pairs
    place: tuple[str, ...]
    what: str
    todo: str


_CLASHES = (
    _Clash(
        ("mirror_dir", "mirror_subdir"),
        rules.overlaps,
        (),
        "The directory of `{0}` lies in that of `{1}` ({2}).",
        "Set another `mirror_subdir` or `mirror_dir`: the outer one's sync would delete these files.",
    ),
    _Clash(
        ("log_dir",),
        rules.shared_logs,
        ("log_dir",),
        "`{0}` has the same `log_dir` as `{1}` ({2}).",
        "Set another one, or leave it out: each mirror's logs need a folder of their own.",
    ),
    _Clash(
        ("btrfs_snapshot", "snapshot_path"),
        rules.shared_snapshots,
        ("snapshot_path",),
        "The snapshot of `{0}` lies at or in that of `{1}` ({2}).",
        "Set another one, or leave it out: one would be put in the place of the other.",
    ),
)


def _clashes(judged: Sequence[Declaration], _declared: Sequence[Declaration]) -> Iterator[tuple[str, Problem]]:
    """Mirrors whose directory, logs or snapshot would get mixed up with another one's."""
    for clash in _CLASHES:
        compared = _Compared(judged, clash.keys)
        for one, other in clash.pairs([mirror for mirror in compared.mirrors if mirror.worker]):
            document = compared.to_blame(one, other)
            what = clash.what.format(one.name, other.name, compared.document(other).file)
            yield document.file, document.problem(clash.place, what, clash.todo)


def _astray(judged: Sequence[Declaration], declared: Sequence[Declaration]) -> Iterator[tuple[str, Problem]]:
    """Mirrors that follow one that is not there, or themselves in the end."""
    placed = {each.name for each in judged if any(sketch.mirror.worker for sketch in each.sketches)}
    known = [each.name for each in declared]
    compared = _Compared(judged, twice=True)
    renamed = rename_rules.current_names(compared.mirrors)
    for mirror, place, what in timing.astray(compared.mirrors, frozenset(known) - placed):
        name = mirror.after[place]
        todo = "Remove it from `after`." if name in known else suggest(name, known)
        if name in renamed:
            todo = f"It is called `{renamed[name]}` now."
        document = compared.document(mirror)
        yield document.file, document.problem(("after", place), what, todo)
