"""Programs without site-packages find time zones and third-party modules."""

import subprocess
import sys
from pathlib import Path

import pytest

from schemas.clock.zones import installed_module, zone
from schemas.errors import SkipjackError

ROOT = Path(__file__).parents[2]


def lean(code: str) -> str:
    words = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_library_is_found_without_site_packages() -> None:
    assert lean("from schemas.clock import zones; print(zones.installed_module('cronsim').__name__)") == "cronsim"
    assert lean("from schemas.clock.cron import next_time; print(next_time('0 1 * * *', 'UTC', 0.0))") == "3600.0"


def test_a_zone_that_the_system_does_not_have_is_reported() -> None:
    code = (
        "import zoneinfo; zoneinfo.reset_tzpath([]); sys.modules['tzdata'] = None\n"
        "from schemas.clock.zones import zone\n"
        "try:\n    zone('Europe/Berlin')\nexcept Exception as error:\n    print(error)"
    )
    assert lean(code).startswith(
        "this machine has no data for the time zone `Europe/Berlin`. Install the package tzdata"
    )


def test_a_machine_without_time_zone_data_reports_that_it_cannot_check() -> None:
    code = (
        "import zoneinfo; zoneinfo.reset_tzpath([]); sys.modules['tzdata'] = None\n"
        "from schemas.config import catalogue\nfrom schemas.config.sources import SourceFile\n"
        "workers = SourceFile('_workers.yml', b'workers: {w1: {}}')\n"
        "for zone in ('Europe/Berlin', 'UTC'):\n"
        "    site = SourceFile('_site.yml', f'title: T\\ntime_zone: {zone}'.encode())\n"
        "    try:\n        print(catalogue.load([site, workers]).problems)\n"
        "    except Exception as error:\n        print(*error.problems)\n"
    )
    words = [sys.executable, "-c", f"import sys; {code}"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert (done.stderr, done.stdout.splitlines()) == (
        "",
        [
            "_site.yml:2:12: This machine has no time zone data, so `Europe/Berlin` cannot be checked. "
            "Install the package tzdata of the system, or that of Python.",
            "()",
        ],
    )


def test_a_missing_module_is_an_error() -> None:
    assert zone("UTC").utcoffset(None) is not None
    with pytest.raises(SkipjackError):
        zone("Europe/Bielefeld")
    with pytest.raises(ModuleNotFoundError):
        installed_module("no_such_library")
