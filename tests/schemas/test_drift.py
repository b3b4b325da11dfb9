"""Schemas, records, providers and messages agree."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runner import hooks
from runner.providers import PROVIDERS
from schemas import names, records, report, units
from schemas.config import built_in, catalogue, editor_schema, fragment_checks, plugin_names, record_factory
from schemas.config.fragments import Fragment
from schemas.config.schema_set import SCHEMAS, schema, validator
from schemas.config.sources import EDITOR_SCHEMAS, EXCLUDE_FILE_PATTERN, read_directory
from schemas.plugins import HOOK, PROVIDER

from .kit import lines

ROOT = Path(__file__).parents[2]
SchemaPart = dict[str, Any]


def parts(part: SchemaPart, pointer: str = "") -> Iterator[tuple[str, SchemaPart]]:
    """Yield every described part of a schema below `part`: properties, and values of mappings with free keys."""
    for key, below in part.get("properties", {}).items():
        yield f"{pointer}/properties/{key}", below
        yield from parts(below, f"{pointer}/properties/{key}")
    for key in ("items", "additionalProperties"):
        if isinstance(part.get(key), dict):
            yield from parts(part[key], f"{pointer}/{key}")
    for key in ("allOf", "anyOf"):
        for number, below in enumerate(part.get(key, ())):
            yield from parts(below, f"{pointer}/{key}/{number}")
    for key, below in part.get("$defs", {}).items():
        yield from parts(below, f"{pointer}/$defs/{key}")


EVERYWHERE = [(name, pointer) for name in SCHEMAS for pointer, _part in parts(schema(name))]


def at(name: str, pointer: str) -> SchemaPart:
    """Return the part of a schema at a pointer, with the part of another file that it refers to."""
    part: Any = schema(name)
    for step in pointer.split("/")[1:]:
        part = part[int(step)] if isinstance(part, list) else part[step]
    file, _, below = part.get("$ref", "").partition("#")
    described: SchemaPart = part | at(file.removesuffix(".schema.json"), below) if file else part
    return described


def values_of(name: str, keyword: str) -> set[str]:
    return {found[keyword] for _pointer, found in everything(schema(name)) if isinstance(found.get(keyword), str)}


def everything(part: Any, pointer: str = "") -> Iterator[tuple[str, SchemaPart]]:
    if isinstance(part, dict):
        yield pointer, part
        for key, below in part.items():
            yield from everything(below, f"{pointer}/{key}")
    elif isinstance(part, list):
        for number, below in enumerate(part):
            yield from everything(below, f"{pointer}/{number}")


@pytest.mark.parametrize(("name", "pointer"), EVERYWHERE)
def test_every_property_is_described_with_examples_that_it_allows(name: str, pointer: str) -> None:
    part = at(name, pointer)
    assert part["description"].endswith("."), "a description is made of whole sentences"
    check = validator(name).evolve(schema={"$ref": f"{schema(name)['$id']}#{pointer}"})
    for example in [*part["examples"], *([part["default"]] if "default" in part else [])]:
        check.validate(example)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_valid_itself_and_described(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["title"] and schema(name)["description"].endswith(".")


def test_the_patterns_of_the_schemas_are_those_of_the_code() -> None:
    patterns = set().union(*(values_of(name, "pattern") for name in SCHEMAS))
    assert {pattern for pattern in patterns if "(s|m|h|d|w)" in pattern} == {units.DURATION_PATTERN}
    assert {pattern for pattern in patterns if "MiB" in pattern} == {units.SIZE_PATTERN}
    assert {pattern for pattern in patterns if "{0,63}" in pattern} == {names.NAME_PATTERN, EXCLUDE_FILE_PATTERN}


def test_no_pattern_uses_a_dollar_other_than_for_the_end() -> None:
    patterns = set().union(*(values_of(name, "pattern") for name in SCHEMAS))
    assert not [pattern for pattern in patterns if r"\$" in pattern or "[$" in pattern]


WORKER = schema("workers")["properties"]["workers"]["additionalProperties"]["properties"]
RUNNER, MANAGER = schema("runner")["properties"], schema("manager")["properties"]
SIGNATURES = RUNNER["repository"]["properties"]["verify_signatures"]["properties"]

RECORDS = [
    pytest.param(schema("mirror")["properties"], records.Mirror, {"name", "plugins"}, set(), id="mirror"),
    pytest.param(schema("site")["properties"], records.Site, set(), set(), id="site"),
    pytest.param(WORKER, records.Worker, {"name"}, {"defaults"}, id="worker"),
    pytest.param(RUNNER["repository"]["properties"], records.Repository, set(), set(), id="repository"),
    pytest.param(MANAGER["repository"]["properties"], records.Repository, set(), set(), id="manager's repository"),
    pytest.param(SIGNATURES, records.SignatureRules, {"owner"}, set(), id="signatures"),
    pytest.param(RUNNER["manager"]["properties"], records.ManagerAddress, set(), set(), id="manager's address"),
    pytest.param(RUNNER["manager"]["properties"]["token"]["properties"], records.Secret, set(), set(), id="token"),
    pytest.param(schema("mirror")["properties"]["password"]["properties"], records.Secret, set(), set(), id="password"),
    pytest.param(WORKER["sync_windows"]["properties"], records.SyncWindows, set(), set(), id="worker's windows"),
    pytest.param(
        schema("mirror")["properties"]["sync_windows"]["properties"], records.SyncWindows, set(), set(), id="windows"
    ),
    pytest.param(
        schema("mirror")["properties"]["freshness"]["properties"], records.FreshnessFile, set(), set(), id="freshness"
    ),
    pytest.param(RUNNER, records.RunnerSettings, set(), set(), id="runner"),
    pytest.param(schema("policy")["properties"], records.Policy, set(), set(), id="policy"),
    pytest.param(MANAGER, records.ManagerSettings, set(), set(), id="manager"),
    pytest.param(MANAGER["tls"]["properties"], records.Tls, set(), set(), id="tls"),
    pytest.param(MANAGER["limits"]["properties"], records.ClientLimits, set(), set(), id="limits"),
    pytest.param(MANAGER["tunasync"]["properties"], records.TunasyncAccess, set(), set(), id="tunasync"),
    pytest.param(MANAGER["webhook"]["properties"], records.Webhook, set(), set(), id="webhook"),
    pytest.param(MANAGER["webhook"]["properties"]["secret"]["properties"], records.Secret, set(), set(), id="secret"),
]


@pytest.mark.parametrize(("properties", "record", "own", "elsewhere"), RECORDS)
def test_records_have_the_keys_and_defaults_of_their_schemas(
    properties: SchemaPart, record: Any, own: set[str], elsewhere: set[str]
) -> None:
    assert set(properties) - elsewhere == set(record._fields) - own
    defaults: Mapping[str, Any] = record._field_defaults
    for key in set(properties) - elsewhere:
        if "default" in properties[key]:
            reported = record_factory._convert(key, properties[key]["default"])
            if "(s|m|h|d|w)" in properties[key].get("pattern", ""):
                reported = units.parse_duration(properties[key]["default"])
            assert type(defaults[key])(reported) == defaults[key], key
        else:
            default = defaults.get(key)
            whole = isinstance(default, tuple) and default == type(default)()  # its own defaults are tested below
            assert default in (None, "") or whole, f"the default of `{key}` is not described"


@pytest.mark.parametrize("name", ["mirror", "site", "runner", "manager", "workers"])
def test_schemas_require_the_fields_without_default(name: str) -> None:
    required = {
        "mirror": set(records.Mirror._fields[:4]) - {"name"},
        "site": set(records.Site._fields[:1]),
        "runner": set(records.RunnerSettings._fields[:2]),
        "manager": set(),
        "workers": {"workers"},
    }[name]
    assert set(schema(name).get("required", ())) | set(schema(name).get("x-required", ())) == required


def test_defaults_allow_all_keys_of_mirrors_except_their_texts() -> None:
    mirror, defaults = schema("mirror")["properties"], schema("defaults")["properties"]
    assert set(mirror) - set(defaults) == {"title", "description", "homepage", "formerly"}
    assert {key: part["$ref"] for key, part in defaults.items()} == {
        key: f"mirror.schema.json#/properties/{key}" for key in defaults
    }


MESSAGES = [
    pytest.param(schema("report"), report.Envelope, id="envelope"),
    pytest.param(schema("report")["$defs"]["report"], report.Report, id="report"),
    pytest.param(schema("report")["$defs"]["status"], report.MirrorStatus, id="status"),
    pytest.param(schema("report")["$defs"]["run"], report.Run, id="run"),
    pytest.param(schema("report")["$defs"]["probe"], report.Probe, id="probe"),
    pytest.param(schema("report")["$defs"]["problem"], report.ReportedProblem, id="problem"),
]


@pytest.mark.parametrize(("part", "record"), MESSAGES)
def test_messages_have_the_keys_of_their_schema(part: SchemaPart, record: Any) -> None:
    assert set(part["properties"]) == set(record._fields)
    assert set(record._fields) - set(record._field_defaults) <= set(part["required"])


def test_the_kinds_of_reports_are_those_of_the_schema() -> None:
    kinds = schema("report")["$defs"]["report"]["properties"]["kind"]["enum"]
    assert kinds == [report.CHANGE, report.SNAPSHOT]


def test_the_built_in_plugins_are_those_of_the_tables() -> None:
    assert list(built_in.plugins(PROVIDER)) == list(PROVIDERS) == schema("mirror")["properties"]["provider"]["enum"]
    assert list(built_in.plugins(HOOK)) == list(hooks.HOOKS)
    assert set(records.Policy().providers) <= set(PROVIDERS)


BUILT_IN = [*built_in.plugins(PROVIDER).values(), *built_in.plugins(HOOK).values()]


@pytest.mark.parametrize("plugin", BUILT_IN, ids=[each.name for each in BUILT_IN])
def test_built_in_plugins_are_described_in_the_form_of_all_plugins(plugin: Fragment) -> None:
    assert fragment_checks.checked(plugin.kind, plugin.name, plugin.schema).schema == {
        **plugin.schema,
        "properties": {},
    }
    assert str(plugin.schema["description"]).endswith(".")
    module = PROVIDERS[plugin.name] if plugin.kind == PROVIDER else hooks.load(plugin.name)
    keys = set(plugin.mirror_keys)
    assert keys <= module.OPTIONS
    of_providers = {key for provider in PROVIDERS.values() for key in provider.OPTIONS}
    # A hook may read a key only for the sake of a provider, so that the key has no effect with other providers.
    assert module.OPTIONS - keys <= (set() if plugin.kind == PROVIDER else of_providers)


def test_a_key_has_an_effect_with_the_providers_that_read_it() -> None:
    assert built_in.readers("size_pattern") == ("command",)
    assert built_in.readers("exclude_file") == ("rsync", "two-stage-rsync")
    assert {key for key in schema("mirror")["properties"] if built_in.readers(key) is None} >= {
        "trace", "fail_on_match", "success_exit_codes", "env", "interval", "max_delete",
    }  # fmt: skip


def test_a_built_in_provider_with_few_keys_takes_none_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {kind: {name: each.schema for name, each in built_in.plugins(kind).items()} for kind in (PROVIDER, HOOK)}
    known[PROVIDER]["fetch"] = {"x-mirror-keys": []}
    monkeypatch.setattr(built_in, "_table", lambda: known)
    built_in._of_some_providers.cache_clear()
    try:
        assert built_in.readers("max_delete") is None
        assert built_in.readers("command") == ("rsync", "two-stage-rsync", "command")
    finally:
        built_in._of_some_providers.cache_clear()


def test_only_the_text_of_a_policy_allows_other_plugins() -> None:
    for key in ("providers", "hooks"):
        assert schema("policy")["properties"][key]["items"]["pattern"] == plugin_names.PATTERN


@pytest.mark.parametrize("module", [*PROVIDERS.values(), *map(hooks.load, hooks.HOOKS)], ids=[*PROVIDERS, *hooks.HOOKS])
def test_providers_and_hooks_read_only_existing_keys(module: Any) -> None:
    assert set(schema("mirror")["properties"]) >= module.OPTIONS


FORBIDDEN = [
    "".join(pieces)
    for pieces in [
        ("py", "pi.", "org"), ("python", "hosted.", "org"), ("npm", "js.", "org"), ("yarn", "pkg.", "com"),
        ("crates", ".io"), ("ruby", "gems.", "org"), ("proxy.", "golang", ".org"), ("ana", "conda.", "org"),
        ("repo1.", "maven.", "org"), ("maven.", "apache", ".org"), ("packag", "ist.", "org"),
        ("nu", "get.", "org"), ("docker", ".io"), ("quay", ".io"), ("ghcr", ".io"), ("cpan", ".org"), ("hex", ".pm"),
        ("hack", "age.", "haskell.org"),
    ]
]  # fmt: skip
"""Hosts of package registries, which are not upstreams of a mirror site; joined from parts, so that no name is here."""


def test_the_example_repository_is_valid() -> None:
    found = catalogue.load(read_directory(ROOT / "mirrors"))
    assert lines(found.problems) == []
    assert len(found.mirrors) >= 15
    assert {mirror.provider for mirror in found.mirrors} == set(PROVIDERS), "each provider has an example"


def test_no_package_registry_is_an_upstream() -> None:
    upstreams = [mirror.upstream.lower() for mirror in catalogue.load(read_directory(ROOT / "mirrors")).mirrors]
    assert [url for url in upstreams for host in FORBIDDEN if host in url] == []


def test_the_example_repository_has_the_schemas_of_this_release() -> None:
    for kind, path in EDITOR_SCHEMAS.items():
        text = (ROOT / "mirrors" / path).read_text("utf-8")
        assert text == editor_schema.text(kind), "run `skipjack init --update mirrors`"


def test_editors_are_led_to_the_schema_of_each_file() -> None:
    kinds = {"_site": "site", "_workers": "workers", "_defaults": "defaults"}
    for path in sorted((ROOT / "mirrors").rglob("*.yml")):
        words = path.read_text("utf-8").splitlines()[0].partition("$schema=")[2]
        assert words.endswith(f"{kinds.get(path.stem, 'mirror')}.schema.json"), path
        assert (path.parent / words).resolve().is_relative_to(ROOT / "mirrors/.skipjack/schemas"), path
        assert (path.parent / words).is_file(), path
