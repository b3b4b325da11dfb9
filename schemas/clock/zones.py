"""Time zones and third-party modules for programs that were started without site-packages."""

import functools
import importlib
from datetime import UTC, tzinfo
from types import ModuleType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.errors import SkipjackError

INSTALL = "Install the package tzdata of the system, or that of Python."
"""What to do on a machine without time zone data."""


@functools.cache
def zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name, from the system or the package tzdata. Raises SkipjackError."""
    # The default, which works on a machine without time zone data.
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        _add_site_packages()
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError as error:
        raise SkipjackError(f"this machine has no data for the time zone `{name}`.", INSTALL) from error


def installed_module(name: str) -> ModuleType:
    """Import a third-party module. It usually lies beside Skipjack's packages, but not beside a source tree."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        _add_site_packages()
    return importlib.import_module(name)


def _add_site_packages() -> None:
    """Add site-packages to `sys.path`, as Python does at its start without `-S`; repeating it has no effect."""
    import site

    site.main()
    importlib.invalidate_caches()
