"""May a process start that a provider plug-in yields? It needs the right types, and the policy must allow it."""

import contextlib
import os
from typing import Any

from runner.base import environment
from runner.plugin_api import Abort, Command, Job
from runner.subprocesses import spawn
from schemas.states import REFUSED


class WrongCommand(Exception):  # noqa: N818 - a mistake of the plug-in
    """What a plug-in yielded cannot be started; the message says what it is."""


def allowed(job: Job, plugin: str, yielded: object) -> Command:
    """Return a command that the machine's policy allows; Abort for any other one.

    Raises WrongCommand for what is not a command or cannot be started. `plugin` is how messages name the plug-in.
    """
    command = _checked(yielded)
    if job.mirror.docker_image:  # no program of the machine
        return command
    if command.cwd != job.directory and not os.path.isdir(command.cwd):
        raise WrongCommand(f"a Command for the folder `{command.cwd}`, which does not exist")
    command = command._replace(argv=(_path_of(command.argv[0], job), *command.argv[1:]))
    if job.machine.programs is not None:
        _require_allowed(job.machine.programs, plugin, command.argv[0])
    if why := job.refusal(command.argv):
        raise Abort(REFUSED, f"{plugin}: {why}")
    return command


def _checked(command: object) -> Command:
    """Return a command with values of the right types; WrongCommand for anything else."""
    if not isinstance(command, Command):
        raise WrongCommand(f"a {type(command).__name__} instead of a Command")
    words: Any = command.argv
    try:
        argv, env = (words,) if isinstance(words, str) else tuple(words), dict(command.env)
        goes_on = frozenset(command.goes_on)
    except (TypeError, ValueError) as error:
        from runner.plugin_errors import described  # only after a mistake

        raise WrongCommand(f"a Command that cannot be used: {described(error)}") from error
    texts = (*argv, *env, *env.values(), command.cwd)
    if not argv or isinstance(words, str) or not all(map(_is_text, texts)) or not command.cwd:
        raise WrongCommand("a Command whose words are not all texts")
    if wrong := [name for name in env if not name or "=" in name]:
        raise WrongCommand(f"a Command with a variable that cannot be named {wrong[0]!r}")
    return Command(argv, env, command.cwd, goes_on, bool(command.progress))


def _is_text(value: object) -> bool:
    """Return whether a value can be a word of a command line or a variable."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:  # half of a character
        return False


def _path_of(program: str, job: Job) -> str:
    """Return the path of a program that a plug-in names without one, for a policy's list of paths; else the program."""
    if job.machine.programs is None or "/" in program:
        return program
    with contextlib.suppress(spawn.CannotStart):
        return spawn.find_program(program, environment.search_path(job.machine.roots))
    return program


def _require_allowed(programs: tuple[str, ...], plugin: str, program: str) -> None:
    """Raise Abort unless the policy lists a program."""
    from runner.base import program_list  # few machines have a list
    from schemas.problems import shown

    if not program_list.allows(programs, program):
        what = f"{plugin} would run `{shown(program)}`, which this machine does not allow"
        raise Abort(REFUSED, f"{what}. Ask the administrator to add its absolute path to `programs` of the policy")


def check_files(job: Job) -> None:
    """Check the pattern files of the definition; Abort if one may not be sent to an upstream now.

    The plug-in may pass them to an rsync, or read them itself. Each of its own rsyncs is checked by `processes`.
    """
    mirror = job.mirror
    named = (mirror.exclude_file, mirror.rsync_options, mirror.rsync_options_extra, mirror.rsync_override)
    if not any(named) and isinstance(mirror.stage1_profile, str):
        return
    from runner.base import pattern_files  # few mirrors of plug-ins have one

    words = tuple(pattern_files.words_of(mirror))
    for each in pattern_files.of_arguments(words, job.directory):
        with contextlib.suppress(OSError):  # the plug-in may not even read it
            if why := pattern_files.refusal(each.path, each.modifiers, job.machine.pattern_files):
                name = "exclude_file" if each.path == mirror.exclude_file else each.option
                raise Abort(REFUSED, f"the `{name}` {each.path} {why}; restore the file")
    _require_intact(mirror.exclude_file)


def _require_intact(path: str | None) -> None:
    """Raise Abort if a stored pattern file of the repository, which the plug-in may read itself, was altered."""
    from runner.base import repository_patterns

    if path is None or not repository_patterns.is_stored(path):
        return
    try:
        why = repository_patterns.fault(path)
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    if why:
        raise Abort(REFUSED, f"the `exclude_file` {path} {why}; run `skipjack follow`, which writes it again")
