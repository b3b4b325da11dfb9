"""What a run is made of, by the plan: facts about the machine, its provider and its hooks."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from runner import hooks
from runner.base.state_dir import StateLayout
from runner.plan.plan import Header
from runner.plugin_api import Machine, Provider
from runner.providers import PROVIDERS
from schemas.mirror_record import Mirror

if TYPE_CHECKING:
    from runner.run.plugin_interruption import PluginLimits
    from schemas.plugins import Plugin


def machine_of(layout: StateLayout, header: Header) -> Machine:
    """Return the facts about the machine that a run needs, from the plan's header."""
    return Machine(
        layout.state_dir, header.container_program, header.cgroup, header.volumes, header.pattern_files,
        header.home or layout.home, header.roots, header.env, header.judged, header.passwords,
        header.programs,
    )  # fmt: skip


def has_plugins(mirror: Mirror) -> bool:
    """Return whether a mirror uses a plug-in; most use none, and their runs do not load what calls them."""
    return bool(mirror.plugins) or mirror.provider not in PROVIDERS


def parts_of(
    mirror: Mirror, plugins: Collection["Plugin"], limits: "PluginLimits | None" = None
) -> tuple[Provider, tuple[object, ...]]:
    """Return the provider and the hooks of a mirror; `limits` are those for the code of plug-ins."""
    if not has_plugins(mirror):
        return PROVIDERS[mirror.provider], hooks.of(mirror)
    from runner.run import plugin_guard

    guarded: Provider = plugin_guard.provider(mirror, plugins, limits)
    provider = PROVIDERS.get(mirror.provider, guarded)
    return provider, (*hooks.of(mirror), *plugin_guard.hooks(mirror, plugins, limits))
