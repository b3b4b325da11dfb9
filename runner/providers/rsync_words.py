"""Build rsync's command lines from options, and remove options from them.

Only Skipjack sets the options for rsync's output (`schemas/rsync/rsync_output.py`), since it reads the figures, the
progress and the names of files to delete from it. Its options come last, where they override all others.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence

from runner.plugin_api import Command, Job
from schemas.mirror_record import Mirror
from schemas.rsync import rsync_options, rsync_output

OUTPUT = ("-v", "--no-motd", "--stats", "--no-h", "--info=progress2,flist0", "--out-format=%i %n%L")
"""The output of every rsync: sizes in bytes, progress, and a line for each change, which never begins with a name.

An upstream could give a file the name of any message, or put one into its message of the day. Of these options only
`-v` is sent to the upstream, where an old or another program may not know `--info`.
"""

USAGE = 1
"""rsync's exit code for unknown options, see rsync(1)."""

TRACES = ("project/", "project/trace/", "project/trace/{host}", "Archive-Update-in-Progress-{host}")
"""Files and folders that the trace hook creates in a mirror, and that the upstream may not have."""

_DELETING = frozenset({
    "--delete", "--delete-before", "--delete-during", "--delete-delay", "--delete-after", "--delete-excluded",
    "--delete-missing-args", "--force",
})  # fmt: skip
_LISTS = ("rsync_override", "rsync_options", "rsync_options_extra")
_RULES = ("--filter", "--include", "--exclude", "--include-from", "--exclude-from", "-F", "--cvs-exclude")
_NOT_DOING = frozenset({"--dry-run", "--list-only"})
_BACKUPS = frozenset({"--backup", "--backup-dir"})
_SECOND_STAGE = _DELETING | {"--delay-updates", "--ignore-errors"}
_DAEMON = r"(rsync://[^/]+/[^/]+|[^/:]+::[^/]+)/(.*)"
_EVERY_CODE = frozenset(range(-64, 256))  # signals are negative


def arguments(mirror: Mirror, directory: str, words: Sequence[str]) -> tuple[str, ...]:
    """Return the arguments of an rsync from the upstream into a directory, with these options and our own."""
    cleaned = _without(rsync_output.without_output(words), {"--max-delete"})
    return (*cleaned, *OUTPUT, mirror.upstream, directory + "/")


def command(job: Job, words: Sequence[str], env: dict[str, str]) -> Command:
    """Return an rsync from the upstream into the mirror's directory, with these options and our own."""
    argv = (job.mirror.command or "rsync", *arguments(job.mirror, job.directory, words))
    return Command(argv, env, job.directory, progress=True)


def options_of(made: Command) -> tuple[str, ...]:
    """Return the options of a command line without our own."""
    return tuple(made.argv[1 : -2 - len(OUTPUT)])


def deletes(made: Command) -> bool:
    """Return whether an rsync would delete anything."""
    reading = rsync_options.read(options_of(made))
    names = {option.name for option in reading.options}
    # Parsing ends at an option that only a newer rsync knows, and options after it may delete.
    return reading.fault is not None or (bool(names & _DELETING) and not names & _NOT_DOING)


def makes_backups(made: Command) -> bool:
    """Return whether an rsync would keep a backup of each file that it deletes."""
    return bool(_names(made) & _BACKUPS)


def keeps_dirlinks(made: Command) -> bool:
    """Return whether an rsync would follow links to folders in the mirror, where the upstream has folders."""
    return "--keep-dirlinks" in _names(made)


def _names(made: Command) -> set[str]:
    return {option.name for option in rsync_options.read(options_of(made)).options}


def for_first_stage(words: Sequence[str]) -> tuple[str, ...]:
    """Return the options without those for the second stage, which delete or delay updates."""
    return _without(words, _SECOND_STAGE)


def resuming(words: Sequence[str]) -> tuple[str, ...]:
    """Return the option with which the first stage resumes an interrupted transfer, as the second stage does.

    `--delay-updates` keeps partial files in folders `.~tmp~`, which only the worker's user can read. Without it a
    definition may use `--inplace` or `--append`, which rsync does not accept together with such folders.
    """
    found = rsync_options.read(words).named("--delay-updates", "--no-delay-updates")
    return ("--partial-dir=.~tmp~",) if found and found[-1].name == "--delay-updates" else ()


def _without(words: Sequence[str], names: "set[str] | frozenset[str]") -> tuple[str, ...]:
    reading = rsync_options.read(words)
    return rsync_options.without(words, reading.named(*names)) if reading.fault is None else tuple(words)


def with_more(words: tuple[str, ...], more: Sequence[str]) -> tuple[str, ...]:
    """Return a command line or its arguments with further options after all others."""
    return (*words[:-2], *more, *words[-2:])


def own_limit(mirror: Mirror) -> tuple[int, str] | None:
    """Return the smallest `--max-delete` of a definition and its key; Skipjack applies it instead of rsync.

    A negative one allows no deletion.
    """
    found = []
    for key in ("rsync_override",) if mirror.rsync_override_only else _LISTS:
        for option in rsync_options.read(getattr(mirror, key)).named("--max-delete"):
            number = rsync_options.number(option.value or "")
            if number != rsync_options.NO_MAX_DELETE:
                found.append((max(number, 0), f"`--max-delete={number}` in `{key}`"))
    return min(found, default=None)


def keeps_partials_apart(mirror: Mirror) -> bool:
    """Return whether all folders `.~tmp~` in a mirror are rsync's own, since none of the upstream is transferred.

    The first of the filter rules must exclude them for that, as in the built-in options.
    """
    if not mirror.rsync_override:
        return True
    options = rsync_options.read(mirror.rsync_override).named(*_RULES)
    first = next((option for option in options if option.value != "risk .~tmp~/"), None)
    return first is not None and (first.name, first.value) == ("--exclude", ".~tmp~/")


def traces(mirror: Mirror) -> tuple[str, ...]:
    """Return the paths of the trace hook's files and folders, folders with a slash at the end."""
    return tuple(path.format(host=mirror.trace) for path in TRACES) if mirror.trace else ()


def without_ours(made: Command) -> Command:
    """Return the command without our options, for a program that does not know them."""
    return made._replace(argv=(made.argv[0], *options_of(made), *made.argv[-2:]), progress=False)


def asking_for_version(made: Command, more: Sequence[str]) -> Command:
    """Return a command that succeeds if a program knows our options; it does not contact the upstream."""
    argv = (made.argv[0], *OUTPUT, *more, "--version")
    return made._replace(argv=argv, goes_on=_EVERY_CODE, progress=False, output=lambda _lines: b"")


def unguarded(job: Job, made: Command) -> Iterator[Command]:
    """Yield the command, and once more without our options if the program does not know them."""
    yield made._replace(goes_on=frozenset({USAGE}))
    if job.exit_code == USAGE:
        yield from falling_back(job, made)


def falling_back(job: Job, made: Command, more: Sequence[str] = ()) -> Iterator[Command]:
    """Yield the command without our options if the program does not know them; for use after a usage error.

    Only the program is asked, never the upstream: otherwise an upstream could switch the deletion guard off.
    """
    yield asking_for_version(made, more)
    if job.exit_code == 0:
        job.exit_code = USAGE
        return
    job.note(f"`{made.argv[0]}` does not know the options of rsync 3.1, so this run has no guard before deletions")
    yield without_ours(made)


def _new_file(path: str) -> int:
    """Create a file that every user may read, in a folder where a container may have put something at its path."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    os.fchmod(descriptor, 0o644)  # whatever the umask is: the container may run as another user
    return descriptor


def fetching(job: Job, made: Command, paths: Sequence[bytes], list_file: str) -> Command:
    """Return an rsync of only these paths, written to `list_file`, with the command's options except deletions."""
    match = re.fullmatch(_DAEMON, job.mirror.upstream)
    # A daemon without chroot does not find names below a path inside its module, so they begin at the module's root.
    base, prefix = (f"{match.group(1)}/", match.group(2)) if match else (job.mirror.upstream, "")
    with open(_new_file(list_file), "wb") as file:
        file.writelines([os.fsencode(prefix) + b"./" + path + b"\0" for path in paths])
    words = _without(options_of(made), _DELETING)
    more = ("--no-r", "-d", "--from0", f"--files-from={list_file}")
    argv = (made.argv[0], *words, *more, *OUTPUT, base, made.argv[-1])
    return made._replace(argv=argv, own_files=(list_file,))
