import os
from pathlib import Path

import pytest

from schemas.errors import SkipjackError
from schemas.sources import MAX_BYTES, SourceFile, is_config, read_directory


@pytest.mark.parametrize("path", ["_site.yml", "debian.yml", "os/debian.yml", "a/b/c.yaml"])
def test_yaml_files_are_configuration(path: str) -> None:
    assert is_config(path)


@pytest.mark.parametrize("path", ["README.md", ".github/ci.yml", "os/.hidden/x.yml", ".x.yml", "a.yml.orig"])
def test_everything_else_is_not(path: str) -> None:
    assert not is_config(path)


def test_a_folder_is_read_sorted_and_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "os").mkdir()
    (tmp_path / "os/b.yml").write_text("b")
    (tmp_path / "a.yml").write_text("a")
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "link.yml").symlink_to("/etc/passwd")
    (tmp_path / "more").symlink_to("os")
    (tmp_path / "large.yml").write_bytes(b"#" * (MAX_BYTES + 100))
    assert read_directory(tmp_path) == (
        SourceFile("a.yml", b"a"),
        SourceFile("large.yml", b"#" * (MAX_BYTES + 1)),
        SourceFile("link.yml", None),
        SourceFile("os/b.yml", b"b"),
    )


def test_names_that_no_terminal_should_print_are_spelled_out(tmp_path: Path) -> None:
    for name in (b"caf\xe9.yml", b"a\x1b[2J.yml", b"a\nb.yml"):
        (tmp_path / os.fsdecode(name)).touch()
    paths = [source.path for source in read_directory(tmp_path)]
    assert sorted(paths) == [r"a\nb.yml", r"a\x1b[2J.yml", r"caf\udce9.yml"]
    assert all(path.isprintable() and path.encode() for path in paths)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        SkipjackError, match=r"There is no folder .*/nowhere\. Name the folder that holds `_site.yml`\."
    ):
        read_directory(tmp_path / "nowhere")
