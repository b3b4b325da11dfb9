"""A config repository in memory, made from tunasync's configuration, of which every file is valid."""

import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from runner.importing import allowance, containers, folders, machine, shared_keys
from runner.importing.allowance import Allowance
from runner.importing.comments import ByKey, Keeper, text_of
from runner.importing.definitions import Config, Definition, Value
from runner.importing.findings import Finding, LeftOut
from runner.importing.mirror_keys import RENAMED, Converted, Keys, convert
from runner.importing.yaml_text import block
from runner.policy.policy_lists import FORMER_ENV
from schemas.config import catalogue, record_factory
from schemas.config.catalogue import DEFAULTS, SITE, WORKERS
from schemas.config.sources import SourceFile
from schemas.config.validation import schema
from schemas.names import is_name
from schemas.problems import Problem, shown
from schemas.records import Mirror, RunnerSettings

_RISKY_ENV = ("*PATH", "*_OPTIONS", "*_CONF", "*_RSH", "*_COMMAND", "*PRELOAD*")
_RENAMED = {new: old for old, new in RENAMED.items()}
_MACHINE = {
    "mirror_root": ("global", "mirror_dir"),
    "log_dir": ("global", "log_dir"),
    "snapshot_root": ("btrfs_snapshot", "snapshot_path"),
    "cgroup": ("cgroup", "group"),
    "manager": ("manager", "api_base"),
}
"""Where the keys of the machine's settings come from."""
_NEAR = {"manager": ("manager", "cgroup"), "defaults": ("global", "docker", "zfs", "btrfs_snapshot")}
"""The sections whose headers' comments go to the head of the machine's settings, and of the defaults."""


class Draft(NamedTuple):
    """The files of the repository, the machine's settings and its policy (empty if the defaults will do) as text,
    passwords by mirror, and what to tell."""

    files: Mapping[str, str]
    runner: str
    policy: str
    passwords: Mapping[str, str]
    findings: tuple[Finding, ...]

    @property
    def mirrors(self) -> int:
        """How many mirrors there are."""
        return sum(not name.startswith("_") for name in self.files)


def draft(config: Config, secrets: str) -> Draft:
    """Make the repository; passwords will be in files of the folder `secrets`, named as their mirrors."""
    return _Drafting(config, secrets).run()


class _Drafting:
    def __init__(self, config: Config, secrets: str) -> None:
        self._config = config
        self._secrets = secrets
        self._findings = [*config.findings]
        self._definitions: dict[str, Definition] = {}
        self._converted: dict[str, Converted] = {}
        self._comments = Keeper(config)

    def run(self) -> Draft:
        worker = shared_keys.worker(self._config, self._findings)
        slots = shared_keys.slots(self._config, self._findings)
        defaults: Keys = {"worker": worker, **shared_keys.defaults(self._config, self._findings)}
        for name, definition in self._named().items():
            self._convert(name, definition)
        if any(key.startswith("exec_on_failure") for keys in (defaults, *self._all_keys()) for key in keys):
            defaults["exec_on_each_failure"] = True  # as tunasync does
        self._part_logs()
        self._limits_without_group()
        settings = machine.settings(self._config, worker, self._findings)
        common: dict[str, Keys] = {
            SITE: {"title": "Mirrors"},
            WORKERS: {"workers": {worker: slots}},
            DEFAULTS: defaults,
        }
        policy = self._policy(self._sound(common), record_factory.runner_settings(settings))
        files = self._texts(common)
        runner = self._with_comments(settings, self._comments_of(settings, _MACHINE, _NEAR["manager"]))
        findings = [*self._findings, *(each for found in self._converted.values() for each in found.findings)]
        findings += self._comments.left(self._left_out())
        findings += self._comments.secret
        passwords = {name: found.password for name, found in self._converted.items() if found.password}
        return Draft(files, runner, block(policy), passwords, tuple(sorted(dict.fromkeys(findings))))

    def _left_out(self) -> list[Definition]:
        kept = [self._definitions[name] for name in self._converted]
        return [each for each in self._config.definitions if not any(each is one for one in kept)]

    def _comments_of(self, keys: Keys, origins: Mapping[str, tuple[str, str]], sections: Sequence[str]) -> ByKey:
        """The comments beside options of the sections, by the keys that came from them."""
        headers = [self._config.headers[name] for name in sections if name in self._config.headers]
        found: ByKey = {"": self._comments.take(headers)}
        for key, (section, option) in origins.items():
            place = self._config.sections[section].get(option)
            if key in keys and place:
                found[key] = self._comments.take([place])
        return found

    @staticmethod
    def _with_comments(keys: Keys, comments: ByKey) -> str:
        above = {key: text_of(lines) for key, lines in comments.items()}
        return above.get("", "") + block(keys, above=above)

    def _all_keys(self) -> list[Keys]:
        return [found.keys for found in self._converted.values()]

    def _tell(self, place: Value, what: str, todo: str) -> None:
        self._findings.append(place.finding(what, todo))

    def _named(self) -> dict[str, Definition]:
        """The mirrors by their names; of one name tunasync keeps the last."""
        found: dict[str, Definition] = {}
        for definition in self._config.definitions:
            name, place = definition.get("name", ""), definition.at("name")
            same = next((each for each in found if each.lower() == name.lower()), None)
            if not is_name(name) or name.endswith(".yaml"):
                what = f"The mirror is left out: `{shown(name)}` cannot be its name."
                self._tell(place, what, "Use letters, digits and `._-`, at most 64, and begin with a letter or digit.")
            elif same == name:
                what = f"The mirror is left out: another `{name}` follows, and tunasync keeps only the last one."
                self._tell(found.pop(name).at("name"), what, "Rename one of them.")
                found[name] = definition
            elif same is not None:
                what = f"The mirror is left out: there is `{same}`, and letters' case makes no difference."
                self._tell(place, what, "Rename one of them, and its directory.")
            else:
                found[name] = definition
        return found

    def _convert(self, name: str, definition: Definition) -> None:
        self._definitions[name] = definition
        try:
            self._converted[name] = convert(definition, self._config, os.path.join(self._secrets, name))
        except LeftOut as left_out:
            self._findings.append(left_out.finding)

    def _part_logs(self) -> None:
        """Give mirrors that share a folder for their logs one of their own in it."""
        root = folders.log_root(self._config)
        used = {name: found.keys.get("log_dir", os.path.join(root, name)) for name, found in self._converted.items()}
        for name, found in self._converted.items():
            path = used[name]
            if list(used.values()).count(path) > 1 and "log_dir" in found.keys:
                found.keys["log_dir"] = os.path.join(path, name)
                place = self._definitions[name].at("log_dir")
                what = f"`log_dir` of `{name}` is that of another mirror, too: its logs go to a folder in it."
                self._tell(place, what, f"Look for them in {found.keys['log_dir']}.")

    def _limits_without_group(self) -> None:
        """Say what keeps the limits that tunasync kept below its own control group."""
        limited = any("memory_limit" in keys and "docker_image" not in keys for keys in self._all_keys())
        if limited and not self._config.get("cgroup", "group", ""):
            what = "There is no `group`: tunasync limits memory below its own control group, Skipjack under systemd."
            todo = "Run the worker's units, or set `cgroup` in the machine's settings."
            self._tell(self._config.at("cgroup", "enable"), what, todo)

    def _policy(self, mirrors: Sequence[Mirror], settings: RunnerSettings) -> Keys:
        """What the machine's policy must say so that the mirrors are allowed; takes out those that cannot be."""
        decision = allowance.decide(mirrors, settings)
        for made, names in decision.causes:
            self._tell_allowance(made, names)
        for name, (what, todo) in decision.refused:
            self._converted.pop(name, None)
            self._tell(self._definitions[name].place, f"The mirror is left out: {what}", todo)
        return decision.keys

    def _tell_allowance(self, made: Allowance, names: Sequence[str]) -> None:
        if made.cause == "password" or (made.cause == "env" and not _is_risky(made.value)):
            return  # whoever ran this named the folder; and most variables are read by one program alone
        what = f"`{_RENAMED.get(made.cause, made.cause)}`: forbidden by default; `policy.yml` has `{made.entry}`"
        more = f", for {len(names)} mirrors" if len(names) > 1 else ""
        self._tell(self._cause(names[0], made), f"{what} in `{made.key}`{more}.", "Decide whether it stays so.")

    def _cause(self, name: str, made: Allowance) -> Value:
        """Where tunasync's configuration asked for what the policy must allow."""
        definition = self._definitions[name]
        if made.cause == "rsync_options":
            return self._config.at("global", made.cause)
        if made.cause in ("docker_volumes", "docker_options"):
            return containers.place_of(made.cause, made.value, definition, self._config)
        if made.cause == "env" and "env" not in definition.options:
            return definition.at("docker_options")
        return definition.at(_RENAMED.get(made.cause, made.cause))

    def _sound(self, common: dict[str, Keys]) -> Sequence[Mirror]:
        """The mirrors as their files have them; takes out mirrors and defaults that the catalogue refuses."""
        while True:
            texts = self._texts(common)
            found = catalogue.load([SourceFile(path, text.encode()) for path, text in texts.items()])
            for problem in found.problems:
                self._turn_away(problem, texts, common[DEFAULTS])
            if not found.problems:
                return found.mirrors

    def _texts(self, common: Mapping[str, Keys]) -> dict[str, str]:
        self._comments.start_over()
        defaults = _without(common[DEFAULTS], {})
        origins = {key: shared_keys.origin(key) for key in defaults}
        workers = {"workers": ("global", "name"), "slots": ("global", "concurrent")}
        beside = self._comments_of({**common[WORKERS], "slots": 0}, workers, ())
        beside["workers"] = [*beside.pop("workers", []), *beside.pop("slots", [])]
        texts = {
            SITE: _HEADS[SITE] + block(common[SITE]),
            WORKERS: _HEADS[WORKERS] + self._with_comments(common[WORKERS], beside),
            DEFAULTS: _HEADS[DEFAULTS]
            + self._with_comments(defaults, self._comments_of(defaults, origins, _NEAR["defaults"])),
        }
        for name, found in self._converted.items():
            place = self._definitions[name].place
            head = f"# From tunasync's {os.path.basename(place.file)}, line {place.line}.\n"
            keys = _without(found.keys, defaults)
            comments = self._comments.of_mirror(self._definitions[name], keys, RENAMED)
            texts[f"{name}.yml"] = head + self._with_comments(keys, comments)
        return texts

    def _turn_away(self, problem: Problem, texts: Mapping[str, str], defaults: Keys) -> None:
        key, name = _key_at(texts[problem.file], problem), _stem(problem.file)
        if problem.file == DEFAULTS:
            defaults.pop(key, None)
            section, option = shared_keys.origin(key)
            place = self._config.at(section, option)
            self._tell(place, f"`{option}` is left out: {problem.what}", problem.todo)
        elif name in self._definitions:
            self._converted.pop(name, None)  # gone already where this is not its first problem
            place = self._definitions[name].at(_RENAMED.get(key, key))
            self._tell(place, f"The mirror is left out: {problem.what}", problem.todo)


def _is_risky(name: str) -> bool:
    """Whether a variable may change what programs beside the mirror's own load or run."""
    return any(fnmatchcase(name, pattern) for pattern in (*FORMER_ENV, *_RISKY_ENV))


def _stem(path: str) -> str:
    return path.removesuffix(".yml")


def _without(keys: Keys, inherited: Keys) -> Keys:
    """The keys that differ from what is inherited, in the order of the schema."""
    properties: Mapping[str, Any] = schema("mirror")["properties"]
    return {
        key: keys[key]
        for key in properties
        if key in keys and keys[key] != inherited.get(key, properties[key].get("default"))
    }


def _key_at(text: str, problem: Problem) -> str:
    """The key of a file's top level whose value has the problem; empty for one of the file as a whole."""
    for each in reversed(text.splitlines()[: problem.line] if problem.column > 1 else ()):
        if match := re.match(r"[a-z][a-z0-9_]*(?=:)", each):
            return match[0]
    return ""


_HEADS = {
    SITE: "# What visitors are told: say here what the site is called.\n",
    WORKERS: "# The machines that carry the mirrors.\n",
    DEFAULTS: "# From tunasync's [global]: what every mirror inherits.\n",
}
