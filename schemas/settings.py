"""Reading the settings files of a worker's and of the manager's machine, and the secrets that they point at."""

import os
from pathlib import Path
from typing import Any

from schemas import build
from schemas.errors import SkipjackError
from schemas.problems import Refused
from schemas.records import ManagerSettings, RunnerSettings, Secret
from schemas.validation import check
from schemas.yaml_file import parse


def load_runner(path: Path) -> RunnerSettings:
    """Read a worker's settings; SkipjackError says what is missing or wrong."""
    return build.runner_settings(_load("runner", path))


def load_manager(path: Path) -> ManagerSettings:
    """Read the manager's settings; SkipjackError says what is missing or wrong."""
    return build.manager_settings(_load("manager", path))


def read_secret(secret: Secret) -> str:
    """Fetch a secret's first line from its file or from the unit's credentials; it is never logged."""
    if secret.file is not None:
        path = Path(secret.file)
    else:
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if folder is None:
            raise SkipjackError(
                f"The credential `{secret.credential}` is not there.",
                "Start this from a unit with `LoadCredential=`, or use `file:` in the settings.",
            )
        path = Path(folder, str(secret.credential))
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SkipjackError(
            f"The secret {path} cannot be read: {_reason(error)}.", "Check the path and its owner."
        ) from error
    if not lines or not lines[0].strip():
        raise SkipjackError(f"The secret {path} is empty.", "Write the secret into its first line.")
    return lines[0].strip()


def _load(kind: str, path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SkipjackError(
            f"The settings {path} cannot be read: {_reason(error)}.", "Name the file with --settings."
        ) from error
    document = parse(data, str(path))
    problems = check(kind, document)
    if problems:
        raise Refused(f"The settings {path} cannot be used:", problems)
    plain: dict[str, Any] = document.value
    return plain


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
