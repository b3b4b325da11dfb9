"""Convert one mirror of tunasync to the keys of a mirror's file."""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from runner.importing import containers, folders, rsync_words
from runner.importing.definitions import Config, Definition, Keys, Value
from runner.importing.findings import Finding
from runner.importing.options import IGNORED_BY_TWO_STAGE, PROVIDERS
from runner.importing.patterns import not_python, sees_more_than_a_line
from runner.importing.secret_text import SECRET_NAME
from runner.importing.values import doubts, exit_codes, has_password, lies_below, runs_backwards, size, tries
from runner.policy.env_policy import OURS
from schemas.config import built_in, idle_keys, rsync_rules
from schemas.units import setting_duration

RENAMED = {"rsync_options": "rsync_options_extra"}
_COMMAND_LINES = frozenset({
    "command", "exec_on_success", "exec_on_failure", "exec_on_success_extra", "exec_on_failure_extra"
})  # fmt: skip
_PROFILES = ("debian", "debian-oldstyle")


class Converted(NamedTuple):
    """A mirror's keys, its password (empty if it has none), and findings."""

    keys: Keys
    password: str
    findings: tuple[Finding, ...]


def convert(definition: Definition, config: Config, secret_file: str) -> Converted:
    """Return the keys of one mirror, with its password in `secret_file`; raises LeftOut if it cannot be imported."""
    conversion = _Conversion(definition, config)
    keys = conversion.keys()
    if conversion.password:
        keys["password"] = {"file": secret_file}
    return Converted(keys, conversion.password, tuple(conversion.findings))


class _Conversion:
    """The conversion of one mirror. Methods in `_CONVERTERS` get an option's value and return its key's, or None."""

    def __init__(self, definition: Definition, config: Config) -> None:
        self.findings: list[Finding] = []
        self.password = ""
        self._definition = definition
        self._config = config
        self._provider: str = definition.get("provider", "rsync")
        self._has_container = containers.is_used(definition, config)

    def keys(self) -> Keys:
        self._check()
        keys: Keys = {"provider": self._provider}
        for option, place in self._definition.options.items():
            if option in _CONVERTERS and not self._is_foreign(option, place):
                value = _CONVERTERS[option](self, place)
                if option in _COMMAND_LINES:
                    self.findings += doubts(option, place)
                if value is not None:
                    keys[RENAMED.get(option, option)] = value
        if self._provider == "two-stage-rsync" and self._config.get("global", "rsync_options", []):
            keys["rsync_options"] = []  # tunasync does not use the global ones here
        self._drop_idle(keys)
        self._check_sync(keys)
        keys |= self._log_folder()
        keys |= self._container(keys)
        self._exec_order()
        if has_password(keys):
            raise self._definition.place.left_out("an address holds a password.", "Use `password` instead.")
        return keys

    def _drop_idle(self, keys: Keys) -> None:
        """Leave out keys without effect beside another one, as in tunasync; report those of the mirror itself."""
        everything = keys | ({"password": self.password} if self.password else {})
        for key, why, _todo in list(idle_keys.idle(everything, everything)):
            option = next((old for old, new in RENAMED.items() if new == key), key)
            if key == "password":
                self.password = ""
            if everything.pop(key, None) and option in self._definition.own:
                what = f"{why.format(option).replace(f'`{key}`', f'`{option}`')[:-1]} in tunasync, and was left out."
                self._report(self._definition.at(option), what, "Check whether it was meant to have an effect.")
            keys.pop(key, None)

    def _check(self) -> None:
        definition = self._definition
        if self._provider not in PROVIDERS:
            raise definition.at("provider").left_out("its `provider` is unknown.", "Write for example `rsync`.")
        # tunasync's worker does not start with that.
        alone = definition.get("rsync_override_only", False) and not definition.get("rsync_override", [])
        if alone and self._provider == "rsync":
            what = "`rsync_override_only` needs `rsync_override`."
            raise definition.at("rsync_override_only").left_out(what, "Set both or neither.")
        if not definition.get("interval", self._config.get("global", "interval", 0)):
            what = "`interval` is not set: tunasync would sync again at once, Skipjack after 6 hours."
            self._report(definition.place, what, "Set `interval`.")

    def _check_sync(self, keys: Keys) -> None:
        """Leave out a mirror whose rsync syncs nothing, as in tunasync."""
        options = self._config.get("global", "rsync_options", [])
        for key, what, _todo in rsync_rules.without_sync({"rsync_options": options, **keys}):
            option = next((old for old, new in RENAMED.items() if new == key), key)
            places = (self._definition.options.get(option), self._config.at("global", "rsync_options"))
            place = next(place for place in places if place is not None)
            raise place.left_out(what.replace(f"`{key}`", f"`{option}`"), "Remove the option, and import again.")

    def _report(self, place: Value, what: str, todo: str) -> None:
        self.findings.append(place.finding(what, todo))

    def _is_foreign(self, option: str, place: Value) -> bool:
        """Return whether the provider ignores an option, as in tunasync; report it if the mirror itself sets it."""
        providers = built_in.readers(RENAMED.get(option, option))
        foreign = providers is not None and self._provider not in providers
        foreign |= self._provider == "two-stage-rsync" and option in IGNORED_BY_TWO_STAGE
        if foreign and option in self._definition.own:
            what = f"`{option}` has no effect with the provider `{self._provider}` in tunasync, and was left out."
            self._report(place, what, "Check whether it was meant to have an effect.")
        return foreign

    def _exec_order(self) -> None:
        for option in ("exec_on_success", "exec_on_failure"):
            extra = f"{option}_extra"
            if {option, extra} & self._definition.own:
                usual = self._config.get("global", option, [])
                commands = [*self._definition.get(option, usual), *self._definition.get(extra, [])]
                place = self._definition.at(extra if extra in self._definition.own else option)
                self.findings += runs_backwards(commands, place)

    def same(self, place: Value) -> Any:
        return place.value

    def rsync_words(self, place: Value) -> list[str] | None:
        words, findings = rsync_words.without_output(place)
        self.findings += findings
        return words or None

    def minutes(self, place: Value) -> str:
        # tunasync counts intervals in minutes, and time-outs in seconds.
        return setting_duration(place.value * 60)

    def seconds(self, place: Value) -> str:
        return setting_duration(place.value)

    def retry(self, place: Value) -> int:
        return tries(place, self.findings)

    def mirror_dir(self, place: Value) -> str:
        path = str(place.value)
        if not path.startswith("/"):
            raise place.left_out("`mirror_dir` is not an absolute path.", "Write an absolute path.")
        return os.path.normpath(path)

    def mirror_subdir(self, place: Value) -> str | None:
        return place.value.strip("/") or None

    def _log_folder(self) -> Keys:
        """Return the mirror's log folder, unless it is the one that Skipjack uses by default."""
        name, root = self._definition.get("name", ""), folders.log_root(self._config)
        place = self._definition.options.get("log_dir", self._config.at("global", "log_dir"))
        path = folders.log_folder(place.value or "", name)
        if "log_dir" in self._definition.options and not path:
            what = "`log_dir` is not an absolute path, or uses more than `{{.Name}}`."
            self._report(place, what, "The mirror's logs go to a folder of its own below the worker's `log_dir`.")
        usual = folders.has_folder_each(place.value or "") and "log_dir" not in self._definition.options
        return {"log_dir": path} if path and not usual and path != os.path.join(root, name) else {}

    def memory_limit(self, place: Value) -> str | None:
        """Return the limit; without a container or a control group tunasync ignores it."""
        if self._has_container or self._config.get("cgroup", "enable", False):
            return size(place.value)
        self._section_is_off("memory_limit", place, "cgroup")
        return None

    def docker_image(self, place: Value) -> str | None:
        if self._has_container:
            return str(place.value)
        self._section_is_off("docker_image", place, "docker")
        return None

    def _section_is_off(self, option: str, place: Value, section: str) -> None:
        what = f"`{option}` has no effect in tunasync without `enable = true` in `[{section}]`, and was left out."
        self._report(place, what, f"Add `{option}` to the mirror's file if it is wanted.")

    def _container(self, keys: Keys) -> Keys:
        """Return the keys for containers, except the image."""
        words, findings = containers.of_mirror(self._definition, self._config)
        self.findings += findings
        found: Keys = words.keys()
        if words.memory:
            found["memory_limit"] = size(words.memory)
        if env := self.env(self._definition.at("docker_options")._replace(value=words.env)):
            found["env"] = keys.get("env", {}) | env
        return found

    def snapshot_path(self, place: Value) -> str | None:
        if not folders.publishes_snapshots(self._config):
            if not self._config.get("btrfs_snapshot", "enable", False):
                self._section_is_off("snapshot_path", place, "btrfs_snapshot")
            return None
        path, root = os.path.normpath(str(place.value)), folders.snapshot_root(self._config)
        if root and path.startswith("/") and lies_below(path, root):
            return path
        what = "`snapshot_path` is not below that of `[btrfs_snapshot]`, which becomes `snapshot_root`."
        self._report(place, what, "The snapshot will be there, in a folder with the mirror's name.")
        return None

    def env(self, place: Value) -> dict[str, str] | None:
        env = dict(place.value)
        if self._provider != "command":
            # The repository must not have it, and the providers pass on the password of the mirror's own key.
            inside = env.pop("RSYNC_PASSWORD", "")
            if inside and "password" not in self._definition.options:
                self.take_password(place._replace(value=inside))
        for name in [name for name in env if name in OURS and not self._has_container]:
            del env[name]
            what = f"`env.{name}` is left out: the runner sets {name} itself."
            self._report(place, what, "Write absolute paths, or set it in the program.")
        for name in [name for name in env if SECRET_NAME.search(name)]:
            del env[name]
            what = f"`env.{name}` looks like a secret, and was left out of the repository."
            self._report(place, what, "Let the program read it from a file of the machine.")
        return env or None

    def role(self, place: Value) -> str | None:
        if place.value in ("master", "slave"):
            return str(place.value)
        self._report(place, "`role` is not valid, and tunasync uses `master`.", "Write `master` or `slave`.")
        return None

    def any_codes(self, place: Value) -> list[int]:
        return self._codes("dangerous_global_success_exit_codes", place)

    def rsync_codes(self, place: Value) -> list[int]:
        return self._codes("dangerous_global_rsync_success_exit_codes", place)

    def _codes(self, usual: str, place: Value) -> list[int]:
        above = self._config.sections["global"].get(usual)
        # tunasync adds the mirror's codes to the global ones; here a mirror's list replaces the inherited one. What is
        # wrong with the global ones is reported with the defaults.
        merged = [*(exit_codes(above, []) if above else ()), *exit_codes(place, self.findings)]
        return list(dict.fromkeys(merged))

    def pattern(self, place: Value) -> str | None:
        if problem := not_python(place.value):
            self._report(place, f"The regular expression was left out: {problem[0]}", problem[1])
            return None
        if sees_more_than_a_line(place.value):
            what = "Skipjack matches the regular expression with each line of the log, tunasync with the whole log."
            self._report(place, what, "Check that it still finds what it should.")
        return str(place.value)

    def exclude_file(self, place: Value) -> str:
        if not place.value.startswith("/"):
            raise place.left_out("`exclude_file` is not an absolute path.", "Write an absolute path.")
        return str(place.value)

    def stage1_profile(self, place: Value) -> str | None:
        if place.value in _PROFILES:
            return str(place.value)
        what = "`stage1_profile` is unknown: tunasync's runs fail with it, Skipjack uses `debian`."
        self._report(place, what, "Write `debian` or `debian-oldstyle`.")
        return None

    def take_password(self, place: Value) -> None:
        if place.value != place.value.strip() or len(place.value.splitlines()) != 1:
            raise place.left_out(
                "the password has blanks around it or several lines.", "Ask the upstream for another one."
            )
        self.password = place.value


_CONVERTERS: Mapping[str, Callable[[_Conversion, Value], Any]] = {
    **dict.fromkeys(
        ("upstream", "command", "use_ipv4", "use_ipv6", "username", "rsync_override_only", "rsync_no_timeout",
         "exec_on_success", "exec_on_failure", "exec_on_success_extra", "exec_on_failure_extra"),
        _Conversion.same,
    ),
    "rsync_options": _Conversion.rsync_words,
    "rsync_override": _Conversion.rsync_words,
    "interval": _Conversion.minutes,
    "timeout": _Conversion.seconds,
    "rsync_timeout": _Conversion.seconds,
    "retry": _Conversion.retry,
    "mirror_dir": _Conversion.mirror_dir,
    "mirror_subdir": _Conversion.mirror_subdir,
    "env": _Conversion.env,
    "role": _Conversion.role,
    "success_exit_codes": _Conversion.any_codes,
    "rsync_success_exit_codes": _Conversion.rsync_codes,
    "fail_on_match": _Conversion.pattern,
    "size_pattern": _Conversion.pattern,
    "exclude_file": _Conversion.exclude_file,
    "stage1_profile": _Conversion.stage1_profile,
    "password": _Conversion.take_password,
    "memory_limit": _Conversion.memory_limit,
    "docker_image": _Conversion.docker_image,
    "snapshot_path": _Conversion.snapshot_path,
}  # fmt: skip
