"""Time zones, and libraries of others, for programs that were started without site packages."""

import functools
import importlib
from datetime import UTC, tzinfo
from types import ModuleType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.errors import SkipjackError

INSTALL = "Install the system's package tzdata, or Python's of the same name."
"""What to do on a machine without time zone data."""


@functools.cache
def zone(name: str) -> tzinfo:
    """A time zone by its IANA name, from the system or else the package tzdata; SkipjackError when neither has it."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        _add_site_packages()
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError as error:
        raise SkipjackError(f"This machine has no data about the time zone `{name}`.", INSTALL) from error


def installed_module(name: str) -> ModuleType:
    """A library that Skipjack depends on. Our own packages usually lie beside it, but not in a tree of sources."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        _add_site_packages()
    return importlib.import_module(name)


def _add_site_packages() -> None:
    """Do what Python does at its start unless told not to; doing it again changes nothing."""
    import site

    site.main()
    importlib.invalidate_caches()
