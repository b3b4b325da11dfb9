"""The parsers of the commands that help to write a config repository: `init`, `schema`, `presets` and `add`.

Most commands of `skipjack` import this module, so imports stand inside the functions.
"""

import argparse
from pathlib import Path

from runner.authoring import init_command
from schemas.subcommands import Subcommands, add_subcommand


def add(commands: Subcommands) -> None:
    """Add the commands to the parser."""
    init_command.add(commands)
    _add_presets(commands)
    _add_add(commands)
    _add_schema(commands)


def _add_schema(commands: Subcommands) -> None:
    parser = add_subcommand(
        commands, "schema", "print the schema of a kind of file for editors, or of a plug-in's keys"
    )
    words = "mirror, defaults, site or workers, with the keys of all plug-ins; or an installed plug-in, its keys alone"
    parser.add_argument("kind", nargs="?", default="mirror", metavar="KIND", help=words)
    words = "the folder of mirror definitions, whose plug-ins are included (default: %(default)s)"
    parser.add_argument("directory", nargs="?", default=".", type=Path, metavar="DIR", help=words)
    parser.set_defaults(command=_schema)


def _add_presets(commands: Subcommands) -> None:
    words = "list the well-known distributions and archives whose facts Skipjack has"
    parser = add_subcommand(commands, "presets", words)
    which = parser.add_mutually_exclusive_group()
    words = "print everything about this one, with the sources of its facts"
    which.add_argument("name", nargs="?", metavar="NAME", help=words)
    which.add_argument("--kind", choices=("distribution", "archive"), help="list only these")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(command=_presets)


def _add_add(commands: Subcommands) -> None:
    parser = add_subcommand(commands, "add", "write the definition of a new mirror from a preset")
    parser.add_argument("name", metavar="NAME", help="the mirror; without `--from` also the preset")
    words = "the preset; `skipjack presets` lists all"
    parser.add_argument("--from", dest="preset", type=_text, metavar="PRESET", help=words)
    parser.add_argument("--upstream", required=True, type=_text, metavar="URL", help="the address to sync from")
    words = "the worker (default: the inherited or the only one)"
    parser.add_argument("--worker", type=_text, metavar="NAME", help=words)
    words = "the folder below the repository (default: the one whose _defaults.yml sets the category, else the top)"
    parser.add_argument("--into", dest="folder", metavar="FOLDER", help=words)
    words = "a category of _site.yml (default: that of the preset, if the site has it)"
    parser.add_argument("--category", type=_text, metavar="NAME", help=words)
    words = "the config repository (default: this folder or the first one above with a _site.yml)"
    parser.add_argument("--repo", dest="repository", type=Path, metavar="DIR", help=words)
    parser.set_defaults(command=_add)


def _text(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the value is empty. Write one, or leave the option out")
    return text


def _schema(arguments: argparse.Namespace) -> int:
    from runner.authoring.schema_output import print_schema

    print_schema(arguments.kind, arguments.directory)
    return 0


def _presets(arguments: argparse.Namespace) -> int:
    from runner.authoring import preset_list

    if arguments.name is None:
        preset_list.print_presets(arguments.kind, as_json=arguments.json)
    else:
        preset_list.print_preset(arguments.name, as_json=arguments.json)
    return 0


def _add(arguments: argparse.Namespace) -> int:
    from runner.authoring.new_mirror import AddOptions, add_mirror

    add_mirror(arguments.name, AddOptions(*(getattr(arguments, field) for field in AddOptions._fields)))
    return 0
