"""The command `skipjack`: its parser, and a function for each command that imports what it needs.

Imports stand inside these functions, so that no command pays for another one: `courier` starts every minute. Packages
with commands of their own have a `command.py`.
"""

import argparse
import errno
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.base.output import hush, log
from runner.error_boundary import damage_behind, guarded
from schemas.errors import SkipjackError
from schemas.subcommands import Subcommands, add_subcommand

if TYPE_CHECKING:
    from schemas.records import RunnerSettings

_QUIET = "print only warnings, errors and open tasks, since cron sends all output by mail"

_EXIT_CODES = "Exit codes: 0 success, 1 failure, 2 wrong usage, 3 a bug in Skipjack, 128+N ended by signal N."

SETTINGS = Path("/etc/skipjack/runner.yml")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = sys.argv[1:] if words is None else list(words)
    return guarded(lambda: _run_command(_parser(given[0] if given else "").parse_args(given)))


def _run_command(arguments: argparse.Namespace) -> int:
    """Run the command; SkipjackError that names the worker's user where only that one has access."""
    try:
        return int(arguments.command(arguments))
    except (SkipjackError, OSError) as error:
        from schemas import ownership

        denial = ownership.denial(error, getattr(arguments, "state_dir", ""))
        if denial is None:
            raise
        raise denial from error
    except Exception as error:
        damage = damage_behind(error, getattr(arguments, "state_dir", None))
        if damage is None:
            raise
        raise damage from error


def _parser(first: str = "") -> argparse.ArgumentParser:
    """Return the parser; if `first` is a command that timers start, only with that one, which costs less."""
    from schemas.release import version

    description = "The worker of a mirror site: follows the config repository and syncs its mirrors."
    parser = argparse.ArgumentParser(prog="skipjack", description=description, epilog=_EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"skipjack {version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    if first in _TIMED:
        _TIMED[first](commands)
    else:
        _add_all(commands)
    return parser


def _add_all(commands: Subcommands) -> None:
    """Add all commands: those for a config repository, of timers, for operators, for the machine."""
    from runner.authoring import command as authoring
    from runner.checking import command as checking
    from runner.drift import command as drift
    from runner.forecast import command as forecast
    from runner.forge import command as forge
    from runner.importing import command as importing
    from runner.install import command as install
    from runner.pinning import command as pinning

    authoring.add(commands)
    importing.add(commands)
    checking.add(commands)
    forecast.add(commands)
    forge.add(commands)
    for add in _TIMED.values():
        add(commands)
    words = "follow, start due mirrors, wait for their runs, report"
    _with_settings(commands, "once", words).set_defaults(command=_once)
    upcoming = _with_settings(commands, "next", "list when each mirror runs next, and why not now")
    upcoming.add_argument("--json", action="store_true", help="print it as JSON")
    upcoming.set_defaults(command=_next)
    _add_operator_commands(commands)
    words = "list the providers and hooks, built in and of plug-ins, with their states"
    plugins = _with_settings(commands, "plugins", words)
    plugins.add_argument("name", nargs="?", metavar="NAME", help="print only this one, with its keys")
    plugins.add_argument("--json", action="store_true", help="print the list as JSON")
    plugins.set_defaults(command=_plugins)
    _add_policy(commands)
    _add_container(commands)
    pinning.add(commands, _with_settings, _own_settings, _report_follow, _reason)
    drift.add(commands, _with_settings, _settings, _own_settings)
    install.add(commands)
    words = "let runs start in spite of `start: held`, from now on"
    _with_settings(commands, "release", words).set_defaults(command=_release)
    words = "undo `skipjack release`: with `start: held`, no more runs start"
    _with_settings(commands, "hold", words).set_defaults(command=_hold)
    _add_takeover(commands)


def _add_follow(commands: Subcommands) -> None:
    follow = _with_settings(commands, "follow", "bring the plan to the newest revision; starts no run")
    follow.add_argument("--start", action="store_true", help="then start due mirrors, as units and cron lines do")
    follow.add_argument("--quiet", action="store_true", help=_QUIET)
    follow.add_argument("--again", action="store_true", help="write the plan even if nothing changed")
    follow.add_argument("--accept-rewrite", action="store_true", help="accept a history without the revision in force")
    follow.set_defaults(command=_follow)


def _add_tick(commands: Subcommands) -> None:
    _with_settings(commands, "tick", "start due mirrors, and stop runs that have to end").set_defaults(command=_tick)


def _add_run(commands: Subcommands) -> None:
    run = _with_settings(commands, "run", "sync one mirror now")
    run.add_argument("name", metavar="NAME", help="the mirror")
    words = "most files that this run may delete: a number, or a share of all; 100%% allows any loss"
    run.add_argument("--max-delete", type=_limit, metavar="LIMIT", help=words)
    words = "sync even if the directory is missing or empty and the last success left files in it"
    run.add_argument("--from-empty", action="store_true", help=words)
    run.add_argument("--while-held", action="store_true", help="sync even if the settings have `start: held`")
    run.add_argument("--dry-run", action="store_true", help="show what the run would do, and change nothing")
    run.set_defaults(command=_run)


def _add_courier(commands: Subcommands) -> None:
    courier = _with_settings(commands, "courier", "send reports to the manager and carry out its commands")
    courier.add_argument("--linger", action="store_true", help="keep running, and report whenever something happens")
    courier.add_argument(
        "--start", action="store_true", help="after its commands, start all due mirrors, as units and cron lines do"
    )
    courier.add_argument("--quiet", action="store_true", help="print only warnings and errors, for cron")
    courier.set_defaults(command=_courier)


_TIMED = {"follow": _add_follow, "tick": _add_tick, "run": _add_run, "courier": _add_courier}
"""The commands that timers start often: the options and modules of all others would cost each of them time."""


def _with_settings(commands: Subcommands, name: str, words: str) -> argparse.ArgumentParser:
    parser = add_subcommand(commands, name, words)
    words = f"settings (default: ~/.config/skipjack/{SETTINGS.name} if it exists, else {SETTINGS})"
    parser.add_argument("--settings", type=Path, default=None, metavar="FILE", help=words)
    return parser


def _default_settings() -> Path:
    """Return the settings to use without `--settings`: the user's own file if it exists, else the system's."""
    from schemas.config.settings import own_settings

    own = own_settings(SETTINGS)
    if own is None:
        return SETTINGS
    if SETTINGS.exists():
        log(f"using {own}; the system's worker has `--settings {SETTINGS}`", about="skipjack")
    return own


def _add_operator_commands(commands: Subcommands) -> None:
    verbs = {
        "start": "sync mirrors now, also paused and disabled ones",
        "stop": "stop the runs of mirrors, and pause these until they are started",
        "disable": "stop the runs of mirrors, and take these off the schedule until they are enabled",
        "restart": "stop the runs of mirrors, and start them again",
        "enable": "put paused and disabled mirrors back on their schedule",
    }
    for verb, description in verbs.items():
        parser = _with_settings(commands, verb, description)
        parser.add_argument("names", nargs="+", metavar="NAME", help="mirrors")
        if verb == "start":
            parser.add_argument("--force", action="store_true", help="ignore slots and sync windows")
        if verb in ("stop", "disable"):
            shown = "shown by `skipjack next` and on the mirror's page"
            parser.add_argument("--reason", type=_reason, metavar="TEXT", help=shown)
        parser.set_defaults(command=_operator_command, verb=verb, force=False, reason="")


def _add_takeover(commands: Subcommands) -> None:
    words = "continue with the states that a running tunasync manager has of this worker's mirrors"
    parser = _with_settings(commands, "takeover", words)
    parser.add_argument("url", type=_web_address, metavar="MANAGER_URL", help="tunasync's manager, which is only read")
    words = "the name of the worker there (default: that of this worker)"
    parser.add_argument("--worker", metavar="NAME", help=words)
    words = "a file with the authorities to trust (default: those of the system)"
    parser.add_argument("--ca-cert", metavar="FILE", help=words)
    parser.add_argument("--dry-run", action="store_true", help="print what would be taken over, and change nothing")
    parser.set_defaults(command=_takeover)


def _add_policy(commands: Subcommands) -> None:
    kinds = add_subcommand(commands, "policy", "compare the policy of this machine with the definitions, or export it")
    below = kinds.add_subparsers(required=True, metavar="ACTION")
    words = "print the entries that the worker's definitions need in policy.yml; changes nothing"
    _with_settings(below, "suggest", words).set_defaults(command=_suggest)
    words = "print the policy of this machine for a config repository, which checks pull requests with it"
    parser = _with_settings(below, "export", words)
    words = "write it to .skipjack/policies in this config repository instead: the folder with _site.yml"
    parser.add_argument("--into", type=Path, metavar="DIR", help=words)
    words = "write the policies of all workers that report to this manager; needs --token-file and --into"
    parser.add_argument("--manager", metavar="URL", help=words)
    words = "a file with a token of scope operator or read in its first line"
    parser.add_argument("--token-file", metavar="FILE", help=words)
    words = "a file with the certificate authority of the manager, if it is not a public one"
    parser.add_argument("--ca-cert", metavar="FILE", help=words)
    parser.set_defaults(command=_export_policy, reject=parser.error)


def _add_container(commands: Subcommands) -> None:
    container = add_subcommand(commands, "container", "manage the images that mirrors are synced with")
    below = container.add_subparsers(required=True, metavar="ACTION")
    parser = _with_settings(below, "load", "load images into the store of the worker's podman or docker")
    parser.add_argument("file", metavar="FILE", help="an archive written by `podman save` or `docker save`")
    parser.set_defaults(command=_load_image)


def _limit(text: str) -> str:
    """Return a limit for `--max-delete`: a number of files, or a share of them as a percentage."""
    if not re.fullmatch(r"[0-9]{1,10}|([0-9]{1,2}|100)%", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of files or a percentage. Example: 100%")
    return text


def _web_address(text: str) -> str:
    """Return the address of a manager."""
    from schemas.addresses import web_trouble, without_secrets
    from schemas.problems import shown

    if trouble := web_trouble(text, whole=False):
        raise argparse.ArgumentTypeError(f"{shown(text)} {trouble}")
    return without_secrets(text)


def _reason(text: str) -> str:
    """Return a reason as one line of printable text."""
    from runner.overrides.operator_commands import REASON
    from schemas.problems import printable

    line = printable(" ".join(text.split()))
    if len(line) > REASON:
        raise argparse.ArgumentTypeError(f"too long: {len(line)} characters, at most {REASON} are allowed")
    return line


def _settings(arguments: argparse.Namespace) -> "RunnerSettings":
    """Read the machine's settings, then become the worker's user.

    Files that root leaves in the state directory would be out of that user's reach.
    """
    from runner.base.privileges import become_owner
    from schemas.config.settings import load_runner
    from schemas.failures import LINK_TODO, dangling

    arguments.settings = arguments.settings or _default_settings()
    settings = load_runner(arguments.settings)
    if link := dangling(settings.state_dir):
        raise SkipjackError(f"cannot use the state directory: {link}.", LINK_TODO)
    become_owner(settings.state_dir)
    arguments.state_dir = settings.state_dir
    return settings


def _own_settings(arguments: argparse.Namespace) -> "RunnerSettings":
    """Return the settings for a command that writes to the state directory; PermissionError if this user may not."""
    settings = _settings(arguments)
    _require_writable(settings)
    return settings


def _require_writable(settings: "RunnerSettings") -> None:
    if os.path.isdir(settings.state_dir) and not os.access(settings.state_dir, os.W_OK | os.X_OK):
        is_read_only = os.statvfs(settings.state_dir).f_flag & os.ST_RDONLY
        number = errno.EROFS if is_read_only else errno.EACCES
        raise OSError(number, os.strerror(number), settings.state_dir)  # EACCES makes it a PermissionError


def _follow(arguments: argparse.Namespace) -> int:
    if arguments.quiet:
        hush()
    from runner.base import start_requests
    from runner.base.state_dir import StateLayout
    from runner.once import report_follow
    from runner.subprocesses import launch, unit_health

    settings = _own_settings(arguments)
    if arguments.start:
        launch.restore_service_manager(StateLayout(settings.state_dir))
        start_requests.take(StateLayout(settings.state_dir), "follow")  # it is fulfilled by this follow
    try:
        fine = report_follow(
            settings, again=arguments.again, accept_rewrite=arguments.accept_rewrite, quiet=arguments.quiet
        )
        if arguments.start:
            launch.want_tick(StateLayout(settings.state_dir))
    finally:
        if arguments.start:
            unit_health.check(StateLayout(settings.state_dir))
    if not arguments.start:
        from runner.follow import secret_warnings
        from runner.tick.next_runs import say_due

        say_due(settings)
        secret_warnings.warn(settings)
    return 0 if fine else 1


def _report_follow(settings: "RunnerSettings", *, offline: bool) -> bool:
    from runner.once import report_follow

    return report_follow(settings, offline=offline)


def _tick(arguments: argparse.Namespace) -> int:
    from runner.base.state_dir import StateLayout
    from runner.overrides import hold
    from runner.tick import tick

    layout = StateLayout(_own_settings(arguments).state_dir)
    launched = tick.tick(layout)
    started = f"launched {launched.started} run{'s' * (launched.started != 1)}"
    log(hold.HELD if hold.holds(layout) else started, about="tick")
    return 1 if launched.failed else 0


def _run(arguments: argparse.Namespace) -> int:
    from runner.subprocesses.spawn import lean

    settings = _settings(arguments)
    if arguments.dry_run:
        from runner.plan.deletion_limits import as_limit
        from runner.run.dry_run import dry_run

        limit = as_limit(arguments.max_delete)
        return dry_run(settings, arguments.name, limit, from_empty=arguments.from_empty)
    more = [f"max-delete={arguments.max_delete}"] if arguments.max_delete else []
    more += ["from-empty"] if arguments.from_empty else []
    more += ["while-held"] if arguments.while_held else []
    _require_writable(settings)
    words = lean("run", settings.state_dir, arguments.name, *more)
    # Replace this process by the lean program, so that a run by hand is the same as one that a tick launched.
    try:
        return os.execv(words[0], words)  # noqa: S606 - our own program, not a shell
    except OSError as error:
        raise OSError(error.errno, f"cannot be started: {error.strerror}", words[0]) from error


def _courier(arguments: argparse.Namespace) -> int:
    from runner.courier import courier

    if arguments.quiet:
        hush()
    settings = _own_settings(arguments)
    if arguments.linger:
        courier.linger(settings, arguments.settings, start=arguments.start)
    try:
        delivered = courier.once(settings, arguments.settings, start=arguments.start, quiet=arguments.quiet)
    except courier.AnotherCourier:
        if not arguments.quiet:
            raise
        return 0  # the one of the previous minute is still running
    if not arguments.quiet:
        log(f"delivered {delivered} reports", about="courier")
    return 0


def _once(arguments: argparse.Namespace) -> int:
    from runner.once import once

    return once(_own_settings(arguments), arguments.settings)


def _operator_command(arguments: argparse.Namespace) -> int:
    from runner.base.state_dir import StateLayout
    from runner.overrides import operator_commands

    command = operator_commands.OperatorCommand(
        arguments.verb, arguments.names, operator_commands.operator_name(), arguments.force, arguments.reason
    )
    operator_commands.execute_and_print(StateLayout(_own_settings(arguments).state_dir), command)
    return 0


def _release(arguments: argparse.Namespace) -> int:
    from runner.overrides.operator_commands import operator_name
    from runner.tick.release import release

    made_by = operator_name()  # before the settings are read: that turns root into the worker's user
    release(_own_settings(arguments), made_by)
    return 0


def _hold(arguments: argparse.Namespace) -> int:
    from runner.tick.release import hold_again

    hold_again(_own_settings(arguments))
    return 0


def _takeover(arguments: argparse.Namespace) -> int:
    from runner.overrides.operator_commands import operator_name
    from runner.takeover.old_manager import OldManager
    from runner.takeover.takeover import take_over

    made_by = operator_name()  # before the settings are read: that turns root into the worker's user
    settings = _settings(arguments) if arguments.dry_run else _own_settings(arguments)
    old = OldManager(arguments.url, arguments.worker or settings.worker, arguments.ca_cert)
    return take_over(settings, old, made_by, dry_run=arguments.dry_run)


def _plugins(arguments: argparse.Namespace) -> int:
    from runner.plugin_list import print_plugins

    known = arguments.settings is not None or _default_settings().exists()
    print_plugins(_settings(arguments) if known else None, arguments.name, as_json=arguments.json)
    return 0


def _suggest(arguments: argparse.Namespace) -> int:
    from runner.importing.policy_suggestion import suggest

    return suggest(_settings(arguments))


def _export_policy(arguments: argparse.Namespace) -> int:
    from runner.authoring import policy_export

    url, token_file, into = arguments.manager, arguments.token_file, arguments.into
    if url is None and (token_file or arguments.ca_cert):
        arguments.reject("--token-file and --ca-cert need --manager")
    if url is not None and (token_file is None or into is None or arguments.settings):
        arguments.reject("--manager needs --token-file and --into, and no --settings")
    if url is not None:
        policy_export.export_all(url, token_file, arguments.ca_cert, into)
    else:
        # Not as the worker's user, who may not write to the folder.
        policy_export.export(arguments.settings or _default_settings(), into)
    return 0


def _load_image(arguments: argparse.Namespace) -> int:
    from runner.containers.image_store import load_file

    return load_file(arguments.file, lambda: _settings(arguments))


def _next(arguments: argparse.Namespace) -> int:
    from runner.tick.next_runs import upcoming

    upcoming(_settings(arguments), as_json=arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
