"""Put the workers of a site into one repository: each in a folder of its own, and mirrors that several have beside it.

So each worker keeps the defaults of its own configuration. A mirror on several workers is one file with all of its
keys: those that are the same on all, and below each worker those that differ.
"""

from collections.abc import Mapping, Sequence

from runner.importing.definitions import Config, Keys
from runner.importing.draft import HEADS, Draft, without
from runner.importing.findings import Finding
from runner.importing.shared_keys import worker
from runner.importing.yaml_text import block
from schemas.config import catalogue
from schemas.config.catalogue import DEFAULTS, SITE, WORKERS
from schemas.config.placement import MASTER, SLAVE
from schemas.config.sources import SourceFile
from schemas.errors import SkipjackError
from schemas.problems import InvalidConfigError, Problem

Files = Mapping[str, str]


def require_different_workers(configs: Sequence[Config]) -> None:
    """Raise SkipjackError if two configurations are of one worker."""
    known: dict[str, str] = {}
    for config in configs:
        place, name = config.at("global", "name"), worker(config, [])
        here = f"{place.file}:{place.line}"
        if name in known:
            todo = "Each worker needs a `name` of its own: correct one of them."
            raise SkipjackError(f"two files are of the worker `{name}`: {known[name]} and {here}.", todo)
        known[name] = here


def together(drafts: Sequence[Draft]) -> tuple[Files, tuple[Finding, ...]]:
    """Return the files of one repository, and all findings."""
    return _Merging(drafts).files()


class _Merging:
    def __init__(self, drafts: Sequence[Draft]) -> None:
        self._drafts = drafts
        self._findings = {finding for each in drafts for finding in each.findings}
        self._owners = self._by_mirror()

    def files(self) -> tuple[Files, tuple[Finding, ...]]:
        # Again after each removal, since other files may refer to what was removed.
        while problems := self._problems(texts := self._texts()):
            for problem in problems:
                self._leave_out(problem)
        return texts, tuple(sorted(self._findings))

    def _by_mirror(self) -> dict[str, list[Draft]]:
        """Return the workers of each mirror, without those whose names differ only in case from another one's."""
        owners: dict[str, list[Draft]] = {}
        spelt: dict[str, str] = {}
        for draft in self._drafts:
            for name in draft.keys:
                same = spelt.setdefault(name.lower(), name)
                if same == name:
                    owners.setdefault(name, []).append(draft)
                else:
                    what = f"The mirror is left out: its name differs from `{same}` of another worker only in case."
                    self._findings.add(draft.places[name].finding(what, "Rename one of them, and its directory."))
        return owners

    def _texts(self) -> dict[str, str]:
        texts = {SITE: self._drafts[0].files[SITE], WORKERS: self._workers()}
        for draft in self._drafts:
            texts[f"{draft.worker}/{DEFAULTS}"] = draft.files[DEFAULTS]
        for name, owners in self._owners.items():
            if len(owners) == 1:
                texts[f"{owners[0].worker}/{name}.yml"] = owners[0].files[f"{name}.yml"]
            else:
                texts[f"{name}.yml"] = self._shared(name, owners)
        return texts

    def _workers(self) -> str:
        comments = "".join(_comments(each.files[WORKERS].removeprefix(HEADS[WORKERS])) for each in self._drafts)
        return HEADS[WORKERS] + comments + block({"workers": {each.worker: each.slots for each in self._drafts}})

    def _shared(self, name: str, owners: Sequence[Draft]) -> str:
        """Return the file of a mirror on several workers."""
        keys = [{key: value for key, value in each.keys[name].items() if key != "role"} for each in owners]
        common = {key: value for key, value in keys[0].items() if all(each.get(key) == value for each in keys[1:])}
        below = [{key: value for key, value in each.items() if key not in common} for each in keys]
        for own, role in zip(below, self._roles(name, owners), strict=True):
            own |= role
        of_each = {each.worker: own for each, own in zip(owners, below, strict=True)}
        workers = of_each if any(below) else list(of_each)
        head = "".join(_comments(each.files[f"{name}.yml"]) for each in owners)
        return head + block({**without(common, {}), "worker": workers})

    def _roles(self, name: str, owners: Sequence[Draft]) -> list[Keys]:
        """Return the role on each worker where it is not the usual one; one of them has the master copy."""
        roles = [each.keys[name].get("role", MASTER) for each in owners]
        first = next((number for number, role in enumerate(roles) if role == MASTER), None)
        for number, owner in enumerate(owners):
            if roles[number] == MASTER and number != first:
                what = f"`{name}` is the master copy on several workers; here it becomes `role: {SLAVE}`."
                self._findings.add(owner.places[name].finding(what, "Check which worker has the master copy."))
                roles[number] = SLAVE
        return [{}] * len(roles) if first == 0 else [{"role": role} for role in roles]

    @staticmethod
    def _problems(texts: Mapping[str, str]) -> Sequence[Problem]:
        return catalogue.load([SourceFile(path, text.encode()) for path, text in texts.items()]).problems

    def _leave_out(self, problem: Problem) -> None:
        name = problem.file.rpartition("/")[2].removesuffix(".yml")
        if problem.file.endswith(DEFAULTS):
            raise InvalidConfigError("the definitions of the workers are invalid together:", [problem])
        for owner in self._owners.pop(name, ()):  # removed already if this is not its first problem
            self._findings.add(owner.places[name].finding(f"The mirror is left out: {problem.what}", problem.todo))


def _comments(text: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))
