"""A config repository, read as a whole: the site, the workers, the mirrors, and everything that is wrong.

The site and the workers are valid only as a whole; one bad mirror is quarantined alone. The steps, in order:
parse every file, check each against its schema, lay the layers over each other, check the result's rules.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from schemas import address_rules, build, placement, renames, rules, timing, windows, zones
from schemas.inheritance import Layer, Merged, merge
from schemas.names import is_name
from schemas.problems import Problem, Refused, shown
from schemas.records import Mirror, Site, SyncWindows, Worker
from schemas.sources import SourceFile, ending_of
from schemas.validation import check
from schemas.yaml_file import Document, parse, suggest

_NEVER_OPEN = "`sync_windows` never let a sync begin.", "Allow more, or forbid less."

SITE, WORKERS, DEFAULTS = "_site.yml", "_workers.yml", "_defaults.yml"


class Catalogue(NamedTuple):
    """What a revision declares.

    `mirrors` has one record for each mirror and worker, sorted by both names. `quarantined` holds the names that
    were declared in a way that cannot be used, as `problems` says.
    """

    site: Site
    workers: Mapping[str, Worker]
    mirrors: tuple[Mirror, ...]
    problems: tuple[Problem, ...]
    quarantined: frozenset[str]


class _Declared(NamedTuple):
    """One mirror as its file declares it: a record for each of its workers, or what is wrong with it.

    Not sound and yet without problems of its own is one that inherits from a broken file.
    """

    name: str
    document: Document
    mirrors: tuple[Mirror, ...] = ()
    problems: tuple[Problem, ...] = ()
    sound: bool = True


def load(sources: Sequence[SourceFile]) -> Catalogue:
    """Read all files; raises Refused with every problem found when the site or the workers cannot be used."""
    tree = _Tree({source.path: _parse(source) for source in sources})
    whole = [*tree.site_problems(), *tree.workers_problems()]
    once = _once_each([tree.declared(path) for path in tree.mirror_paths()])
    declared = _followable(_without_clashes(_rightly_renamed(once)))
    problems = {
        *whole,
        *tree.defaults_problems(),
        *(problem for each in declared for problem in each.problems),
    }
    if whole:
        raise Refused("The configuration cannot be used as it stands:", problems)
    return Catalogue(
        build.site(tree.site.value),
        {name: build.worker(name, plain) for name, plain in sorted(tree.workers.value["workers"].items())},
        tuple(sorted(mirror for each in declared if each.sound for mirror in each.mirrors)),
        tuple(sorted(problems)),
        frozenset(each.name for each in declared if not each.sound and is_name(each.name)),
    )


class _Tree:
    """The parsed files, and how they hang together."""

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self.documents = documents
        self.site = documents.get(SITE) or _missing(SITE)
        self.workers = documents.get(WORKERS) or _missing(WORKERS)
        self._broken_defaults = {problem.file for problem in self.defaults_problems()}
        self._whole_is_broken = bool(self.site_problems() or self.workers_problems())

    def site_problems(self) -> list[Problem]:
        """What is wrong with the site's file."""
        problems = check("site", self.site)
        zone = "" if problems else self.site.value.get("time_zone", "UTC")
        if not problems and not rules.is_time_zone(zone):
            if not rules.has_time_zones():
                what = f"This machine has no time zone data, so that `{zone}` cannot be checked."
                return [self.site.problem(("time_zone",), what, zones.INSTALL)]
            todo = "Write a name of the IANA database, such as `Europe/Berlin`."
            return [self.site.problem(("time_zone",), f"There is no time zone `{zone}`.", todo)]
        return problems or list(address_rules.site_problems(self.site))

    def workers_problems(self) -> list[Problem]:
        """What is wrong with the workers' file."""
        return check("workers", self.workers) or [
            self.workers.problem(("workers", name, "sync_windows"), *_NEVER_OPEN)
            for name in self.workers.value["workers"]
            if (hours := self._hours_of(name)) is not None and windows.never_open((hours,))
        ]

    def _hours_of(self, worker: str) -> SyncWindows | None:
        plain = self.workers.value["workers"].get(worker, {}).get("sync_windows")
        return None if plain is None else build.sync_windows(plain)

    def defaults_problems(self) -> list[Problem]:
        """What is wrong with any `_defaults.yml`; an empty one is fine."""
        return [
            problem
            for path, document in self.documents.items()
            if _stem(path) == "_defaults" and not _is_empty(document)
            for problem in check("defaults", document)
        ]

    def mirror_paths(self) -> list[str]:
        """The files that declare a mirror, or look as if they should."""
        return sorted(path for path in self.documents if path not in (SITE, WORKERS) and _stem(path) != "_defaults")

    def declared(self, path: str) -> _Declared:
        """Read one mirror's file with all that it inherits."""
        document, name = self.documents[path], _stem(path).removesuffix(ending_of(path))
        problems = _name_problems(path, name) or (() if _is_empty(document) else tuple(check("mirror", document)))
        layers = self._layers(path)
        if problems or self._whole_is_broken or any(layer.document.file in self._broken_defaults for layer in layers):
            return _Declared(name, document, problems=tuple(problems), sound=False)
        return self._resolved(name, document, layers)

    def _resolved(self, name: str, document: Document, layers: Sequence[Layer]) -> _Declared:
        merged = merge(layers)
        workers, known = placement.workers_of(merged), list(self.workers.value["workers"])
        problems = [_unknown_worker(merged, worker, known) for worker in workers if worker not in known]
        full = {worker: self._on(worker, layers) for worker in [each for each in workers if each in known] or [""]}
        roles = placement.roles(full)
        problems += placement.problems(full)
        records = []
        for worker, found in full.items():
            problems += [*rules.mirror_problems(found), *self._category_problems(found)]
            problems += timing.timing_problems(found, self._hours_of(worker))
            if not problems:
                records.append(build.mirror(name, worker, found.keys | {"role": roles[worker]}))
        return _Declared(name, document, () if problems else tuple(records), tuple(problems), not problems)

    def _on(self, worker: str, layers: Sequence[Layer]) -> Merged:
        """The keys that apply on one worker."""
        defaults = Layer(self.workers, ("workers", worker, "defaults"))
        return merge(placement.with_differences([layers[0], defaults, *layers[1:]], worker))

    def _category_problems(self, merged: Merged) -> list[Problem]:
        category, known = merged.keys.get("category"), list(self.site.value.get("categories", {}))
        if category is None or category in known:
            return []
        what = f"The category `{shown(category)}` is not in `{SITE}`."
        return [merged.problem("category", what, suggest(category, known))]

    def _layers(self, path: str) -> list[Layer]:
        """Every `_defaults.yml` above a file, the top one first (empty where there is none), and the file itself."""
        folders = path.split("/")[:-1]
        above = ["/".join([*folders[:depth], DEFAULTS]) for depth in range(len(folders) + 1)]
        found = [self.documents[each] for each in above[1:] if each in self.documents]
        top = self.documents.get(DEFAULTS, Document(DEFAULTS, {}, None, ()))
        return [Layer(each) for each in (top, *found, self.documents[path])]


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".yml")


def _is_empty(document: Document) -> bool:
    return document.node is None and not document.problems


def _missing(path: str) -> Document:
    what = Problem(path, 1, 1, "The file is missing.", f"Create it beside `{DEFAULTS}`.")
    return Document(path, None, None, (what,))


def _parse(source: SourceFile) -> Document:
    if source.data is not None:
        return parse(source.data, source.path)
    what = Problem(source.path, 1, 1, "This is a symbolic link.", "Put a file here: links are not followed.")
    return Document(source.path, None, None, (what,))


def _name_problems(path: str, name: str) -> tuple[Problem, ...]:
    if not path.endswith(".yml"):
        return (Problem(path, 1, 1, f"The name of the file ends in `{ending_of(path)}`.", "Rename it to `.yml`."),)
    if name.startswith("_"):
        todo = f"Only `{SITE}`, `{WORKERS}` and `{DEFAULTS}` begin with `_`; `{SITE}` and `{WORKERS}` stand at the top."
        return (Problem(path, 1, 1, f"`{shown(name)}.yml` is no file that belongs here.", todo),)
    if not is_name(name):
        todo = "Use letters, digits and `._-`, at most 64, and begin with a letter or digit."
        return (Problem(path, 1, 1, f"`{shown(name)}` cannot be the name of a mirror.", todo),)
    return ()


def _unknown_worker(merged: Merged, worker: str, known: Sequence[str]) -> Problem:
    return merged.problem("worker", f"The worker `{worker}` is not in `{WORKERS}`.", suggest(worker, known), worker)


def _once_each(declared: Sequence[_Declared]) -> list[_Declared]:
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
            each = each._replace(mirrors=(), problems=(*each.problems, what), sound=False)
        result.append(each)
    return result


def _rightly_renamed(declared: Sequence[_Declared]) -> list[_Declared]:
    """Turn away a mirror that claims a former name which it cannot have."""
    problems: dict[str, list[Problem]] = {}
    documents = {each.name: each.document for each in declared}
    files = {name: document.file for name, document in documents.items()}
    claiming = [mirror for each in declared for mirror in each.mirrors[:1]]
    for name, place, what, todo in renames.wrong_claims(claiming, files):
        problems.setdefault(name, []).append(documents[name].problem(("formerly", place), what, todo))
    return _turned_away(declared, problems)


def _without_clashes(declared: Sequence[_Declared]) -> list[_Declared]:
    """Turn away a mirror whose directory, logs or snapshot would get mixed up with another one's."""
    problems: dict[str, list[Problem]] = {}
    documents = {each.name: each.document for each in declared}
    mirrors = [mirror for each in declared for mirror in each.mirrors]
    for inner, outer in rules.overlaps(mirrors):
        what = f"The directory of `{inner.name}` lies in that of `{outer.name}` ({documents[outer.name].file})."
        todo = "Set another `mirror_subdir` or `mirror_dir`: the outer one's sync would delete these files."
        problems.setdefault(inner.name, []).append(documents[inner.name].problem((), what, todo))
    for later, first in rules.shared_logs(mirrors):
        what = f"`{later.name}` has the same `log_dir` as `{first.name}` ({documents[first.name].file})."
        todo = "Set another one, or leave it out: each mirror's logs need a folder of their own."
        problems.setdefault(later.name, []).append(documents[later.name].problem(("log_dir",), what, todo))
    for inner, outer in rules.shared_snapshots(mirrors):
        what = f"The snapshot of `{inner.name}` lies at or in that of `{outer.name}` ({documents[outer.name].file})."
        todo = "Set another one, or leave it out: one would be put in the place of the other."
        problems.setdefault(inner.name, []).append(documents[inner.name].problem(("snapshot_path",), what, todo))
    return _turned_away(declared, problems)


def _followable(declared: Sequence[_Declared]) -> list[_Declared]:
    """Turn away a mirror that follows one that is not there, or itself in the end."""
    problems: dict[str, list[Problem]] = {}
    documents = {each.name: each.document for each in declared}
    unusable = frozenset(each.name for each in declared if not each.sound)
    known = [each.name for each in declared]
    mirrors = [mirror for each in declared for mirror in each.mirrors]
    renamed = renames.current_names(mirrors)
    for mirror, place, what in timing.astray(mirrors, unusable):
        name = mirror.after[place]
        todo = "Remove it from `after`." if name in known else suggest(name, known)
        if name in renamed:
            todo = f"It is called `{renamed[name]}` now."
        problem = documents[mirror.name].problem(("after", place), what, todo)
        problems.setdefault(mirror.name, []).append(problem)
    return _turned_away(declared, problems)


def _turned_away(declared: Sequence[_Declared], problems: Mapping[str, list[Problem]]) -> list[_Declared]:
    return [
        each._replace(mirrors=(), problems=(*each.problems, *dict.fromkeys(problems[each.name])), sound=False)
        if each.name in problems
        else each
        for each in declared
    ]
