"""What a machine's policy says about the environment variables that a definition sets."""

import fnmatch
import re
from collections.abc import Iterator

from runner import policy_lists
from schemas.problems import shown
from schemas.records import Mirror, Policy

Violation = tuple[str, str]

OURS = ("PATH", "HOME")
"""Variables that the runner sets itself for every program of the machine."""

_ASK = "Ask the administrator of this machine to add `{}` to `{}` of the policy, or remove it."

_PLAIN = re.compile(r"(?!-)(?:(?! -)[^\x00-\x1f\x7f$`\\'\";&|<>()\[\]{}#!])*")
"""A value in which no shell, no `eval` of a script and no list of options finds more than a word or a few."""

_LOCALE = re.compile(r"[A-Za-z0-9_.@:-]*")
_ZONE = re.compile(r"(?![:/])(?!.*\.\.)[A-Za-z0-9_+/,.:<>-]*")


def violations(mirror: Mirror, policy: Policy) -> Iterator[Violation]:
    """Everything about a definition's variables that this machine does not allow."""
    for name, value in mirror.env.items():
        yield from _in_container(name, value, policy) if mirror.docker_image else _on_machine(name, value, policy)


def _in_container(name: str, value: str, policy: Policy) -> Iterator[Violation]:
    entries = policy_lists.container_env_entries(policy)
    if not any(_matches(name, entry.name) and _matches(value, entry.value or "*") for entry in entries):
        yield f"`env` sets {name}, which this machine does not allow.", _ASK.format(name, "allowed_container_env")


def _on_machine(name: str, value: str, policy: Policy) -> Iterator[Violation]:
    if name in OURS:
        yield f"`env` sets {name}, which the runner sets itself.", "Remove it, and write whole paths in the definition."
        return
    found = [entry for entry in policy_lists.env_entries(policy) if _matches(name, entry.name)]
    if not found or policy_lists.is_forbidden(name, policy):
        entry = name if is_plain(name, value) else f"{name}=*"
        yield f"`env` sets {name}, which this machine does not allow.", _ASK.format(entry, "allowed_env")
    elif not any(is_plain(name, value) if entry.value is None else _matches(value, entry.value) for entry in found):
        what = f"`env` sets {name} to `{shown(value)}`, and this machine allows it plain values alone."
        yield what, f"Ask the administrator of this machine to add `{name}=*` to `allowed_env` of the policy."


_FACT = re.compile(r"(?!-)(?:(?! -)[^\x00-\x1f\x7f$`\\'\";&|<>(){}])*")
"""The same for an address or a path, which may have `[::1]` and `#`."""


def fact_violations(mirror: Mirror, policy: Policy) -> Iterator[Violation]:
    """What could have power over a script among the values that the runner gives to each program as variables.

    For a policy with a list of programs: without one, a definition can run anything anyhow.
    """
    for key, name in facts(mirror, policy):
        what = f"`{key}` has a value with more than plain words, which programs get as {name}."
        yield what, _ASK.format(f"{name}=*", "allowed_env")


def facts(mirror: Mirror, policy: Policy) -> Iterator[tuple[str, str]]:
    """The keys of such values, with the variables that the policy would have to allow with any value."""
    if policy.programs is None:
        return
    entries = [entry for entry in policy_lists.env_entries(policy) if entry.value is not None]
    for key, name in _FACTS:
        value = getattr(mirror, key) or ""
        allowed = any(_matches(name, entry.name) and _matches(value, entry.value or "") for entry in entries)
        if not _FACT.fullmatch(value) and not allowed:
            yield key, name


_FACTS = (
    ("upstream", "TUNASYNC_UPSTREAM_URL"), ("mirror_dir", "TUNASYNC_WORKING_DIR"),
    ("mirror_subdir", "TUNASYNC_WORKING_DIR"), ("log_dir", "TUNASYNC_LOG_DIR"),
)  # fmt: skip


def _matches(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern)


def is_plain(name: str, value: str) -> bool:
    """Whether a value has no power beyond its meaning. A locale and a zone are names: as paths they would be opened."""
    if name in ("LANG", "LANGUAGE") or name.startswith("LC_"):
        return _LOCALE.fullmatch(value) is not None
    if name == "TZ":
        return _ZONE.fullmatch(value) is not None
    return _PLAIN.fullmatch(value) is not None
