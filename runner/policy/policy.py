"""Check a definition against the machine's policy and roots; `follow` quarantines a definition that they deny.

The config repository decides what runs on this machine. The policy limits that, whatever is merged.
"""

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from runner.base import file_policy, file_view, private_paths, program_list
from runner.base.file_policy import Violation
from runner.base.file_view import FileView
from runner.base.mirror_paths import Paths, is_below, is_within
from runner.base.private_paths import Private
from runner.base.repository_patterns import without_repository_patterns
from runner.containers import container_policy
from runner.policy import env_policy, rsync_policy
from runner.policy.rsync_policy import FileJudges
from runner.providers import PROVIDERS
from runner.subprocesses import spawn
from schemas.config import system_folders
from schemas.config.upstreams import is_remote
from schemas.mirror_record import RSYNC_PROVIDERS
from schemas.problems import shown
from schemas.records import Mirror, Policy, RunnerSettings
from schemas.rsync import rsync_hosts

_ASK = "Ask the administrator of this machine to allow it in the policy, or remove it."


SSH = "/usr/bin/ssh"
"""The entry of `programs` that lets rsync start ssh, also one at another path."""

EXEC_KEYS = ("exec_on_success", "exec_on_failure", "exec_on_success_extra", "exec_on_failure_extra")


def violations(
    mirror: Mirror, paths: Paths, settings: RunnerSettings, policy: Policy, private: Private | None = None
) -> Iterator[Violation]:
    """Yield all violations of a definition.

    `private` are the private paths of all definitions of the worker; by default, of this one only. Its `files` say what
    is known of links and files.
    """
    private = private or private_paths.private(settings, [mirror])
    view = private.files
    mirror = without_repository_patterns(mirror)
    yield from _folders(paths, settings, policy, private)
    if mirror.provider not in policy.providers:
        yield f"The provider `{mirror.provider}` is not allowed on this machine.", _ASK
    for name in denied_hooks(mirror, policy):
        yield f"The hook `{name}` is not allowed on this machine.", _ASK
    files = file_policy.PatternFiles(policy, settings, private)
    known = file_policy.passwords(policy, settings, view)
    of_password = partial(file_policy.password_file_violations, known=known, files=view)
    judges = FileJudges(files.violations, of_password, view)
    yield from _programs(mirror, paths, policy, judges)
    yield from file_policy.password_violations(mirror, known, view)
    yield from env_policy.violations(mirror, policy)
    if gets_facts(mirror):
        yield from env_policy.fact_violations(mirror, policy)
    yield from rsync_policy.violations(mirror, paths.directory, policy, judges)
    if mirror.exclude_file and _only_shows_exclude_file(mirror):
        yield from files.violations("exclude_file", mirror.exclude_file)
    yield from _upstream(mirror, paths, policy, view)
    own = (*private.paths, settings.state_dir, settings.run_dir) if mirror.docker_volumes else ()
    yield from container_policy.violations(mirror, paths, policy, own, view)


def _only_shows_exclude_file(mirror: Mirror) -> bool:
    """Return whether a container sees the mirror's pattern file although no rsync of the provider reads it.

    The key may be inherited from a file for many mirrors.
    """
    is_unread = mirror.provider == "command" or (mirror.provider in RSYNC_PROVIDERS and mirror.rsync_override_only)
    return bool(mirror.docker_image) and is_unread


def _folders(paths: Paths, settings: RunnerSettings, policy: Policy, private: Private) -> Iterator[Violation]:
    real, now = private.real, private.files.real
    directory, log_dir = now(paths.directory), now(paths.log_dir)
    if not system_folders.is_place_for_mirror(directory):
        yield f"{_shown(paths.directory, directory)} is, or is in, a folder of the system.", "Choose another directory."
    elif paths.root == settings.mirror_root and not system_folders.is_mirror_root(real(paths.root)):
        what = f"This worker's `mirror_root` {_shown(paths.root, real(paths.root))} is a folder of the system."
        yield what, "Set `mirror_root` in the machine's settings to a folder for data only."
    if not is_below(directory, real(paths.root)):
        what = f"The directory {paths.directory} does not lie below this worker's `mirror_root` {paths.root}."
        yield what, f"Choose another `mirror_dir`, or leave it out. {_ASK}"
    yield from _swallowed(paths, directory, log_dir, private)
    if not any(is_below(log_dir, real(root)) for root in (settings.log_dir, *policy.log_roots)):
        what = f"The folder {paths.log_dir} does not lie below this worker's `log_dir` {settings.log_dir}."
        yield what, f"Choose another `log_dir`, or leave it out. {_ASK}"
    snapshot = now(paths.snapshot)
    if not is_below(snapshot, real(settings.snapshot_root)):
        what = (
            f"The snapshot {paths.snapshot} does not lie below this worker's `snapshot_root` {settings.snapshot_root}."
        )
        yield what, "Choose another `snapshot_path`, or leave it out."
    # An upstream must not be able to write the worker's own files, such as its checkout or its home.
    for path, place in ((paths.directory, directory), (paths.log_dir, log_dir), (paths.snapshot, snapshot)):
        if private.is_own(place):
            yield f"{path} is inside a folder of the worker itself.", "Choose another directory or name."


def _shown(path: str, real: str) -> str:
    return path if real == path else f"{path}, which is really {real},"


def _swallowed(paths: Paths, directory: str, log_dir: str, private: Private) -> Iterator[Violation]:
    """Yield folders and files of the machine inside a mirror's directory, which a sync would delete."""
    own = private.folders
    found = [f"this machine's `{key}` {folder}" for key, folder, real in own if is_within(real, directory)]
    if not found and is_within(log_dir, directory):
        found.append(f"its own logs {paths.log_dir}")
    found += [f"this machine's {path}" for path, holder in private.holders if is_within(holder, directory)]
    for what in found:
        todo = "Choose another `mirror_dir` or name, or set another folder in the machine's settings."
        yield f"The directory {paths.directory} would contain {what}, which a sync would delete.", todo


def _programs(mirror: Mirror, paths: Paths, policy: Policy, judges: FileJudges) -> Iterator[Violation]:
    if policy.programs is None:
        return
    for key, words in program_lines(mirror):
        if not is_covered(words[0], policy, judges.view):
            todo = (
                _ASK
                if words[0].startswith("/")
                else "Write the program's absolute path: the policy lists paths, not names."
            )
            yield f"`{key}` runs `{shown(words[0])}`, which this machine does not allow.", todo
        elif spawn.is_rsync(words, judges.view.real):
            ssh = allows_ssh(policy, judges.view)
            yield from rsync_policy.line_violations(key, words[1:], paths.directory, policy, judges, ssh=ssh)


def denied_hooks(mirror: Mirror, policy: Policy) -> list[str]:
    """Return the hook plug-ins of a mirror that a policy does not allow."""
    return [name for name in mirror.plugins if name != mirror.provider and name not in policy.hooks]


def program_lines(mirror: Mirror) -> Iterator[tuple[str, list[str]]]:
    """Yield the command lines of a definition that start programs of the machine: the key and the words."""
    # A command in a container is not a program of the machine; `container_policy` checks the image.
    if mirror.command and not mirror.docker_image:
        # The rsync providers use the whole text as the name of a program.
        yield "command", [mirror.command] if mirror.provider in RSYNC_PROVIDERS else shlex.split(mirror.command)
    for key in EXEC_KEYS:
        yield from ((key, shlex.split(line)) for line in getattr(mirror, key))


def gets_facts(mirror: Mirror) -> bool:
    """Return whether programs of the machine get the facts of a definition as variables."""
    return mirror.provider not in PROVIDERS or next(program_lines(mirror), None) is not None


def is_covered(program: str, policy: Policy, files: FileView = file_view.MACHINE) -> bool:
    """Return whether a policy allows a program."""
    return program_list.allows(policy.programs, program, files.real)


def _upstream(mirror: Mirror, paths: Paths, policy: Policy, files: FileView) -> Iterator[Violation]:
    """Yield why an upstream's address would let rsync read a path of the machine or start a denied program."""
    found = _transports(mirror, paths)
    # rsync would read an address that begins with a dash as an option.
    if rsync_hosts.LOCAL in found or (found and mirror.upstream.startswith("-")):
        what = f"The upstream `{shown(mirror.upstream)}` is not an address for rsync."
        yield what, "Write for example `upstream: rsync://rsync.example.org/debian/`."
    elif starts_ssh(mirror, paths) and not allows_ssh(policy, files):
        what = f"For the upstream `{shown(mirror.upstream)}`, rsync starts `ssh`, which this machine does not allow."
        todo = f"ask the administrator to add `{SSH}` to `programs` of the policy."
        yield what, f"Write the address of an rsync daemon, or {todo}"


def starts_ssh(mirror: Mirror, paths: Paths) -> bool:
    """Return whether rsync starts ssh on this machine to reach the upstream, for a sync or for the freshness check."""
    on_machine = not mirror.docker_image or _is_probed(mirror)
    return on_machine and rsync_hosts.SHELL in _transports(mirror, paths)


def _transports(mirror: Mirror, paths: Paths) -> set[str]:
    found = rsync_policy.transports(mirror, paths.directory)
    if _is_probed(mirror):  # the timestamp is fetched on the machine itself
        found |= {rsync_hosts.transport(mirror.upstream)}
    return found


def _is_probed(mirror: Mirror) -> bool:
    return mirror.freshness is not None and is_remote(mirror.upstream)


def allows_ssh(policy: Policy, files: FileView = file_view.MACHINE) -> bool:
    """Return whether a policy allows the ssh that rsync starts."""
    return any(is_covered(each, policy, files) for each in (*_found_ssh(files), SSH))


def _found_ssh(files: FileView) -> Iterator[str]:
    """Yield the path of ssh on this machine; nothing if it is not installed yet, or another machine is judged."""
    if files.is_here:
        with suppress(spawn.CannotStart):
            yield spawn.find_program("ssh", os.environ.get("PATH", os.defpath))
