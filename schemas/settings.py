"""Reading the settings files of a worker's and of the manager's machine."""

from pathlib import Path
from typing import Any

from schemas import build
from schemas.errors import SkipjackError
from schemas.problems import Refused
from schemas.records import ManagerSettings, RunnerSettings
from schemas.validation import check
from schemas.yaml_file import parse


def load_runner(path: Path) -> RunnerSettings:
    """Read a worker's settings; SkipjackError says what is missing or wrong."""
    return build.runner_settings(_load("runner", path))


def load_manager(path: Path) -> ManagerSettings:
    """Read the manager's settings; SkipjackError says what is missing or wrong."""
    return build.manager_settings(_load("manager", path))


def _load(kind: str, path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SkipjackError(
            f"The settings {path} cannot be read: {error.strerror}.", "Name the file with --settings."
        ) from error
    document = parse(data, str(path))
    problems = check(kind, document)
    if problems:
        raise Refused(f"The settings {path} cannot be used:", problems)
    plain: dict[str, Any] = document.value
    return plain
