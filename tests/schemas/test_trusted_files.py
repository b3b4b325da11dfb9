"""Files that prove something are read only if no other user can change them."""

import os
from pathlib import Path

import pytest

from schemas.errors import SkipjackError
from schemas.trusted_files import names_in_trusted, read_trusted

ME, OTHER = os.geteuid(), os.geteuid() + 12345


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in a folder."""
    (tmp_path / "etc").mkdir(mode=0o755)
    (tmp_path / "etc" / "keys").write_bytes(b"content")
    return tmp_path / "etc" / "keys"


def refusal(path: Path, owner: int = ME) -> str:
    with pytest.raises(SkipjackError) as caught:
        read_trusted(str(path), owner, 100)
    return str(caught.value)


def test_a_file_is_read(file: Path) -> None:
    assert read_trusted(str(file), ME, 100) == b"content"
    assert names_in_trusted(str(file.parent), ME) == ["keys"]


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert refusal(file) == (
        f"{file} can be changed by other users, so it proves nothing: {file} is writable for others."
        f" Remove their permission: `chmod go-w {file}`."
    )


def test_a_folder_in_which_others_may_write_is_refused(file: Path) -> None:
    file.parent.chmod(0o775)
    assert f"{file.parent} is writable for others" in refusal(file)
    file.parent.chmod(0o1777)
    assert read_trusted(str(file), ME, 100) == b"content"


def test_a_file_through_a_link_is_judged_where_it_is(file: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("etc/../etc/keys")
    assert read_trusted(str(tmp_path / "link"), ME, 100) == b"content"
    file.parent.chmod(0o777)
    assert f"{file.parent} is writable for others" in refusal(tmp_path / "link")


def test_a_link_that_others_may_replace_is_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "link").symlink_to(file)
    (tmp_path / "open").chmod(0o777)
    assert f"{tmp_path}/open is writable for others" in refusal(tmp_path / "open" / "link")


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "leads through too many links" in refusal(tmp_path / "a")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert f"cannot read {tmp_path}/none: No such file or directory." in refusal(tmp_path / "none")


def test_pipes_and_folders_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "it is a named pipe" in refusal(tmp_path / "pipe")
    assert "it is a directory" in refusal(tmp_path)


def test_a_large_file_is_refused(file: Path) -> None:
    file.write_bytes(b"x" * 101)
    assert "it is larger than 100 bytes" in refusal(file)


def test_a_file_of_another_user_is_refused(file: Path) -> None:
    if ME == 0:
        os.chown(file, OTHER, 0)
        assert f"belongs to the user `{OTHER}`" in refusal(file)
        assert read_trusted(str(file), OTHER, 100) == b"content", "the owner of the settings may own it"
    else:
        assert "belongs to the user" in refusal(file, 0)
