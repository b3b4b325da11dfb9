"""Read a secret from its file or systemd credential. Cheap to import: every run of a mirror with a password does."""

import os
import re
from collections.abc import Iterator
from typing import Any

from schemas.errors import SkipjackError
from schemas.mirror_record import Secret
from schemas.regular_files import read_open, regular

SOURCE = "/etc/skipjack/credentials"
"""Folder from which systemd reads the credentials of system units, as root."""

_MOST = 64 * 1024
"""Bytes of a file with a secret at most."""


def named(record: tuple[Any, ...], above: str = "") -> Iterator[tuple[str, Secret]]:
    """Yield all secrets that a record of settings names, each with its key, such as `database.password`."""
    for key, value in record._asdict().items() if hasattr(record, "_asdict") else ():
        if isinstance(value, Secret):
            yield above + key, value
        elif isinstance(value, tuple):
            yield from named(value, f"{above}{key}.")


def read_secret(secret: Secret) -> str:
    """Return the first line of the secret's file, or of the credential that systemd gave this unit. Never log it.

    Raises SkipjackError if it cannot be read or is empty.
    """
    return _first_line(secret.file or _own_credential(str(secret.credential)))


def read_token(secret: Secret) -> str:
    """Return a token. Raises SkipjackError if it cannot be read or is not one word, since it is sent in a header."""
    token = read_secret(secret)
    if not is_token(token):
        what = f"the token in {secret.file or f'the credential `{secret.credential}`'} {NO_TOKEN}."
        raise SkipjackError(what, TOKEN_TODO)
    return token


def is_token(text: str) -> bool:
    """Return whether a text can be a token: one word of visible ASCII characters."""
    return re.fullmatch(r"[!-~]+", text) is not None


NO_TOKEN = "contains white space or other characters that no token has"  # noqa: S105 - a message
TOKEN_TODO = "Write only the token into the first line, as `skipjack-manager token add` printed it."  # noqa: S105


def read_mirror_secret(secret: Secret) -> str:
    """Return a mirror's password, from a file or a credential for mirrors, never from one of the worker itself.

    Raises SkipjackError if it cannot be read or is empty.
    """
    return _first_line(secret.file or _credential(f"mirror_{secret.credential}"))  # it names `mirror:FOLDER` so


def unreadable(path: str, reason: str) -> SkipjackError:
    """Return the error for a file with a secret that cannot be read."""
    return SkipjackError(f"cannot read the secret {path}: {reason}.", "Check the path and its owner.")


def _first_line(path: str) -> str:
    try:
        descriptor = regular(path, os.O_RDONLY)
    except OSError as error:
        raise unreadable(path, str(error.strerror)) from error
    try:
        return first_line(descriptor, path)
    finally:
        os.close(descriptor)


def first_line(descriptor: int, path: str) -> str:
    """Return the secret in the first line of an open file; SkipjackError if it has none. `path` is for errors."""
    try:
        line = read_open(descriptor, path, _MOST).decode().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = str(error.strerror) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise unreadable(path, reason) from error
    if not line:
        raise SkipjackError(f"the secret {path} is empty.", "Write the secret into its first line.")
    return line


def _own_credential(name: str) -> str:
    """Return the path of a credential. A command on a terminal has no unit: it reads the file of the units."""
    if _folder() is None:
        for path in (f"{SOURCE}/{name}", os.path.join(config_home(), "skipjack/credentials", name)):
            if os.access(path, os.R_OK):
                return path
    return _credential(name)


def config_home() -> str:
    """Return the folder of this user's settings."""
    return os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")


def _credential(name: str) -> str:
    folder = _folder()
    path = os.path.join(folder or "", name)
    if folder is None or not os.path.exists(path):
        raise SkipjackError(
            f"the credential `{name.removeprefix('mirror_')}` does not exist.",
            "Put it where units find it and run `skipjack install` again, or `skipjack install --manager` for the "
            "manager (see docs/systemd.md), or name a `file:`. Outside of units only root can read it.",
        )
    return path


def _folder() -> str | None:
    """Return the folder of this unit's credentials; None outside of units."""
    return os.environ.get("CREDENTIALS_DIRECTORY")
