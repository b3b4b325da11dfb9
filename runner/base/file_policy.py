"""Which password and pattern files does the machine's policy let a definition name?

rsync sends the rules of a pattern file to the upstream, and a container can send everything that it sees. So none of
these files may be a secret, or lie where one could be. A password below an entry with `upstreams` goes only to the
rsync daemons on these hosts. One below a plain entry may be named by any definition, with any upstream.
"""

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from runner.base import file_view, private_paths
from runner.base.file_view import FileView
from runner.base.mirror_paths import is_within
from runner.base.private_paths import Private
from schemas.config.upstreams import daemon_host, plain_host
from schemas.mirror_record import RSYNC_PROVIDERS
from schemas.problems import shown
from schemas.records import Bound, Mirror, Policy, RunnerSettings

Violation = tuple[str, str]
"""What the policy denies, and what to do."""

_IN_CONTAINER = ("env", "docker_volumes", "docker_options")
"""Keys that could put another program, resolver or proxy into the container that runs rsync."""


class Passwords(NamedTuple):
    """The machine's rules for passwords: the policy's `readable` with real paths, the worker's own secret files, and
    the credential with its token."""

    readable: tuple[str | Bound, ...]
    secrets: tuple[str, ...]
    own: str | None


def passwords(policy: Policy, settings: RunnerSettings, files: FileView = file_view.MACHINE) -> Passwords:
    """Return the rules for passwords of a machine with these settings."""
    token = settings.manager.token if settings.manager else None
    readable = tuple([_with_real_path(each, files) for each in policy.readable])
    return Passwords(readable, private_paths.secrets(settings, (), files), token.credential if token else None)


def _with_real_path(entry: str | Bound, files: FileView) -> str | Bound:
    if isinstance(entry, str):
        return files.trusted(entry)
    return entry._replace(path=files.trusted(entry.path)) if entry.path else entry


def password_violations(mirror: Mirror, known: Passwords, files: FileView = file_view.MACHINE) -> Iterator[Violation]:
    """Yield why the policy denies a mirror's password file, or denies the upstream the password."""
    if mirror.password is None:
        return
    path = mirror.password.file
    if path is None:
        name = str(mirror.password.credential)
        yield from _credential_violations(name, known.own)
        yield from _bound_violations(mirror, f"the credential `{name}`", _binding(known.readable, name))
        return
    entries = _entries_for(path, known.readable, files)
    if not entries:
        paths = [each.path if isinstance(each, Bound) else each for each in known.readable]
        folders = ", ".join(filter(None, paths))
        allowed = f"only files in {folders}" if folders else "no file"
        todo = "Ask the administrator of this machine to add its folder to `readable`, or move it into a listed one."
        yield f"`password` names {path}, but {allowed} may be read.", todo
    elif private_paths.is_secret(path, known.secrets, files):
        yield f"`password` names {path}, which is a secret of the worker itself.", "Use a separate file for the mirror."
    elif files.is_other_than_file(path):
        yield f"`password` names {path}, which is not a regular file.", "Write the password into a file."
    else:
        for what, todo in files.faults(path, None):
            yield f"`password` names {path}, which {what}.", todo
        if all(isinstance(each, Bound) for each in entries):
            yield from _bound_violations(mirror, path, [each for each in entries if isinstance(each, Bound)])


def password_file_violations(
    key: str, path: str, known: Passwords, files: FileView = file_view.MACHINE
) -> Iterator[Violation]:
    """Yield why the policy denies a file of rsync's own option `--password-file`, which `key` names.

    The command line can reach any host, so a password that is limited to some is denied.
    """
    entries = _entries_for(path, known.readable, files) if path.startswith("/") else []
    if not entries:
        todo = "Ask the administrator of this machine to add its folder to `readable`, or use `password`."
        yield f"`{key}` reads a password from {path}, which `readable` of the policy does not list.", todo
    elif private_paths.is_secret(path, known.secrets, files):
        yield f"`{key}` reads {path}, which is a secret of the worker itself.", "Use a separate file."
    elif all(isinstance(each, Bound) for each in entries):
        todo = f"Write `password: {{file: {path}}}` instead."
        yield f"`{key}` reads a password from {path}, which is only for some hosts.", todo
    elif files.is_other_than_file(path):
        yield f"`{key}` names {path}, which is not a regular file.", "Write the password into a file."
    else:
        for what, todo in files.faults(path, None):
            yield f"`{key}` names {path}, which {what}.", todo


def is_readable(path: str, policy: Policy, files: FileView = file_view.MACHINE) -> bool:
    """Return whether an entry of `readable` covers a file."""
    return bool(_entries_for(path, [_with_real_path(each, files) for each in policy.readable], files))


def may_read_its_password(mirror: Mirror, policy: Policy, files: FileView = file_view.MACHINE) -> bool:
    """Return whether a definition names a password file that the policy lets it read."""
    file = mirror.password.file if mirror.password else None
    return file is not None and is_readable(file, policy, files)


def _entries_for(path: str, readable: Sequence[str | Bound], files: FileView) -> list[str | Bound]:
    """Return the innermost entries of `readable`, which have real paths, that cover a file."""
    real = files.real(path)
    paths = [(each, each.path if isinstance(each, Bound) else each) for each in readable]
    found = [(len(place), each) for each, place in paths if place and is_within(real, place)]
    innermost = max((length for length, _each in found), default=0)
    return [each for length, each in found if length == innermost]


def _binding(readable: Sequence[str | Bound], credential: str) -> list[Bound]:
    return [each for each in readable if isinstance(each, Bound) and each.credential == credential]


def _bound_violations(mirror: Mirror, what: str, entries: Sequence[Bound]) -> Iterator[Violation]:
    """Yield why a password that is limited to hosts could reach another one; nothing if it has no limit."""
    if not entries:
        return
    hosts = sorted({host for each in entries for host in each.upstreams})
    if daemon_host(mirror.upstream) not in {plain_host(host) for host in hosts}:
        place = f"the rsync daemon on {' or '.join(hosts)}"
        yield (
            f"`password` names {what}, which is only for {place}, but the upstream is `{shown(mirror.upstream)}`.",
            "Use that upstream, or ask the administrator of this machine to add its host to `upstreams` in `readable`.",
        )
    for key in could_divert(mirror):
        todo = f"Remove `{key}`, or ask the administrator of this machine for an entry of `readable` without hosts."
        yield f"`password` names {what}, which is only for some hosts, and `{key}` could send it elsewhere.", todo


def could_divert(mirror: Mirror) -> list[str]:
    """Return the keys of a definition that could send its password to another program or host than the upstream."""
    keys = ("command", *(_IN_CONTAINER if mirror.docker_image else ()))
    found = [key for key in keys if getattr(mirror, key)]
    # RSYNC_CONNECT_PROG and RSYNC_PROXY decide which program or host rsync sends the password to.
    if "env" not in found and any(name.upper().startswith("RSYNC_") for name in mirror.env):
        found.append("env")
    if mirror.provider not in RSYNC_PROVIDERS:
        found.append("provider")
    return found


def _credential_violations(name: str, own: str | None) -> Iterator[Violation]:
    # systemd gives the password NAME the name mirror_NAME.
    if own in (name, f"mirror_{name}"):
        todo = "Choose another name for the mirror's password."
        yield f"`password` names the credential `{name}`, which is a secret of the worker itself.", todo


class PatternFiles:
    """Checks pattern files against one policy, each folder once."""

    def __init__(self, policy: Policy, settings: RunnerSettings, private: Private) -> None:
        self._policy, self._settings, self._private, self._files = policy, settings, private, private.files

    def violations(self, key: str, path: str, modifiers: str | None = None) -> Iterator[Violation]:
        """Yield why the policy denies a pattern file that `key` names.

        `modifiers` are those of the filter rule that merges it, None for a plain list of patterns.
        """
        place, real = self._files.real(path), self._private.real
        folders = [each for each in self._policy.pattern_files if path.startswith("/") and is_within(place, real(each))]
        if not folders:
            yield self._elsewhere(key, path)
            return
        for folder in folders:
            if why := self._why_not(folder):
                what = f"`{key}` names {path}, but files in {folder} may not be sent to an upstream: {why}."
                yield what, "Ask the administrator of this machine for a separate folder in `pattern_files`."
                return
        if self._files.is_other_than_file(path):
            yield f"`{key}` names {path}, which is not a regular file.", "Write the patterns into a file."
        else:
            for what, todo in self._files.faults(path, modifiers):
                yield f"`{key}` names {path}, which {what}.", todo

    def _is_secret(self, path: str) -> bool:
        real = self._files.real(path)
        return any(is_within(real, each) for _path, each in self._private.secrets)

    def _elsewhere(self, key: str, path: str) -> Violation:
        folders = ", ".join(self._policy.pattern_files)
        real = self._files.real(path) if path.startswith("/") else path
        shown = path if real == path else f"{path}, which resolves to {real}"
        allowed = f"only files in {folders}" if folders else "no file"
        what = f"`{key}` names {shown}, but {allowed} may be sent to an upstream."
        if self._is_secret(path) or private_paths.is_secret(path, private_paths.SYSTEM, self._files):
            return what, "Use a file that holds only patterns."
        if not self._policy.pattern_files:
            return what, "Ask the administrator of this machine to add a folder to `pattern_files` of the policy."
        place = os.path.join(self._policy.pattern_files[0], os.path.basename(path))
        then = f"write `{key}: {place}`" if key == "exclude_file" else f"use that path in `{key}`"
        return what, f"Move the file to {place} on the worker's machine, and {then}."

    def _why_not(self, folder: str) -> str:
        known = self._private.why
        if folder not in known:
            real = self._private.real(folder)
            known[folder] = private_paths.why_no_pattern_folder(real, self._settings, self._policy, self._private)
        return known[folder]
