"""The commands that need no worker: `skipjack validate`, `skipjack schema` and `skipjack import`.

Each start of `skipjack` imports this module, so imports stand inside the functions.
"""

import argparse
import json
from pathlib import Path

from runner.base.output import log, say
from schemas.standard_streams import WARNING
from schemas.subcommands import Subcommands, add_subcommand


def add(commands: Subcommands) -> None:
    """Add the commands to the parser."""
    validate = add_subcommand(commands, "validate", "check a folder of mirror definitions")
    words = "the folder of mirror definitions (default: %(default)s)"
    validate.add_argument("directory", nargs="?", default=".", type=Path, metavar="DIR", help=words)
    validate.add_argument("--json", action="store_true", help="print the problems as JSON")
    validate.set_defaults(command=_validate)
    _add_schema(commands)
    _add_import(commands)


def _validate(arguments: argparse.Namespace) -> int:
    from schemas.config import catalogue, hints, plugin_search, rename_rules, sources
    from schemas.problems import InvalidConfigError

    try:
        found = catalogue.load(sources.read_directory(arguments.directory), plugin_search.installed().schemas)
        problems, names = found.problems, sorted({mirror.name for mirror in found.mirrors})
        moves = rename_rules.moves(found.mirrors)
        warnings = [*found.warnings, *hints.of_files(found.passed_over), *hints.of_mirrors(found.mirrors)]
    except InvalidConfigError as refused:
        problems, names, moves, warnings = refused.problems, [], [], []
    if arguments.json:
        plain = {"mirrors": names, "problems": [problem._asdict() for problem in problems], "moves": moves}
        plain["warnings"] = warnings
        say(json.dumps(plain, indent=2))
        return 1 if problems else 0
    for move in moves:
        log(move, about="validate")
    for warning in warnings:
        log(warning, about="validate", level=WARNING)
    for problem in problems:
        say(str(problem._replace(file=str(arguments.directory / problem.file))))
    valid = "1 mirror is valid" if len(names) == 1 else f"{len(names)} mirrors are valid"
    if problems:
        say(f"{len(problems)} problem{'s' * (len(problems) > 1)}; {valid}")
        return 1
    say(valid)
    return 0


def _add_schema(commands: Subcommands) -> None:
    parser = add_subcommand(
        commands, "schema", "print the schema of a kind of file for editors, or of a plug-in's keys"
    )
    words = "mirror, defaults or workers, with the keys of all plug-ins; or an installed plug-in, with its keys alone"
    parser.add_argument("kind", nargs="?", default="mirror", metavar="KIND", help=words)
    words = "the folder of mirror definitions, whose plug-ins are included (default: %(default)s)"
    parser.add_argument("directory", nargs="?", default=".", type=Path, metavar="DIR", help=words)
    parser.set_defaults(command=_schema)


def _schema(arguments: argparse.Namespace) -> int:
    from runner.schema_output import print_schema

    print_schema(arguments.kind, arguments.directory)
    return 0


def _add_import(commands: Subcommands) -> None:
    kinds = add_subcommand(commands, "import", "write mirror definitions from the configuration of another program")
    programs = kinds.add_subparsers(required=True, metavar="PROGRAM")
    parser = add_subcommand(programs, "tunasync", "import the configuration of a tunasync worker")
    parser.add_argument("file", metavar="FILE", help="the configuration of the tunasync worker")
    parser.add_argument("--into", default="mirrors", metavar="DIR", help="the folder to write (default: %(default)s)")
    parser.add_argument("--secrets", metavar="DIR", help="the folder for passwords on the machine of the worker")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.set_defaults(command=_import_tunasync)


def _import_tunasync(arguments: argparse.Namespace) -> int:
    from runner.importing.tunasync import import_tunasync

    return import_tunasync(arguments.file, arguments.into, arguments.secrets, force=arguments.force)
