"""The allow-lists of a policy as they hold, with what the keys of former releases take out or once let through."""

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
    "-e", "--rsh", "--rsync-path", "-M", "--remote-option", "-K", "--keep-dirlinks", "--log-file", "--write-batch",
    "--only-write-batch", "--read-batch", "-T", "--temp-dir", "--partial-dir", "--backup-dir", "--compare-dest",
    "--copy-dest", "--link-dest", "--files-from", "--exclude-from", "--include-from", "--password-file",
    "--early-input", "--copy-as", "--remove-source-files",
)  # fmt: skip
"""What former releases forbade by default: an entry that an old policy lacks was let through on purpose."""


def expanded(entries: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
    """The entries of an allow-list, with those of its default in the place of the word for them."""
    parts = [default if each == DEFAULT else (each,) for each in entries]
    return tuple(dict.fromkeys([each for part in parts for each in part]))


class EnvEntry(NamedTuple):
    """Names that may be set, and the values that they may have: None for plain ones alone."""

    name: str
    value: str | None


def env_entries(policy: Policy) -> tuple[EnvEntry, ...]:
    """The variables that definitions may set for programs of the machine."""
    former = policy.forbidden_env
    let_through = [f"{name}=*" for name in FORMER_ENV if former is not None and name not in former]
    return _entries((*expanded(policy.allowed_env, records.PLAIN_ENV), *let_through))


def container_env_entries(policy: Policy) -> tuple[EnvEntry, ...]:
    """The variables that definitions may set for programs in containers."""
    return _entries(expanded(policy.allowed_container_env, records.CONTAINER_ENV))


def is_forbidden(name: str, policy: Policy) -> bool:
    """Whether the key of former releases forbids a variable."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in policy.forbidden_env or ())


@lru_cache(maxsize=64)
def _entries(texts: Sequence[str]) -> tuple[EnvEntry, ...]:
    parts = [text.partition("=") for text in texts]
    return tuple([EnvEntry(name, value if equals else None) for name, equals, value in parts])


@lru_cache(maxsize=64)
def rsync_options(policy: Policy) -> Mapping[str, frozenset[str | None]]:
    """The options that definitions may use by canonical names, with the values that they may have; None means any."""
    former = policy.forbidden_rsync_options
    found: dict[str, set[str | None]] = {}
    let_through = [each for each in FORMER_RSYNC_OPTIONS if former is not None and each not in former]
    # Both spellings of an option had to be taken off the list.
    let_through = [each for each in let_through if not _names(each) & set(former or ())]
    for entry in (*expanded(policy.allowed_rsync_options, records.RSYNC_OPTIONS), *let_through):
        spelling, equals, value = entry.partition("=")
        found.setdefault(canonical(spelling) or spelling, set()).add(value if equals else None)
    for entry in former or ():
        found.pop(canonical(entry) or entry, None)
    return {name: frozenset(values) for name, values in found.items()}


def without_former(policy: Policy) -> Policy:
    """The same without the keys of former releases: what they take out is out of the lists, and they let nothing in."""
    env, options = policy.allowed_env, policy.allowed_rsync_options
    if policy.forbidden_env is not None:
        env = tuple([each for each in expanded(env, records.PLAIN_ENV) if not is_forbidden(each, policy)])
    if policy.forbidden_rsync_options is not None:
        out = {canonical(each) or each for each in policy.forbidden_rsync_options}
        spelled = [(each, each.partition("=")[0]) for each in expanded(options, records.RSYNC_OPTIONS)]
        options = tuple([each for each, name in spelled if (canonical(name) or name) not in out])
    return policy._replace(
        allowed_env=env, allowed_rsync_options=options, forbidden_env=None, forbidden_rsync_options=None
    )


def _names(spelling: str) -> set[str]:
    name = canonical(spelling)
    return {each for each in FORMER_RSYNC_OPTIONS if canonical(each) == name}


def warnings(policy: Policy) -> Iterator[tuple[str, str]]:
    """What is out of date about a policy: what, and what to do."""
    for key in ("forbidden_env", "forbidden_rsync_options"):
        if getattr(policy, key) is not None:
            new = key.replace("forbidden", "allowed")
            what = f"`{key}` in the policy is out of date: `{new}` lists what is allowed, and all else is denied."
            yield what, f"Run `skipjack policy suggest`, write `{new}`, and remove `{key}`."
