"""Puts rsync's command lines together from options, and takes parts out of them again.

What rsync prints is Skipjack's own matter (`schemas/rsync/rsync_output.py`): it reads the figures, the progress and the
names of what would be deleted. Its own options stand behind all others, where they win.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence

from runner.plugin_api import Command, Job
from schemas.mirror_record import Mirror
from schemas.rsync import rsync_options, rsync_output

OUTPUT = ("-v", "--no-motd", "--stats", "--no-h", "--info=progress2,flist0", "--out-format=%i %n%L")
"""What every rsync prints: sizes in bytes, how far it is, and a line for each change, which never begins with a name.

An upstream could give a file the name of any message, and write one into its message of the day. None of this is sent
to the upstream but `-v`: an old or another program there would not know `--info`.
"""

USAGE = 1
"""rsync's exit code for options that it does not know, after rsync(1)."""

TRACES = ("project/", "project/trace/", "project/trace/{host}", "Archive-Update-in-Progress-{host}")
"""What the trace hook makes in a mirror although its upstream may lack it."""

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
_EVERY_CODE = frozenset(range(-64, 256))


def arguments(mirror: Mirror, directory: str, words: Sequence[str]) -> tuple[str, ...]:
    """The arguments of an rsync from the upstream into a directory, with these options and our own."""
    cleaned = _without(rsync_output.without_output(words), {"--max-delete"})
    return (*cleaned, *OUTPUT, mirror.upstream, directory + "/")


def command(job: Job, words: Sequence[str], env: dict[str, str]) -> Command:
    """An rsync from the upstream into the mirror's directory, with these options and our own."""
    argv = (job.mirror.command or "rsync", *arguments(job.mirror, job.directory, words))
    return Command(argv, env, job.directory, progress=True)


def options_of(made: Command) -> tuple[str, ...]:
    """The options of a command line without our own."""
    return tuple(made.argv[1 : -2 - len(OUTPUT)])


def deletes(made: Command) -> bool:
    """Whether an rsync would delete anything."""
    reading = rsync_options.read(options_of(made))
    names = {option.name for option in reading.options}
    # A newer rsync may know an option that we do not, and what stands behind it.
    return reading.fault is not None or (bool(names & _DELETING) and not names & _NOT_DOING)


def makes_backups(made: Command) -> bool:
    """Whether an rsync would move aside what it deletes."""
    return bool(_names(made) & _BACKUPS)


def _names(made: Command) -> set[str]:
    return {option.name for option in rsync_options.read(options_of(made)).options}


def for_first_stage(words: Sequence[str]) -> tuple[str, ...]:
    """The options without those that belong to the second stage: all that delete, or delay what is transferred."""
    return _without(words, _SECOND_STAGE)


def resuming(words: Sequence[str]) -> tuple[str, ...]:
    """What the first stage needs so that a transfer that was cut off goes on where it ended, as in the second stage.

    `--delay-updates` keeps such files in the folders `.~tmp~`, which only the worker's user can read.
    """
    delays = rsync_options.read(words).named("--delay-updates")
    return ("--partial-dir=.~tmp~",) if delays else ()


def _without(words: Sequence[str], names: "set[str] | frozenset[str]") -> tuple[str, ...]:
    reading = rsync_options.read(words)
    return rsync_options.without(words, reading.named(*names)) if reading.fault is None else tuple(words)


def with_more(words: tuple[str, ...], more: Sequence[str]) -> tuple[str, ...]:
    """A command line or its arguments with further options behind all others."""
    return (*words[:-2], *more, *words[-2:])


def own_limit(mirror: Mirror) -> tuple[int, str] | None:
    """The smallest `--max-delete` of the options in force, and where it stands; Skipjack keeps to it in rsync's place.

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
    """Whether all folders `.~tmp~` in a mirror are rsync's own: no such folder of the upstream is transferred.

    For that the first of the filter rules must leave them out, as it does in the built-in options.
    """
    if not mirror.rsync_override:
        return True
    options = rsync_options.read(mirror.rsync_override).named(*_RULES)
    first = next((option for option in options if option.value != "risk .~tmp~/"), None)
    return first is not None and (first.name, first.value) == ("--exclude", ".~tmp~/")


def traces(mirror: Mirror) -> tuple[str, ...]:
    """The paths of the trace hook's files and folders, folders with a slash at the end."""
    return tuple(path.format(host=mirror.trace) for path in TRACES) if mirror.trace else ()


def without_ours(made: Command) -> Command:
    """The command as another program may understand it."""
    return made._replace(argv=(made.argv[0], *options_of(made), *made.argv[-2:]), progress=False)


def asking_for_version(made: Command, more: Sequence[str]) -> Command:
    """Ask a program whether it understands our options; it need not reach the upstream for that."""
    argv = (made.argv[0], *OUTPUT, *more, "--version")
    return made._replace(argv=argv, goes_on=_EVERY_CODE, progress=False, output=lambda _lines: b"")


def unguarded(job: Job, made: Command) -> Iterator[Command]:
    """Run the command as it is, or without our options if the program does not know them."""
    yield made._replace(goes_on=frozenset({USAGE}))
    if job.exit_code == USAGE:
        yield from falling_back(job, made)


def falling_back(job: Job, made: Command, more: Sequence[str] = ()) -> Iterator[Command]:
    """After a usage error: run the command without our options if the program does not know them.

    Whether it does is found out from the program alone, so that no upstream can bring it about.
    """
    yield asking_for_version(made, more)
    if job.exit_code == 0:
        job.exit_code = USAGE
        return
    job.note(f"`{made.argv[0]}` does not know the options of rsync 3.1, so this run has no guard before deletions")
    yield without_ours(made)


def _new_file(path: str) -> int:
    """Open a new file that every user may read, in a folder where a container may have put anything at its path."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    os.fchmod(descriptor, 0o644)
    return descriptor


def fetching(job: Job, made: Command, paths: Sequence[bytes], list_file: str) -> Command:
    """An rsync of these paths alone, named in `list_file`, with the options of the command but deleting nothing."""
    match = re.fullmatch(_DAEMON, job.mirror.upstream)
    # A daemon without chroot does not find names below a path inside its module, so they begin at the module's root.
    base, prefix = (f"{match.group(1)}/", match.group(2)) if match else (job.mirror.upstream, "")
    with open(_new_file(list_file), "wb") as file:
        file.writelines([os.fsencode(prefix) + b"./" + path + b"\0" for path in paths])
    words = _without(options_of(made), _DELETING)
    more = ("--no-r", "-d", "--from0", f"--files-from={list_file}")
    return made._replace(argv=(made.argv[0], *words, *more, *OUTPUT, base, made.argv[-1]))
