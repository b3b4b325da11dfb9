"""The schemas that `skipjack schema` prints for editors."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from runner.authoring.schema_output import print_schema
from schemas.config import editor_schema, plugin_search
from schemas.config.fragment_checks import checked
from schemas.config.plugin_search import Found, Installed
from schemas.config.schema_set import SchemaSet
from schemas.errors import SkipjackError
from schemas.plugins import PROVIDER, Plugin

from .test_plugin_keys import ANNOUNCE, GIT, GIT_FILE, HOOK_FILE

INSTALLED = checked(PROVIDER, "git", GIT)
DOCUMENTS: dict[str, tuple[Any, list[Any]]] = {
    "mirror": (
        {"provider": "git", "git": {"depth": 1}, "worker": {"w1": {"git": False}, "w2": {"retry": 3}}},
        [{"git": {"depth": 0}}, {"git": True}, {"provider": "got"}, {"worker": {"w1": {"retry": 0}}}, {"x": 1}],
    ),
    "defaults": ({"git": {}, "retry": 2}, [{"git": {"x": 1}}, {"worker": {"w1": {"git": 5}}}, {"title": "x"}]),
    "site": ({"title": "x"}, [{"title": ""}, {"url": "x"}, {}]),
    "workers": (
        {"workers": {"w1": {"defaults": {"git": {"depth": 2}}}}},
        [{"workers": {"w1": {"defaults": {"git": {"depth": 0}}}}}, {"workers": {"w1": {"defaults": {"retry": 0}}}}],
    ),
}


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


@pytest.mark.parametrize("kind", editor_schema.KINDS)
def test_an_editor_needs_no_other_file(kind: str) -> None:
    whole = editor_schema.bundled(kind, SchemaSet((INSTALLED,)))
    Draft202012Validator.check_schema(whole)
    assert all(reference.startswith("#") for reference in references(whole))
    valid, invalid = DOCUMENTS[kind]
    judge = Draft202012Validator(whole)
    assert judge.is_valid(valid)
    assert [document for document in invalid if judge.is_valid(document)] == []


def test_the_plug_ins_of_a_folder_are_included(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".skipjack" / "schemas").mkdir(parents=True)
    (tmp_path / GIT_FILE).write_text(json.dumps(GIT))
    (tmp_path / HOOK_FILE).write_text("{")
    print_schema("mirror", tmp_path)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["properties"]["git"]["anyOf"][0]["properties"]["depth"]["minimum"] == 1
    assert f"{HOOK_FILE}:1:1: The schema of the plug-in cannot be used" in printed.err


def test_the_schema_of_an_installed_plug_in_is_that_of_a_repository(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Found(Plugin(PROVIDER, "git", "skipjack_git", "/opt", "1.0", "skipjack-git"), INSTALLED)
    monkeypatch.setattr(plugin_search, "installed", lambda: Installed((found,)))
    print_schema("git", tmp_path)
    assert checked(PROVIDER, "git", json.loads(capsys.readouterr().out)) == INSTALLED
    with pytest.raises(SkipjackError, match="neither a kind of file nor an installed plug-in"):
        print_schema("announce", tmp_path)
    assert str(ANNOUNCE["title"]) not in capsys.readouterr().out
