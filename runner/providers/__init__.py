"""The built-in providers, one module each. A new one is a module and its line here."""

from collections.abc import Iterator, Mapping
from typing import cast

from runner.plugin_api import Provider
from runner.plugin_loader import load


class _Providers(Mapping[str, Provider]):
    """The modules of providers by name; one is imported when it is asked for, since a run would pay for all others."""

    _modules: Mapping[str, str] = {
        "rsync": "rsync",
        "two-stage-rsync": "two_stage_rsync",
        "command": "command",
    }

    def __getitem__(self, name: str) -> Provider:
        return cast("Provider", load(f"{__name__}.{self._modules[name]}"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


PROVIDERS: Mapping[str, Provider] = _Providers()
