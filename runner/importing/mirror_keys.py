"""One mirror of tunasync as the keys of a mirror's file."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from runner.importing.definitions import Config, Definition, Value
from runner.importing.findings import Finding
from runner.importing.options import IGNORED_BY_TWO_STAGE, NOT_KEPT, PROVIDERS
from runner.importing.patterns import not_python, sees_more_than_a_line
from schemas.validation import schema

Keys = dict[str, Any]

_MOST_TRIES = 99
_RENAMED = {"rsync_options": "rsync_options_extra"}
_PROFILES = ("debian", "debian-oldstyle")
_SECRET_NAME = re.compile(r"passw|secret|token|api_?key|credential", re.I)
_PASSWORD_IN_URL = re.compile(r"//[^/@\s]*:[^/@\s]*@")


class LeftOut(Exception):  # noqa: N818 - what happens to the mirror
    """The mirror cannot be taken over; `finding` says why."""

    def __init__(self, place: Value, what: str, todo: str) -> None:
        super().__init__(what)
        self.finding = place.finding(f"The mirror is left out: {what}", todo)


class Converted(NamedTuple):
    """A mirror's keys, its password (empty without one), and what there is to tell."""

    keys: Keys
    password: str
    findings: tuple[Finding, ...]


def convert(definition: Definition, config: Config, secret_file: str) -> Converted:
    """The keys of one mirror, its password in a file; raises LeftOut when it cannot be taken over."""
    conversion = _Conversion(definition, config)
    keys = conversion.keys()
    if conversion.password:
        keys["password"] = {"file": secret_file}
    return Converted(keys, conversion.password, tuple(conversion.findings))


def duration(seconds: int) -> str:
    """Seconds in the largest unit that divides them."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def holds_password(value: object) -> bool:
    """Whether an address with a password in it stands anywhere in a value."""
    if isinstance(value, str):
        return _PASSWORD_IN_URL.search(value) is not None
    if isinstance(value, Mapping):
        return any(map(holds_password, value.values()))
    return isinstance(value, list) and any(map(holds_password, value))


def exit_codes(place: Value, findings: list[Finding]) -> list[int]:
    """The codes with which a process can end, each once; 0 goes without saying."""
    if any(code not in range(256) for code in place.value):
        findings.append(place.finding("No program ends with a code outside of 1 to 255.", "Look up what was meant."))
    return [code for code in dict.fromkeys(place.value) if code in range(1, 256)]


def runs_backwards(commands: Sequence[str], place: Value) -> Iterator[Finding]:
    """A word about the order of a list of commands."""
    if len(commands) > 1:
        what = "tunasync runs these commands last to first, Skipjack in the order of the list."
        yield place.finding(what, "Turn the list round if the order matters.")


def tries(place: Value, findings: list[Finding]) -> int:
    """How many times a run tries."""
    if place.value > _MOST_TRIES:
        findings.append(place.finding(f"A run tries {_MOST_TRIES} times at most.", "See whether that will do."))
    return min(_MOST_TRIES, int(place.value))


def lies_below(path: str, root: str) -> bool:
    """Whether one absolute path is below another, by their letters."""
    path, root = os.path.normpath(path), os.path.normpath(root)
    return path != root and os.path.commonpath([path, root]) == root


class _Conversion:
    """The conversion of one mirror. The methods in `_WAYS` take an option's value and give its key's, or None."""

    def __init__(self, definition: Definition, config: Config) -> None:
        self.findings: list[Finding] = []
        self.password = ""
        self._definition = definition
        self._config = config
        self._provider: str = definition.get("provider", "rsync")

    def keys(self) -> Keys:
        self._check()
        keys: Keys = {"provider": self._provider}
        for option, place in self._definition.options.items():
            if option in NOT_KEPT:
                self._not_kept(option, place)
            elif option in _WAYS and not self._is_foreign(option, place):
                value = _WAYS[option](self, place)
                if value is not None:
                    keys[_RENAMED.get(option, option)] = value
        if self._provider == "two-stage-rsync" and self._config.get("global", "rsync_options", []):
            keys["rsync_options"] = []  # tunasync does not add the global ones here
        self._exec_order()
        if holds_password(keys):
            raise LeftOut(self._definition.place, "an address holds a password.", "Take it out; see `password`.")
        return keys

    def _check(self) -> None:
        definition = self._definition
        if self._provider not in PROVIDERS:
            raise LeftOut(definition.at("provider"), "there is no such `provider`.", "Write for example `rsync`.")
        alone = definition.get("rsync_override_only", False) and not definition.get("rsync_override", [])
        if alone and self._provider == "rsync":
            what = "`rsync_override_only` is nothing without `rsync_override`."
            raise LeftOut(definition.at("rsync_override_only"), what, "Set both, or none.")
        if not definition.get("interval", self._config.get("global", "interval", 0)):
            what = "There is no `interval`: tunasync would sync again at once, Skipjack after 6 hours."
            self._tell(definition.place, what, "Set `interval`.")

    def _tell(self, place: Value, what: str, todo: str) -> None:
        self.findings.append(place.finding(what, todo))

    def _not_kept(self, option: str, place: Value) -> None:
        sections, what, todo = NOT_KEPT[option]
        if any(self._config.get(section, "enable", False) for section in sections):
            self._tell(place, f"`{option}`: {what}", todo)

    def _is_foreign(self, option: str, place: Value) -> bool:
        """Whether the provider never looks at an option, in tunasync either; told where the mirror itself sets it."""
        providers = schema("mirror")["properties"].get(_RENAMED.get(option, option), {}).get("x-providers")
        foreign = providers is not None and self._provider not in providers
        foreign |= self._provider == "two-stage-rsync" and option in IGNORED_BY_TWO_STAGE
        if foreign and option in self._definition.own:
            what = f"`{option}` does nothing with the provider `{self._provider}` in tunasync, and was left out."
            self._tell(place, what, "See whether it was meant to.")
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

    def minutes(self, place: Value) -> str:
        return duration(place.value * 60)

    def seconds(self, place: Value) -> str:
        return duration(place.value)

    def retry(self, place: Value) -> int:
        return tries(place, self.findings)

    def mirror_dir(self, place: Value) -> str:
        path, root = str(place.value), self._config.get("global", "mirror_dir", "")
        if not path.startswith("/"):
            raise LeftOut(place, "`mirror_dir` is no absolute path.", "Write the whole path.")
        if root.startswith("/") and not lies_below(path, root):
            what = "`mirror_dir` does not lie below that of `[global]`, which becomes the worker's `mirror_root`."
            self._tell(place, what, "Move it there; the worker does not sync it elsewhere.")
        return os.path.normpath(path)

    def mirror_subdir(self, place: Value) -> str | None:
        return place.value.strip("/") or None

    def log_dir(self, place: Value) -> None:
        if place.value != self._config.get("global", "log_dir", ""):
            what = "`log_dir` of one mirror is not kept: its logs go to a folder of its own below the worker's."
            self._tell(place, what, "Look for them there.")

    def env(self, place: Value) -> dict[str, str] | None:
        env = dict(place.value)
        if self._provider != "command":
            inside = env.pop("RSYNC_PASSWORD", "")
            if inside and "password" not in self._definition.options:
                self.take_password(place._replace(value=inside))
        for name in [name for name in env if _SECRET_NAME.search(name)]:
            del env[name]
            what = f"`env.{name}` looks like a secret, and was left out of the repository."
            self._tell(place, what, "Let the program read it from a file of the machine.")
        return env or None

    def role(self, place: Value) -> str | None:
        if place.value in ("master", "slave"):
            return str(place.value)
        self._tell(place, "This is no `role`, and tunasync takes it for `master`.", "Write `master` or `slave`.")
        return None

    def any_codes(self, place: Value) -> list[int]:
        return self._codes("dangerous_global_success_exit_codes", place)

    def rsync_codes(self, place: Value) -> list[int]:
        return self._codes("dangerous_global_rsync_success_exit_codes", place)

    def _codes(self, usual: str, place: Value) -> list[int]:
        above = self._config.sections["global"].get(usual)
        merged = [*(exit_codes(above, []) if above else ()), *exit_codes(place, self.findings)]
        return list(dict.fromkeys(merged))

    def pattern(self, place: Value) -> str | None:
        if problem := not_python(place.value):
            self._tell(place, f"The regular expression was left out: {problem[0]}", problem[1])
            return None
        if sees_more_than_a_line(place.value):
            what = "The regular expression is tried on each line of the log, in tunasync on the whole log at once."
            self._tell(place, what, "See whether it still finds what it should.")
        return str(place.value)

    def exclude_file(self, place: Value) -> str:
        if not place.value.startswith("/"):
            raise LeftOut(place, "`exclude_file` is no absolute path.", "Write the whole path.")
        return str(place.value)

    def stage1_profile(self, place: Value) -> str | None:
        if place.value in _PROFILES:
            return str(place.value)
        what = "There is no such `stage1_profile`: tunasync's runs fail with it, Skipjack takes `debian`."
        self._tell(place, what, "Write `debian` or `debian-oldstyle`.")
        return None

    def take_password(self, place: Value) -> None:
        if place.value != place.value.strip() or len(place.value.splitlines()) != 1:
            raise LeftOut(place, "the password is more than one word on one line.", "Have another one set upstream.")
        self.password = place.value


_WAYS: Mapping[str, Callable[[_Conversion, Value], Any]] = {
    **dict.fromkeys(
        ("upstream", "command", "use_ipv4", "use_ipv6", "username", "rsync_options", "rsync_override",
         "rsync_override_only", "rsync_no_timeout", "exec_on_success", "exec_on_failure", "exec_on_success_extra",
         "exec_on_failure_extra"),
        _Conversion.same,
    ),
    "interval": _Conversion.minutes,
    "timeout": _Conversion.seconds,
    "rsync_timeout": _Conversion.seconds,
    "retry": _Conversion.retry,
    "mirror_dir": _Conversion.mirror_dir,
    "mirror_subdir": _Conversion.mirror_subdir,
    "log_dir": _Conversion.log_dir,
    "env": _Conversion.env,
    "role": _Conversion.role,
    "success_exit_codes": _Conversion.any_codes,
    "rsync_success_exit_codes": _Conversion.rsync_codes,
    "fail_on_match": _Conversion.pattern,
    "size_pattern": _Conversion.pattern,
    "exclude_file": _Conversion.exclude_file,
    "stage1_profile": _Conversion.stage1_profile,
    "password": _Conversion.take_password,
}  # fmt: skip
