"""Fetching a secret from where it is kept. Cheap to import: every run of a mirror with a password does it."""

import os

from schemas.errors import SkipjackError
from schemas.mirror_record import Secret
from schemas.reading import read_regular

_MOST = 64 * 1024
"""Bytes of a file with a secret."""


def read_secret(secret: Secret) -> str:
    """The first line of the secret's file, or of the credential that systemd gave this unit; it is never logged."""
    return _first_line(secret.file or _credential(str(secret.credential)))


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


def _credential(name: str) -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        raise SkipjackError(
            f"The credential `{name.removeprefix('mirror_')}` is not there.",
            "Put it where units find it and run `skipjack install` again (see docs/systemd.md), or name a `file:`.",
        )
    return os.path.join(folder, name)
