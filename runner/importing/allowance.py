"""The narrowest policy that allows what given definitions do.

`import` and `policy suggest` ask the checks of `runner/policy` what they deny, and turn that into entries.
"""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from runner.base import file_policy, private_paths
from runner.base.file_policy import Violation
from runner.base.mirror_paths import Paths, lies_below, lies_in, paths_of
from runner.base.private_paths import Private
from runner.base.repository_patterns import without_repository_patterns
from runner.containers import container_policy
from runner.hooks.container import host_side
from runner.policy import env_policy, rsync_policy
from runner.policy.policy import (
    SSH,
    allows_ssh,
    denied_hooks,
    gets_facts,
    is_covered,
    program_lines,
    starts_ssh,
    violations,
)  # fmt: skip
from runner.subprocesses import spawn
from schemas.config.upstreams import daemon_host
from schemas.records import DEFAULT, Bound, Mirror, Policy, RunnerSettings
from schemas.rsync import rsync_options

_DEFAULTS = Policy()
_WITH_DEFAULT = ("allowed_env", "allowed_container_env", "allowed_rsync_options")
"""Lists in which the word `default` stands for the default entries."""


class Allowance(NamedTuple):
    """An entry that the policy's list `key` needs, because of `value` of the mirror's key `cause`."""

    key: str
    entry: str | Bound
    cause: str
    value: str = ""


class PolicyExtension(NamedTuple):
    """A policy, the entries that it adds, and the violations that no policy can allow; both by mirror name."""

    policy: Policy
    allowed: tuple[tuple[str, Allowance], ...]
    refused: tuple[tuple[str, Violation], ...]

    @property
    def causes(self) -> Iterator[tuple[Allowance, list[str]]]:
        """Return each added entry once, for the first value that needs it, with the names of all its mirrors."""
        mirrors: dict[tuple[str, str | Bound], dict[str, Allowance]] = {}
        for name, each in self.allowed:
            mirrors.setdefault((each.key, each.entry), {}).setdefault(name, each)
        return ((next(iter(found.values())), list(found)) for found in mirrors.values())

    @property
    def keys(self) -> dict[str, Any]:
        """Return the keys of the policy's file: those that differ from the defaults."""
        found = {key: value for key, value in self.policy._asdict().items() if value != getattr(_DEFAULTS, key)}
        if "readable" in found:
            found["readable"] = [as_plain(each) for each in found["readable"]]
        return found


def as_plain(entry: str | Bound) -> str | dict[str, Any]:
    """Return an entry of a list as the policy's file has it."""
    if isinstance(entry, str):
        return entry
    return {key: list(value) if key == "upstreams" else value for key, value in _shown(entry)}


def _shown(entry: Bound) -> list[tuple[str, Any]]:
    named = [("path", entry.path), ("credential", entry.credential)]
    return [*((key, value) for key, value in named if value), ("upstreams", entry.upstreams)]


def decide(mirrors: Iterable[Mirror], settings: RunnerSettings, base: Policy = _DEFAULTS) -> PolicyExtension:
    """Extend the policy `base` so that it allows each mirror, except those that no policy can allow."""
    allowed: list[tuple[str, Allowance]] = []
    refused: list[tuple[str, Violation]] = []
    mirrors = list(mirrors)
    private = private_paths.private(settings, mirrors)

    def is_denied(mirror: Mirror, policy: Policy, private: Private) -> bool:
        found = list(violations(mirror, paths_of(mirror, settings, policy), settings, policy, private))
        refused.extend((mirror.name, violation) for violation in found)
        return bool(found)

    for mirror in mirrors:
        needed = _needed_in_all(mirror, settings, base)
        # The cache is for one policy.
        if not is_denied(mirror, _with(needed, base), private._replace(why={}) if needed else private):
            allowed += ((mirror.name, each) for each in needed)
    # An entry for one mirror can deny another one: a pattern file in a new folder of mirrors may not be sent.
    policy, private = _with([each for _name, each in allowed], base), private._replace(why={})
    left_out = {name for name, _violation in refused}
    left_out |= {each.name for each in mirrors if each.name not in left_out and is_denied(each, policy, private)}
    allowed = [(name, each) for name, each in allowed if name not in left_out]
    return PolicyExtension(_with([each for _name, each in allowed], base), tuple(allowed), tuple(refused))


def _with(allowances: Sequence[Allowance], base: Policy) -> Policy:
    """Return the policy `base` with these entries added."""
    lists: dict[str, Any] = {}
    for key in dict.fromkeys(each.key for each in allowances):
        before, entries = getattr(base, key) or (), [each.entry for each in allowances if each.key == key]
        if key in _WITH_DEFAULT and before == getattr(_DEFAULTS, key):
            before = (DEFAULT,)
        lists[key] = tuple(dict.fromkeys([*before, *entries]))
    return base._replace(**lists)


def _needed_in_all(mirror: Mirror, settings: RunnerSettings, base: Policy) -> list[Allowance]:
    """Return the entries that a mirror needs, also those that show only once others are allowed."""
    found: list[Allowance] = []
    while more := [each for each in _needed(mirror, settings, _with(found, base)) if each not in found]:
        found += more
    return found


def _needed(mirror: Mirror, settings: RunnerSettings, base: Policy) -> list[Allowance]:
    """Return entries for everything that the policy `base` denies to a mirror and a policy can allow."""
    paths = paths_of(mirror, settings, base)
    parts = (
        _of_folders(paths, settings, base), _of_programs(mirror, base), _of_password(mirror, base),
        _of_env(mirror, base), _of_facts(mirror, base), _of_rsync(mirror, paths, base),
        _of_container(mirror, paths, base), _of_ssh(mirror, paths, base),
    )  # fmt: skip
    return [*itertools.chain(*parts)]


def _of_folders(paths: Paths, settings: RunnerSettings, base: Policy) -> Iterator[Allowance]:
    """Yield the parents of the folders that are used, except `/`."""
    asked = (
        ("mirror_roots", "mirror_dir", paths.directory, (settings.mirror_root, *base.mirror_roots)),
        ("log_roots", "log_dir", paths.log_dir, (settings.log_dir, *base.log_roots)),
    )
    for key, cause, path, roots in asked:
        above = os.path.dirname(path)
        if not any(lies_below(path, root) for root in roots) and above != "/":
            yield Allowance(key, above, cause)


def _of_programs(mirror: Mirror, base: Policy) -> Iterator[Allowance]:
    if mirror.provider not in base.providers:
        yield Allowance("providers", mirror.provider, "provider")
    yield from (Allowance("hooks", name, name) for name in denied_hooks(mirror, base))
    for key, words in program_lines(mirror) if base.programs is not None else ():
        # A name without a path has no entry that could allow it; `decide` then reports the mirror.
        if words[0].startswith("/") and not is_covered(words[0], base):
            yield Allowance("programs", words[0], key)


def _of_ssh(mirror: Mirror, paths: Paths, base: Policy) -> Iterator[Allowance]:
    """Yield the ssh that rsync starts for an upstream, its freshness check, or a command line of the definition."""
    if allows_ssh(base):
        return
    lines = [key for key, words in program_lines(mirror) if _reaches_by_ssh(words, paths)]
    for key in [*(["upstream"] if starts_ssh(mirror, paths) else []), *lines]:
        yield Allowance("programs", SSH, key)


def _reaches_by_ssh(words: Sequence[str], paths: Paths) -> bool:
    return spawn.is_rsync(words) and rsync_policy.reaches_by_ssh(words[1:], paths.directory)


def _of_password(mirror: Mirror, base: Policy) -> Iterator[Allowance]:
    secret = mirror.password.file if mirror.password else None
    if not secret or file_policy.is_readable(secret, base):
        return
    # The password goes to this host only, unless the definition has keys that could send it elsewhere: no entry with
    # hosts would allow these.
    host = None if file_policy.could_divert(mirror) else daemon_host(mirror.upstream)
    yield Allowance("readable", Bound((host,), secret) if host else secret, "password")


def _of_env(mirror: Mirror, base: Policy) -> Iterator[Allowance]:
    """Yield variables, with a value or `*` where that is more than plain words; never those that the runner sets."""
    if any(name in env_policy.OURS for name in mirror.env) and not mirror.docker_image:
        return
    for name, value in mirror.env.items():
        if list(env_policy.violations(mirror._replace(env={name: value}), base)):
            in_container = bool(mirror.docker_image)
            entry = name if in_container else env_policy.entry_for(name, value)
            yield Allowance("allowed_container_env" if in_container else "allowed_env", entry, "env", name)


def _of_facts(mirror: Mirror, base: Policy) -> Iterator[Allowance]:
    """Yield variables for programs of the machine whose upstream or path is more than plain words."""
    if gets_facts(mirror):
        for key, entry in env_policy.facts(mirror, base):
            yield Allowance("allowed_env", entry, key, key)


def _of_rsync(mirror: Mirror, paths: Paths, base: Policy) -> Iterator[Allowance]:
    found = list(rsync_policy.needed(mirror, paths.directory, base))
    for key, words in program_lines(mirror) if base.programs is not None else ():
        found += rsync_policy.lines_needed(key, words[1:], base) if spawn.is_rsync(words) else ()
    for needed in found:
        if not needed.file:
            yield Allowance("allowed_rsync_options", needed.entry, needed.key, needed.entry)
        elif needed.kind == rsync_options.PASSWORD:
            if not file_policy.is_readable(needed.file, base):
                yield Allowance("readable", needed.file, needed.key)
        elif not any(lies_in(needed.file, folder) for folder in base.pattern_files):
            yield Allowance("pattern_files", needed.file, needed.key)


def _of_container(mirror: Mirror, paths: Paths, base: Policy) -> Iterator[Allowance]:
    if not mirror.docker_image:
        return
    alone = mirror._replace(docker_volumes=(), docker_options=())
    if list(container_policy.violations(alone, paths, base)):
        yield Allowance("images", mirror.docker_image, "docker_image")
    file = without_repository_patterns(mirror).exclude_file  # every container sees it
    if file and not any(lies_in(file, folder) for folder in base.pattern_files):
        yield Allowance("pattern_files", file, "exclude_file")
    for volume in mirror.docker_volumes:
        folder = host_side(volume, paths.directory, paths.log_dir)
        if not any(lies_in(folder, each) for each in (paths.directory, paths.log_dir, *base.volumes)):
            yield Allowance("volumes", folder, "docker_volumes", volume)
    for word in mirror.docker_options:
        if not container_policy.is_listed(word, base):
            yield Allowance("docker_options", word, "docker_options", word)
