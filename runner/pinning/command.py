"""The parsers of `skipjack pin` and `skipjack unpin`.

Each start of `skipjack` imports this module, so imports stand inside the functions.
"""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from schemas.subcommands import Subcommands

if TYPE_CHECKING:
    from schemas.records import RunnerSettings


class FollowReporter(Protocol):
    """Follows, and logs the result; `offline` only applies a pin. False if there were problems."""

    def __call__(self, settings: "RunnerSettings", *, offline: bool) -> bool:
        """Follow with these settings."""


def add(
    commands: Subcommands,
    with_settings: Callable[[Subcommands, str, str], argparse.ArgumentParser],
    own: "Callable[[argparse.Namespace], RunnerSettings]",
    follow: FollowReporter,
    reason: Callable[[str], str],
) -> None:
    """Add both commands to the parser.

    `with_settings` adds a command with `--settings`, `own` returns the settings for a command that writes to the state
    directory, and `reason` checks a reason.
    """
    words = "go back to a revision that this worker had in force, and stay there for a while"
    pin = with_settings(commands, "pin", words)
    pin.add_argument("revision", metavar="REVISION", help="the commit, which may be abbreviated")
    words = "how long: a duration such as 2d, or a time such as 2030-01-31T18:00; at most 30d"
    pin.add_argument("--until", required=True, metavar="TIME", help=words)
    words = "shown by `skipjack next` and on the manager's page of workers"
    pin.add_argument("--reason", type=reason, default="", metavar="TEXT", help=words)
    pin.set_defaults(command=lambda arguments: _pin(arguments, own, follow))
    unpin = with_settings(commands, "unpin", "end a pin, and apply the newest revision")
    unpin.set_defaults(command=lambda arguments: _unpin(own(arguments), follow))


def _pin(
    arguments: argparse.Namespace, own: "Callable[[argparse.Namespace], RunnerSettings]", follow: FollowReporter
) -> int:
    import time

    from runner.overrides.operator_commands import operator_name
    from runner.pinning import pinning, until

    made_by = operator_name()  # before the settings are read: that turns root into the worker's user
    now = time.time()
    end = until.parse(arguments.until, now)
    settings = own(arguments)
    pinning.pin(settings, arguments.revision, end, made_by, arguments.reason)
    fine = follow(settings, offline=True)
    pinning.wake_courier(settings)
    return 0 if fine else 1


def _unpin(settings: "RunnerSettings", follow: FollowReporter) -> int:
    from runner.base.output import say
    from runner.pinning import pinning

    if not pinning.unpin(settings):
        say("this worker is not pinned; nothing was changed")
        return 0
    fine = follow(settings, offline=False)
    pinning.wake_courier(settings)
    return 0 if fine else 1
