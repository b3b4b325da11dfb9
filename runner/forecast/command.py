"""The parser of `skipjack plan`.

Most commands of `skipjack` import this module, so imports stand inside the functions.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from runner.base.output import say
from schemas.errors import SkipjackError
from schemas.subcommands import Subcommands, add_subcommand

if TYPE_CHECKING:
    from runner.forecast.forecast import Forecast
    from runner.forecast.revisions import RevisionRange


def add(commands: Subcommands) -> None:
    """Add the command to the parser."""
    plan = add_subcommand(commands, "plan", "show what a change of the config repository will do on each worker")
    words = "revisions to compare; BASE...HEAD compares with their common commit, BASE alone with the work tree"
    plan.add_argument("revisions", type=_range, metavar="BASE..HEAD", help=words)
    words = "the config repository, or a folder in it (default: %(default)s)"
    plan.add_argument("--repo", type=Path, default=Path(), metavar="DIR", help=words)
    words = "the folder of the definitions in the repository (default: the one with _site.yml)"
    plan.add_argument("--path", type=_folder, default=None, metavar="FOLDER", help=words)
    words = "an exported policy to judge by instead of that in the repository; may be repeated"
    plan.add_argument("--policy", type=Path, action="append", default=[], metavar="FILE", help=words)
    words = "add sizes, durations and policies of the running site, from the manager at this address"
    plan.add_argument("--live", type=_url, default=None, metavar="MANAGER_URL", help=words)
    words = "the form of the plan (default: %(default)s)"
    plan.add_argument("--format", choices=["text", "markdown", "json"], default="text", help=words)
    plan.set_defaults(command=_plan)


def _range(text: str) -> "RevisionRange":
    from runner.forecast.revisions import parsed

    try:
        return parsed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}. Example: main..HEAD") from error


def _url(text: str) -> str:
    from schemas.addresses import web_trouble, without_secrets

    if trouble := web_trouble(text, whole=False):
        raise argparse.ArgumentTypeError(f"{without_secrets(text)!r} {trouble}. Example: https://mirrors.example.org")
    return text


def _folder(text: str) -> str:
    """Return a folder below the repository's top, with slashes; empty for the top itself."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/") or ".." in parts:
        raise argparse.ArgumentTypeError(f"{text!r} does not lie below the top folder of the repository")
    return "/".join(parts)


def _plan(arguments: argparse.Namespace) -> int:
    from runner.forecast import json_output, markdown, text

    found = _forecast(arguments)
    render = {"text": text, "markdown": markdown, "json": json_output}[arguments.format].rendered
    # Secrets are masked in the values: masking the whole would change the form of JSON.
    say(render(found).removesuffix("\n"), has_addresses=False)
    return 0 if found.is_fine else 1


def _forecast(arguments: argparse.Namespace) -> "Forecast":
    from runner.forecast import compare, policies, revisions
    from runner.policy import exported_files
    from schemas.config import plugin_search
    from schemas.git import local_repository

    named = exported_files.read_all(arguments.policy)
    installed = plugin_search.installed().schemas
    with local_repository.opened(arguments.repo) as repository:
        compared = revisions.read(repository, arguments.revisions, arguments.path, installed)
    base, head = (policies.of_state(each) for each in (compared.base, compared.head))
    notes = (*compared.notes, *policies.replaced(base, head))
    exported = {**head, **named}
    found = compare.compare(compared.base, compared.head, exported, notes)
    if arguments.live is None or found.rejected or found.unknown_base:
        return found
    from runner.forecast import manager_reads  # here, since it loads what HTTP needs

    try:
        facts = manager_reads.read(arguments.live, found.mirror_names)
    except SkipjackError as error:
        return found._replace(live_failure=str(error))
    return compare.compare(compared.base, compared.head, exported, notes, facts)
