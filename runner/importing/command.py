"""The parser of `skipjack import`.

Most commands of `skipjack` import this module, so imports stand inside the functions.
"""

import argparse

from schemas.subcommands import Subcommands, add_subcommand


def add(commands: Subcommands) -> None:
    """Add the command to the parser."""
    kinds = add_subcommand(commands, "import", "write mirror definitions from the configuration of another program")
    programs = kinds.add_subparsers(required=True, metavar="PROGRAM")
    parser = add_subcommand(programs, "tunasync", "import the configurations of a site's tunasync workers")
    parser.add_argument("files", nargs="+", metavar="FILE", help="the configuration of a tunasync worker")
    _add_targets(parser)
    parser.set_defaults(command=_import_tunasync)
    parser = add_subcommand(programs, "yuki", "import the configuration of yuki, USTC's mirror manager")
    words = "the folder with daemon.toml, for example /etc/yuki, or one with the mirrors' files"
    parser.add_argument("folder", metavar="DIR", help=words)
    parser.add_argument("--worker", default="worker", metavar="NAME", help="the worker's name (default: %(default)s)")
    _add_targets(parser)
    parser.set_defaults(command=_import_yuki)


def _add_targets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--into", default="mirrors", metavar="DIR", help="the folder to write (default: %(default)s)")
    parser.add_argument("--secrets", metavar="DIR", help="the folder for passwords on the machine of the worker")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")


def _import_tunasync(arguments: argparse.Namespace) -> int:
    from runner.importing.tunasync import import_tunasync

    return import_tunasync(arguments.files, arguments.into, arguments.secrets, force=arguments.force)


def _import_yuki(arguments: argparse.Namespace) -> int:
    from runner.importing.yuki import import_yuki

    return import_yuki(arguments.folder, arguments.into, arguments.secrets, arguments.worker, force=arguments.force)
