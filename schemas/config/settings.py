"""Read and check the settings files: `runner.yml`, `manager.yml` and `policy.yml`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas import ownership
from schemas.config import address_rules, manager_rules, record_factory, system_folders
from schemas.config.judgeable_keys import NOTHING, entries, judged, keys_at
from schemas.config.sources import MAX_BYTES
from schemas.config.validation import examine
from schemas.config.yaml_file import Document, parse
from schemas.errors import SkipjackError
from schemas.problems import InvalidConfigError, Problem, shown
from schemas.records import DEFAULT, ManagerSettings, Policy, RunnerSettings
from schemas.regular_files import read_regular
from schemas.rsync.rsync_options import canonical, takes_value
from schemas.secrets import config_home

TUNASYNC = "tunasync"
"""The value of `protocol` for a manager of tunasync."""


def own_settings(system: Path) -> Path | None:
    """Return the user's own settings file, as `install --user` reads it; None if there is none or the user is root."""
    if os.geteuid() == 0:
        return None
    own = Path(config_home(), "skipjack", system.name)
    return own if own.exists() else None


def load_runner(path: Path) -> RunnerSettings:
    """Read a worker's settings. Raises SkipjackError with all problems."""
    return record_factory.runner_settings(_with_owner(_load("runner", path), path))


def load_manager(path: Path) -> ManagerSettings:
    """Read the manager's settings. Raises SkipjackError with all problems."""
    return record_factory.manager_settings(_with_owner(_load("manager", path), path))


def _with_owner(plain: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return settings with their owner, who may own the files with the keys that sign as well."""
    if rules := (plain.get("repository") or {}).get("verify_signatures"):
        rules["owner"] = path.stat().st_uid
    return plain


def load_policy(path: Path) -> Policy:
    """Read the policy of this machine, or its defaults without a file; SkipjackError if other users can change it."""
    return load_policy_of(path, os.geteuid())


def load_policy_of(path: Path, owner: int) -> Policy:
    """Read the policy of a worker with this user id. Raises SkipjackError like `load_policy`."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return Policy()
    except OSError as error:
        raise SkipjackError(f"cannot read the policy {path}: {error.strerror}.", "Check its owner.") from error
    # A policy in a home, for units of a user, belongs to that user.
    if found.st_uid not in (0, owner) or found.st_mode & 0o022:
        what = f"the policy {path} can be changed by other users, so it protects nothing."
        raise SkipjackError(what, "Make root its owner and remove the others' write permission: `chmod go-w`.")
    return record_factory.policy(_load("policy", path))


def _load(kind: str, path: Path) -> dict[str, Any]:
    try:
        data = read_regular(path, MAX_BYTES + 1)
    except OSError as error:
        todo = ownership.remedy(str(path), str(path), "The file") if isinstance(error, PermissionError) else ""
        what = f"cannot read the {'policy' if kind == 'policy' else 'settings'} {path}: {error.strerror}."
        key = "`policy` in runner.yml" if kind == "policy" else "`--settings`"
        raise SkipjackError(what, todo or f"Create the file, or name another one with {key}.") from error
    return _checked(kind, data, path)


def check(kind: str, data: bytes, path: Path) -> None:
    """Check the content of a `runner`, `manager` or `policy` file before it is at its path.

    Raises InvalidConfigError with all problems.
    """
    _checked(kind, data, path)


def _checked(kind: str, data: bytes, path: Path) -> dict[str, Any]:
    document = parse(data, str(path))
    examined = examine(kind, document)
    problems = [*examined.problems, *_beyond(kind, examined)]
    if problems:
        what = "the policy {} is invalid:" if kind == "policy" else "the settings {} are invalid:"
        raise InvalidConfigError(what.format(path), problems)
    plain: dict[str, Any] = document.value
    return plain


def _beyond(kind: str, document: Document) -> list[Problem]:
    if kind == "policy":
        return list(judged(_unknown_options(document)))
    more = manager_rules.check(document) if kind == "manager" else judged(_without_token(document))
    keys = judged(_without_keys(document))
    return [*address_rules.settings_problems(document), *system_folders.problems(document), *keys, *more]


def _unknown_options(document: Document) -> Iterator[Problem]:
    """Report entries that match no option of rsync, most often misspelt ones."""
    for number, entry in entries(document.keys, "allowed_rsync_options"):
        spelling, equals, _value = entry.partition("=")
        place, todo = ("allowed_rsync_options", number), "See rsync(1) for its options."
        if entry != DEFAULT and canonical(spelling) is None:
            yield document.problem(place, f"`{shown(spelling)}` is not an option of rsync.", todo)
        elif equals and not takes_value(spelling):
            yield document.problem(place, f"rsync's option `{shown(spelling)}` takes no value.", f"Write `{spelling}`.")


def _without_keys(document: Document) -> Iterator[Problem]:
    """Report signatures that no key could make."""
    rules = document.at("repository", "verify_signatures")
    if keys_at(document.value, NOTHING, ("repository",)).get("verify_signatures") and not (
        "allowed_signers" in rules or "keyring" in rules
    ):
        todo = "Name the keys that may sign: `allowed_signers` for SSH, `keyring` for OpenPGP."
        yield document.problem(("repository", "verify_signatures"), "`verify_signatures` has no keys.", todo)


def _without_token(document: Document) -> Iterator[Problem]:
    """Report a missing token, which only a manager of tunasync does not need."""
    manager = document.at("manager")
    if (
        keys_at(document.value, NOTHING).get("manager")
        and "token" not in manager
        and manager.get("protocol") != TUNASYNC
    ):
        todo = "Add `token: {file: /etc/skipjack/token}`, or `protocol: tunasync` for a manager of tunasync."
        yield document.problem(("manager",), "`manager` has no token.", todo)
