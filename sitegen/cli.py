"""The command line of the manager: `skipjack-manager serve | publish | token | audit | forget | backup | check`."""

import argparse
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from schemas import ownership
from schemas.errors import SkipjackError
from schemas.release import version
from schemas.standard_streams import INFO
from schemas.subcommands import Subcommands, add_subcommand
from sitegen import boundary, output

if TYPE_CHECKING:
    from schemas.records import ManagerSettings

DEFAULT_SETTINGS = Path("/etc/skipjack/manager.yml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (0 fine, 1 expected failure, 2 usage, 3 bug, 128+n signal)."""
    gc.set_threshold(10_000)  # imported modules stay: searching them for garbage costs a tenth of the start
    return boundary.run(lambda: _execute(_parser().parse_args(arguments)))


def _execute(options: argparse.Namespace) -> None:
    """Execute a parsed command line; when permission is denied, SkipjackError that names the manager's user."""
    output.start_logging()
    try:
        options.command(options)
    except (SkipjackError, OSError) as error:
        denial = ownership.denial(error, getattr(options, "state_dir", ""), "This manager")
        if denial is None:
            raise
        raise denial from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skipjack-manager",
        description="Receive the reports of a mirror site's workers, and publish its status site.",
    )
    parser.add_argument("--version", action="version", version=f"skipjack {version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = _command(commands, "serve", "receive the workers' reports and answer API requests", _serve)
    serve.add_argument("--publish", action="store_true", help="also run `publish`, as a child process")
    publish = _command(commands, "publish", "keep the static site up to date", _publish)
    publish.add_argument("--once", action="store_true", help="publish once and exit")
    # Only `serve --publish` passes it, with a pipe as stdin.
    publish.add_argument("--as-child", action="store_true", help=argparse.SUPPRESS)
    token = commands.add_parser(
        "token", help="manage tokens", description="Manage the tokens of workers, operators and readers."
    )
    tokens = token.add_subparsers(required=True, metavar="ACTION")
    add = _command(tokens, "add", "create a token and print it; it is not shown again", _token_add)
    add.add_argument("name", metavar="NAME", help="the worker, or the person or program that will use it")
    add.add_argument(
        "--scope",
        choices=("worker", "operator", "read"),
        default="worker",
        help="worker: report and receive commands as worker NAME (default); operator: give commands; read: only read",
    )
    _command(tokens, "list", "list the tokens, without the secrets", _token_list)
    rotate = _command(tokens, "rotate", "create a token that replaces another, and print it", _token_rotate)
    rotate.add_argument("id", metavar="ID", type=_number, help="the token's number in `token list`")
    rotate.add_argument(
        "--keep",
        type=_duration,
        default="1d",
        metavar="TIME",
        help="how long the old token stays valid (default: %(default)s)",
    )
    revoke = _command(tokens, "revoke", "revoke a token", _token_revoke)
    revoke.add_argument("id", metavar="ID", type=_number, help="the token's number in `token list`")
    forget = _command(commands, "forget", "remove a retired worker from pages and metrics", _forget)
    forget.add_argument("worker", metavar="WORKER", help="the worker; its runs stay in the history")
    backup = _command(commands, "backup", "copy the database while it is in use", _backup)
    backup.add_argument("file", metavar="FILE", type=Path, help="the file to write or replace")
    _command(commands, "check", "check the database, without changing it", _check)
    audit = _command(commands, "audit", "list who gave which command or changed which token", _audit)
    audit.add_argument("--json", action="store_true", help="print one JSON object per line")
    since = "earliest time, such as 7d (ago), 2026-11-22 or 2026-11-22T12:00Z"
    audit.add_argument("--since", type=_moment, default=0.0, metavar="TIME", help=since)
    return parser


def _command(commands: Subcommands, name: str, words: str, function: object) -> argparse.ArgumentParser:
    command = add_subcommand(commands, name, words)
    default = f"settings (default: ~/.config/skipjack/{DEFAULT_SETTINGS.name} if it exists, else {DEFAULT_SETTINGS})"
    command.add_argument("--settings", type=Path, default=None, metavar="FILE", help=default)
    command.set_defaults(command=function)
    return command


def _number(text: str) -> int:
    """Parse a token's number. At nine digits it fits into the integers of every database."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a token; see `token list`")
    return int(text)


def _duration(text: str) -> int:
    from schemas.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write for example 12h or 7d") from error


def _moment(text: str) -> float:
    """Parse a time (UTC without a zone), or a duration before now; returns Unix seconds."""
    import time
    from datetime import UTC, datetime

    # A time ends with a digit or with `Z`, never with one of these letters.
    if text[-1:] in ("s", "m", "h", "d", "w"):
        return time.time() - _duration(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        what = f"{text!r} is not a time; write for example 7d, 2026-11-22 or 2026-11-22T12:00Z"
        raise argparse.ArgumentTypeError(what) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


# Each command imports its modules when it runs, so that `--help` and `token` do not load the web server.


def _settings(options: argparse.Namespace) -> "ManagerSettings":
    from schemas.config.settings import load_manager, own_settings

    if options.settings is None:
        options.settings = own_settings(DEFAULT_SETTINGS) or DEFAULT_SETTINGS
        if options.settings != DEFAULT_SETTINGS and DEFAULT_SETTINGS.exists():
            # A user with settings of their own may have meant the system's manager.
            output.log(f"using {options.settings}; the system's manager has `--settings {DEFAULT_SETTINGS}`", INFO)
    settings = load_manager(options.settings)
    options.state_dir = settings.state_dir
    return settings


def _serve(options: argparse.Namespace) -> None:
    from sitegen.web import tested_releases

    tested_releases.require_tested()  # before `serve` imports them
    from sitegen import serve

    # From here on log lines name the program: with `--publish`, serve and publish share one stderr.
    output.start_logging("serve")
    serve.serve(_settings(options), options.settings if options.publish else None)


def _publish(options: argparse.Namespace) -> None:
    from sitegen import process, publish

    output.start_logging("publish")
    if options.as_child:
        process.end_with_parent()
    publish.publish(_settings(options), once=options.once)


def _token_add(options: argparse.Namespace) -> None:
    from sitegen import tokens

    tokens.add(_settings(options), options.name, options.scope)


def _token_rotate(options: argparse.Namespace) -> None:
    from sitegen import tokens

    tokens.rotate(_settings(options), options.id, options.keep)


def _token_list(options: argparse.Namespace) -> None:
    from sitegen import tokens

    tokens.show(_settings(options))


def _token_revoke(options: argparse.Namespace) -> None:
    from sitegen import tokens

    tokens.revoke(_settings(options), options.id)


def _forget(options: argparse.Namespace) -> None:
    from sitegen import forget

    forget.forget(_settings(options), options.worker)


def _backup(options: argparse.Namespace) -> None:
    from sitegen import backup

    backup.backup(_settings(options), options.file)


def _check(options: argparse.Namespace) -> None:
    from sitegen import check

    check.check(_settings(options))


def _audit(options: argparse.Namespace) -> None:
    from sitegen import audit

    audit.show(_settings(options), options.since, as_json=options.json)
