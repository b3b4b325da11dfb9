"""Which plug-ins do the mirrors of a plan use, and can this machine use them?"""

from collections.abc import Iterable, Iterator

from runner.base.file_policy import Violation
from runner.follow import plugin_trial
from runner.providers import PROVIDERS
from schemas.config.plugin_search import Installed
from schemas.mirror_record import Mirror
from schemas.plugins import HOOK, PROVIDER, Plugin, named

_INSTALL = "Install it into Skipjack's environment on this machine, or do not use it."
_CORRECT = "Correct that or reinstall the plug-in; each follow tries it again."


class PluginsInUse:
    """The plug-ins of the mirrors of one plan; each is tried once."""

    def __init__(self, installed: Installed) -> None:
        self._installed = installed
        self._tried: dict[Plugin, str] = {}

    def violations(self, mirror: Mirror) -> Iterator[Violation]:
        """Yield why a mirror cannot use its plug-ins."""
        for kind, name in used_by(mirror):
            found = self._installed.find(kind, name)
            if found is None:
                yield f"The {kind} plug-in `{name}` is not installed on this machine.", _INSTALL
            elif found.problem:
                yield f"{_beginning(named(found.plugin))} cannot be used: {found.problem}.", _CORRECT
            elif why := self._why_broken(found.plugin):
                yield f"{_beginning(why)}.", _CORRECT

    def _why_broken(self, plugin: Plugin) -> str:
        if plugin not in self._tried:
            self._tried[plugin] = plugin_trial.why_broken(plugin)
        return self._tried[plugin]

    @property
    def broken(self) -> tuple[tuple[Plugin, str], ...]:
        """Return the plug-ins whose trial failed, with the reason."""
        return tuple([(plugin, why) for plugin, why in sorted(self._tried.items()) if why])

    def of(self, mirrors: Iterable[Mirror]) -> tuple[Plugin, ...]:
        """Return the plug-ins that some mirrors use, sorted by kind and name."""
        names = {each for mirror in mirrors for each in used_by(mirror)}
        return tuple([found.plugin for each in sorted(names) if (found := self._installed.find(*each))])


def _beginning(text: str) -> str:
    """Return a text for the beginning of a sentence."""
    return f"{text[0].upper()}{text[1:]}"


def used_by(mirror: Mirror) -> list[tuple[str, str]]:
    """Return the kind and name of each plug-in that a mirror uses."""
    provider = [] if mirror.provider in PROVIDERS else [(PROVIDER, mirror.provider)]
    return [*provider, *((HOOK, name) for name in mirror.plugins if name != mirror.provider)]


def is_healed(broken: Iterable[tuple[Plugin, str]]) -> bool:
    """Return whether the trial of a plug-in ends in another way than it did, as when what it lacked is installed."""
    return any(plugin_trial.why_broken(plugin) != why for plugin, why in broken)
