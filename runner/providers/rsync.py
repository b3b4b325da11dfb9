"""The rsync provider: one rsync from an upstream into the mirror's directory."""

import os
from collections.abc import Iterator

from runner.base.mirror_paths import lies_in
from runner.plugin_api import Abort, Command, Findings, Job
from runner.providers import deletion_guard, rsync_words
from schemas.mirror_record import Mirror
from schemas.regular_files import require_regular
from schemas.states import FAILED, REFUSED

OPTIONS = frozenset({
    "upstream", "command", "env", "exclude_file", "username", "password", "use_ipv4", "use_ipv6",
    "success_exit_codes", "fail_on_match", "rsync_options", "rsync_options_extra", "rsync_override",
    "rsync_override_only", "rsync_timeout", "rsync_no_timeout", "rsync_success_exit_codes", "max_delete",
    "max_delete_floor", "max_delete_bytes", "trace",
})  # fmt: skip

UNREACHED = frozenset({10, 30, 35})
"""Exit codes after rsync(1) when a connection cannot be made or nothing comes through it any more."""

BUILT_IN = (
    "-aHvh", "--no-o", "--no-g", "--stats", "--filter", "risk .~tmp~/", "--exclude", ".~tmp~/",
    "--delete", "--delete-after", "--delay-updates", "--safe-links",
)  # fmt: skip
"""tunasync's built-in options, so that a site that moves gets the same mirror."""

_SIZE = "Total file size"
_SKIPPED = "IO error encountered -- skipping file deletion"
_NOT_DELETED = "deletions were skipped: rsync could not read or write everything; see the log"
_DIGITS = 18  # more than any disk holds, and still a number that every reader of a report can take
_FIGURES = {
    "Total bytes received": "bytes",
    "Number of regular files transferred": "files",
    "Total transferred file size": "transferred",
    _SIZE: "size",
}

# Meanings after the section EXIT VALUES of rsync(1).
_MEANINGS = {
    1: "syntax or usage error",
    2: "protocol incompatibility",
    3: "errors selecting input or output files or directories",
    4: "requested action not supported",
    5: "error starting the client-server protocol",
    6: "the daemon could not append to its log file",
    10: "error in socket I/O; the upstream may be down",
    11: "error in file I/O; the disk may be full",
    12: "error in the rsync protocol data stream; the connection broke",
    13: "errors with program diagnostics",
    14: "error in inter-process communication",
    20: "received a signal",
    21: "waitpid() failed",
    22: "error allocating memory",
    23: "partial transfer because of an error",
    24: "partial transfer because source files vanished",
    25: "the --max-delete limit stopped deletions",
    30: "time-out in sending or receiving data",
    35: "time-out waiting for the daemon's connection",
}


def commands(job: Job) -> Iterator[Command]:
    """One rsync that transfers and deletes, below the deletion guard."""
    deletion_guard.begin(job)
    check(job)
    yield from deletion_guard.guarded(job, invocation(job, _options(job.mirror)))


def argument_lists(mirror: Mirror, directory: str) -> Iterator[tuple[str, ...]]:
    """The arguments of every rsync that a run may start, which the machine's policy judges. Reads and starts nothing.

    Whatever `commands` adds to a pass must be in here as well, but for `rsync_words.fetching`, whose list is our own.
    """
    yield from deletion_guard.argument_lists(rsync_words.arguments(mirror, directory, _options(mirror)))


def _options(mirror: Mirror) -> tuple[str, ...]:
    return (*begin(mirror), *connection(mirror), *exclusions(mirror), *own(mirror))


def check(job: Job) -> None:
    """Check that rsync can read the files of patterns, that reading them cannot hang, and that links lead none of them
    out of the folders that may be sent to an upstream; raises Abort."""
    folders = job.machine.pattern_files
    for name, path in _pattern_files(job):
        if folders is not None and not any(lies_in(path, folder) for folder in folders):
            what = f"the `{name}` {path} is really {os.path.realpath(path)}, outside of the policy's `pattern_files`"
            raise Abort(REFUSED, f"{what}; rsync would send it to the upstream, so move it back")
        try:
            require_regular(path)
        except OSError as error:
            why = error.strerror
            raise Abort(
                FAILED, f"the `{name}` {path} cannot be read: {why}; create it, readable for the worker's user"
            ) from error


def _pattern_files(job: Job) -> Iterator[tuple[str, str]]:
    """The files whose rules rsync will send, each with the key or the option that names it."""
    mirror = job.mirror
    if mirror.exclude_file is not None and not mirror.rsync_override_only:
        yield "exclude_file", mirror.exclude_file
    if words := (*mirror.rsync_override, *own(mirror)):
        from schemas.rsync import rsync_filters, rsync_options  # most mirrors have no options of their own

        for option in rsync_options.read(words).options:
            if path := rsync_filters.sent_file(option.name, option.value):
                yield option.name, os.path.join(job.directory, path)


def invocation(job: Job, words: tuple[str, ...]) -> Command:
    """An rsync with these options; user name and password go through its environment, never its command line."""
    mirror = job.mirror
    env = dict(mirror.env)
    if mirror.username:
        env["USER"] = mirror.username
    if (password := job.password()) is not None:
        env["RSYNC_PASSWORD"] = password
    return rsync_words.command(job, words, env)


def begin(mirror: Mirror) -> tuple[str, ...]:
    """The built-in options or those that a definition has in their place.

    The rules that keep the trace hook's files stand before all others: of rsync's filter rules the first one wins. They
    are perishable (`p`), so that a folder of the trace makes way where the upstream has a file or a link in its place.
    """
    if mirror.rsync_override_only:
        return mirror.rsync_override
    kept = [f"--filter=protect,p /{path}" for path in rsync_words.traces(mirror)]
    return (*kept, *(mirror.rsync_override or BUILT_IN))


def connection(mirror: Mirror) -> tuple[str, ...]:
    """Time-out and address family."""
    if mirror.rsync_override_only:
        return ()
    timeout = () if mirror.rsync_no_timeout else (f"--timeout={mirror.rsync_timeout}",)
    family = ("-6",) if mirror.use_ipv6 else ("-4",) if mirror.use_ipv4 else ()
    return (*timeout, *family)


def exclusions(mirror: Mirror) -> tuple[str, ...]:
    """The file of patterns."""
    if mirror.rsync_override_only or mirror.exclude_file is None:
        return ()
    return ("--exclude-from", mirror.exclude_file)


def own(mirror: Mirror) -> tuple[str, ...]:
    """The options that a definition inherits and adds."""
    return () if mirror.rsync_override_only else (*mirror.rsync_options, *mirror.rsync_options_extra)


def is_success(job: Job, code: int) -> bool:
    """0, or one of the codes that the definition lists."""
    return code == 0 or code in (*job.mirror.success_exit_codes, *job.mirror.rsync_success_exit_codes)


def explain(code: int) -> str:
    """The code with its meaning as rsync(1) has it."""
    if code < 0:
        return f"rsync was ended by signal {-code}"
    return f"rsync exited with {code}: {_MEANINGS.get(code, 'a code that its manual does not know')}"


def reader(_job: Job) -> "StatsReader":
    """What reads the lines of `--stats`."""
    return StatsReader()


class StatsReader:
    """Takes the figures that each rsync of an attempt prints at its end: traffic adds up, the last size counts."""

    def __init__(self) -> None:
        self._figures: dict[str, int] = {}
        self._remark = ""

    def line(self, text: str) -> None:
        """Take the next line of the log."""
        if text.startswith(_SKIPPED):
            self._remark = _NOT_DELETED
        label, _colon, rest = text.partition(":")
        if label in _FIGURES and rest.strip():
            number = rest.split()[0].replace(",", "")
            if number.isascii() and number.isdigit() and len(number) <= _DIGITS:
                before = 0 if label == _SIZE else self._figures.get(_FIGURES[label], 0)
                self._figures[_FIGURES[label]] = before + int(number)

    def findings(self) -> Findings:
        """The figures; sizes that a user's own options made human-readable are not guessed at."""
        told = self._figures
        found = Findings(told.get("bytes"), told.get("files"), told.get("size"), self._remark, by_name=True)
        return found._replace(transferred=told.get("transferred"))
