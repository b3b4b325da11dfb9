"""The jobs that pages show for config repositories use files and inputs that exist, with the least permissions."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .pages import ROOT, Block
from .test_examples import examples

PLACE = re.compile(r"(?:https://git\.example\.org/)?OWNER/skipjack/(\S+)@v[\d.]+")


def used(block: Block) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """The file that an example uses, the inputs that this has, and the part of the example that names it."""
    plain = yaml.safe_load(block.text)
    if "include" in plain:
        [part] = plain["include"]
        path = ROOT / part["remote"].partition("/v0.2.0/")[2]
        return (
            path,
            yaml.safe_load(path.read_text().split("\n---\n")[0])["spec"]["inputs"],
            part | {"with": part["inputs"]},
        )
    [job] = plain["jobs"].values()
    part = job if "uses" in job else job["steps"][0]
    place = PLACE.fullmatch(part["uses"])
    assert place
    path = ROOT / place[1] / ("" if place[1].endswith(".yml") else "action.yml")
    there = yaml.safe_load(path.read_text())
    return path, there["inputs"] if "inputs" in there else there[True]["workflow_call"]["inputs"], part


def test_each_forge_is_shown() -> None:
    files = {used(block)[0] for block in examples("job")}
    there = [*(ROOT / ".github/workflows").glob("config-*.yml"), *(ROOT / ".forgejo").rglob("action.yml")]
    assert files == {*there, ROOT / ".gitlab/config.yml"}


@pytest.mark.parametrize("block", examples("job"), ids=lambda block: block.first)
def test_the_inputs_are_those_of_the_file(block: Block) -> None:
    _path, inputs, part = used(block)
    required = {name for name, each in inputs.items() if each.get("required", "default" not in each)}
    assert "source" in required and required <= part["with"].keys() <= inputs.keys()


@pytest.mark.parametrize("block", examples("job"), ids=lambda block: block.first)
def test_a_caller_grants_what_the_file_needs_and_no_more(block: Block) -> None:
    path, _inputs, part = used(block)
    if ".github" in path.parts:
        assert part["permissions"] == yaml.safe_load(path.read_text())["permissions"]
    plain = yaml.safe_load(block.text)
    if path.stem == "config-comment":
        assert plain[True]["workflow_run"]["workflows"] == ["Mirrors"]
    assert "pull_request_target" not in block.text and "secrets" not in block.text
