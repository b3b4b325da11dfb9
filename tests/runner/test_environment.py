"""Which of the worker's variables and folders does a program get?"""

import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.base.environment import environment, search_path

TEXTS = st.text("AB_*?[]", max_size=4)


@given(st.dictionaries(TEXTS, st.just("x"), max_size=4), st.lists(TEXTS, max_size=3))
def test_a_variable_is_passed_on_if_its_name_matches_a_pattern(own: dict[str, str], patterns: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "environ", own)
        found = environment("/home", [], patterns, {})
    wanted = {name for name in own if any(fnmatchcase(name, pattern) for pattern in patterns)}
    assert found.keys() == wanted | {"PATH", "HOME"}


def test_path_has_no_folder_of_a_mirror_also_through_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, links = tmp_path / "mirror", tmp_path / "links"
    (root / "debian/bin").mkdir(parents=True)
    (tmp_path / "mirror2/bin").mkdir(parents=True)
    links.mkdir()
    (links / "bin").symlink_to(root / "debian/bin")
    (links / "root").symlink_to(root)
    folders = [root, root / "debian/bin", links / "bin", links / "root/debian", tmp_path / "mirror2/bin", "bin"]
    monkeypatch.setenv("PATH", ":".join(map(str, folders)))
    assert search_path([str(links / "root")]) == str(tmp_path / "mirror2/bin")
