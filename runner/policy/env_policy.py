"""Check a definition's environment variables against the machine's policy.

Scripts and their programs take options, files and addresses from variables, so a variable can change what runs.
"""

import fnmatch
import glob
import re
from collections.abc import Iterator

from runner.base.file_policy import Violation
from runner.policy import policy_lists
from schemas.config.upstreams import is_elsewhere
from schemas.problems import shown
from schemas.records import PLAIN_ENV, Mirror, Policy

OURS = ("PATH", "HOME")
"""Variables that Skipjack itself sets for every program."""

_ASK = "Ask the administrator of this machine to add `{}` to `{}` of the policy, or remove it."

_PLAIN = re.compile(r"(?!-)(?:(?! -)[^\x00-\x1f\x7f$`\\'\";&|<>()\[\]{}#!])*")
"""A value that a shell, an `eval` in a script or an option parser reads as plain words, and nothing else."""

_LOCALE = re.compile(r"[A-Za-z0-9_.@:-]*")
_ZONE = re.compile(r"(?![:/])(?!.*\.\.)[A-Za-z0-9_+/,.:<>-]*")

_ADDRESSES = (
    "CONDA_REPO_URL", "MIRROR_BASE_URL", "NIX_MIRROR_*URL", "NIX_MIRROR_UPSTREAM", "PYPI_MASTER", "SHADOWMIRE_UPSTREAM",
    "TUNASYNC_S3_ENDPOINT", "TUNASYNC_TSUMUGU_TIMEZONEFILE", "TUNASYNC_UPSTREAM_URL",
)  # fmt: skip
"""Variables with addresses that scripts fetch from. If one named a file of this machine, that would be published."""

_PATH = re.compile(r"(?:^|[\s,=@]|:(?!//))(?:/|~|\.\.?(?:/|$))|/\.\.(?:/|$)|:///|file:", re.IGNORECASE)
"""A part of a value that names a file of this machine."""


def violations(mirror: Mirror, policy: Policy) -> Iterator[Violation]:
    """Yield a violation for each variable of a definition that the policy denies."""
    for name, value in mirror.env.items():
        yield from _in_container(name, value, policy) if mirror.docker_image else _on_machine(name, value, policy)


def _in_container(name: str, value: str, policy: Policy) -> Iterator[Violation]:
    entries = policy_lists.container_env_entries(policy)
    found = [entry.value for entry in entries if _matches(name, entry.name)]
    if not any(pattern is None or _matches(value, pattern) for pattern in found):
        yield f"`env` sets {name}, which this machine does not allow.", _ASK.format(name, "allowed_container_env")


def _on_machine(name: str, value: str, policy: Policy) -> Iterator[Violation]:
    if name in OURS:
        yield (
            f"`env` sets {name}, which Skipjack sets itself.",
            "Remove it, and write absolute paths in the definition.",
        )
        return
    found = [entry for entry in policy_lists.env_entries(policy) if _matches(name, entry.name)]
    if not found or policy_lists.is_forbidden(name, policy):
        yield f"`env` sets {name}, which this machine does not allow.", _ask(name, value)
    elif not any(is_plain(name, value) if entry.value is None else _matches(value, entry.value) for entry in found):
        only = "an address of another host" if _is_address(name) else "plain values"
        if all(entry.value is not None for entry in found):
            only = "other values"
        what = f"`env` sets {name} to `{shown(value)}`, but this machine allows only {only}."
        yield what, _ask(name, value)


def _ask(name: str, value: str) -> str:
    entry = entry_for(name, value)
    return _ASK.format(entry if shown(entry) == entry else f"{name}=VALUE", "allowed_env")


def entry_for(name: str, value: str) -> str:
    """Return the narrowest entry of `allowed_env` that allows a value: `NAME`, `NAME=value` or `NAME=*`."""
    if is_plain(name, value) and not any(each.startswith(f"{name}=") for each in PLAIN_ENV):
        return name
    return f"{name}={glob.escape(value)}" if _FACT.fullmatch(value) else f"{name}=*"


_FACT = re.compile(r"(?!-)(?:(?! -)[^\x00-\x1f\x7f$`\\'\";&|<>(){}])*")
"""Plain words in an address or a path, which may also contain `[::1]` and `#`."""


def fact_violations(mirror: Mirror, policy: Policy) -> Iterator[Violation]:
    """Yield a violation for each key whose value is passed to programs as a variable and could control a script.

    Nothing for a policy that lists no programs: definitions can run any program then.
    """
    for key, entry in facts(mirror, policy):
        name, _equals, value = entry.partition("=")
        if value == "*":
            what = f"`{key}` has a value with more than plain words, which programs get in the variable {name}."
            yield what, _ASK.format(entry, "allowed_env")
        else:
            what = f"`{key}` is `{shown(value)}`, which a program could take for a file of this machine and publish."
            todo = f"Write the address of another host, such as `{key}: https://files.example.org/`. If it is intended,"
            yield (
                what,
                f"{todo} ask the administrator of this machine to add `{name}=VALUE` to `allowed_env` of the policy.",
            )


def facts(mirror: Mirror, policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield the keys of such values, with the narrowest entries of `allowed_env` that would allow them."""
    if policy.programs is None:
        return
    entries = policy_lists.env_entries(policy)
    for key, name in _FACTS:
        value = getattr(mirror, key) or ""
        is_sound = _FACT.fullmatch(value) and (not _is_address(name) or not value or is_elsewhere(value))
        # An entry without a value is for plain ones, which need none here.
        if not is_sound and not any(
            _matches(name, entry.name) and _matches(value, entry.value or "") for entry in entries
        ):
            yield key, f"{name}={glob.escape(value)}" if _FACT.fullmatch(value) else f"{name}=*"


_FACTS = (
    ("upstream", "TUNASYNC_UPSTREAM_URL"), ("mirror_dir", "TUNASYNC_WORKING_DIR"),
    ("mirror_subdir", "TUNASYNC_WORKING_DIR"), ("log_dir", "TUNASYNC_LOG_DIR"),
)  # fmt: skip


def _matches(text: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern)


def is_plain(name: str, value: str) -> bool:
    """Return whether a value is only data.

    A locale and a time zone must be names, since the C library opens paths in them. Variables that a policy allows by
    default must not name files of this machine.
    """
    if name in ("LANG", "LANGUAGE") or name.startswith("LC_"):
        return _LOCALE.fullmatch(value) is not None
    if name == "TZ":
        return _ZONE.fullmatch(value) is not None
    if not _PLAIN.fullmatch(value):
        return False
    if _is_address(name):
        return not value or is_elsewhere(value)
    return not (any(_matches(name, each) for each in PLAIN_ENV) and _PATH.search(value))


def _is_address(name: str) -> bool:
    return any(_matches(name, each) for each in _ADDRESSES)
