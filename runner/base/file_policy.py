"""What a machine's policy says about the files that a definition names.

rsync sends the rules of a file of patterns to the upstream, and a container can send whatever it sees. So none of these
files may be a secret, or lie where one could be. A password of an entry with `upstreams` goes to the rsync daemons on
these hosts alone. One of a plain entry may be named by any definition, with any upstream.
"""

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from runner.base import private_paths
from runner.base.mirror_paths import lies_in
from runner.base.private_paths import Private
from schemas.config.upstreams import daemon_host, plain_host
from schemas.problems import shown
from schemas.records import Bound, Mirror, Policy, RunnerSettings

Violation = tuple[str, str]

_IN_CONTAINER = ("env", "docker_volumes", "docker_options")
"""What could put another program, resolver or proxy into the image that rsync is run from."""


class Passwords(NamedTuple):
    """What a machine says about passwords: the policy's `readable`, the files with secrets of the worker itself, and
    the credential with its token."""

    readable: tuple[str | Bound, ...]
    secrets: tuple[str, ...]
    own: str | None


def passwords(policy: Policy, settings: RunnerSettings) -> Passwords:
    """Return what a machine with these settings says about passwords."""
    token = settings.manager.token if settings.manager else None
    return Passwords(policy.readable, private_paths.secrets(settings), token.credential if token else None)


def password_violations(mirror: Mirror, known: Passwords) -> Iterator[Violation]:
    """Why a mirror's password may not be in the file that it names, or not go to the mirror's upstream."""
    if mirror.password is None:
        return
    path = mirror.password.file
    if path is None:
        name = str(mirror.password.credential)
        yield from _credential_violations(name, known.own)
        yield from _bound_violations(mirror, f"the credential `{name}`", _binding(known.readable, name))
        return
    entries = _entries_for(path, known.readable)
    if not entries:
        paths = [each.path if isinstance(each, Bound) else each for each in known.readable]
        folders = ", ".join(filter(None, paths)) or "no folder"
        todo = "Put the file there, or ask the administrator of this machine to add its folder to `readable`."
        yield f"`password` names {path}, but only files in {folders} may be read.", todo
    elif private_paths.is_secret(path, known.secrets):
        yield f"`password` names {path}, which is a secret of the worker itself.", "Use a file of the mirror's own."
    elif private_paths.is_other_than_file(path):
        yield f"`password` names {path}, which is not a regular file.", "Write the password into a file."
    elif all(isinstance(each, Bound) for each in entries):
        yield from _bound_violations(mirror, path, [each for each in entries if isinstance(each, Bound)])


def is_readable(path: str, policy: Policy) -> bool:
    """Tell whether some entry of `readable` holds a file."""
    return bool(_entries_for(path, policy.readable))


def _entries_for(path: str, readable: Sequence[str | Bound]) -> list[str | Bound]:
    """The innermost entries of `readable` that hold a file."""
    paths = [(each, each.path if isinstance(each, Bound) else each) for each in readable]
    found = [(len(os.path.realpath(place)), each) for each, place in paths if place and lies_in(path, place)]
    innermost = max((length for length, _each in found), default=0)
    return [each for length, each in found if length == innermost]


def _binding(readable: Sequence[str | Bound], credential: str) -> list[Bound]:
    return [each for each in readable if isinstance(each, Bound) and each.credential == credential]


def _bound_violations(mirror: Mirror, what: str, entries: Sequence[Bound]) -> Iterator[Violation]:
    """Why a password that is bound to hosts could get elsewhere; nothing where it is not bound."""
    if not entries:
        return
    hosts = sorted({host for each in entries for host in each.upstreams})
    if daemon_host(mirror.upstream) not in {plain_host(host) for host in hosts}:
        place = f"the rsync daemon on {' or '.join(hosts)}"
        yield (
            f"`password` names {what}, which is for {place} alone, and the upstream is `{shown(mirror.upstream)}`.",
            "Use that upstream, or ask the administrator of this machine to add its host to `upstreams` in `readable`.",
        )
    for key in could_divert(mirror):
        todo = f"Remove `{key}`, or ask the administrator of this machine for an entry of `readable` without hosts."
        yield f"`password` names {what}, which is for some hosts alone, and `{key}` could send it elsewhere.", todo


def could_divert(mirror: Mirror) -> list[str]:
    """The keys of a definition with which its password could reach another program or host than rsync's upstream."""
    keys = ("command", *(_IN_CONTAINER if mirror.docker_image else ()))
    found = [key for key in keys if getattr(mirror, key)]
    if "env" not in found and any(name.upper().startswith("RSYNC_") for name in mirror.env):
        found.append("env")
    if mirror.provider not in ("rsync", "two-stage-rsync"):
        found.append("provider")
    return found


def _credential_violations(name: str, own: str | None) -> Iterator[Violation]:
    # systemd gives the password NAME the name mirror_NAME.
    if own in (name, f"mirror_{name}"):
        todo = "Choose another name, and put the mirror's password there."
        yield f"`password` names the credential `{name}`, which is a secret of the worker itself.", todo


class PatternFiles:
    """Judges files of patterns for one policy; each folder is looked at once."""

    def __init__(self, policy: Policy, settings: RunnerSettings, private: Private) -> None:
        self._policy, self._settings, self._private = policy, settings, private

    def violations(self, key: str, path: str) -> Iterator[Violation]:
        """Why rsync may not read its rules from a file; `key` is what names it."""
        folders = [folder for folder in self._policy.pattern_files if path.startswith("/") and lies_in(path, folder)]
        if not folders:
            yield self._elsewhere(key, path)
            return
        for folder in folders:
            if why := self._why_not(folder):
                what = f"`{key}` names {path}, and no file of {folder} may be sent to an upstream: {why}."
                yield what, "Ask the administrator of this machine for a folder of its own in `pattern_files`."
                return
        if self._is_secret(path):
            yield f"`{key}` names {path}, which is a secret.", "Use a file with patterns alone."
        elif private_paths.is_other_than_file(path):
            yield f"`{key}` names {path}, which is not a regular file.", "Write the patterns into a file."

    def _is_secret(self, path: str) -> bool:
        real = os.path.realpath(path)
        return any(private_paths.is_within(real, each) for _path, each in self._private.secrets)

    def _elsewhere(self, key: str, path: str) -> Violation:
        folders = ", ".join(self._policy.pattern_files) or "no folder"
        real = os.path.realpath(path) if path.startswith("/") else path
        shown = path if real == path else f"{path}, which is really {real}"
        what = f"`{key}` names {shown}, but only files in {folders} may be sent to an upstream."
        if self._is_secret(path) or private_paths.is_secret(path, private_paths.SYSTEM):
            return what, "Use a file with patterns alone."
        if not self._policy.pattern_files:
            return what, "Ask the administrator of this machine to add a folder to `pattern_files` of the policy."
        place = os.path.join(self._policy.pattern_files[0], os.path.basename(path))
        then = f"write `{key}: {place}`" if key == "exclude_file" else f"name it so in `{key}`"
        return what, f"Move the file to {place} on the worker's machine, and {then}."

    def _why_not(self, folder: str) -> str:
        known = self._private.why
        if folder not in known:
            paths = self._private.paths
            known[folder] = private_paths.why_no_pattern_folder(folder, self._settings, self._policy, paths)
        return known[folder]
