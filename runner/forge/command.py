"""The parser of `skipjack forge`: what the jobs of a forge do with pull requests and merged commits.

Most commands of `skipjack` import this module, so imports stand inside the functions.
"""

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.subcommands import Subcommands, add_subcommand

if TYPE_CHECKING:
    from runner.forge.forge import Forge

_KINDS = ("github", "gitlab", "gitea")


def add(commands: Subcommands) -> None:
    """Add the command to the parser."""
    forge = add_subcommand(commands, "forge", "report plans and applied revisions to the forge, for its jobs")
    below = forge.add_subparsers(required=True, metavar="ACTION")
    _add_comment(below)
    _add_list(below)
    _add_applied(below)


def _add_comment(below: Subcommands) -> None:
    words = "write a plan into the pull request, in one comment that is renewed"
    comment = _with_forge(below, "comment", words)
    words = "the output of `skipjack plan BASE..HEAD --format markdown`; nothing in it is trusted"
    comment.add_argument("--plan", type=Path, required=True, metavar="FILE", help=words)
    words = "the commit at the head of the pull request, by which the forge is asked for its number"
    comment.add_argument("--head-sha", type=_commit, required=True, metavar="SHA", help=words)
    comment.add_argument("--base", metavar="BRANCH", help="only pull requests for this branch")
    words = "the user whose comment is renewed (default: that of the token)"
    comment.add_argument("--author", metavar="NAME", help=words)
    comment.set_defaults(command=_comment)


def _add_list(below: Subcommands) -> None:
    words = "list open pull requests: number and commit of the head, one in each line"
    listing = _with_forge(below, "list", words)
    listing.add_argument("--base", metavar="BRANCH", help="only pull requests for this branch")
    listing.set_defaults(command=_list)


def _add_applied(below: Subcommands) -> None:
    words = "wait until all workers have a commit in force, and show it as a status of the commit"
    applied = _with_forge(below, "applied", words)
    words = "the address of the mirror site, below which `status.json` is"
    applied.add_argument("--site", required=True, metavar="URL", help=words)
    applied.add_argument("--revision", type=_commit, required=True, metavar="SHA", help="the merged commit")
    words = "how long to wait for the workers (default: 30m)"
    applied.add_argument("--wait", type=_duration, default=1800, metavar="DURATION", help=words)
    applied.set_defaults(command=_applied)


def _with_forge(below: Subcommands, name: str, words: str) -> argparse.ArgumentParser:
    parser = add_subcommand(below, name, words)
    words = "github, gitlab or gitea, which Forgejo is as well (default: from the variables of the job)"
    parser.add_argument("--forge", choices=_KINDS, metavar="KIND", help=words)
    words = "address of the API (default: GITHUB_API_URL or CI_API_V4_URL)"
    parser.add_argument("--api", metavar="URL", help=words)
    words = "OWNER/NAME, or the id of a project of GitLab (default: GITHUB_REPOSITORY or CI_PROJECT_ID)"
    parser.add_argument("--repository", metavar="NAME", help=words)
    words = "file with the token (default: the variable SKIPJACK_FORGE_TOKEN)"
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=words)
    words = "file with the certificate authorities to trust (default: those of the system)"
    parser.add_argument("--ca-cert", metavar="FILE", help=words)
    parser.set_defaults(reject=parser.error)
    return parser


def _commit(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the full hash of a commit")
    return text


def _duration(text: str) -> int:
    from schemas.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}. Example: 30m") from error


def _forge(arguments: argparse.Namespace) -> "Forge":
    from runner.forge import kinds, place

    chosen = place.ForgeOptions(*(getattr(arguments, field) for field in place.ForgeOptions._fields))
    try:
        found = place.located(chosen, os.environ)
    except place.MissingOption as missing:
        arguments.reject(str(missing))
    return kinds.connected(found, getattr(arguments, "author", None))


def _comment(arguments: argparse.Namespace) -> int:
    from runner.forge import comment, plan_text

    plan = plan_text.read(arguments.plan)
    comment.renew(_forge(arguments), plan, arguments.head_sha, arguments.base)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from runner.forge import comment

    comment.list_open(_forge(arguments), arguments.base)
    return 0


def _applied(arguments: argparse.Namespace) -> int:
    from runner.forge import applied

    site = applied.SiteReader(arguments.site, arguments.ca_cert)
    return 0 if applied.follow(site, _forge(arguments), arguments.revision, arguments.wait) else 1
