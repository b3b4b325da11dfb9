import os
from pathlib import Path

import pytest

from runner.base.mirror_paths import real_paths


@pytest.mark.parametrize(
    ("directory", "root"),
    [
        ("root/m", "root"),
        ("root/m", "root/"),
        ("root/m", "linked"),
        ("linked/m", "linked"),
        ("linked/m", "root"),
        ("root/out", "root"),
        ("root/out/below", "root"),
        ("root/missing/m", "root"),
        ("rooted/m", "root"),
        ("root", "root"),
    ],
)
def test_real_paths_follow_all_links(tmp_path: Path, directory: str, root: str) -> None:
    for name in ("root/m", "rooted/m", "elsewhere/below"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "linked").symlink_to("root")
    (tmp_path / "root" / "out").symlink_to(tmp_path / "elsewhere")
    words = (os.path.join(tmp_path, directory), os.path.join(tmp_path, root))  # noqa: PTH118 - as settings have them
    assert real_paths(*words) == tuple(map(os.path.realpath, words))


@pytest.mark.parametrize("root", ["", "/"])
def test_an_empty_root_and_slash_are_resolved(root: str) -> None:
    assert real_paths("/usr", root) == ("/usr", os.path.realpath(root))


def test_a_root_is_not_resolved_if_the_directory_has_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up, realpath = [], os.path.realpath

    def counted(path: str) -> str:
        looked_up.append(path)
        return realpath(path)

    monkeypatch.setattr(os.path, "realpath", counted)
    root = realpath(tmp_path)
    assert real_paths(f"{root}/m", root) == (f"{root}/m", root)
    assert looked_up == [f"{root}/m"]
