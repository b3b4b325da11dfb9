"""Which secret files can the worker's user not read? Each warning has the command that grants the access.

Only an attempt to read is conclusive, since modes do not show access lists. Root tries it with the rights of the
worker's user; modes of files and folders are used only to choose the command.
"""

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from runner.base import privileges
from schemas.records import Mirror
from schemas.regular_files import read_beginning

HOMES = ("/home/", "/root/", "/run/user/")
"""Folders that system units do not see, unless their sandbox lists them."""

_SHELTER = "/etc/skipjack/secrets"


class SecretFile(NamedTuple):
    """A secret file, and the key that names it."""

    path: str
    key: str


class SecretReader(NamedTuple):
    """Who must read the secrets: a user by name, and the home folders that its units see; None if they see all."""

    user: str
    seen: tuple[str, ...] | None = None


def named(token: str, mirrors: Iterable[Mirror]) -> list[SecretFile]:
    """Return the secret files that the settings (the worker's `token`, if any) and definitions name, each once."""
    found = {token: "manager.token"} if token else {}
    for mirror in mirrors:
        if mirror.password and mirror.password.file:
            found.setdefault(mirror.password.file, f"password of {mirror.name}")
    return [SecretFile(path, key) for path, key in found.items()]


def warnings(files: Iterable[SecretFile], reader: SecretReader) -> list[str]:
    """Return a message for each file that the reader cannot read; without root's rights, none for another user."""
    found = []
    for file in files:
        if _is_hidden(file.path, reader):
            found.append(_moving(file, reader.user))
            continue
        with privileges.acting_as(reader.user) as is_reader:
            why = _why_unreadable(file.path) if is_reader else ""
        if why:
            found.append(_granting(file, reader.user, why))
    return found


def beginning(user: str) -> str:
    """Return the beginning of every warning about a user."""
    return f"{user} cannot read the secret "


def _is_hidden(path: str, reader: SecretReader) -> bool:
    if reader.seen is None:
        return False
    real = os.path.realpath(path)
    return any(each.startswith(HOMES) for each in (path, real)) and not any(
        os.path.commonpath([path, folder]) == folder for folder in reader.seen
    )


def _why_unreadable(path: str) -> str:
    try:
        read_beginning(path, 1)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _moving(file: SecretFile, user: str) -> str:
    target = os.path.join(_SHELTER, os.path.basename(file.path))
    words = f"install -D -m 600 -o {shlex.quote(user)} {shlex.quote(file.path)} {shlex.quote(target)}"
    return f"{_head(file, user)}: units see no home folders. Run `{words}` as root, and use that path instead."


def _granting(file: SecretFile, user: str, why: str) -> str:
    try:
        is_there, is_file = True, stat.S_ISREG(os.stat(file.path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_there, is_file = False, True
    except OSError:
        is_there, is_file = True, True  # we cannot look either, so it is probably a file that only others may read
    if not is_file:
        return f"{_head(file, user)}: {why}. Write the secret into a regular file."
    steps = list(_steps(file.path, user, is_there=is_there))
    if not is_there:
        steps.append(f"install -m 600 -o {shlex.quote(user)} /dev/null {shlex.quote(file.path)}")
    elif not steps:
        return f"{_head(file, user)}: {why}, although its mode allows it. Check its file system and access lists."
    then = "" if is_there else ", and write the secret into it"
    return f"{_head(file, user)}: {why}. Run `{' && '.join(steps)}` as root{then}."


def _head(file: SecretFile, user: str) -> str:
    return f"{beginning(user)}{file.path} (`{file.key}`)"


def _steps(path: str, user: str, *, is_there: bool) -> Iterator[str]:
    """Yield the commands that let a user enter each folder and read the file; only root's files change their owner."""
    name, identity = shlex.quote(user), privileges.identity(user)
    for folder in _folders(path):
        found = _stat(folder)
        if found is not None and not _allows(found, identity, stat.S_IXOTH):
            yield f"chmod a+x {shlex.quote(folder)}"
    if not is_there:
        return
    found, file = _stat(path), shlex.quote(path)
    if found is None or (found.st_uid == 0 and not _allows(found, identity, stat.S_IROTH)):
        yield f"chown {name} {file}"
        if found is not None and not found.st_mode & stat.S_IRUSR:
            yield f"chmod u+r {file}"
    elif found.st_uid == identity.user and not found.st_mode & stat.S_IRUSR:
        yield f"chmod u+r {file}"
    elif not _allows(found, identity, stat.S_IROTH):
        yield f"setfacl -m u:{name}:r {file}"


def _folders(path: str) -> list[str]:
    """Return all folders above a file and above its real path, outermost first."""
    found: dict[str, None] = {}
    # Both, since a user who may not enter the folder of a link cannot follow it.
    for each in (os.path.abspath(path), os.path.realpath(path)):
        parts = os.path.dirname(each).split("/")
        found |= {"/".join(parts[:number]): None for number in range(2, len(parts) + 1)}
    return [folder for folder in found if folder]


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _allows(found: os.stat_result, identity: privileges.Identity, bit: int) -> bool:
    """Return whether the mode gives a user a right; `bit` is that right's bit for "others"."""
    if found.st_uid == identity.user:
        return bool(found.st_mode & bit << 6)
    if found.st_gid in identity.groups:
        return bool(found.st_mode & bit << 3)
    return bool(found.st_mode & bit)
