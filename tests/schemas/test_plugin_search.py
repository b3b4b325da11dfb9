"""Installed plug-ins are found without running their code."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from schemas.config import plugin_search
from schemas.config.fragment_checks import without_keys
from schemas.config.plugin_search import Found, Installed, installed
from schemas.config.schema_set import Unusable
from schemas.plugins import GROUPS, HOOK, NOTIFIER, PROVIDER, Plugin

from .test_plugin_keys import ANNOUNCE, GIT

LOUD = "raise SystemExit('this code was executed')\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def install(site: Path, name: str, entries: str, files: dict[str, Any], version: str = "1.2") -> None:
    """Install a distribution as a wheel does; each Python file ends the process when it is executed."""
    about = site / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (about / "entry_points.txt").write_text(entries)
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(content if isinstance(content, str) else json.dumps(content))


def provider(name: str = "git", module: str = "skipjack_git.provider") -> str:
    return f"[{GROUPS[PROVIDER]}]\n{name} = {module}\n"


PACKAGE = {"skipjack_git/__init__.py": LOUD, "skipjack_git/provider.py": LOUD, "skipjack_git/git.schema.json": GIT}


def only(found: Installed) -> Found:
    (each,) = found.plugins
    return each


def test_a_plug_in_is_found_with_its_keys(site: Path) -> None:
    install(site, "skipjack-git", provider(), PACKAGE)
    found = only(installed())
    assert found.plugin == Plugin(PROVIDER, "git", "skipjack_git.provider", str(site), "1.2", "skipjack-git")
    assert (found.distribution, found.problem) == ("skipjack-git", "")
    assert found.fragment is not None and found.fragment.defaults == {"depth": 5}
    assert installed().fragments == (found.fragment,)
    assert installed().find(PROVIDER, "git") == found
    assert installed().find(HOOK, "git") is None
    assert "skipjack_git" not in sys.modules


def test_the_state_of_a_plug_in_changes_with_each_file_of_its_code(site: Path) -> None:
    install(site, "skipjack-git", provider(), PACKAGE | {"skipjack_git/below/helper.py": LOUD})
    states = [only(installed()).state]

    def changes() -> bool:
        states.append(only(installed()).state)
        return states[-1] not in states[:-1]

    (site / "skipjack_git/__pycache__").mkdir()
    (site / "skipjack_git/__pycache__/provider.cpython-311.pyc").write_text("compiled")
    (site / "other.py").write_text("of another package")
    assert only(installed()).state == states[0]
    (site / "skipjack_git/provider.py").write_text(f"{LOUD}\n")
    assert changes()
    os.utime(site / "skipjack_git/below/helper.py", ns=(1, 1))
    assert changes()
    (site / "skipjack_git/more.py").touch()
    assert changes()
    (site / "skipjack_git/below/helper.py").unlink()
    assert changes()


def test_the_state_of_a_module_without_a_package_is_that_of_its_file(site: Path) -> None:
    install(site, "skipjack-git", provider(module="one_file"), {"one_file.py": LOUD})
    before = only(installed())
    (site / "other.py").touch()
    assert only(installed()) == before
    os.utime(site / "one_file.py", ns=(1, 1))
    assert only(installed()).state != before.state


def test_no_plug_in_is_a_part_of_skipjack() -> None:
    assert installed() == Installed()


def test_a_plug_in_without_a_schema_has_no_keys(site: Path) -> None:
    install(site, "skipjack-git", provider(), {path: LOUD for path in PACKAGE if path.endswith(".py")})
    assert installed().fragments == (without_keys(PROVIDER, "git"),)


def test_hooks_and_several_plug_ins_of_a_package_are_found_in_order(site: Path) -> None:
    entries = f"{provider()}[{GROUPS[HOOK]}]\nannounce = skipjack_git\n[console_scripts]\nx = skipjack_git:main\n"
    install(site, "skipjack-git", entries, PACKAGE | {"skipjack_git/announce.schema.json": ANNOUNCE})
    assert [(each.plugin.kind, each.plugin.name, each.problem) for each in installed().plugins] == [
        (HOOK, "announce", ""),
        (PROVIDER, "git", ""),
    ]


def test_notifiers_are_only_a_reserved_group(site: Path) -> None:
    install(site, "skipjack-mail", f"[{GROUPS[NOTIFIER]}]\nmail = skipjack_mail\n", {"skipjack_mail.py": LOUD})
    assert installed() == Installed()


@pytest.mark.parametrize(
    ("module", "files", "fragment"),
    [
        ("one_file", {"one_file.py": LOUD}, "git.schema.json"),
        ("pack", {"pack/__init__.py": LOUD}, "pack/git.schema.json"),
        ("pack.below", {"pack/__init__.py": LOUD, "pack/below/__init__.py": LOUD}, "pack/below/git.schema.json"),
        ("namespace.part.code", {"namespace/part/code.py": LOUD}, "namespace/part/git.schema.json"),
        ("compiled", {"compiled.abi3.so": ""}, "git.schema.json"),
    ],
)
def test_the_schema_is_in_the_folder_of_the_module(
    site: Path, module: str, files: dict[str, str], fragment: str
) -> None:
    install(site, "skipjack-git", provider(module=module), {**files, fragment: GIT})
    found = only(installed())
    assert (found.problem, found.plugin.path) == ("", str(site))
    assert found.fragment is not None and found.fragment.defaults == {"depth": 5}


def test_an_editable_installation_is_found(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its metadata in one folder, and its code in another one that a `.pth` file adds to the path."""
    install(site, "skipjack-git", provider(), {})
    code = tmp_path / "src"
    for path in PACKAGE:
        (code / path).parent.mkdir(parents=True, exist_ok=True)
        (code / path).write_text(LOUD if path.endswith(".py") else json.dumps(GIT))
    monkeypatch.setattr(sys, "path", [*sys.path, str(code)])
    assert only(installed()).plugin.path == str(code)


def test_a_module_that_is_mapped_to_another_folder_is_a_problem(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of a run has folders only, no import hooks."""
    from importlib.machinery import ModuleSpec
    from importlib.util import spec_from_file_location

    install(site, "skipjack-git", provider(), {})
    other = tmp_path / "other_name"
    other.mkdir()
    (other / "__init__.py").write_text(LOUD)
    (other / "provider.py").write_text(LOUD)

    class Mapping:
        def find_spec(self, name: str, *_others: object) -> ModuleSpec | None:
            return spec_from_file_location(name, other / "__init__.py") if name == "skipjack_git" else None

    monkeypatch.setattr(sys, "meta_path", [Mapping(), *sys.meta_path])
    assert "is not a file below a folder of `sys.path`" in only(installed()).problem


@pytest.mark.parametrize(
    ("name", "module", "reason"),
    [
        ("rsync", "skipjack_git.provider", "it is hidden by the built-in provider `rsync`"),
        ("trace", "skipjack_git.provider", "it is hidden by the built-in hook `trace`"),
        ("worker", "skipjack_git.provider", "`worker` is a key of every mirror"),
        ("Git", "skipjack_git.provider", "`Git` is not a valid name"),
        ("g" * 33, "skipjack_git.provider", "is not a valid name"),
        ("git", "skipjack_git.provider:Provider", "is not the name of a module"),
        ("git", "skipjack_git.missing", "`skipjack_git.missing` is not a file below"),
        ("git", "missing.provider", "`missing.provider` is not a file below"),
        ("git", "sys", "is not a file below"),
    ],
)
def test_a_plug_in_that_cannot_be_used_has_the_reason(site: Path, name: str, module: str, reason: str) -> None:
    install(site, "skipjack-git", provider(name, module), PACKAGE)
    found = only(installed())
    assert reason in found.problem
    assert found.fragment is None and found.plugin.name == name and found.plugin.version == "1.2"
    assert installed().fragments == ()


def test_a_module_that_is_not_from_a_file_is_a_problem(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skipjack_git", ModuleType("skipjack_git"))
    install(site, "skipjack-git", provider(), PACKAGE)
    assert "is not a file below" in only(installed()).problem


def test_a_bad_schema_makes_a_plug_in_unusable(site: Path) -> None:
    install(site, "skipjack-git", provider(), PACKAGE | {"skipjack_git/git.schema.json": "{"})
    found = only(installed())
    assert found.problem.startswith(f"{site}/skipjack_git/git.schema.json: it is not valid JSON")
    assert found.plugin.path == str(site)
    assert installed().schemas.unusable == (
        Unusable(PROVIDER, "git", found.problem, " (skipjack_git.provider of skipjack-git 1.2)"),
    )


def test_a_schema_that_is_not_a_regular_file_is_not_waited_for(site: Path) -> None:
    install(site, "skipjack-git", provider(), {path: LOUD for path in PACKAGE if path.endswith(".py")})
    os.mkfifo(site / "skipjack_git/git.schema.json")
    assert "it is a named pipe" in only(installed()).problem


def test_of_two_packages_with_the_same_name_neither_is_used(site: Path) -> None:
    install(site, "skipjack-git", provider(), PACKAGE)
    entries = f"[{GROUPS[HOOK]}]\ngit = other\n"
    install(site, "other-git", entries, {"other.py": LOUD})
    problems = {each.distribution: each.problem for each in installed().plugins}
    why = "the hook of other-git and the provider of skipjack-git have the same name; remove one of the packages"
    assert problems == {"skipjack-git": why, "other-git": why}
    assert [each.name for each in installed().schemas.unusable] == ["git"]


def test_of_two_copies_of_a_package_the_first_on_the_path_counts(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "skipjack-git", provider(), PACKAGE)
    second = tmp_path / "second"
    second.mkdir()
    install(second, "Skipjack_Git", provider(), PACKAGE, "1.3")
    monkeypatch.setattr(sys, "path", [*sys.path, str(second), "relative", str(tmp_path / "missing")])
    assert only(installed()).plugin.version == "1.2"


def test_unreadable_metadata_is_a_problem_of_its_own(site: Path) -> None:
    install(site, "skipjack-git", provider(), PACKAGE)
    install(site, "broken", f"[{GROUPS[HOOK]}]\nannounce = x\n", {})
    (site / "broken-1.2.dist-info" / "METADATA").write_bytes(b"\xff\xfe")
    found = installed()
    assert [each.plugin.name for each in found.plugins] == ["git"]
    assert [str(site) in problem for problem in found.problems] == [True]


def test_a_search_without_plug_ins_imports_no_metadata_reader() -> None:
    """Each follow searches, and the import would take longer than everything else in it."""
    code = (
        "import sys; from schemas.config import plugin_search; plugin_search.installed();"
        "sys.exit('importlib.metadata' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "importlib.metadata" not in plugin_search.__dict__
