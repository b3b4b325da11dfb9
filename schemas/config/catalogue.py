"""Load a whole config repository: the site, the workers, the mirrors, and all problems.

A problem of the site or of the workers rejects the revision; a problem of a mirror quarantines this mirror. The steps:
parse every file, check it against its schema, merge the inherited layers, check the rules, compare the mirrors. Each
step continues with the keys that can be judged, so that one problem does not hide another one.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.clock import windows, zones
from schemas.config import address_rules, placement, record_factory, rules, secret_text, timing
from schemas.config.cross_checks import KEYS, Declaration, PartialMirror, cross_checked
from schemas.config.inheritance import Layer, Merged, merge
from schemas.config.judgeable_keys import JudgeableKeys, is_known, judged, keys_at
from schemas.config.repository_patterns import RepositoryPatterns
from schemas.config.schema_set import OWN, SchemaSet
from schemas.config.sources import FRAGMENTS, POLICIES, SourceFile, ending_of
from schemas.config.validation import examine
from schemas.config.yaml_file import WHOLE, Document, parse, suggest
from schemas.names import is_name
from schemas.problems import FILE_NAME, InvalidConfigError, Problem, shown
from schemas.records import Mirror, Site, SyncWindows, Worker

if TYPE_CHECKING:  # few repositories have exported policies
    from schemas.config.exported_policy import ExportedPolicy

SITE, WORKERS, DEFAULTS = "_site.yml", "_workers.yml", "_defaults.yml"


class Catalogue(NamedTuple):
    """The content of a revision.

    `mirrors` has one record for each mirror and worker, sorted by both names. `quarantined` has the names of mirrors
    with `problems`. `passed_over` are files that are not read, but whose names are similar to those of configuration.
    `warnings` are about the schemas of plug-ins. `owners` has the workers of each quarantined mirror by its file, if
    they are known. `patterns` has the patterns in each file of the repository that an `exclude_file` names.
    `files` has the file of each name in `mirrors`. `policies` has the exported policy of each worker with a file, None
    for an invalid one. `doubts` are words that may be secrets.
    """

    site: Site
    workers: Mapping[str, Worker]
    mirrors: tuple[Mirror, ...]
    problems: tuple[Problem, ...]
    quarantined: frozenset[str]
    passed_over: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    owners: Mapping[str, frozenset[str]] = MappingProxyType({})
    patterns: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    files: Mapping[str, str] = MappingProxyType({})
    policies: Mapping[str, "ExportedPolicy | None"] = MappingProxyType({})
    doubts: tuple[Problem, ...] = ()

    def is_elsewhere(self, file: str, worker: str) -> bool:
        """Return whether a file declares a quarantined mirror that certainly is not one of this worker."""
        return file in self.owners and worker not in self.owners[file]


def load(
    sources: Sequence[SourceFile], installed: SchemaSet = OWN, beside: Callable[[], Iterable[str]] = tuple
) -> Catalogue:
    """Load all files. Raises InvalidConfigError with all problems if the site or the workers are invalid.

    Mirrors may use the keys of `installed` plug-ins, and of those whose schemas are in `.skipjack/schemas`. `beside`
    returns paths of files that are not loaded; only messages suggest their names.
    """
    schemas, file_problems, warnings = _with_carried(sources, installed)
    patterns = RepositoryPatterns(sources)
    definitions = {source.path: _parse(source) for source in sources if _is_definition(source)}
    suspects = {
        each.path: each.data
        for each in sources
        if each.path in definitions and each.data and secret_text.is_suspicious(each.data)
    }
    definitions |= {path: secret_text.with_problems(definitions[path], data) for path, data in suspects.items()}
    tree = _ConfigFiles(definitions, schemas, patterns)
    whole = [*tree.site_problems(), *tree.workers_problems()]
    declared = cross_checked(
        [tree.declared(path) for path in tree.mirror_paths()], lambda: [*map(_name_of, filter(_is_mirror, beside()))]
    )
    policies, policy_problems = _policies(sources, tree.worker_names())
    # A set, because a mirror has the same problem on each of its workers.
    problems = {
        *whole,
        *file_problems,
        *policy_problems,
        *tree.defaults_problems(),
        *(problem for each in declared for problem in each.problems),
    }
    if whole:
        # Only now, so that one round reports the problems of the mirrors as well.
        raise InvalidConfigError("the configuration is invalid:", problems)
    return Catalogue(
        record_factory.site(tree.site.value),
        {name: record_factory.worker(name, plain) for name, plain in sorted(tree.workers.value["workers"].items())},
        tuple(sorted(mirror for each in declared if each.sound for mirror in each.mirrors)),
        tuple(sorted(problems)),
        frozenset(each.name for each in declared if not each.sound and is_name(each.name)),
        tuple(source.path for source in sources if source.passed_over),
        warnings,
        _owners_by_file(declared),
        patterns.named_by(mirror for each in declared for mirror in each.mirrors),
        {each.name: each.document.file for each in declared if each.sound},
        policies,
        tuple(doubt for path, data in suspects.items() for doubt in secret_text.doubts(tree.documents[path], data)),
    )


def _owners_by_file(declared: Iterable[Declaration]) -> dict[str, frozenset[str]]:
    """Return the workers of the mirrors with problems in a file, if all are known: YAML or patterns."""
    found: dict[str, list[frozenset[str]]] = {}
    for each in declared:
        for file in () if each.sound else {each.document.file, *each.pattern_files}:
            found.setdefault(file, []).append(_owners(each))
    return {file: frozenset().union(*owners) for file, owners in found.items() if all(owners)}


def _owners(declared: Declaration) -> frozenset[str]:
    """Return the workers of a mirror; empty if not all are known."""
    workers = frozenset(each.mirror.worker for each in declared.partial_mirrors)
    return frozenset() if "" in workers else workers


def _is_definition(source: SourceFile) -> bool:
    return not (source.passed_over or source.has_patterns or source.path.startswith((FRAGMENTS, POLICIES)))


def _policies(
    sources: Sequence[SourceFile], workers: Sequence[str] | None
) -> tuple[Mapping[str, "ExportedPolicy | None"], tuple[Problem, ...]]:
    """Return the exported policies of workers, and the problems of their files."""
    files = [source for source in sources if source.path.startswith(POLICIES)]
    if not files:
        return {}, ()
    from schemas.config.carried_policies import read_all  # few repositories have some

    return read_all(files, workers)


def _with_carried(
    sources: Sequence[SourceFile], installed: SchemaSet
) -> tuple[SchemaSet, tuple[Problem, ...], tuple[str, ...]]:
    """Return the schemas with the plug-ins that the repository describes, and the problems and warnings about those."""
    if not any(source.path.startswith(FRAGMENTS) for source in sources):
        return installed, (), ()
    from schemas.config.carried_fragments import with_installed  # most repositories have none

    return with_installed(sources, installed)


class _ConfigFiles:
    """The parsed files, and how they depend on each other."""

    def __init__(self, documents: Mapping[str, Document], schemas: SchemaSet, patterns: RepositoryPatterns) -> None:
        self._schemas, self._patterns = schemas, patterns
        self.documents = {path: _examined(path, document, schemas) for path, document in documents.items()}
        self.site = self.documents.get(SITE) or _missing(SITE, self.documents)
        self.workers = self.documents.get(WORKERS) or _missing(WORKERS, self.documents)
        self._broken_defaults = {problem.file for problem in self.defaults_problems()}
        self._whole_is_broken = bool(self.site_problems() or self.workers_problems())

    def site_problems(self) -> list[Problem]:
        """Return the problems of `_site.yml`."""
        return [*self.site.problems, *judged(_zone_problems(self.site)), *address_rules.site_problems(self.site)]

    def workers_problems(self) -> list[Problem]:
        """Return the problems of `_workers.yml`."""
        names = [name for name in self.worker_names() or () if name in (self.workers.value.get("workers") or ())]
        return [*self.workers.problems, *(problem for name in names for problem in judged(self._closed(name)))]

    def _closed(self, worker: str) -> Iterator[Problem]:
        """Report a worker whose sync windows never allow a start."""
        hours = self._hours_of(worker)
        if hours is not None and windows.never_open((hours,)):
            yield self.workers.problem(("workers", worker, "sync_windows"), *timing.NEVER_OPEN)

    def worker_names(self) -> list[str] | None:
        """Return the names of all workers, with problems or not; None if they are not known."""
        found = keys_at(self.workers.value, self.workers.wrong, ("workers",))
        if isinstance(found, JudgeableKeys):
            return None if found.partial else [*found, *found.wrong]
        return list(found)

    def _hours_of(self, worker: str) -> SyncWindows | None:
        plain = keys_at(self.workers.value, self.workers.wrong, ("workers", worker)).get("sync_windows")
        return None if plain is None else record_factory.sync_windows(plain)

    def defaults_problems(self) -> list[Problem]:
        """Return the problems of every `_defaults.yml`; an empty one has none."""
        defaults = [document for path, document in self.documents.items() if _stem(path) == "_defaults"]
        return [problem for document in defaults for problem in document.problems]

    def mirror_paths(self) -> list[str]:
        """Return the files that declare a mirror, with a valid name or not."""
        return sorted(filter(_is_mirror, self.documents))

    def declared(self, path: str) -> Declaration:
        """Return one mirror with everything that it inherits."""
        document, name = self.documents[path], _name_of(path)
        of_name = () if self._is_reported(path) else _name_problems(path, name)
        declared = Declaration(name, document, problems=(*of_name, *document.problems), sound=False)
        if name.startswith("_"):
            return declared
        layers = self._layers(path)
        merged = merge(layers)
        named = list(judged(placement.workers_of(merged)))
        known = self.worker_names()
        full = {worker: self._on(worker, layers) for worker in named if known is None or worker in known}
        # Without a known worker the keys are checked all the same, so that one round shows all problems.
        full = full or {"": self._on("", layers)}
        problems = [*declared.problems, *self._problems(merged, named, full)]
        sound = not (
            problems or self._whole_is_broken or self._broken_defaults & {each.document.file for each in layers}
        )
        if sound:
            roles = placement.roles(full)
            records = [
                record_factory.mirror(name, worker, on.keys | {"role": roles[worker]}, self._schemas.fragments)
                for worker, on in full.items()
            ]
            partial = tuple(map(PartialMirror, records, full.values()))
            return declared._replace(mirrors=tuple(records), partial_mirrors=partial, sound=True)
        partial = tuple(_partial(name, worker, on) for worker, on in full.items()) if is_name(name) else ()
        files = frozenset(self._patterns.with_problems({problem.file for problem in problems}))
        return declared._replace(problems=tuple(problems), partial_mirrors=partial, pattern_files=files)

    def _problems(self, merged: Merged, named: Sequence[str], full: Mapping[str, Merged]) -> Iterator[Problem]:
        """Yield the problems of a mirror's keys, as they apply on each of its workers."""
        known = self.worker_names()
        for worker in named:
            if known is not None and worker not in known:
                yield _unknown_worker(merged, worker, known)
        yield from judged(placement.problems(full))
        for worker, found in full.items():
            yield from rules.mirror_problems(found, self._schemas)
            yield from judged(self._patterns.problems(found))
            yield from judged(self._category_problems(found))
            # A function, so that unknown windows of the worker end only the rule that reads them.
            yield from timing.timing_problems(found, functools.partial(self._hours_of, worker))

    def _on(self, worker: str, layers: Sequence[Layer]) -> Merged:
        """Return the keys that apply on one worker."""
        defaults = Layer(self.workers, ("workers", worker, "defaults"))
        return merge(placement.with_differences([layers[0], defaults, *layers[1:]], worker))

    def _category_problems(self, merged: Merged) -> Iterator[Problem]:
        category = merged.keys.get("category")
        known = keys_at(self.site.value, self.site.wrong, ("categories",))
        if category is not None and category not in known:
            what = f"The category `{shown(category)}` is not in `{SITE}`."
            yield merged.problem("category", what, suggest(category, list(known)))

    def _is_reported(self, path: str) -> bool:
        """Return whether the problem of a missing file names the folder of this one, with what to do."""
        missing = (each for each in (SITE, WORKERS) if each not in self.documents)
        return any(path == f"{_folder_of(each, self.documents)}/{each}" for each in missing)

    def _layers(self, path: str) -> list[Layer]:
        """Return every `_defaults.yml` above a file, the top one first (empty if missing), and the file itself."""
        folders = path.split("/")[:-1]
        above = ["/".join([*folders[:depth], DEFAULTS]) for depth in range(len(folders) + 1)]
        found = [self.documents[each] for each in above[1:] if each in self.documents]
        # Also without a file, because `_on` puts the worker's defaults right above this layer.
        top = self.documents.get(DEFAULTS, Document(DEFAULTS, {}, None, ()))
        return [Layer(each) for each in (top, *found, self.documents[path])]


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".yml")


def _is_mirror(path: str) -> bool:
    return path not in (SITE, WORKERS) and _stem(path) != "_defaults" and not path.startswith((FRAGMENTS, POLICIES))


def _name_of(path: str) -> str:
    return _stem(path).removesuffix(ending_of(path))


def _is_empty(document: Document) -> bool:
    return document.node is None and not document.problems


def _missing(path: str, documents: Iterable[str]) -> Document:
    """Return the document of a missing file; a file with its name in another folder suggests the fix."""
    folder = _folder_of(path, documents)
    todo = "Create it in the top folder of the definitions."
    if folder is not None:
        todo = f"If the definitions are in the folder `{shown(folder)}`, set `repository.path` to it in the settings."
    what = Problem(path, 1, 1, "The file is missing.", todo, FILE_NAME)
    return Document(path, None, None, (what,), WHOLE)


def _folder_of(path: str, documents: Iterable[str]) -> str | None:
    """Return a folder that has a file which belongs in the top folder; None if none has it."""
    return next((each.removesuffix(f"/{path}") for each in sorted(documents) if each.endswith(f"/{path}")), None)


def _examined(path: str, document: Document, schemas: SchemaSet) -> Document:
    """Return the document with the problems of its schema; an empty mirror or `_defaults.yml` is valid."""
    if path in (SITE, WORKERS):
        return examine("site" if path == SITE else "workers", document, schemas)
    # An unexpected file has the problem of its name alone, whatever its keys are.
    if _is_empty(document) or (_stem(path).startswith("_") and _stem(path) != "_defaults"):
        return document
    return examine("defaults" if _stem(path) == "_defaults" else "mirror", document, schemas)


def _partial(name: str, worker: str, merged: Merged) -> PartialMirror:
    """Return a mirror with wrong keys as a record of the known ones."""
    values = {key: value for key, value in merged.keys.items() if key in KEYS} | _partial_lists(merged.keys)
    unknown = frozenset(key for key in KEYS if key not in values and not is_known(merged.keys, key))
    record = record_factory.mirror(name, worker, {"provider": "", "upstream": ""} | values)
    return PartialMirror(record, merged, unknown)


def _partial_lists(keys: dict[str, Any]) -> dict[str, list[str]]:
    """Return the lists of names with right and wrong entries; a wrong one is empty here, which names no mirror."""
    if not isinstance(keys, JudgeableKeys):
        return {}
    known = {key: keys.wrong[key].entries for key in ("after", "formerly") if key in keys.wrong}
    return {
        key: [names.get(place, "") for place in range(max(names, default=-1) + 1)]
        for key, names in known.items()
        if names is not None
    }


def _zone_problems(site: Document) -> Iterator[Problem]:
    zone = site.keys.get("time_zone", "UTC")
    if rules.is_time_zone(zone):
        return
    if not rules.has_time_zones():
        what = f"This machine has no time zone data, so `{zone}` cannot be checked."
        yield site.problem(("time_zone",), what, zones.INSTALL)
    else:
        todo = "Write a name of the IANA database, such as `Europe/Berlin`."
        yield site.problem(("time_zone",), f"Unknown time zone `{zone}`.", todo)


def _parse(source: SourceFile) -> Document:
    if source.data is not None:
        return parse(source.data, source.path)
    todo = "Replace it by a file: links are not followed."
    what = Problem(source.path, 1, 1, "The file is a symbolic link.", todo, FILE_NAME)
    return Document(source.path, None, None, (what,), WHOLE)


def _name_problems(path: str, name: str) -> tuple[Problem, ...]:
    found = _wrong_name(path, name)
    return (Problem(path, 1, 1, *found, FILE_NAME),) if found else ()


def _wrong_name(path: str, name: str) -> tuple[str, str] | None:
    """Return why a file's name is wrong, and what to do; None if it is right."""
    if not path.endswith(".yml"):
        return f"The file name ends with `{ending_of(path)}`.", "Rename it to end with `.yml`."
    if name.startswith("_"):
        todo = f"Only `{DEFAULTS}` and, in the top folder, `{SITE}` and `{WORKERS}` may begin with `_`."
        return f"Unexpected file `{shown(name)}.yml`.", todo
    if not is_name(name):
        todo = "Use at most 64 letters, digits and `._-`, and begin with a letter or digit."
        return f"`{shown(name)}` is not a valid name of a mirror.", todo
    return None


def _unknown_worker(merged: Merged, worker: str, known: Sequence[str]) -> Problem:
    return merged.problem("worker", f"The worker `{worker}` is not in `{WORKERS}`.", suggest(worker, known), worker)
