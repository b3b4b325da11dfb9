"""The worker: follows the config repository and keeps each mirror on disk as the YAML says."""

import sys

import schemas

# `schemas` is a common name. Of another program's package the first thing to be seen would be a missing module.
if schemas.__file__ != f"{__path__[0].removesuffix('runner')}schemas/__init__.py":
    sys.exit(
        f"ERROR skipjack: cannot start: `{schemas.__file__}` is imported in place of Skipjack's own package `schemas`. "
        "Unset PYTHONPATH, leave that folder, or install Skipjack into a virtual environment of its own."
    )
