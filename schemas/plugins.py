"""What a plug-in is: a provider or a hook from another package, which an entry point names.

This module knows neither how plug-ins are found (`schemas/config/plugin_search.py`) nor their keys
(`schemas/config/fragments.py`). Cheap to import: the plan contains these records.
"""

from typing import NamedTuple

PROVIDER, HOOK, NOTIFIER = "provider", "hook", "notifier"
"""The kinds of plug-ins."""

GROUPS = {
    PROVIDER: "skipjack.providers.v1",
    HOOK: "skipjack.hooks.v1",
    NOTIFIER: "skipjack.notifiers.v1",  # reserved: nothing reads it yet
}
"""The group of entry points of each kind."""


class Plugin(NamedTuple):
    """One plug-in: its kind and name, the module to import, and its distribution with the version.

    `path` is the folder to add to `sys.path` so that the module can be imported; empty for what is built in.
    """

    kind: str
    name: str
    module: str
    path: str
    version: str
    distribution: str = ""


def origin(plugin: Plugin) -> str:
    """Return where a plug-in comes from, such as: skipjack_git.provider of skipjack-git 1.2."""
    package = " ".join(filter(None, (plugin.distribution, plugin.version)))
    return f"{plugin.module} of {package}" if package else plugin.module


def named(plugin: Plugin) -> str:
    """Return the words for a plug-in in messages: the provider plug-in `git` (skipjack_git.provider of …)."""
    return f"the {plugin.kind} plug-in `{plugin.name}` ({origin(plugin)})"
