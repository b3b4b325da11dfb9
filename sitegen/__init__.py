"""The manager: receives the workers' reports, stores them and publishes the status site."""

import sys

import schemas

# `schemas` is a common name. Another program's package would fail later, with a module that is missing.
if schemas.__file__ != f"{__path__[0].removesuffix('sitegen')}schemas/__init__.py":
    sys.exit(
        f"ERROR skipjack-manager: cannot start: `{schemas.__file__}` is imported in place of Skipjack's own package "
        "`schemas`. Unset PYTHONPATH, leave that folder, or install Skipjack into a virtual environment of its own."
    )
