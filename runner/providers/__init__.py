"""The providers, one module each. A new one is a module and its line here."""

from typing import cast

from runner.api import Provider
from runner.providers import command, rsync, two_stage_rsync

PROVIDERS: dict[str, Provider] = {
    "rsync": cast("Provider", rsync),
    "two-stage-rsync": cast("Provider", two_stage_rsync),
    "command": cast("Provider", command),
}
