"""The effective allow-lists of a policy, with the `forbidden_…` keys of earlier releases applied.

Those keys listed what was denied. An entry missing there removes a restriction; a present one removes an allowance.
"""

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from schemas import records
from schemas.records import DEFAULT, Policy
from schemas.rsync.rsync_options import canonical

FORMER_ENV = (
    "LD_*", "RSYNC_*", "GIT_*", "SSH_*", "PYTHON*", "PERL5*", "RUBY*", "NODE_OPTIONS", "BASH_ENV", "BASH_FUNC_*", "ENV",
    "IFS", "SHELLOPTS", "BASHOPTS",
)  # fmt: skip
FORMER_RSYNC_OPTIONS = (
    "--rsh", "--rsync-path", "--remote-option", "--keep-dirlinks", "--log-file", "--write-batch", "--only-write-batch",
    "--read-batch", "--temp-dir", "--partial-dir", "--backup-dir", "--compare-dest", "--copy-dest", "--link-dest",
    "--files-from", "--exclude-from", "--include-from", "--password-file", "--early-input", "--copy-as",
    "--remove-source-files",
)  # fmt: skip
"""Defaults of earlier releases, by long names. An old policy without one of these entries allows it on purpose."""


def expanded(entries: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """Return the entries of an allow-list, with the word `default` replaced by the default entries."""
    parts = [default if each == DEFAULT else (each,) for each in entries]
    return tuple(dict.fromkeys([each for part in parts for each in part]))


class EnvEntry(NamedTuple):
    """A pattern of names, and a pattern of their values; None for plain values only."""

    name: str
    value: str | None


def env_entries(policy: Policy) -> tuple[EnvEntry, ...]:
    """Return the variables that definitions may set for programs of the machine."""
    former = policy.forbidden_env
    let_through = [f"{name}=*" for name in FORMER_ENV if former is not None and name not in former]
    return _entries((*expanded(policy.allowed_env, records.PLAIN_ENV), *let_through))


def container_env_entries(policy: Policy) -> tuple[EnvEntry, ...]:
    """Return the variables that definitions may set for programs in containers."""
    return _entries(expanded(policy.allowed_container_env, records.CONTAINER_ENV))


def is_forbidden(name: str, policy: Policy) -> bool:
    """Return whether `forbidden_env` of earlier releases denies a variable."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in policy.forbidden_env or ())


@lru_cache(maxsize=64)  # called for each of thousands of mirrors, with the same few lists
def _entries(texts: Sequence[str]) -> tuple[EnvEntry, ...]:
    parts = [text.partition("=") for text in texts]
    return tuple([EnvEntry(name, value if equals else None) for name, equals, value in parts])


@lru_cache(maxsize=64)
def rsync_options(policy: Policy) -> Mapping[str, frozenset[str | None]]:
    """Return the allowed rsync options by canonical name, with their allowed values; None means any value."""
    former = policy.forbidden_rsync_options
    found: dict[str, set[str | None]] = {}
    let_through = () if former is None else FORMER_RSYNC_OPTIONS
    for entry in (*expanded(policy.allowed_rsync_options, records.RSYNC_OPTIONS), *let_through):
        spelling, equals, value = entry.partition("=")
        found.setdefault(canonical(spelling) or spelling, set()).add(value if equals else None)
    # A denial of an earlier release also applies to the defaults of this one, and to both spellings of an option.
    for entry in former or ():
        found.pop(canonical(entry) or entry, None)
    return {name: frozenset(values) for name, values in found.items()}


def without_old_keys(policy: Policy) -> Policy:
    """Return the policy without the keys of earlier releases: what they deny leaves the lists, they allow nothing."""
    env, options = policy.allowed_env, policy.allowed_rsync_options
    if policy.forbidden_env is not None:
        named = [(each, each.partition("=")[0]) for each in expanded(env, records.PLAIN_ENV)]
        env = tuple([each for each, name in named if not is_forbidden(name, policy)])
    if policy.forbidden_rsync_options is not None:
        out = {canonical(each) or each for each in policy.forbidden_rsync_options}
        spelled = [(each, each.partition("=")[0]) for each in expanded(options, records.RSYNC_OPTIONS)]
        options = tuple([each for each, name in spelled if (canonical(name) or name) not in out])
    return policy._replace(
        allowed_env=env, allowed_rsync_options=options, forbidden_env=None, forbidden_rsync_options=None
    )


def warnings(policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield a warning for each outdated key of a policy: what is wrong, and what to do."""
    for key in ("forbidden_env", "forbidden_rsync_options"):
        if getattr(policy, key) is not None:
            new = key.replace("forbidden", "allowed")
            what = (
                f"`{key}` in the policy is out of date: `{new}` lists what is allowed, and everything else is denied."
            )
            yield what, f"Run `skipjack policy suggest`, set `{new}`, and remove `{key}`."
