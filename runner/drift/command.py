"""The parsers of `skipjack drift` and `skipjack prune`.

Most commands of `skipjack` import this module, so imports stand inside the functions.
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from schemas.subcommands import Subcommands

if TYPE_CHECKING:
    from schemas.records import RunnerSettings

    SettingsReader = Callable[[argparse.Namespace], RunnerSettings]


def add(
    commands: Subcommands,
    with_settings: Callable[[Subcommands, str, str], argparse.ArgumentParser],
    read: "SettingsReader",
    own: "SettingsReader",
) -> None:
    """Add both commands to the parser.

    `with_settings` adds a command with `--settings`; `read` and `own` return the settings, `own` for a command that
    writes to the state directory.
    """
    drift = with_settings(commands, "drift", "list what this machine has of mirrors that have no definition")
    drift.add_argument("--json", action="store_true", help="print it as JSON")
    drift.set_defaults(command=lambda arguments: _drift(read(arguments), as_json=arguments.json))
    words = "remove states, logs and snapshots of mirrors that have no definition; without confirmation, list them"
    prune = with_settings(commands, "prune", words)
    prune.add_argument("--data", action="store_true", help="also the directories of such mirrors below mirror_root")
    how = prune.add_mutually_exclusive_group()
    how.add_argument("--yes", action="store_true", help="remove what is listed, without a question")
    words = "remove what is listed if it is the list with this digest, which `prune` prints"
    how.add_argument("--confirm", default="", metavar="DIGEST", help=words)
    prune.set_defaults(command=lambda arguments: _prune(own(arguments), arguments))


def _drift(settings: "RunnerSettings", *, as_json: bool) -> int:
    from runner.drift import report, search

    drift, _known = search.look(settings)
    sizes = report.measured(drift.items)
    if as_json:
        report.say_json(drift, sizes)
    else:
        report.say_text(drift, sizes)
    return 0


def _prune(settings: "RunnerSettings", arguments: argparse.Namespace) -> int:
    from runner.drift.prune import prune

    return prune(settings, data=arguments.data, yes=arguments.yes, confirm=arguments.confirm)
