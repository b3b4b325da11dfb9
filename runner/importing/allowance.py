"""The policy under which imported mirrors may do what they did under tunasync, and as little else as possible."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from runner.paths import Paths, lies_below, lies_in, paths_of
from runner.policy import Violation, violations
from schemas.records import Mirror, Policy, RunnerSettings

_DEFAULTS = Policy()
_FORBIDDEN = "forbidden_"
_RSYNC_KEYS = ("rsync_options", "rsync_options_extra", "rsync_override")


class Allowance(NamedTuple):
    """An entry that `key` of the policy gets, or loses if it lists what is forbidden; for a value of a mirror's key."""

    key: str
    entry: str
    cause: str
    value: str = ""

    @property
    def is_taken_out(self) -> bool:
        """Whether the entry is a default that must go."""
        return self.key.startswith(_FORBIDDEN)


class Decision(NamedTuple):
    """The policy, what it allows beyond its defaults, and what no policy allows, both with the mirrors' names."""

    policy: Policy
    allowed: tuple[tuple[str, Allowance], ...]
    refused: tuple[tuple[str, Violation], ...]

    @property
    def causes(self) -> Iterator[tuple[Allowance, list[str]]]:
        """Each entry once, for the first value that needs it, with the names of all mirrors that do."""
        mirrors: dict[tuple[str, str], dict[str, Allowance]] = {}
        for name, each in self.allowed:
            mirrors.setdefault((each.key, each.entry), {}).setdefault(name, each)
        return ((next(iter(found.values())), list(found)) for found in mirrors.values())

    @property
    def keys(self) -> dict[str, Any]:
        """What must stand in the policy's file: the keys that are not as the defaults are."""
        return {key: value for key, value in self.policy._asdict().items() if value != getattr(_DEFAULTS, key)}


def decide(mirrors: Iterable[Mirror], settings: RunnerSettings) -> Decision:
    """Allow each mirror what it does, as far as a policy can; for those for which it cannot, nothing is allowed."""
    allowed: list[tuple[str, Allowance]] = []
    refused: list[tuple[str, Violation]] = []
    for mirror in mirrors:
        needed = _needed(mirror, settings)
        policy = _with(needed)
        forbidden = list(violations(mirror, paths_of(mirror, settings, policy), settings, policy))
        refused += ((mirror.name, violation) for violation in forbidden)
        allowed += ((mirror.name, each) for each in needed if not forbidden)
    return Decision(_with([each for _name, each in allowed]), tuple(allowed), tuple(refused))


def _with(allowances: Sequence[Allowance]) -> Policy:
    """The defaults with these changes."""
    lists: dict[str, tuple[str, ...]] = {}
    for key in dict.fromkeys(each.key for each in allowances):
        default, entries = getattr(_DEFAULTS, key), [each.entry for each in allowances if each.key == key]
        taken_out = entries if key.startswith(_FORBIDDEN) else ()
        kept = [entry for entry in default if entry not in taken_out]
        lists[key] = tuple(kept if taken_out else dict.fromkeys([*kept, *entries]))
    return Policy(**lists)


def _needed(mirror: Mirror, settings: RunnerSettings) -> list[Allowance]:
    """What a mirror does that the policy's defaults forbid, as far as a policy can allow it."""
    paths = paths_of(mirror, settings, _DEFAULTS)
    parts = (_of_places(paths, settings), _of_files(mirror), _of_container(mirror, paths))
    return [*itertools.chain(*parts), *_of_lists(mirror, paths, settings)]


def _of_places(paths: Paths, settings: RunnerSettings) -> Iterator[Allowance]:
    """The folders above those that are used; the root of all is never one of them."""
    asked = (
        ("mirror_roots", "mirror_dir", paths.directory, settings.mirror_root),
        ("log_roots", "log_dir", paths.log_dir, settings.log_dir),
    )
    for key, cause, path, root in asked:
        above = os.path.dirname(path)
        if not lies_below(path, root) and above != "/":
            yield Allowance(key, above, cause)


def _of_files(mirror: Mirror) -> Iterator[Allowance]:
    path = mirror.exclude_file
    if path and not any(lies_in(path, folder) for folder in _DEFAULTS.readable):
        yield Allowance("readable", path, "exclude_file")
    secret = mirror.password.file if mirror.password else None
    if secret and not any(lies_in(secret, folder) for folder in _DEFAULTS.readable):
        yield Allowance("readable", os.path.dirname(secret), "password")


def _of_container(mirror: Mirror, paths: Paths) -> Iterator[Allowance]:
    if not mirror.docker_image:
        return
    yield Allowance("images", mirror.docker_image, "docker_image")
    for volume in mirror.docker_volumes:
        folder = volume.partition(":")[0]
        if not lies_in(folder, paths.directory) and not lies_in(folder, paths.log_dir):
            yield Allowance("volumes", folder, "docker_volumes", volume)
    for word in mirror.docker_options:
        if word.partition("=")[0] not in _DEFAULTS.docker_options:
            yield Allowance("docker_options", word, "docker_options", word)


def _of_lists(mirror: Mirror, paths: Paths, settings: RunnerSettings) -> Iterator[Allowance]:
    """Entries of the lists of what is forbidden that stand in the way, found by asking the policy itself."""
    bare = mirror._replace(env={}, rsync_options=(), rsync_options_extra=(), rsync_override=())
    for key, causes in (("forbidden_env", ("env",)), ("forbidden_rsync_options", _RSYNC_KEYS)):

        def forbidden(entries: tuple[str, ...], alone: Mirror, key: str = key) -> list[Violation]:
            return list(violations(alone, paths, settings, _DEFAULTS._replace(**{key: entries})))

        for cause in causes:
            alone = bare._replace(**{cause: getattr(mirror, cause)})
            free, entries = forbidden((), alone), getattr(_DEFAULTS, key)
            if forbidden(entries, alone) != free:
                yield from (Allowance(key, each, cause) for each in entries if forbidden((each,), alone) != free)
