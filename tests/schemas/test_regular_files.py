"""Files that settings name: reading never hangs, and an error names the kind of the file."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.config.settings import load_manager, load_policy, load_runner
from schemas.config.sources import read_directory
from schemas.errors import SkipjackError
from schemas.http_client import trusted
from schemas.records import Secret
from schemas.regular_files import read_regular, require_regular
from schemas.secrets import read_secret


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


KINDS = [(pipe, "it is a named pipe"), (Path.mkdir, "it is a directory"), (endless, "it is a device")]


@pytest.mark.parametrize(("make", "words"), KINDS)
def test_an_irregular_file_is_reported_without_waiting(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "x"
    make(path)
    for read in (read_regular, require_regular):
        with pytest.raises(OSError, match=words):
            read(path)


def test_a_file_for_a_library_may_have_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    require_regular(path)
    require_regular(path, 5)
    for read in (read_regular, require_regular):
        with pytest.raises(OSError, match="it is larger than 4 bytes"):
            read(path, 4)


def test_no_library_reads_a_huge_file_of_authorities(tmp_path: Path) -> None:
    """It is as good as endless, and OpenSSL would read all of it."""
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="it is larger than 16777216 bytes"):
        trusted(str(path))


def test_a_socket_is_refused(tmp_path: Path) -> None:
    listening(tmp_path / "x")
    with pytest.raises(OSError, match="it is a named pipe or a socket"):
        read_regular(tmp_path / "x")


def test_a_file_is_read_through_a_link_and_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    assert read_regular(tmp_path / "link", 5) == b"12345"
    with pytest.raises(OSError, match="it is larger than 4 bytes"):
        read_regular(tmp_path / "x", 4)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="named pipe"):
        pipe(tmp_path / "p")
        read_regular(tmp_path / "p")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("cannot read the secret", lambda path: read_secret(Secret(file=str(path)))),
    ("cannot read the settings", load_runner),
    ("cannot read the settings", load_manager),
    ("cannot read the policy", load_policy),
]


@pytest.mark.parametrize(("begin", "read"), READERS)
@pytest.mark.parametrize(("make", "words"), KINDS[:2])
def test_every_reader_reports_it(
    tmp_path: Path, make: Callable[[Path], None], words: str, begin: str, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "x.yml"
    make(path)
    path.chmod(0o700)
    with pytest.raises(SkipjackError, match=words) as caught:
        read(path)
    assert str(caught.value).startswith(f"{begin} {path}: {words}. ")


def test_a_pipe_among_the_definitions_is_reported(tmp_path: Path) -> None:
    pipe(tmp_path / "x.yml")
    with pytest.raises(SkipjackError, match=r"cannot read .*x\.yml: it is a named pipe"):
        read_directory(tmp_path)
