"""What does a worker's machine allow, in a form that a config repository can keep for checks of pull requests?

`skipjack policy export` writes it as `.skipjack/policies/WORKER.yml`. It has the worker's policy and the settings that
decide about definitions, never a secret or an address. A worker judges by its own policy alone and never reads it.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas import records
from schemas.addresses import without_secrets
from schemas.config import record_factory
from schemas.config.validation import examine
from schemas.config.yaml_file import Document, parse
from schemas.problems import InvalidConfigError
from schemas.records import DEFAULT, Bound, ManagerAddress, Policy, Repository, RunnerSettings, Secret

_SETTINGS = ("mirror_root", "state_dir", "run_dir", "log_dir", "snapshot_root", "container_program", "policy")
"""Keys of the worker's settings that are exported: paths and a program's name."""

_DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "allowed_env": records.PLAIN_ENV,
    "allowed_container_env": records.CONTAINER_ENV,
    "allowed_rsync_options": records.RSYNC_OPTIONS,
}
"""Lists in which the word `default` stands for default entries, which depend on the release."""


class ExportedPolicy(NamedTuple):
    """The policy of a worker's machine, and its settings without the addresses of the repository and the manager.

    `digest` is the SHA-256, in hexadecimal digits, of all but the release: two files with the same digest judge alike.
    """

    worker: str
    release: str
    settings: RunnerSettings
    policy: Policy
    digest: str


def exported(settings: RunnerSettings, policy: Policy, release: str) -> ExportedPolicy:
    """Return the exported form of a worker's settings and policy."""
    token = settings.manager.token if settings.manager else None
    shown = settings._replace(repository=Repository(""), manager=_address(token), cgroup=None, start="scheduled")
    return _digested(ExportedPolicy(settings.worker, release, shown, _effective(policy), ""))


def as_plain(exported: ExportedPolicy) -> dict[str, Any]:
    """Return the content of the file as plain values, in its order."""
    token = exported.settings.manager.token if exported.settings.manager else None
    machine: dict[str, Any] = {key: getattr(exported.settings, key) for key in _SETTINGS}
    if token is not None:
        machine["token"] = {key: value for key, value in token._asdict().items() if value is not None}
    rules = {key: _plain(value) for key, value in exported.policy._asdict().items() if value is not None}
    return {"worker": exported.worker, "release": exported.release, "machine": machine, "policy": rules}


def read(path: str, data: bytes) -> ExportedPolicy:
    """Read an exported policy from YAML. Raises InvalidConfigError with all problems; `path` is for these."""
    return from_document(parse(data, path))


def from_plain(name: str, plain: object) -> ExportedPolicy:
    """Do the same for the plain values of `as_plain`; `name` stands for the path."""
    return from_document(Document(name, plain, None, ()))


def from_document(document: Document) -> ExportedPolicy:
    """Do the same for a parsed file."""
    examined = examine("exported_policy", document)
    if examined.problems:
        raise InvalidConfigError(f"the exported policy {document.file} is invalid:", examined.problems)
    plain = examined.value
    machine = dict(plain["machine"])
    manager = _address(records.Secret(**machine.pop("token"))) if "token" in machine else None
    settings = RunnerSettings(plain["worker"], Repository(""), manager=manager, **machine)
    return _digested(
        ExportedPolicy(plain["worker"], plain["release"], settings, record_factory.policy(plain["policy"]), "")
    )


def _address(token: Secret | None) -> ManagerAddress | None:
    return ManagerAddress("", token) if token else None


def _digested(exported: ExportedPolicy) -> ExportedPolicy:
    plain = {key: value for key, value in as_plain(exported).items() if key != "release"}
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return exported._replace(digest=hashlib.sha256(canonical.encode()).hexdigest())


def _effective(policy: Policy) -> Policy:
    """Return the policy with default entries in the place of the word `default`, each once, and without passwords."""
    lists = {key: value for key, value in policy._asdict().items() if isinstance(value, tuple)}
    for key, entries in lists.items():
        parts = [_DEFAULTS.get(key, (each,)) if each == DEFAULT else (each,) for each in entries]
        lists[key] = tuple(dict.fromkeys(_public(each) for part in parts for each in part))
    return policy._replace(**lists)


def _public(entry: str | Bound) -> str | Bound:
    """Return an entry of a list; one whose value has a password allows any value here."""
    if isinstance(entry, Bound) or without_secrets(entry) == entry:
        return entry
    name, _equals, _value = entry.partition("=")
    return f"{name}=*"


def _plain(value: Any) -> Any:
    if isinstance(value, Bound):
        return {key: _plain(below) for key, below in value._asdict().items() if below}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
