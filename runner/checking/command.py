"""The parser of `skipjack validate`.

Most commands of `skipjack` import this module, so imports stand inside the functions.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.subcommands import Subcommands, add_subcommand

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner.checking.findings import CheckResult
    from runner.checking.placed_paths import CheckedFolder
    from schemas.config.exported_policy import ExportedPolicy

_FORMATS = ("text", "json", "github", "gitlab", "sarif")


def add(commands: Subcommands) -> None:
    """Add the command to the parser."""
    validate = add_subcommand(commands, "validate", "check a folder of mirror definitions")
    words = "the folder of mirror definitions (default: %(default)s)"
    validate.add_argument("directory", nargs="?", default=".", type=Path, metavar="DIR", help=words)
    words = f"form of the output: {', '.join(_FORMATS)} (default: %(default)s)"
    validate.add_argument("--format", choices=_FORMATS, default="text", metavar="FORMAT", help=words)
    validate.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format json")
    words = "check only what the change of the work tree since its common commit with this revision can break"
    validate.add_argument("--changed-since", type=_revision, metavar="REVISION", help=words)
    words = "an exported policy of a worker, instead of that in `.skipjack/policies`; may be repeated"
    validate.add_argument("--policy", type=Path, action="append", default=[], metavar="FILE", help=words)
    words = "ask the upstreams of valid mirrors whether they have the files, politely and only on the Internet"
    validate.add_argument("--online", action="store_true", help=words)
    words = "with --online: ask hosts of internal networks as well; not for pull requests of people you do not trust"
    validate.add_argument("--internal", action="store_true", help=words)
    validate.set_defaults(command=_validate, reject=validate.error)


def _revision(text: str) -> str:
    if not text or text.startswith("-") or ".." in text or not text.isprintable():
        raise argparse.ArgumentTypeError("name one revision, such as origin/main")
    return text


def _validate(arguments: argparse.Namespace) -> int:
    if arguments.internal and not arguments.online:
        arguments.reject("--internal needs --online")
    from runner.checking.formats import SHOW
    from runner.checking.placed_paths import checked_folder

    folder = checked_folder(arguments.directory)
    result = _checked(folder, arguments.changed_since, arguments.policy)
    if arguments.online:
        from runner.checking import online

        result = online.with_upstreams(result, arguments.directory, online.Manners(internal=arguments.internal))
    SHOW[arguments.format](result, folder)
    return 1 if result.problems else 0


def _checked(folder: "CheckedFolder", since: str | None, policies: list[Path]) -> "CheckResult":
    from runner.checking import judging
    from schemas.config import plugin_search, sources
    from schemas.errors import SkipjackError

    sources.require_folder(folder.typed)
    judge = judging.CheckRules(plugin_search.installed().schemas, _policies(policies))
    if since is None:
        return judging.judged_folder(folder.typed, judge)
    from runner.checking import change
    from runner.checking.work_tree import WorkTree

    if folder.top is None or folder.below is None:
        what = f"`--changed-since` compares with git, and {folder.typed} is not in a git repository."
        raise SkipjackError(what, "Check the whole folder, without this option.")
    return change.judged(folder.typed, WorkTree(folder.top, folder.below, since), judge)


def _policies(files: list[Path]) -> "Mapping[str, ExportedPolicy]":
    if not files:
        return {}
    from runner.policy import exported_files

    return exported_files.read_all(files)
