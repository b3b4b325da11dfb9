"""Where a worker's machine keeps a mirror, as far as its exported policy shows it."""

from typing import NamedTuple

from runner.base.mirror_paths import paths_of
from schemas.mirror_record import Mirror
from schemas.records import Policy, Repository, RunnerSettings

_DEFAULTS = RunnerSettings("", Repository(""))


class Places(NamedTuple):
    """The folders of a worker's machine: those of its settings, by default the built-in ones."""

    settings: RunnerSettings = _DEFAULTS
    policy: Policy = Policy()

    def directory(self, mirror: Mirror) -> str:
        """Return the directory of a mirror."""
        return paths_of(mirror, self.settings, self.policy).directory
