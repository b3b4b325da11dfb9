"""The page of definitions lists all presets with their facts."""

from runner.authoring import preset_files

from .pages import read


def test_the_page_has_a_row_for_each_preset() -> None:
    table = read("docs/configuration.md").partition("<!-- presets -->")[2].partition("<!-- end -->")[0]
    rows = [line.split(" | ") for line in table.strip().splitlines()[2:]]
    shown = {row[0].strip("| `"): [cell.strip("` |") for cell in row[1:]] for row in rows}
    presets = {name: preset_files.load(name) for name in preset_files.names()}
    facts = {
        name: [each.title, each.kind, each.stage1_profile, each.interval, each.freshness]
        for name, each in presets.items()
    }
    assert shown == facts, "run docs/generate_reference.py"
