"""A config repository in memory, converted from a tunasync configuration. Each of its files is valid."""

import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from runner.importing import allowance, containers, folders, machine, shared_keys
from runner.importing.allowance import Allowance
from runner.importing.comments import ByKey, Keeper, text_of
from runner.importing.definitions import Config, Definition, Keys, Value
from runner.importing.findings import Finding, LeftOut
from runner.importing.mirror_keys import RENAMED, Converted, convert
from runner.importing.yaml_text import block
from runner.policy.policy_lists import FORMER_ENV
from schemas.config import catalogue, record_factory
from schemas.config.catalogue import DEFAULTS, SITE, WORKERS
from schemas.config.schema_set import schema
from schemas.config.sources import SourceFile
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
"""The section and option that keys of the machine's settings come from."""
_NEAR = {"manager": ("manager", "cgroup"), "defaults": ("global", "docker", "zfs", "btrfs_snapshot")}
"""Sections whose header comments go to the head of the machine's settings and of the defaults."""


class Draft(NamedTuple):
    """The texts of the repository's files, of the machine's settings and of its policy; passwords by mirror; findings.

    The policy is empty if the defaults allow all mirrors. `slots` are the keys of the worker, `keys` those of each
    mirror with the inherited ones, `places` where each mirror begins.
    """

    files: Mapping[str, str]
    runner: str
    policy: str
    passwords: Mapping[str, str]
    findings: tuple[Finding, ...]
    worker: str
    slots: Keys
    keys: Mapping[str, Keys]
    places: Mapping[str, Value]


def draft(config: Config, secrets: str) -> Draft:
    """Make the repository; the password of each mirror will be a file with its name in the folder `secrets`."""
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
        policy = self._policy(self._valid(common), record_factory.runner_settings(settings))
        files = self._texts(common)
        runner = self._with_comments(settings, self._comments_of(settings, _MACHINE, _NEAR["manager"]))
        findings = [*self._findings, *(each for found in self._converted.values() for each in found.findings)]
        findings += self._comments.left(self._left_out())
        findings += self._comments.secret
        passwords = {name: found.password for name, found in self._converted.items() if found.password}
        inherited = {key: value for key, value in common[DEFAULTS].items() if key != "worker"}
        return Draft(
            files,
            runner,
            block(policy),
            passwords,
            tuple(sorted(dict.fromkeys(findings))),
            worker,
            slots,
            {name: without({**inherited, **found.keys}, {}) for name, found in self._converted.items()},
            {name: self._definitions[name].place for name in self._converted},
        )

    def _left_out(self) -> list[Definition]:
        kept = [self._definitions[name] for name in self._converted]
        return [each for each in self._config.definitions if not any(each is one for one in kept)]

    def _comments_of(self, keys: Keys, origins: Mapping[str, tuple[str, str]], sections: Sequence[str]) -> ByKey:
        """Return the comments of options of sections, by the keys that come from them."""
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

    def _report(self, place: Value, what: str, todo: str) -> None:
        self._findings.append(place.finding(what, todo))

    def _named(self) -> dict[str, Definition]:
        """Return the mirrors by name; of equal names the last one counts, as in tunasync."""
        found: dict[str, Definition] = {}
        for definition in self._config.definitions:
            name, place = definition.get("name", ""), definition.at("name")
            same = next((each for each in found if each.lower() == name.lower()), None)
            if not is_name(name) or name.endswith(".yaml"):
                what = f"The mirror is left out: `{shown(name)}` is not a valid name."
                self._report(
                    place, what, "Use letters, digits and `._-`, at most 64, and begin with a letter or digit."
                )
            elif same == name:
                what = f"The mirror is left out: another `{name}` follows, and tunasync keeps only the last one."
                self._report(found.pop(name).at("name"), what, "Rename one of them.")
                found[name] = definition
            elif same is not None:
                what = f"The mirror is left out: its name differs from `{same}` only in case."
                self._report(place, what, "Rename one of them, and its directory.")
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
        """Give each mirror that shares its log folder a folder of its own inside."""
        root = folders.log_root(self._config)
        used = {name: found.keys.get("log_dir", os.path.join(root, name)) for name, found in self._converted.items()}
        for name, found in self._converted.items():
            path = used[name]
            if list(used.values()).count(path) > 1 and "log_dir" in found.keys:
                found.keys["log_dir"] = os.path.join(path, name)
                place = self._definitions[name].at("log_dir")
                what = f"`log_dir` of `{name}` is also that of another mirror: its logs go to a folder inside."
                self._report(place, what, f"Look for them in {found.keys['log_dir']}.")

    def _limits_without_group(self) -> None:
        """Report that memory limits need units or a control group; tunasync uses its own control group."""
        limited = any("memory_limit" in keys and "docker_image" not in keys for keys in self._all_keys())
        if limited and not self._config.get("cgroup", "group", ""):
            what = "`group` is not set: tunasync limits memory below its own control group, Skipjack in systemd units."
            todo = "Install the worker's units, or set `cgroup` in the machine's settings."
            self._report(self._config.at("cgroup", "enable"), what, todo)

    def _policy(self, mirrors: Sequence[Mirror], settings: RunnerSettings) -> Keys:
        """Return the keys of the policy that allows the mirrors; leave out those that no policy can allow."""
        decision = allowance.decide(mirrors, settings)
        for made, names in decision.causes:
            self._report_allowance(made, names)
        for name, (what, todo) in decision.refused:
            self._converted.pop(name, None)
            self._report(self._definitions[name].place, f"The mirror is left out: {what}", todo)
        return decision.keys

    def _report_allowance(self, made: Allowance, names: Sequence[str]) -> None:
        if made.cause == "password" or (made.cause == "env" and not _is_risky(made.value)):
            return  # `--secrets` names the folder on purpose, and most variables matter to one program only
        what = f"`{_RENAMED.get(made.cause, made.cause)}`: denied by default; `policy.yml` has `{made.entry}`"
        more = f", for {len(names)} mirrors" if len(names) > 1 else ""
        self._report(self._cause(names[0], made), f"{what} in `{made.key}`{more}.", "Check that this is wanted.")

    def _cause(self, name: str, made: Allowance) -> Value:
        """Return where the tunasync configuration has what the policy must allow."""
        definition = self._definitions[name]
        if made.cause == "rsync_options":
            return self._config.at("global", made.cause)
        if made.cause in ("docker_volumes", "docker_options"):
            return containers.place_of(made.cause, made.value, definition, self._config)
        if made.cause == "env" and "env" not in definition.options:
            return definition.at("docker_options")
        return definition.at(_RENAMED.get(made.cause, made.cause))

    def _valid(self, common: dict[str, Keys]) -> Sequence[Mirror]:
        """Return the mirrors as the catalogue loads them; leave out mirrors and defaults with problems."""
        # Again after each removal, since other files may refer to what was removed.
        while True:
            texts = self._texts(common)
            found = catalogue.load([SourceFile(path, text.encode()) for path, text in texts.items()])
            for problem in found.problems:
                self._leave_out(problem, texts, common[DEFAULTS])
            if not found.problems:
                return found.mirrors

    def _texts(self, common: Mapping[str, Keys]) -> dict[str, str]:
        self._comments.start_over()
        defaults = without(common[DEFAULTS], {})
        origins = {key: shared_keys.origin(key) for key in defaults}
        workers = {"workers": ("global", "name"), "slots": ("global", "concurrent")}
        beside = self._comments_of({**common[WORKERS], "slots": 0}, workers, ())
        beside["workers"] = [*beside.pop("workers", []), *beside.pop("slots", [])]
        texts = {
            SITE: HEADS[SITE] + block(common[SITE]),
            WORKERS: HEADS[WORKERS] + self._with_comments(common[WORKERS], beside),
            DEFAULTS: HEADS[DEFAULTS]
            + self._with_comments(defaults, self._comments_of(defaults, origins, _NEAR["defaults"])),
        }
        for name, found in self._converted.items():
            place = self._definitions[name].place
            head = f"# From tunasync's {os.path.basename(place.file)}, line {place.line}.\n"
            keys = without(found.keys, defaults)
            comments = self._comments.of_mirror(self._definitions[name], keys, RENAMED)
            texts[f"{name}.yml"] = head + self._with_comments(keys, comments)
        return texts

    def _leave_out(self, problem: Problem, texts: Mapping[str, str], defaults: Keys) -> None:
        key, name = _key_at(texts[problem.file], problem), _stem(problem.file)
        if problem.file == DEFAULTS:
            defaults.pop(key, None)
            section, option = shared_keys.origin(key)
            place = self._config.at(section, option)
            self._report(place, f"`{option}` is left out: {problem.what}", problem.todo)
        elif name in self._definitions:
            self._converted.pop(name, None)  # removed already if this is not its first problem
            place = self._definitions[name].at(_RENAMED.get(key, key))
            self._report(place, f"The mirror is left out: {problem.what}", problem.todo)


def _is_risky(name: str) -> bool:
    """Return whether a variable may change what programs other than the mirror's own load or run."""
    return any(fnmatchcase(name, pattern) for pattern in (*FORMER_ENV, *_RISKY_ENV))


def _stem(path: str) -> str:
    return path.removesuffix(".yml")


def without(keys: Keys, inherited: Keys) -> Keys:
    """Return the keys that differ from the inherited ones, in the order of the schema."""
    properties: Mapping[str, Any] = schema("mirror")["properties"]
    return {
        key: keys[key]
        for key in properties
        if key in keys and keys[key] != inherited.get(key, properties[key].get("default"))
    }


def _key_at(text: str, problem: Problem) -> str:
    """Return the top-level key whose value has the problem; empty for a problem of the whole file."""
    for each in reversed(text.splitlines()[: problem.line] if problem.column > 1 else ()):
        if match := re.match(r"[a-z][a-z0-9_]*(?=:)", each):
            return match[0]
    return ""


HEADS = {
    SITE: "# What visitors see: set the title of the site here.\n",
    WORKERS: "# The machines that sync the mirrors.\n",
    DEFAULTS: "# From tunasync's [global]: inherited by all mirrors.\n",
}
