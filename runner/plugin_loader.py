"""Import the module of a provider or a hook, built in or of a plug-in. No metadata is read: the plan has the place."""

import os
import sys
from types import ModuleType


class WrongModuleError(ImportError):
    """The module that Python imports is another one than the plug-in's."""


def load(module: str, path: str = "") -> ModuleType:
    """Return a module. Raises whatever its import raises.

    `path` is the folder that a plug-in's module must come from, empty for one that is built in. It is the last place
    where Python looks, so that no plug-in can replace a module of Python's or ours.
    """
    if path and path not in sys.path:
        sys.path.append(path)
    # Not importlib.import_module, which each run would have to load.
    __import__(module)
    found = sys.modules[module]
    if path:
        _require_own(found, path)
    return found


def _require_own(found: ModuleType, path: str) -> None:
    file = os.path.realpath(getattr(found, "__file__", None) or "/")
    if not file.startswith(os.path.join(os.path.realpath(path), "")):
        raise WrongModuleError(f"Python imports `{found.__name__}` from {file}, not from {path}", name=found.__name__)
