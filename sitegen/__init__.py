"""The manager: takes the workers' reports, keeps them, and renders the static status site."""

import sys

import schemas

# `schemas` is a common name. Of another program's package the first thing to be seen would be a missing module.
if schemas.__file__ != f"{__path__[0].removesuffix('sitegen')}schemas/__init__.py":
    sys.exit(
        f"skipjack-manager: cannot start: `{schemas.__file__}` is imported in place of Skipjack's own package "
        "`schemas`. Unset PYTHONPATH, leave that folder, or install Skipjack into a virtual environment of its own."
    )
