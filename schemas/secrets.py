"""Fetching a secret from where it is kept. Cheap to import: every run of a mirror with a password does it."""

import os
import re
from collections.abc import Iterator
from typing import Any

from schemas.errors import SkipjackError
from schemas.mirror_record import Secret
from schemas.regular_files import read_regular

SOURCE = "/etc/skipjack/credentials"
"""Where systemd reads the credentials of the units of the system, as root."""

_MOST = 64 * 1024
"""Bytes of a file with a secret."""


def named(record: tuple[Any, ...], above: str = "") -> Iterator[tuple[str, Secret]]:
    """All secrets that a record of settings names, each after its key as in `database.password`."""
    for key, value in record._asdict().items() if hasattr(record, "_asdict") else ():
        if isinstance(value, Secret):
            yield above + key, value
        elif isinstance(value, tuple):
            yield from named(value, f"{above}{key}.")


def read_secret(secret: Secret) -> str:
    """The first line of the secret's file, or of the credential that systemd gave this unit; it is never logged."""
    return _first_line(secret.file or _own_credential(str(secret.credential)))


def read_token(secret: Secret) -> str:
    """The same for a token, which must be one word, since it is sent in a header; SkipjackError if it is not."""
    token = read_secret(secret)
    if not is_token(token):
        what = f"The token in {secret.file or f'the credential `{secret.credential}`'} {NO_TOKEN}."
        raise SkipjackError(what, TOKEN_TODO)
    return token


def is_token(text: str) -> bool:
    """Whether a text can be a token: one word of visible ASCII characters."""
    return re.fullmatch(r"[!-~]+", text) is not None


NO_TOKEN = "has white space or other characters inside that no token has"  # noqa: S105 - words for people
TOKEN_TODO = "Write the token alone into the first line, as `skipjack-manager token add` printed it."  # noqa: S105


def read_mirror_secret(secret: Secret) -> str:
    """A mirror's password: of the credentials one of those for mirrors, and never one of the worker itself."""
    return _first_line(secret.file or _credential(f"mirror_{secret.credential}"))  # it names `mirror:FOLDER` so


def _first_line(path: str) -> str:
    try:
        line = read_regular(path, _MOST).decode().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SkipjackError(f"The secret {path} cannot be read: {reason}.", "Check the path and its owner.") from error
    if not line:
        raise SkipjackError(f"The secret {path} is empty.", "Write the secret into its first line.")
    return line


def _own_credential(name: str) -> str:
    """A command that a person types has no unit: it reads the file that systemd reads for the units."""
    if _folder() is None:
        for path in (f"{SOURCE}/{name}", os.path.join(config_home(), "skipjack/credentials", name)):
            if os.access(path, os.R_OK):
                return path
    return _credential(name)


def config_home() -> str:
    """The folder of this user's own settings."""
    return os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")


def _credential(name: str) -> str:
    folder = _folder()
    path = os.path.join(folder or "", name)
    if folder is None or not os.path.exists(path):
        raise SkipjackError(
            f"The credential `{name.removeprefix('mirror_')}` is not there.",
            "Put it where units find it and run `skipjack install` again, or `skipjack install --manager` for the "
            "manager (see docs/systemd.md), or name a `file:`. Outside of units only root can read it.",
        )
    return path


def _folder() -> str | None:
    """Where systemd puts the credentials of this unit; None outside of units."""
    return os.environ.get("CREDENTIALS_DIRECTORY")
