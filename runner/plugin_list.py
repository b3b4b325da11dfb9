"""`skipjack plugins`: the providers and hooks of this machine, and the state and the keys of each."""

import json
import os
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from runner import hooks
from runner.base.output import log, say
from runner.base.state_dir import StateLayout
from runner.follow import plugin_trial
from runner.follow.plugins_in_use import used_by
from runner.plan import plan
from runner.policy import policy_names
from schemas import VERSION
from schemas.config import built_in, plugin_search
from schemas.config.fragments import Fragment
from schemas.config.plugin_search import Found
from schemas.config.settings import load_policy
from schemas.errors import SkipjackError
from schemas.mirror_record import Mirror
from schemas.plugins import HOOK, PROVIDER, Plugin
from schemas.problems import shown
from schemas.records import Policy, RunnerSettings
from schemas.standard_streams import WARNING

IN_USE, USABLE, DENIED, BROKEN, HIDDEN = "in-use", "usable", "denied", "broken", "hidden"
_WIDTH = 100


class PluginRow(NamedTuple):
    """One provider or hook: its state, why it has that state, and how many mirrors use it (None if unknown)."""

    name: str
    kind: str
    version: str
    state: str
    reason: str
    mirrors: int | None
    module: str
    distribution: str


class _Known(NamedTuple):
    """The policy and the mirrors in force; both None on a machine without settings or without a plan."""

    policy: Policy | None
    mirrors: list[Mirror] | None


def print_plugins(settings: RunnerSettings | None, name: str | None, *, as_json: bool) -> None:
    """Print all providers and hooks, or those called `name` with their keys; SkipjackError if there is none.

    Each plug-in that is printed and that the policy allows is imported in a process of its own.
    """
    found = plugin_search.installed()
    for problem in found.problems:
        log(problem, about="plugins", level=WARNING)
    machine = _machine(settings)
    for line in policy_names.warnings(machine.policy, found) if machine.policy else ():
        log(line, about="plugins", level=WARNING)
    known = {**dict.fromkeys(built_in.plugins(PROVIDER)), **dict.fromkeys(built_in.plugins(HOOK))}
    known |= dict.fromkeys(each.plugin.name for each in found.plugins)
    if name is not None and name not in known:
        names = ", ".join(f"`{shown(each)}`" for each in known)
        raise SkipjackError(f"no provider or hook `{shown(name)}` is installed here.", f"Known: {names}.")
    rows = list(_rows(found.plugins, machine, known if name is None else {name}))
    if as_json:
        say(json.dumps([row._asdict() for row, _fragment in rows], indent=2), has_addresses=False)
    elif name is None:
        _say_table([row for row, _fragment in rows])
    else:
        for row, fragment in rows:
            _say_whole(row, fragment)


def _rows(
    found: Sequence[Found], machine: _Known, names: Collection[str]
) -> Iterator[tuple[PluginRow, Fragment | None]]:
    for row in _built_in(machine):
        if row.name in names:
            yield row, built_in.plugins(row.kind)[row.name]
    for each in found:
        if each.plugin.name in names:
            yield _row(each, machine), each.fragment


def _say_table(rows: Sequence[PluginRow]) -> None:
    cells = [("NAME", "KIND", "VERSION", "STATE"), *((r.name, r.kind, r.version, _state(r)) for r in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    for line in cells:
        say("  ".join([*(cell.ljust(width) for cell, width in zip(line[:3], widths, strict=True)), line[3]]))


def _say_whole(row: PluginRow, fragment: Fragment | None) -> None:
    origin = f" ({row.distribution}, {row.module})" if row.distribution else ""
    say(f"{row.kind} {row.name} {row.version}{origin}: {_state(row)}")
    for line in _described(fragment) if fragment else ():
        indent = line[: len(line) - len(line.lstrip())]
        say("\n".join(textwrap.wrap(line, _WIDTH, subsequent_indent=f"{indent}  ")))


def _machine(settings: RunnerSettings | None) -> _Known:
    if settings is None:
        return _Known(None, None)
    place = StateLayout(settings.state_dir).plan
    policy = load_policy(Path(settings.policy))
    if not os.path.exists(place):
        return _Known(policy, None)
    try:
        with plan.opened(place) as opened:
            return _Known(policy, [each.mirror for each in opened.mirrors()])
    except SkipjackError as error:
        log(f"the number of mirrors is unknown: {error}", about="plugins", level=WARNING)
        return _Known(policy, None)


def _built_in(machine: _Known) -> Iterator[PluginRow]:
    for kind in (PROVIDER, HOOK):
        for name in built_in.plugins(kind):
            uses = None if machine.mirrors is None else sum(_uses(each, kind, name) for each in machine.mirrors)
            denied = kind == PROVIDER and machine.policy is not None and name not in machine.policy.providers
            yield _with_state(Plugin(kind, name, "", "", VERSION), "", uses, denied=denied)


def _uses(mirror: Mirror, kind: str, name: str) -> bool:
    return mirror.provider == name if kind == PROVIDER else hooks.is_used(mirror, name)


def _row(found: Found, machine: _Known) -> PluginRow:
    plugin, policy = found.plugin, machine.policy
    if built_in.kind_of(plugin.name):
        return PluginRow(
            plugin.name, plugin.kind, plugin.version, HIDDEN, found.problem, 0, plugin.module, found.distribution
        )
    if found.problem:
        return _with_state(plugin, found.distribution, 0, why=found.problem)
    pair = (plugin.kind, plugin.name)
    uses = None if machine.mirrors is None else sum(pair in used_by(each) for each in machine.mirrors)
    allowed = policy is None or plugin.name in (policy.providers if plugin.kind == PROVIDER else policy.hooks)
    why = plugin_trial.why_broken(plugin) if allowed else ""
    return _with_state(plugin, found.distribution, uses, denied=not allowed, why=why)


def _with_state(
    plugin: Plugin, distribution: str, uses: int | None, *, denied: bool = False, why: str = ""
) -> PluginRow:
    state = DENIED if denied else BROKEN if why else IN_USE if uses else USABLE
    return PluginRow(plugin.name, plugin.kind, plugin.version, state, why, uses, plugin.module, distribution)


def _state(row: PluginRow) -> str:
    """Return the state in words."""
    if row.state == IN_USE:
        return f"in use by {row.mirrors} mirror{'s' * (row.mirrors != 1)}"
    if row.state == DENIED:
        key = "providers" if row.kind == PROVIDER else "hooks"
        return f"not allowed by `{key}` of the policy"
    return (
        row.reason.removeprefix("it is ") if row.state == HIDDEN else f"{row.state}{row.reason and f': {row.reason}'}"
    )


def _described(fragment: Fragment) -> Iterator[str]:
    """Yield what the schema of a provider or hook says about its keys."""
    yield f"  {fragment.schema['description']}"
    properties: Mapping[str, Mapping[str, Any]] = fragment.schema.get("properties", {})
    required = fragment.schema.get("required", ())
    if properties:
        yield f"  Keys below `{fragment.name}:`"
    for key, part in properties.items():
        facts = [_type(part), *(["required"] if key in required else [])]
        facts += [f"default: {json.dumps(part['default'])}"] if "default" in part else []
        facts += [f"example: {json.dumps(part['examples'][0])}"] if part.get("examples") else []
        yield f"    {key}: {', '.join(facts)}"
        yield f"      {part.get('description', '')}"
    if fragment.mirror_keys:
        yield f"  Common keys of a mirror that it reads: {', '.join(f'`{key}`' for key in fragment.mirror_keys)}"


def _type(part: Mapping[str, Any]) -> str:
    """Return the type of a value, or the values that it may have."""
    if "enum" in part:
        return " or ".join(json.dumps(each) for each in part["enum"])
    types = part.get("type", "any value")
    return " or ".join(types) if isinstance(types, list) else str(types)
