"""Which releases of uvicorn and httptools have the limits of connections been tested with?

Imports neither: a release without a part that `sitegen.web.connection` needs could not even be imported.
"""

import re
from importlib import metadata

from schemas.errors import SkipjackError

TESTED = {"uvicorn": ("0.53.0", "0.54.0"), "httptools": ("0.6.4", "0.9.0")}
"""The oldest and the newest tested release; `pyproject.toml` has the same bounds."""

INSTALL = "pip install " + " ".join(f"'{name}>={oldest},<={newest}'" for name, (oldest, newest) in TESTED.items())


def require_tested() -> None:
    """Raise SkipjackError unless each installed release is within the tested bounds."""
    untested = [
        f"{name} {found} is installed, {oldest} to {newest} is required"
        for name, (oldest, newest) in TESTED.items()
        if not _numbers(oldest) <= _numbers(found := _installed(name)) <= _numbers(newest)
    ]
    if untested:
        raise SkipjackError(
            f"the limits of connections are not tested with the installed releases: {'; '.join(untested)}.",
            f"Install tested releases: `{INSTALL}`.",
        )


def _installed(name: str) -> str:
    """Return the installed release of a package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "of an unknown release"


def _numbers(release: str) -> list[int]:
    """Return the numbers of a release for comparison, none for a pre-release such as `0.54.0rc1`."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", release):
        return []
    numbers = [int(number) for number in release.split(".")]
    return numbers + [0] * (4 - len(numbers))
