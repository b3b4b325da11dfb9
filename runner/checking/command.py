"""The parser of `skipjack validate`.

Each start of `skipjack` imports this module, so imports stand inside the functions.
"""

import argparse
import json
from pathlib import Path

from runner.base.output import log, say
from schemas.standard_streams import WARNING
from schemas.subcommands import Subcommands, add_subcommand


def add(commands: Subcommands) -> None:
    """Add the command to the parser."""
    validate = add_subcommand(commands, "validate", "check a folder of mirror definitions")
    words = "the folder of mirror definitions (default: %(default)s)"
    validate.add_argument("directory", nargs="?", default=".", type=Path, metavar="DIR", help=words)
    validate.add_argument("--json", action="store_true", help="print the problems as JSON")
    validate.set_defaults(command=_validate)


def _validate(arguments: argparse.Namespace) -> int:
    from runner.authoring import editor_files
    from schemas.config import catalogue, cross_hints, hints, plugin_search, rename_rules, sources
    from schemas.problems import InvalidConfigError

    files, installed = sources.read_directory(arguments.directory), plugin_search.installed().schemas
    of_editors = editor_files.warnings(arguments.directory, files, installed)
    try:
        found = catalogue.load(files, installed)
        problems, names = found.problems, sorted({mirror.name for mirror in found.mirrors})
        moves = rename_rules.moves(found.mirrors)
        warnings = [*found.warnings, *hints.of_files(found.passed_over), *hints.of_mirrors(found.mirrors)]
        warnings += cross_hints.of_mirrors(found.mirrors, found.site.url)
    except InvalidConfigError as refused:
        problems, names, moves, warnings = refused.problems, [], [], []
    warnings += of_editors
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
