"""A config repository in memory, made from tunasync's configuration, of which every file is valid."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from runner.importing.definitions import Config, Definition, Value
from runner.importing.findings import Finding
from runner.importing.mirror_keys import (
    Converted,
    Keys,
    LeftOut,
    convert,
    duration,
    exit_codes,
    holds_password,
    runs_backwards,
    tries,
)
from runner.importing.options import SECTIONS_NOT_KEPT
from runner.importing.yaml_text import block
from schemas import catalogue
from schemas.catalogue import DEFAULTS, SITE, WORKERS
from schemas.names import is_name
from schemas.problems import Problem, shown
from schemas.sources import SourceFile
from schemas.validation import schema

_LOG_FOLDER = re.compile(r"(/[^{}]*?)/*(?:\{\{-?\s*\.Name\s*-?\}\}/*)?")
_MOST_SLOTS = 1000
_GLOBAL_LISTS = ("rsync_options", "exec_on_success", "exec_on_failure")


class Draft(NamedTuple):
    """The files of the repository and the machine's settings as text, passwords by mirror, and what to tell."""

    files: Mapping[str, str]
    runner: str
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

    def run(self) -> Draft:
        worker, slots = self._worker(), self._slots()
        defaults = self._defaults(worker)
        for name, definition in self._named().items():
            self._convert(name, definition)
        if any(key.startswith("exec_on_failure") for keys in (defaults, *self._all_keys()) for key in keys):
            defaults["exec_on_each_failure"] = True  # as tunasync does
        self._sections_not_kept()
        runner = block(self._runner(worker))
        files = self._sound({SITE: {"title": "Mirrors"}, WORKERS: {"workers": {worker: slots}}, DEFAULTS: defaults})
        findings = [*self._findings, *(each for found in self._converted.values() for each in found.findings)]
        passwords = {name: found.password for name, found in self._converted.items() if found.password}
        return Draft(files, runner, passwords, tuple(sorted(dict.fromkeys(findings))))

    def _all_keys(self) -> list[Keys]:
        return [found.keys for found in self._converted.values()]

    def _tell(self, place: Value, what: str, todo: str) -> None:
        self._findings.append(place.finding(what, todo))

    def _worker(self) -> str:
        place = self._config.at("global", "name")
        name = str(place.value or "")
        found = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-")[:64] or "worker"
        if found != name:
            what = f"`name` cannot be that of a worker; it is called `{found}` here." if name else "There is no `name`."
            self._tell(place, what, f"Rename `{found}` everywhere if you like another one better.")
        return found

    def _slots(self) -> Keys:
        place = self._config.at("global", "concurrent")
        if not place.value:
            what = "There is no `concurrent`: tunasync would never sync, Skipjack syncs 4 mirrors at once."
            self._tell(place, what, f"Set `slots` in `{WORKERS}`.")
            return {}
        if place.value not in range(1, _MOST_SLOTS + 1):
            self._tell(place, f"`concurrent` must be from 1 to {_MOST_SLOTS}.", f"Set `slots` in `{WORKERS}`.")
            return {}
        return {"slots": place.value}

    def _defaults(self, worker: str) -> Keys:
        options = self._config.sections["global"]
        keys: Keys = {"worker": worker, "provider": "rsync"}
        for option, place in options.items():
            if option in ("interval", "timeout"):
                keys[option] = duration(place.value * (60 if option == "interval" else 1))
            elif option == "retry":
                keys[option] = tries(place, self._findings)
            elif option.startswith("dangerous_global_"):
                keys[option.removeprefix("dangerous_global_")] = exit_codes(place, self._findings)
            elif option in _GLOBAL_LISTS and not holds_password(place.value):
                keys[option] = place.value
                if option.startswith("exec"):
                    self._findings += runs_backwards(place.value, place)
            elif option in _GLOBAL_LISTS:
                self._tell(place, f"`{option}` is left out: it holds a password.", "Keep it in a file of the machine.")
        return keys

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

    def _sections_not_kept(self) -> None:
        for section, (what, todo) in SECTIONS_NOT_KEPT.items():
            if self._config.get(section, "enable", False):
                for option, place in self._config.sections[section].items():
                    self._tell(place, f"`{section}.{option}`: {what}", todo)

    def _runner(self, worker: str) -> Keys:
        """What belongs into the machine's settings."""
        found: Keys = {"worker": worker, "repository": {"url": "https://git.example.org/mirrors.git"}}
        root, logs = self._config.at("global", "mirror_dir"), self._config.at("global", "log_dir")
        if str(root.value or "").startswith("/"):
            found["mirror_root"] = os.path.normpath(root.value)
        elif root.value or self._converted:
            self._tell(root, "`mirror_dir` is no absolute path.", "Set `mirror_root` in the machine's settings.")
        if logs.value and (folder := _LOG_FOLDER.fullmatch(logs.value)):
            found["log_dir"] = os.path.normpath(folder[1])
        elif logs.value:
            what = "`log_dir` does not end with `{{.Name}}`: each mirror's logs are in a folder of its name."
            self._tell(logs, what, "Set `log_dir` in the machine's settings.")
        return found | self._manager()

    def _manager(self) -> Keys:
        urls = self._config.at("manager", "api_base_list")
        one = self._config.at("manager", "api_base")
        place = urls if urls.value else one
        addresses: Sequence[str] = urls.value or ([one.value] if one.value else [])
        if len(addresses) > 1:
            self._tell(place, "A worker reports to one manager, the first of these.", "See who read the others.")
        if not addresses:
            return {}
        if not re.fullmatch(r"https?://\S+", addresses[0]) or "@" in addresses[0]:
            what = "The manager's address does not begin with `http://` or `https://`, or holds a password."
            self._tell(place, what, "Set `manager` in the machine's settings.")
            return {}
        found: Keys = {"url": addresses[0], "token": {"file": "/etc/skipjack/token"}}
        authority = self._config.at("manager", "ca_cert")
        if str(authority.value or "").startswith("/"):
            found["ca_cert"] = authority.value
        elif authority.value:
            self._tell(authority, "`ca_cert` is no absolute path.", "Set `manager.ca_cert` in the machine's settings.")
        return {"manager": found}

    def _sound(self, common: dict[str, Keys]) -> dict[str, str]:
        """The files as text, without the mirrors and the defaults that the catalogue refuses."""
        while True:
            texts = self._texts(common)
            found = catalogue.load([SourceFile(path, text.encode()) for path, text in texts.items()])
            for problem in found.problems:
                self._turn_away(problem, texts, common[DEFAULTS])
            if not found.problems:
                return texts

    def _texts(self, common: Mapping[str, Keys]) -> dict[str, str]:
        defaults = _without(common[DEFAULTS], {})
        texts = {
            SITE: _HEADS[SITE] + block(common[SITE]),
            WORKERS: _HEADS[WORKERS] + block(common[WORKERS]),
            DEFAULTS: _HEADS[DEFAULTS] + block(defaults),
        }
        for name, found in self._converted.items():
            place = self._definitions[name].place
            head = f"# From tunasync's {os.path.basename(place.file)}, line {place.line}.\n"
            texts[f"{name}.yml"] = head + block(_without(found.keys, defaults))
        return texts

    def _turn_away(self, problem: Problem, texts: Mapping[str, str], defaults: Keys) -> None:
        key, name = _key_at(texts[problem.file], problem), problem.file.removesuffix(".yml")
        if problem.file == DEFAULTS:
            defaults.pop(key)
            option = key if key in self._config.sections["global"] else f"dangerous_global_{key}"
            place = self._config.at("global", option)
            self._tell(place, f"`{option}` is left out: {problem.what}", problem.todo)
        elif self._converted.pop(name, None):
            place = self._definitions[name].at({"rsync_options_extra": "rsync_options"}.get(key, key))
            self._tell(place, f"The mirror is left out: {problem.what}", problem.todo)


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
