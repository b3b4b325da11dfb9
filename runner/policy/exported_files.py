"""Read exported policies that a command line names."""

from collections.abc import Iterable
from pathlib import Path

from schemas.config import exported_policy
from schemas.config.exported_policy import ExportedPolicy
from schemas.config.sources import MAX_BYTES
from schemas.errors import SkipjackError
from schemas.problems import printable
from schemas.regular_files import read_regular


def read_all(paths: Iterable[Path]) -> dict[str, ExportedPolicy]:
    """Return the policies by worker. SkipjackError if a file cannot be read or is invalid, or a worker has two."""
    found: dict[str, ExportedPolicy] = {}
    for path in paths:
        policy = _read(path)
        if policy.worker in found:
            what = f"{printable(str(path))} is the second exported policy of the worker `{policy.worker}`."
            raise SkipjackError(what, "Name one file for each worker.")
        found[policy.worker] = policy
    return found


def _read(path: Path) -> ExportedPolicy:
    try:
        data = read_regular(path, MAX_BYTES)
    except OSError as error:
        what = f"cannot read the exported policy {path}: {error.strerror}."
        raise SkipjackError(what, "Write it with `skipjack policy export` on the worker.") from error
    return exported_policy.read(printable(str(path)), data)
