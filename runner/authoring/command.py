"""The parser of the commands that help to write a config repository: `skipjack schema`.

Each start of `skipjack` imports this module, so imports stand inside the functions.
"""

import argparse
from pathlib import Path

from schemas.subcommands import Subcommands, add_subcommand


def add(commands: Subcommands) -> None:
    """Add the command to the parser."""
    parser = add_subcommand(
        commands, "schema", "print the schema of a kind of file for editors, or of a plug-in's keys"
    )
    words = "mirror, defaults or workers, with the keys of all plug-ins; or an installed plug-in, with its keys alone"
    parser.add_argument("kind", nargs="?", default="mirror", metavar="KIND", help=words)
    words = "the folder of mirror definitions, whose plug-ins are included (default: %(default)s)"
    parser.add_argument("directory", nargs="?", default=".", type=Path, metavar="DIR", help=words)
    parser.set_defaults(command=_schema)


def _schema(arguments: argparse.Namespace) -> int:
    from runner.authoring.schema_output import print_schema

    print_schema(arguments.kind, arguments.directory)
    return 0
