"""`skipjack init --worker` and `--manager`: write the settings of a machine, with what can be guessed about it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from runner.authoring import file_writing, guesses, repository_place
from runner.authoring.settings_text import commented
from runner.base.output import say
from schemas.addresses import without_secrets
from schemas.config import settings
from schemas.config.catalogue import SITE
from schemas.config.schema_set import schema
from schemas.errors import SkipjackError
from schemas.git import git_command
from schemas.problems import printable
from schemas.secrets import config_home

_WORKER_HEAD = """\
Settings of this worker. A key after a `#` is an example: remove the `#` to use it, from all lines of its block.
Run `skipjack install` again after a change of the folders, the manager or the token.
"""
_MANAGER_HEAD = """\
Settings of the manager. A key after a `#` is an example: remove the `#` to use it, from all lines of its block.
Run `skipjack install --manager` again after a change.
"""
_POLICY_HEAD = """\
What the config repository may do on this machine. A key after a `#` is an example: remove the `#` to use it.
`skipjack policy suggest` prints the entries that the definitions of this worker need.
"""
_PROVIDERS = schema("policy")["properties"]["providers"]["default"]


class Wanted(NamedTuple):
    """What a person chose for the settings; None where it is guessed."""

    settings: str | None
    repository: str | None = None
    worker: str | None = None


def write(mode: str, directory: str, wanted: Wanted) -> None:
    """Write the settings of a `worker`, with a policy, or of the `manager`; never over an existing file.

    `directory` may be a clone of the config repository, whose address is used then. Raises SkipjackError, before
    anything is written, if the settings exist or would not be valid.
    """
    name = "runner.yml" if mode == "worker" else "manager.yml"
    is_own = os.geteuid() != 0
    path = os.path.abspath(wanted.settings or os.path.join(config_home() if is_own else "/etc", "skipjack", name))
    if os.path.lexists(path):
        raise SkipjackError(f"{printable(path)} already exists.", "Edit it, or name another file with `--settings`.")
    repository = _repository(os.path.realpath(directory), wanted.repository)
    if mode == "worker":
        worker = wanted.worker or guesses.worker(guesses.host())
        files = _of_worker(path, worker, repository, _own_folders() if is_own else {})
    else:
        folders = _own_manager_folders() if is_own else {}
        values = {"listen": schema("manager")["properties"]["listen"]["default"], **folders, "repository": repository}
        files = {path: ("manager", commented("manager", _MANAGER_HEAD, values))}
    for each, (kind, text) in files.items():
        if not os.path.lexists(each):
            settings.check(kind, text.encode(), Path(each))
    texts = {each: text for each, (_kind, text) in files.items()}
    # Not group-writable whatever the umask is: a policy that other users can change is rejected.
    written = file_writing.create(texts, below=os.path.dirname(path), mode=0o644)
    _report(mode, path, written, repository, wanted)


def _of_worker(
    path: str, worker: str, repository: Mapping[str, str], folders: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Return the kind and the text of both files of a worker by path; the policy lies beside the settings."""
    policy = os.path.join(os.path.dirname(path), "policy.yml")
    values: dict[str, Any] = {"worker": worker, "repository": repository, **folders}
    if policy != schema("runner")["properties"]["policy"]["default"]:
        values["policy"] = policy
    return {
        policy: ("policy", commented("policy", _POLICY_HEAD, {"providers": _PROVIDERS})),
        path: ("runner", commented("runner", _WORKER_HEAD, values)),
    }


def _repository(folder: str, address: str | None) -> dict[str, str]:
    """Return the keys of `repository`; the address is that of an example if it is not known."""
    if address and without_secrets(address) != address:
        what = "the address of the repository has a user name or a password, which every user could read."
        raise SkipjackError(what, "Leave it out, and give git of the worker's user a key or a credential helper.")
    place = repository_place.place_of(folder)
    is_config = os.path.lexists(os.path.join(folder, SITE)) and place.has_git
    path = {"path": place.within} if is_config and place.within != "." else {}
    return {"url": address or (_address(place.top) if is_config else _EXAMPLE)} | path


def _address(top: str) -> str:
    """Return the address of a clone's remote repository, or the clone itself if there is none."""
    git_command.require_git()
    address = git_command.address_of_remote(Path(top))
    if not address:
        return top
    return address if without_secrets(address) == address else _EXAMPLE


_EXAMPLE: str = schema("runner")["properties"]["repository"]["properties"]["url"]["examples"][0]


def _own_folders() -> dict[str, str]:
    """Return folders that a user without root may write to."""
    home = os.path.expanduser("~")
    return {
        "mirror_root": f"{home}/mirror",
        "state_dir": f"{_state_home()}/skipjack",
        "run_dir": f"{_runtime_folder()}/skipjack",
        "log_dir": f"{_state_home()}/skipjack/logs",
        "snapshot_root": f"{home}/snapshot",
    }


def _own_manager_folders() -> dict[str, str]:
    state = f"{_state_home()}/skipjack-manager"
    return {"state_dir": state, "run_dir": f"{_runtime_folder()}/skipjack-manager", "site_dir": f"{state}/site"}


def _state_home() -> str:
    return os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")


def _runtime_folder() -> str:
    return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"


def _report(mode: str, path: str, written: file_writing.Created, repository: Mapping[str, str], wanted: Wanted) -> None:
    for each in written.created:
        say(f"wrote {printable(each)}")
    for each in written.kept:
        say(f"{printable(each)} existed, not changed")
    say("\nWhat to do next:")
    for number, line in enumerate(_tasks(mode, path, repository, wanted), 1):
        say(f"  {number}. {line}")


def _tasks(mode: str, path: str, repository: Mapping[str, str], wanted: Wanted) -> Iterator[str]:
    if repository["url"] == _EXAMPLE:
        yield f"Set `repository.url` in {printable(path)}: the address of the config repository."
    options = f"{' --settings ' + printable(path) if wanted.settings else ''}{' --user' if os.geteuid() else ''}"
    if mode == "manager":
        yield f"Install its services: skipjack install --manager{options}"
        yield "Create a token for each worker: skipjack-manager token add WORKER"
        return
    root = _own_folders()["mirror_root"] if os.geteuid() else schema("runner")["properties"]["mirror_root"]["default"]
    if not os.path.isdir(root):
        yield f"Create or mount the folder for all mirrors, {printable(root)}, or set `mirror_root` to another one."
    yield "Check that `_workers.yml` in the config repository has the name of this worker."
    yield "To report to a manager, set `manager`, and put the token that it created into a file or a credential."
    yield f"Install its timers: skipjack install{options}"
