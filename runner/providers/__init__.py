"""The providers, one module each. A new one is a module and its line here."""

from typing import cast

from runner.api import Provider
from runner.providers import command, rsync

PROVIDERS: dict[str, Provider] = {
    "rsync": cast("Provider", rsync),
    "command": cast("Provider", command),
}
