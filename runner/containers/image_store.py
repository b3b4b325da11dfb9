"""`skipjack container load`: load images into the store that the worker's containers use.

The store of a rootless podman belongs to one user, and records the folders of its first use. Images that another user
loads are not found, and loading from a login session of the right user breaks the store. So the worker does it.
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
    """Raise SkipjackError unless we are the worker's user, whose store runs use."""
    if not os.path.isdir(settings.state_dir):
        what = f"cannot load an image: {settings.state_dir} is missing, so the worker's user is not known."
        raise SkipjackError(what, "Run `skipjack install --containers` first.")
    if todo := ownership.remedy(settings.state_dir, settings.state_dir):
        raise SkipjackError("cannot load an image: each user has a separate store of images.", todo)


def load_file(path: str, become_worker: Callable[[], RunnerSettings]) -> int:
    """Load an archive; it is opened with the caller's rights, maybe root's, before `become_worker` drops them."""
    try:
        archive = open(path, "rb", opener=regular)  # noqa: SIM115 - closed below
    except OSError as error:
        raise SkipjackError(f"cannot read {path}: {error.strerror}.", _TODO) from error
    with archive:
        settings = become_worker()
        return load(settings, load_policy(Path(settings.policy)), archive)


def load(settings: RunnerSettings, policy: Policy, archive: BinaryIO) -> int:
    """Load the images of an archive written by `podman save` or `docker save`, and print their names."""
    require_owner(settings)
    program = settings.container_program
    roots = private_paths.shared_folders(settings, policy)
    home = environment.safe_home(private_paths.account_home(), StateLayout(settings.state_dir).home, roots)
    more = {"HOME": home} | (
        podman.runtime_folder(StateLayout(settings.state_dir)) if podman.is_podman(program) else {}
    )
    os.chdir("/")  # podman does not start in a folder that the worker's user cannot enter
    try:
        # Without a time limit: an image can have gigabytes, and an operator waits for it.
        code, said = spawn.ask((program, "load"), None, more, stdin=archive)
    except spawn.CannotStart as error:
        raise SkipjackError(f"cannot load {archive.name}: {with_remedy(str(error))}.") from error
    names = [name for line in _LOADED.findall(said) for name in line.split(",")]
    if code or not names:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        last = lines[-1].rstrip(".") if lines else "it printed no message"
        why = with_remedy(last)
        raise SkipjackError(f"cannot load {archive.name}: {program}: {why}.", "" if why != last else _TODO)
    for name in names:
        say(_loaded(name, policy, settings))
    return 0


def _loaded(name: str, policy: Policy, settings: RunnerSettings) -> str:
    """Return a line about an image: its name, and whether the machine's policy lets mirrors use it."""
    if name.startswith("sha256:"):
        return f"loaded an image without a name, {name}: `docker_image` cannot refer to it. Save it by its name."
    if any(is_image(name, pattern) for pattern in policy.images):
        return f"loaded {name}"
    return f"loaded {name}; `images` in {settings.policy} does not list it, so no mirror may use it yet"
