"""The parser of `skipjack validate`.

Each start of `skipjack` imports this module, so imports stand inside the functions.
"""

import argparse
from pathlib import Path

from schemas.subcommands import Subcommands, add_subcommand

_FORMATS = ("text", "json", "github", "gitlab", "sarif")


def add(commands: Subcommands) -> None:
    """Add the command to the parser."""
    validate = add_subcommand(commands, "validate", "check a folder of mirror definitions")
    words = "the folder of mirror definitions (default: %(default)s)"
    validate.add_argument("directory", nargs="?", default=".", type=Path, metavar="DIR", help=words)
    words = f"form of the output: {', '.join(_FORMATS)} (default: %(default)s)"
    validate.add_argument("--format", choices=_FORMATS, default="text", metavar="FORMAT", help=words)
    validate.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    words = "ask the upstreams of valid mirrors whether they have the files, politely and only on the Internet"
    validate.add_argument("--online", action="store_true", help=words)
    words = "with --online: ask hosts of internal networks as well; not for pull requests of people you do not trust"
    validate.add_argument("--internal", action="store_true", help=words)
    validate.set_defaults(command=_validate, reject=validate.error)


def _validate(arguments: argparse.Namespace) -> int:
    if arguments.internal and not arguments.online:
        arguments.reject("--internal needs --online")
    from runner.checking.formats import SHOW
    from runner.checking.judging import judged
    from runner.checking.placed_paths import checked_folder
    from schemas.config import plugin_search, sources

    files = sources.read_directory(arguments.directory)
    result = judged(arguments.directory, files, plugin_search.installed().schemas)
    if arguments.online:
        from runner.checking import online

        result = online.with_upstreams(result, arguments.directory, online.Manners(internal=arguments.internal))
    SHOW[arguments.format](result, checked_folder(arguments.directory))
    return 1 if result.problems else 0
