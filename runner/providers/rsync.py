"""The rsync provider: sync with one rsync from the upstream into the mirror's directory."""

from collections.abc import Iterator

from runner.plugin_api import Command, Findings, Job
from runner.providers import deletion_guard, rsync_words
from schemas.mirror_record import Mirror

OPTIONS = frozenset({
    "upstream", "command", "env", "exclude_file", "username", "password", "use_ipv4", "use_ipv6",
    "success_exit_codes", "fail_on_match", "rsync_options", "rsync_options_extra", "rsync_override",
    "rsync_override_only", "rsync_timeout", "rsync_no_timeout", "rsync_success_exit_codes", "max_delete",
    "max_delete_floor", "max_delete_bytes", "trace",
})  # fmt: skip

UNREACHED = frozenset({10, 30, 35})
"""Exit codes, see rsync(1), for a connection that cannot be made or that transfers nothing any more."""

BUILT_IN = (
    "-aHvh", "--no-o", "--no-g", "--stats", "--filter", "risk .~tmp~/", "--exclude", ".~tmp~/",
    "--delete", "--delete-after", "--delay-updates", "--safe-links",
)  # fmt: skip
"""tunasync's built-in options, so that a site that moves from tunasync gets the same mirror."""

_SIZE = "Total file size"
_SKIPPED = "IO error encountered -- skipping file deletion"
_NOT_DELETED = "deletions were skipped: rsync could not read or write everything; see the log"
_DIGITS = 18  # more than any disk holds, and small enough for a report
_FIGURES = {
    "Total bytes received": "bytes",
    "Number of regular files transferred": "files",
    "Total transferred file size": "transferred",
    _SIZE: "size",
}

# See EXIT VALUES in rsync(1).
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
    """Yield one rsync that transfers and deletes, with the passes that the deletion guard needs."""
    deletion_guard.begin(job)
    yield from deletion_guard.guarded(job, invocation(job, _options(job.mirror)))


def argument_lists(mirror: Mirror, directory: str) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of every rsync that a run may start, for the machine's policy. Reads and starts nothing.

    All that `commands` adds to a pass must be included, except `rsync_words.fetching`, whose file list is ours.
    """
    yield from deletion_guard.argument_lists(rsync_words.arguments(mirror, directory, _options(mirror)))


def _options(mirror: Mirror) -> tuple[str, ...]:
    return (*begin(mirror), *connection(mirror), *exclusions(mirror), *own(mirror))


def invocation(job: Job, words: tuple[str, ...]) -> Command:
    """Return an rsync with these options. User name and password are passed in its environment.

    Every user of the machine can read command lines.
    """
    mirror = job.mirror
    env = dict(mirror.env)
    if mirror.username:
        # The name that rsync sends to a daemon, unless the address has one.
        env["USER"] = mirror.username
    if (password := job.password()) is not None:
        env["RSYNC_PASSWORD"] = password
    return rsync_words.command(job, words, env)


def begin(mirror: Mirror) -> tuple[str, ...]:
    """Return the built-in options, or those with which a definition replaces them.

    The rules that protect the trace hook's files come first, since the first matching rule of rsync applies. They are
    perishable (`p`), so that rsync can replace a folder of the trace by a file or a link of the upstream.
    """
    if mirror.rsync_override_only:
        return mirror.rsync_override
    kept = [f"--filter=protect,p /{path}" for path in rsync_words.traces(mirror)]
    return (*kept, *(mirror.rsync_override or BUILT_IN))


def connection(mirror: Mirror) -> tuple[str, ...]:
    """Return the options for time-out and address family."""
    if mirror.rsync_override_only:
        return ()
    timeout = () if mirror.rsync_no_timeout else (f"--timeout={mirror.rsync_timeout}",)
    family = ("-6",) if mirror.use_ipv6 else ("-4",) if mirror.use_ipv4 else ()
    return (*timeout, *family)


def exclusions(mirror: Mirror) -> tuple[str, ...]:
    """Return the option for the pattern file."""
    if mirror.rsync_override_only or mirror.exclude_file is None:
        return ()
    return ("--exclude-from", mirror.exclude_file)


def own(mirror: Mirror) -> tuple[str, ...]:
    """Return the options that a definition inherits and adds."""
    return () if mirror.rsync_override_only else (*mirror.rsync_options, *mirror.rsync_options_extra)


def is_success(job: Job, code: int) -> bool:
    """Return whether the code is 0 or one that the definition lists."""
    return code == 0 or code in (*job.mirror.success_exit_codes, *job.mirror.rsync_success_exit_codes)


def explain(code: int) -> str:
    """Return the exit code with its meaning according to rsync(1)."""
    if code < 0:
        return f"rsync was ended by signal {-code}"
    return f"rsync exited with {code}: {_MEANINGS.get(code, 'a code that its manual does not list')}"


def reader(_job: Job) -> "StatsReader":
    """Return the object that reads the lines of `--stats`."""
    return StatsReader()


class StatsReader:
    """Reads the figures that each rsync of an attempt prints at its end: traffic is added up, the last size counts."""

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
        """Return the figures, without those that a definition's options made human-readable and therefore inexact."""
        figures = self._figures
        found = Findings(figures.get("bytes"), figures.get("files"), figures.get("size"), self._remark, by_name=True)
        return found._replace(transferred=figures.get("transferred"))
