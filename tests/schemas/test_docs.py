"""The pages of `docs/` match the schemas, and their examples work."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.config import catalogue
from schemas.config.settings import load_manager, load_runner
from schemas.config.sources import SourceFile

from .kit import lines

DOCS = Path(__file__).parents[2] / "docs"


def stale(folder: Path) -> bool:
    return subprocess.run([sys.executable, DOCS / "generate_reference.py", "--check", folder]).returncode == 1


def examples(page: str) -> dict[str, str]:
    """Return the YAML blocks of a page that begin with the name of their file."""
    text = (DOCS / page).read_text("utf-8")
    return dict(re.findall(r"```yaml\n# (\S+\.yml)\n(.*?)```", text, re.DOTALL))


def test_the_tables_match_the_schemas() -> None:
    assert not stale(DOCS), "run docs/generate_reference.py"


@pytest.mark.parametrize("page", ["configuration.md", "settings.md"])
def test_a_changed_table_is_detected_and_restored(tmp_path: Path, page: str) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    changed = tmp_path / "docs" / page
    before = changed.read_text("utf-8")
    changed.write_text(
        before.replace(" | absolute path | ", " | path | ").replace(" | duration | ", " | time | "), "utf-8"
    )
    assert stale(tmp_path / "docs")
    subprocess.run([sys.executable, DOCS / "generate_reference.py", tmp_path / "docs"], check=True)
    assert changed.read_text("utf-8") == before


def test_the_example_repository_of_the_page_is_valid() -> None:
    files = [SourceFile(name, text.encode()) for name, text in examples("configuration.md").items()]
    found = catalogue.load(files)
    assert lines(found.problems) == []
    mirrors = {(mirror.name, mirror.worker): mirror for mirror in found.mirrors}
    assert set(mirrors) == {
        ("debian", "alpha"), ("gnu", "alpha"), ("gnu", "beta"), ("fedora", "alpha"), ("fedora", "beta"),
        ("fedora-linux", "alpha"),
    }  # fmt: skip
    assert (mirrors["fedora", "beta"].role, mirrors["fedora", "beta"].interval) == ("slave", 3600)
    assert mirrors["fedora-linux", "alpha"].formerly == ("redhat", "fedora-core")
    gnu = mirrors["gnu", "beta"]
    assert (gnu.use_ipv4, gnu.interval, gnu.rsync_options) == (False, 12 * 3600, ("--bwlimit=40M",))
    assert dict(gnu.env) == {"RSYNC_PROXY": "proxy.example.org:3128", "LANG": "C.UTF-8"}
    assert mirrors["gnu", "alpha"].rsync_options == ()


def test_the_example_settings_of_the_page_are_valid(tmp_path: Path) -> None:
    for name, text in examples("settings.md").items():
        (tmp_path / name).write_text(text)
    assert load_runner(tmp_path / "runner.yml").worker == "alpha"
    assert load_manager(tmp_path / "manager.yml").repository is not None


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_between_pages_resolve(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_the_modules_that_a_page_names_exist(page: Path) -> None:
    for name in re.findall(r"`((?:schemas|runner|sitegen|tests|docs)/[\w/.]*)`", page.read_text("utf-8")):
        assert (DOCS.parent / name).exists(), name


def test_the_examples_about_schedules_are_valid() -> None:
    base = {"_site.yml": "title: x\n", "_workers.yml": "workers: {w1: {}}\n", "debian.yml": "interval: 6h\n"}
    base["_defaults.yml"] = "worker: w1\nprovider: rsync\nupstream: rsync://up.example.org/all/\n"
    pages = examples("scheduling.md")
    found = catalogue.load([SourceFile(name, text.encode()) for name, text in (base | pages).items()])

    assert lines(found.problems) == []
    assert {f"{mirror.name}.yml" for mirror in found.mirrors} == set(pages)
