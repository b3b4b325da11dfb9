"""Where a worker's machine keeps a mirror, and which command lines a run of it has there. Reads no file.

The folders are those of the worker's exported policy, or else the built-in ones.
"""

import shlex
from typing import NamedTuple

from runner.base import file_view
from runner.base.mirror_paths import paths_of
from runner.providers import PROVIDERS, deletion_guard
from schemas.addresses import without_secrets
from schemas.config.exported_policy import ExportedPolicy
from schemas.mirror_record import RSYNC_PROVIDERS, Mirror
from schemas.records import Policy, Repository, RunnerSettings

_DEFAULTS = RunnerSettings("", Repository(""))


class Places(NamedTuple):
    """The folders of a worker's machine; `exported` is None without an exported policy."""

    exported: ExportedPolicy | None = None

    def directory(self, mirror: Mirror) -> str:
        """Return the directory of a mirror."""
        settings = self.exported.settings if self.exported else _DEFAULTS
        policy = self.exported.policy if self.exported else Policy()
        return paths_of(mirror, settings, policy, file_view.ELSEWHERE.real).directory

    def command_lines(self, mirror: Mirror) -> tuple[str, ...]:
        """Return the command lines of a run without trouble, without secrets, as `run --dry-run` shows them.

        For a container those are the lines inside. Empty if a plug-in decides them.
        """
        if mirror.provider not in PROVIDERS:
            return ()
        lines = _rsync(mirror, self.directory(mirror)) if mirror.provider in RSYNC_PROVIDERS else [_words(mirror)]
        inside = f"in a container of {without_secrets(mirror.docker_image)}: " if mirror.docker_image else ""
        return tuple([inside + shlex.join(map(without_secrets, words)) for words in lines])


def _words(mirror: Mirror) -> list[str]:
    return shlex.split(mirror.command)


def _rsync(mirror: Mirror, directory: str) -> list[list[str]]:
    """Return the rsync of each stage, in the pass that transfers everything."""
    program = mirror.command or "rsync"
    passes = PROVIDERS[mirror.provider].argument_lists(mirror, directory)
    return [[program, *words] for words in deletion_guard.first_passes(passes, directory)]
