"""The presets: every file is complete, and every fact has a source."""

import json
from datetime import date
from pathlib import Path

import pytest

from runner.authoring import preset_files
from runner.cli import main
from schemas.config.yaml_file import parse
from schemas.errors import SkipjackError
from schemas.names import is_name

FOLDER = Path(preset_files.__file__).parent / "presets"
NAMES = preset_files.names()
COMMON_KNOWLEDGE = {"name", "title", "description", "homepage", "kind", "category", "sources"}


@pytest.mark.parametrize("name", NAMES)
def test_each_fact_of_a_preset_has_a_source(name: str) -> None:
    preset = preset_files.load(name)
    facts = {key for key, value in preset._asdict().items() if value}
    named = {key for source in preset.sources for key in source.keys}
    assert facts - COMMON_KNOWLEDGE <= named <= facts
    assert all(date.fromisoformat(source.read) for source in preset.sources)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_written_in_the_form_of_the_others(name: str) -> None:
    preset = preset_files.load(name)
    lines = (FOLDER / f"{name}.yml").read_text("utf-8").splitlines()
    assert is_name(name)
    assert lines[0] == "# yaml-language-server: $schema=../../../schemas/files/preset.schema.json"
    assert max(map(len, lines)) <= 160
    assert bool(preset.provider) >= bool(preset.stage1_profile), "a profile needs the provider that has it"
    assert preset.kind == "archive" or preset.category in ("os", "images")


def test_every_file_of_the_folder_is_a_preset() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(f"{name}.yml" for name in NAMES)
    assert len({name.lower() for name in NAMES}) == len(NAMES), "some file systems know no case"


@pytest.mark.parametrize(("word", "meant"), [("debain", "debian"), ("ctan", "CTAN"), ("ArchLinux", "archlinux")])
def test_an_unknown_preset_has_the_most_similar_name_in_its_message(word: str, meant: str) -> None:
    with pytest.raises(SkipjackError, match=rf"^there is no preset `{word}`\. Did you mean `{meant}`\?$"):
        preset_files.load(word)


@pytest.mark.parametrize("word", ["../../schemas/files/x", "", "x" * 300, "\u202eabc", "rsync://user:password@host/"])
def test_a_name_that_no_preset_can_have_has_a_message_of_one_line(word: str) -> None:
    with pytest.raises(SkipjackError, match=r"^there is no preset `.*`\. `skipjack presets` lists all of them;") as it:
        preset_files.load(word)
    assert str(it.value).isprintable() and len(str(it.value)) < 200 and "password" not in str(it.value)


def test_the_list_has_a_line_for_each_preset_of_a_kind(capsys: pytest.CaptureFixture[str]) -> None:
    main(["presets", "--kind", "archive"])
    head, *lines = capsys.readouterr().out.splitlines()
    archives = [name for name in NAMES if preset_files.load(name).kind == "archive"]
    assert [line.split()[0] for line in lines] == archives and "CTAN" in archives
    assert head.split() == ["NAME", "KIND", "PROVIDER", "INTERVAL", "TITLE"]
    title = head.index("TITLE")
    assert all(line[title - 1] == " " != line[title] for line in lines), "the columns are not aligned"


def test_presets_as_json_are_in_the_form_of_their_files(capsys: pytest.CaptureFixture[str]) -> None:
    main(["presets", "--json"])
    plain = {each.pop("name"): each for each in json.loads(capsys.readouterr().out)}
    assert list(plain) == NAMES
    for name, each in plain.items():
        assert each == {"sources": [], **parse((FOLDER / f"{name}.yml").read_bytes(), name).value}


def test_everything_about_a_preset_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["presets", "debian"])
    printed = " ".join(capsys.readouterr().out.split())
    preset = preset_files.load("debian")
    facts = (preset.title, preset.description, preset.homepage, preset.provider, preset.upstream_rule)
    assert [fact for fact in (*facts, *(source.url for source in preset.sources)) if fact not in printed] == []
    with pytest.raises(SystemExit, match="2"):
        main(["presets", "debian", "--kind", "archive"])
