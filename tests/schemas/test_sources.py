import os
from pathlib import Path
from typing import Any

import pytest

from schemas.config.sources import EDITOR_SCHEMAS, MAX_BYTES, SourceFile, is_config, is_passed_over, read_directory
from schemas.errors import SkipjackError


@pytest.mark.parametrize("path", ["_site.yml", "debian.yml", "os/debian.yml", "a/b/c.yaml"])
def test_yaml_files_are_configuration(path: str) -> None:
    assert is_config(path)


@pytest.mark.parametrize(
    "path", ["README.md", ".github/ci.yml", "os/.hidden/x.yml", ".x.yml", "a.yml.orig", *EDITOR_SCHEMAS.values()]
)
def test_everything_else_is_not(path: str) -> None:
    assert not is_config(path)


@pytest.mark.parametrize(
    "path",
    [
        *("x.ymal", "x.yalm", "x.yam", "x.yamll", "x.yl", "x.yml.bak", "os/x.yaml.orig", "x.yml~", "x.yml.1", "x.yml2"),
        *("x.yml_old", "x.yml - Copy", "my mirror.YML.bak", "x.json", "a b/x.YMAL", "#x.yml#", "x.yml.disabled"),
        *(".hidden.yml", ".yml", "os/.yaml", ".x.YML", ".x.yml.txt", "os/.x.yaml"),
    ],
)
def test_a_file_that_may_be_meant_as_configuration_gives_a_warning(path: str) -> None:
    assert is_passed_over(path) and not is_config(path)


@pytest.mark.parametrize(
    "path",
    [
        *("README.md", "CODEOWNERS", "LICENSE", "Makefile", "logo.png", "x.yml", "x.YML", "x.yml.txt", "my mirror.yml"),
        *(".x.yml.swp", ".github/x.yml.bak", "package.json", "os/_notes.json", "x.py", "x.xml", "x.toml", "yml"),
        *("x.yml.d/notes.txt", ".x.json", ".#x.yml", ".github/.x.yml"),
        *(".gitlab-ci.yml", ".pre-commit-config.yaml", "os/.yamllint.yml", ".readthedocs.yaml", ".travis.yml"),
    ],
)
def test_only_configuration_files_are_read(path: str) -> None:
    assert not is_passed_over(path)


def test_a_folder_is_read_sorted_and_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "os").mkdir()
    (tmp_path / "os/b.yml").write_text("b")
    (tmp_path / "a.yml").write_text("a")
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "link.yml").symlink_to("/etc/passwd")
    (tmp_path / "more").symlink_to("os")
    (tmp_path / "large.yml").write_bytes(b"#" * (MAX_BYTES + 100))
    (tmp_path / "os/c.yml.bak").write_text("c")
    assert read_directory(tmp_path) == (
        SourceFile("a.yml", b"a"),
        SourceFile("large.yml", b"#" * (MAX_BYTES + 1)),
        SourceFile("link.yml", None),
        SourceFile("os/b.yml", b"b"),
        SourceFile("os/c.yml.bak", None, passed_over=True),
    )


def test_names_that_no_terminal_should_print_are_spelled_out(tmp_path: Path) -> None:
    for name in (b"caf\xe9.yml", b"a\x1b[2J.yml", b"a\nb.yml"):
        (tmp_path / os.fsdecode(name)).touch()
    paths = [source.path for source in read_directory(tmp_path)]
    assert sorted(paths) == [r"a\nb.yml", r"a\x1b[2J.yml", r"caf\udce9.yml"]
    assert all(path.isprintable() and path.encode() for path in paths)


def test_a_folder_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    """Its mirrors would look removed. Here its path is longer than the kernel takes, which root cannot read either."""
    folder = os.open(tmp_path, os.O_RDONLY)
    for _level in range(20):
        os.mkdir("x" * 250, dir_fd=folder)
        below = os.open("x" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    with pytest.raises(SkipjackError, match=r"cannot read .*: File name too long\. "):
        read_directory(tmp_path)


def test_a_hidden_folder_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (".git/objects", ".skipjack/policies", "os/.skipjack/schemas", "os/.cache"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.yml").write_text("a: 1\n")
    searched: list[str] = []
    scan = os.scandir

    def scanned(path: str) -> Any:
        searched.append(os.path.relpath(path, tmp_path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scanned)
    assert [file.path for file in read_directory(tmp_path)] == [".skipjack/policies/x.yml"]
    assert "." in searched and not [path for path in searched if path.startswith((".git", "os/.cache"))]


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(
        SkipjackError, match=r"the folder .*/nowhere does not exist\. Name the folder that contains `_site.yml`\."
    ):
        read_directory(tmp_path / "nowhere")


def test_a_file_in_the_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SkipjackError, match=r"^/.*/file is not a folder\."):
        read_directory(tmp_path / "file")
