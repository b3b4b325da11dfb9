"""Give each rsync of a run copies of its pattern files in the place of the files themselves.

Which files does a command read and send, and which of them does the machine's policy judge? On the machine rsync gets
the paths of the copies. In a container the copies are mounted where the files would be.
"""

import errno
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial

from runner.base import pattern_files, repository_patterns
from runner.base.pattern_copies import CannotCopy, PatternCopies
from runner.base.pattern_files import Named, OutsideOfPolicy, Unsafe
from runner.base.state_dir import StateLayout
from runner.plugin_api import Abort, CannotRun, Command, Job
from runner.providers import PROVIDERS
from runner.subprocesses.spawn import is_rsync
from schemas.mirror_record import RSYNC_PROVIDERS
from schemas.problems import printable, shown
from schemas.rsync import rsync_options
from schemas.states import FAILED, REFUSED

_REMEDIES = {errno.EFBIG: "shorten it", errno.ENOENT: "create it, readable for the worker's user"}
_FOLLOW = "run `skipjack follow`, which writes it again from the repository"
_REMEDY = "make it a regular file that the worker's user can read"


def of_provider(job: Job, command: Command) -> Command:
    """Return a provider's command with copies of its pattern files; Abort if one may not be sent or cannot be read."""
    files = tuple(_of_provider(job, command))
    _copy(job, files)
    if not job.mirror.docker_image:
        return _with_copies(job, command, files)
    # Every container of a mirror sees its pattern file, whatever the provider does with it.
    if (path := job.mirror.exclude_file) is not None:
        _copy(job, [Named("exclude_file", path, None, 0, 0)])
    return command


def of_line(job: Job, command: Command) -> Command:
    """Return a command of a hook with copies of its pattern files; CannotRun if one may not be sent or read."""
    if not job.machine.judged or not is_rsync(command.argv):
        return command
    files = tuple(_named(command.argv[1:], job))
    try:
        _copy(job, files)
    except Abort as abort:
        raise CannotRun(f"{command.argv[0]} was not started: {abort.reason}") from abort
    return _with_copies(job, command, files)


def _of_provider(job: Job, command: Command) -> Iterator[Named]:
    """Yield the pattern files of a provider's command that must be judged."""
    mirror = job.mirror
    is_ours = mirror.provider in RSYNC_PROVIDERS
    # Another provider's program in a container sees no file of the machine, except the `exclude_file`.
    if not is_ours and (mirror.docker_image or not is_rsync(command.argv)):
        return
    all_judged = is_ours or job.machine.judged
    of_definition = set() if all_judged or mirror.provider in PROVIDERS else _of_definition(job)
    _require_parsed(command.argv[1:], of_definition)
    for each in _named(command.argv[1:], job):
        if each.path not in command.own_files and (all_judged or each.path in of_definition):
            yield each


def _require_parsed(words: Sequence[str], files: Collection[str]) -> None:
    """Raise Abort if a plug-in passes a file of its definition to rsync behind an option that is not known here."""
    fault = rsync_options.read(words).fault
    behind = words[fault.word :] if fault else ()
    for path in files:
        if any(word.endswith(path) for word in behind):
            what = f"rsync would read {printable(path)} behind `{shown(str(fault and fault.spelling))}`"
            raise Abort(REFUSED, f"{what}, which cannot be judged; put the file's option first")


def _of_definition(job: Job) -> set[str]:
    """Return the pattern files of a definition for a plug-in.

    Files of the plug-in itself may lie anywhere, unless the policy has a list of programs.
    """
    words = tuple(pattern_files.words_of(job.mirror))
    return {each.path for each in _named(words, job)}


def _named(words: Sequence[str], job: Job) -> Iterator[Named]:
    yield from pattern_files.of_arguments(words, job.directory)
    yield from pattern_files.passwords_of(words, job.directory)


def _copy(job: Job, files: Iterable[Named]) -> None:
    """Judge and copy files; Abort if one may not be sent or cannot be read or copied."""
    for each in files:
        what = f"`{'exclude_file' if each.path == job.mirror.exclude_file else each.option}` {printable(each.path)}"
        if job.mirror.docker_image and ":" in each.path:
            what = f"the {what} has a colon, which no container program can mount; choose another place"
            raise Abort(REFUSED, what)
        try:
            copies_of(job).add(each.path, each.modifiers, is_password=each.is_password)
            if each.path == job.mirror.exclude_file and repository_patterns.is_stored(each.path):
                _require_intact(each.path, copies_of(job).of(each.path))
        except Unsafe as why:
            gets = "the container would see it" if job.mirror.docker_image else "rsync would send it to the upstream"
            todo = _FOLLOW if repository_patterns.is_stored(each.path) else "restore the file"
            if isinstance(why, OutsideOfPolicy):
                todo += ", or run `skipjack follow` if an administrator has moved a folder of the policy"
            raise Abort(REFUSED, f"the {what} {why}; {gets}, so {todo}") from why
        except CannotCopy as why:
            raise Abort(FAILED, f"the {what} cannot be used: {why}") from why
        except OSError as error:
            todo = _REMEDIES.get(error.errno or 0, _REMEDY)
            if repository_patterns.is_stored(each.path):
                todo = _FOLLOW
            raise Abort(FAILED, f"cannot read the {what}: {error.strerror}; {todo}") from error


def _require_intact(path: str, copy: str) -> None:
    """Raise Unsafe unless the copy of a file of the repository has the content that the plan names."""
    if why := repository_patterns.fault(path, copy):
        raise Unsafe(why)


def copies_of(job: Job, folder: str = "") -> PatternCopies:
    """Return a job's copies, of which there are none at first; by default in a folder of the state directory."""
    if job.copies is None:
        layout = StateLayout(job.machine.state_dir or job.log_dir)
        of_patterns = partial(pattern_files.require_safe, job.machine.pattern_files)
        folder = folder or layout.pattern_copies(job.mirror.name)
        job.copies = PatternCopies(folder, of_patterns, partial(_require_password, job))
    return job.copies


def _require_password(job: Job, place: str, links: int) -> None:
    from runner.base import passwords  # hardly any mirror names a password in this way

    passwords.require_allowed(job.machine.passwords, place, links)


def _with_copies(job: Job, command: Command, files: tuple[Named, ...]) -> Command:
    words = pattern_files.replaced(command.argv[1:], files, copies_of(job).of)
    return command._replace(argv=(command.argv[0], *words))
