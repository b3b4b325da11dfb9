"""Write an import: secrets first, then the repository, then the machine's two files; each aside and renamed.

In this order, what a definition or a setting refers to exists before it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from runner.base.mirror_paths import lies_in
from schemas.config import catalogue, plugin_search
from schemas.config.sources import SourceFile, read_directory
from schemas.errors import SkipjackError
from schemas.problems import InvalidConfigError
from schemas.regular_files import regular

RUNNER, POLICY = "runner.yml", "policy.yml"
_RUNNER_HEAD = """\
# The settings of the worker's machine, for /etc/skipjack/runner.yml. Set the repository's address, and the manager's;
# `skipjack-manager token add WORKER` makes the token. With `start: held` no run starts until `skipjack release`.
"""
_POLICY_HEAD = """\
# What {} did and the policy denies by default, for /etc/skipjack/policy.yml. Everyone who can merge to the
# repository can then do it too: remove what is not needed, and the mirrors that need it.
"""


class ImportedFiles(NamedTuple):
    """The texts of an import: files of the repository by their paths in it, all others by absolute paths.

    `secrets` is the folder that all `passwords` are in.
    """

    into: str
    files: Mapping[str, str]
    secrets: str
    passwords: Mapping[str, str]
    machine: Mapping[str, str]


def machine_files(beside: str, prefix: str, settings: str, policy: str, *, program: str) -> dict[str, str]:
    """Return the files of one machine in the folder `beside`; without one for a policy that is empty.

    `program` is the one whose configuration is imported.
    """
    found = {os.path.join(beside, f"{prefix}{RUNNER}"): _RUNNER_HEAD + settings}
    head = _POLICY_HEAD.format(program)
    return found | ({os.path.join(beside, f"{prefix}{POLICY}"): head + policy} if policy else {})


def without_head(text: str) -> str:
    """Return the text of a machine's file without the comment that all such files begin with."""
    return "".join(text.splitlines(keepends=True)[2:])


def write(output: ImportedFiles, *, force: bool) -> None:
    """Write everything; SkipjackError, before anything is written, if files would be lost or the result be invalid."""
    into, passwords = output.into, output.passwords
    if not force:
        _refuse_to_overwrite(into, [*passwords, *output.machine])
    if passwords and lies_in(output.secrets, into):
        raise SkipjackError(
            f"the folder for secrets, {output.secrets}, is inside the repository.", "Name another one with `--secrets`."
        )
    _check_with_what_is_there(output.files, into)
    write_all(passwords, folder_mode=0o700, mode=0o600)
    write_all({os.path.join(into, name): text for name, text in output.files.items()}, folder_mode=0o755, mode=0o644)
    write_all(output.machine, folder_mode=0o755, mode=0o644)


def _refuse_to_overwrite(into: str, files: list[str]) -> None:
    todo = "Move it away, or overwrite it with `--force`."
    if os.path.isdir(into) and set(os.listdir(into)) - {".git"}:
        raise SkipjackError(f"the folder {into} is not empty.", "Name another one, or overwrite with `--force`.")
    for path in files:
        if os.path.lexists(path):
            raise SkipjackError(f"the file {path} already exists.", todo)


def _check_with_what_is_there(files: Mapping[str, str], into: str) -> None:
    """Check that other files in the folder, which stay with `--force`, are valid together with the new ones."""
    there = read_directory(Path(into)) if os.path.isdir(into) else ()
    kept = [file for file in there if file.path not in files]
    new = [SourceFile(path, text.encode()) for path, text in files.items()]
    problems = catalogue.load([*kept, *new], plugin_search.installed().schemas).problems if kept else ()
    if problems:
        raise InvalidConfigError(f"the files in {into} are invalid together with the new ones:", problems)


def write_all(files: Mapping[str, str], *, folder_mode: int, mode: int) -> None:
    """Write files aside, rename them and sync their folders, so that a power cut does not undo the renames."""
    folders = {os.path.dirname(path) or "." for path in files}
    for folder in folders:
        os.makedirs(folder, mode=folder_mode, exist_ok=True)
    for path, text in files.items():
        _write(path, text, mode)
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _write(path: str, text: str, mode: int) -> None:
    """Write a file aside, sync and rename it: after a crash there is the old file or the whole new one."""
    aside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.new")
    descriptor = regular(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            # Before the content: a file that was left there may be readable for every user.
            os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.replace(aside, path)
    except OSError:
        os.unlink(aside)
        raise
