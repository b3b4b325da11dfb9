"""The machine's policy: whoever can merge to the config repository decides what runs here, within these limits.

Pure checks of a definition against the policy and the machine's roots; `follow` quarantines what they forbid.
"""

import fnmatch
import re
import shlex
from collections.abc import Iterator, Sequence

from runner import container_policy
from runner.paths import Paths, lies_below, lies_in
from schemas.records import Mirror, Policy, RunnerSettings

Violation = tuple[str, str]
"""What is forbidden, and what to do."""

_ASK = "Ask whoever keeps this machine's policy, or leave it out."

_WITH_ARGUMENT = frozenset({
    "--info", "--debug", "--backup-dir", "--suffix", "--chmod", "--usermap", "--groupmap", "--chown",
    "--block-size", "--checksum-choice", "--cc", "--rsh", "--rsync-path", "--max-delete", "--max-size",
    "--min-size", "--max-alloc", "--partial-dir", "--timeout", "--contimeout", "--modify-window", "--temp-dir",
    "--compare-dest", "--copy-dest", "--link-dest", "--compress-choice", "--zc", "--compress-level", "--zl",
    "--skip-compress", "--filter", "--exclude", "--exclude-from", "--include", "--include-from", "--files-from",
    "--copy-as", "--address", "--port", "--sockopts", "--outbuf", "--remote-option", "--out-format",
    "--log-format", "--log-file", "--log-file-format", "--password-file", "--early-input", "--bwlimit",
    "--stop-after", "--stop-at", "--time-limit", "--write-batch", "--only-write-batch", "--read-batch",
    "--protocol", "--iconv", "--checksum-seed", "--config", "--dparam",
})  # fmt: skip
_LETTERS_WITH_ARGUMENT = "BefMT@"
"""Options of rsync(1) that take the next word as their argument; any other word would be a source or a target."""

_MERGE = re.compile(r"(merge|dir-merge|[.:])[,\s/_+-]?")
"""Filter rules that read further rules from a file."""


def violations(mirror: Mirror, paths: Paths, settings: RunnerSettings, policy: Policy) -> Iterator[Violation]:
    """Everything about a definition that this machine does not allow."""
    yield from _places(paths, settings, policy)
    if mirror.provider not in policy.providers:
        yield f"The provider `{mirror.provider}` is not allowed on this machine.", _ASK
    yield from _programs(mirror, policy)
    yield from _files(mirror, policy)
    yield from _environment(mirror, policy)
    for key in ("rsync_options", "rsync_options_extra", "rsync_override"):
        yield from _rsync_words(key, getattr(mirror, key), policy)
    yield from container_policy.violations(mirror, paths, policy)


def _places(paths: Paths, settings: RunnerSettings, policy: Policy) -> Iterator[Violation]:
    if not lies_below(paths.directory, paths.root):
        what = f"The directory {paths.directory} does not lie below this worker's `mirror_root` {paths.root}."
        yield what, f"Choose another `mirror_dir`, or leave it out. {_ASK}"
    yield from _swallowed(paths, settings)
    if not any(lies_below(paths.log_dir, root) for root in (settings.log_dir, *policy.log_roots)):
        what = f"The folder {paths.log_dir} does not lie below this worker's `log_dir` {settings.log_dir}."
        yield what, f"Choose another `log_dir`, or leave it out. {_ASK}"
    if not lies_below(paths.snapshot, settings.snapshot_root):
        what = (
            f"The snapshot {paths.snapshot} does not lie below this worker's `snapshot_root` {settings.snapshot_root}."
        )
        yield what, "Choose another `snapshot_path`, or leave it out."


def _swallowed(paths: Paths, settings: RunnerSettings) -> Iterator[Violation]:
    """What is the machine's own and lies in a mirror's directory: a sync would delete it as strange to the upstream."""
    own = {key: getattr(settings, key) for key in ("state_dir", "run_dir", "log_dir", "snapshot_root")}
    found = [f"this machine's `{key}` {folder}" for key, folder in own.items() if lies_in(folder, paths.directory)]
    if not found and lies_in(paths.log_dir, paths.directory):
        found.append(f"its own logs {paths.log_dir}")
    for what in found:
        todo = "Choose another `mirror_dir` or name, or let the machine's settings have another folder."
        yield f"In the directory {paths.directory} would be {what}, which a sync would delete.", todo


def _programs(mirror: Mirror, policy: Policy) -> Iterator[Violation]:
    if policy.programs is None:
        return
    # What runs in a container is none of the machine's programs; which images may be run is asked elsewhere.
    lines = {"command": (mirror.command,) if mirror.command and not mirror.docker_image else ()}
    for key in ("exec_on_success", "exec_on_failure", "exec_on_success_extra", "exec_on_failure_extra"):
        lines[key] = getattr(mirror, key)
    for key, commands in lines.items():
        for command in commands:
            program = shlex.split(command)[0]
            if not any(_covers(allowed, program) for allowed in policy.programs):
                yield f"`{key}` runs `{program}`, which this machine does not allow.", _ASK


def _covers(allowed: str, program: str) -> bool:
    if allowed.endswith("/"):
        return program.startswith("/") and lies_in(program, allowed)
    return program == allowed


def _files(mirror: Mirror, policy: Policy) -> Iterator[Violation]:
    named = {"exclude_file": mirror.exclude_file, "password": mirror.password.file if mirror.password else None}
    for key, path in named.items():
        if path is not None and not any(lies_in(path, folder) for folder in policy.readable):
            folders = ", ".join(policy.readable)
            yield f"`{key}` names {path}, but only files in {folders} may be read.", f"Put the file there. {_ASK}"


def _environment(mirror: Mirror, policy: Policy) -> Iterator[Violation]:
    for name in mirror.env:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in policy.forbidden_env):
            yield f"`env` sets {name}, which this machine does not allow.", _ASK


def _rsync_words(key: str, words: Sequence[str], policy: Policy) -> Iterator[Violation]:
    rest = iter(words)
    for word in rest:
        for option, value in _options(word, rest):
            if option is None:
                todo = "Write options alone; source and target are added by themselves."
                yield f"`{key}` holds `{word}`, which rsync would take for a source or a target.", todo
            elif option in policy.forbidden_rsync_options:
                yield f"`{key}` holds `{option}`, which this machine does not allow.", _ASK
            elif option in ("-f", "--filter") and _MERGE.match(value.strip()):
                yield f"`{key}` has a filter rule that reads a file: `{value}`.", "Write the rules themselves."


def _options(word: str, rest: Iterator[str]) -> Iterator[tuple[str | None, str]]:
    """The options in one word with their arguments, taking the next word where one needs it; None for no option."""
    if not word.startswith("-") or word in ("-", "--"):
        yield None, word
    elif word.startswith("--"):
        option, equals, value = word.partition("=")
        yield option, value if equals or option not in _WITH_ARGUMENT else next(rest, "")
    else:
        for number, letter in enumerate(word[1:], 2):
            if letter in _LETTERS_WITH_ARGUMENT:
                yield f"-{letter}", word[number:].removeprefix("=") or next(rest, "")
                return
            yield f"-{letter}", ""
