"""`skipjack container load`: put images into the store that the worker's containers come from.

The store of a podman without root belongs to one user, and remembers the folders of its first use. An image that
another user loads is not found, and a login session of the right one spoils the store. So the worker does it.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from runner.base import environment, private_paths
from runner.base.output import say
from runner.base.state_dir import StateLayout
from runner.containers import podman
from runner.containers.container_policy import is_image
from runner.hooks.container_end import with_remedy
from runner.subprocesses import spawn
from schemas import ownership
from schemas.config.settings import load_policy
from schemas.errors import SkipjackError
from schemas.records import Policy, RunnerSettings
from schemas.regular_files import regular

_TODO = "The file must be an archive as `podman save --output FILE NAME` or `docker save` writes it."
_LOADED = re.compile(r"(?m)^Loaded image(?:\(s\)| ID)?: *(.+?)\s*$")


def require_owner(settings: RunnerSettings) -> None:
    """SkipjackError unless we are the worker's user, whose store runs use."""
    if not os.path.isdir(settings.state_dir):
        what = f"cannot load an image: there is no {settings.state_dir}, so nobody knows the worker's user."
        raise SkipjackError(what, "Run `skipjack install --containers` first.")
    if todo := ownership.remedy(settings.state_dir, settings.state_dir):
        raise SkipjackError("cannot load an image: each user has a store of images of its own.", todo)


def load_file(path: str, become_worker: Callable[[], RunnerSettings]) -> int:
    """Load an archive, which is opened with the rights of whoever asks, maybe root's, before it becomes the worker."""
    try:
        archive = open(path, "rb", opener=regular)  # noqa: SIM115 - closed below
    except OSError as error:
        raise SkipjackError(f"cannot read {path}: {error.strerror}.", _TODO) from error
    with archive:
        settings = become_worker()
        return load(settings, load_policy(Path(settings.policy)), archive)


def load(settings: RunnerSettings, policy: Policy, archive: BinaryIO) -> int:
    """Load the images of an archive as `podman save` or `docker save` write it, and print their names."""
    require_owner(settings)
    program = settings.container_program
    roots = private_paths.shared_folders(settings, policy)
    home = environment.safe_home(private_paths.account_home(), StateLayout(settings.state_dir).home, roots)
    more = {"HOME": home} | (
        podman.runtime_folder(StateLayout(settings.state_dir)) if podman.is_podman(program) else {}
    )
    os.chdir("/")  # where the worker's user may be; podman does not start elsewhere
    try:
        code, said = spawn.ask((program, "load"), None, more, stdin=archive)
    except spawn.CannotStart as error:
        raise SkipjackError(f"cannot load {archive.name}: {with_remedy(str(error))}.") from error
    names = [name for line in _LOADED.findall(said) for name in line.split(",")]
    if code or not names:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        last = lines[-1].rstrip(".") if lines else "it said nothing"
        why = with_remedy(last)
        raise SkipjackError(f"cannot load {archive.name}: {program}: {why}.", "" if why != last else _TODO)
    for name in names:
        say(_loaded(name, policy, settings))
    return 0


def _loaded(name: str, policy: Policy, settings: RunnerSettings) -> str:
    """A line about an image: its name, and whether the machine's policy lets a mirror name it."""
    if name.startswith("sha256:"):
        return f"loaded an image without a name, {name}: `docker_image` cannot name it. Save it by its name."
    if any(is_image(name, pattern) for pattern in policy.images):
        return f"loaded {name}"
    return f"loaded {name}; `images` in {settings.policy} does not list it, so no mirror may use it yet"
