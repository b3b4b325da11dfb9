"""The parser of `skipjack install` and `skipjack uninstall`.

Most commands of `skipjack` import this module, so imports stand inside the functions.
"""

import argparse
from typing import TYPE_CHECKING

from schemas.subcommands import Subcommands, add_subcommand

if TYPE_CHECKING:
    from runner.install.setup import Setup


def add(commands: Subcommands) -> None:
    """Add both commands to the parser."""
    install = _command(commands, "install", "install systemd units and start them; repeat it after each upgrade")
    install.add_argument(
        "--containers",
        action=argparse.BooleanOptionalAction,
        help="let runs start containers (default: as in the last installation)",
    )
    instead = install.add_mutually_exclusive_group()
    instead.add_argument("--print", action="store_true", help="print all files with their paths, and write nothing")
    instead.add_argument("--cron", action="store_true", help="print cron lines that do the same, and write nothing")
    install.set_defaults(command=_install)
    uninstall = _command(commands, "uninstall", "remove the units; keep settings, data and the user")
    uninstall.add_argument("--stop-jobs", action="store_true", help="stop active runs as well")
    uninstall.set_defaults(command=_uninstall, containers=False)


def _command(commands: Subcommands, name: str, words: str) -> argparse.ArgumentParser:
    parser = add_subcommand(commands, name, words)
    parser.add_argument(
        "--settings", metavar="FILE", help="settings (default: /etc/skipjack/runner.yml, or manager.yml with --manager)"
    )
    parser.add_argument("--manager", action="store_true", help="the manager instead of a worker")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--user-name", metavar="NAME", help="user that the units run as (default: skipjack, or skipjack-manager)"
    )
    whose.add_argument("--user", action="store_true", help="units of your own systemd user instance, without root")
    return parser


def _install(arguments: argparse.Namespace) -> int:
    from runner.base.output import say
    from runner.install import cron, install, machine, others
    from runner.install.setup import program

    setup = _setup(arguments)
    if arguments.cron:
        if not setup.own:
            others.check_file(setup, others.CRON_FILE)
        others.check_folders(setup)
        lines = cron.cron(setup)
        machine.check_readable(setup, program("skipjack"))
        say(lines)
        _warn_for_cron(setup)
    elif arguments.print:
        install.show(setup)
    else:
        return install.install(setup)
    return 0


def _warn_for_cron(setup: "Setup") -> None:
    from pathlib import Path

    from runner.install import secret_check
    from schemas.config.settings import load_runner

    secret_check.warn_for_cron(setup, load_runner(Path(setup.settings)))


def _uninstall(arguments: argparse.Namespace) -> int:
    from runner.install.uninstall import uninstall

    uninstall(_setup_to_remove(arguments), stop_jobs=arguments.stop_jobs)
    return 0


def _setup_to_remove(arguments: argparse.Namespace) -> "Setup":
    """Return the installation to remove; without settings, the one with the default folders."""
    import os

    from runner.base.output import log
    from runner.install import setup
    from schemas.errors import SkipjackError
    from schemas.records import ManagerSettings, Policy, Repository, RunnerSettings
    from schemas.standard_streams import WARNING

    try:
        return _setup(arguments)
    except SkipjackError as error:
        if arguments.settings:
            raise
        log(f"{str(error).splitlines()[0]} Assuming the default folders.", about="uninstall", level=WARNING)
    kind, own = setup.MANAGER if arguments.manager else setup.WORKER, arguments.user
    path = os.path.abspath(setup.default_settings(kind, own=own))
    if arguments.manager:
        return setup.of_manager(ManagerSettings(), path, _user(arguments), own=own)
    settings = RunnerSettings("", Repository(""))
    return setup.of_worker(settings, Policy(), path, _user(arguments), own=own, containers=None)


def _user(arguments: argparse.Namespace) -> str:
    import os
    import pwd

    if arguments.user:
        return pwd.getpwuid(os.geteuid()).pw_name
    return str(arguments.user_name or ("skipjack-manager" if arguments.manager else "skipjack"))


def _setup(arguments: argparse.Namespace) -> "Setup":
    import os
    from pathlib import Path

    from runner.install import setup
    from schemas.config.settings import load_manager, load_policy, load_runner

    kind, own = setup.MANAGER if arguments.manager else setup.WORKER, arguments.user
    user = _user(arguments)
    path = os.path.abspath(arguments.settings or setup.default_settings(kind, own=own))
    if arguments.manager:
        return setup.of_manager(load_manager(Path(path)), path, user, own=own)
    settings = load_runner(Path(path))
    policy = load_policy(Path(settings.policy))
    return setup.of_worker(settings, policy, path, user, own=own, containers=arguments.containers)
