"""What the programs report to the service manager: that they are ready, and their status."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base import privileges
from schemas.errors import SkipjackError
from sitegen import supervised
from sitegen.site import files
from tests.sitegen.kit import PATIENCE, Manager, end, wait_for

AT_WORK = b"READY=1\nSTATUS=keeping the site up to date"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager, which the programs that are started here know."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        place = str(tmp_path / "notify")
        listener.bind(place)
        listener.settimeout(PATIENCE)
        monkeypatch.setenv(supervised.NOTIFY_SOCKET, place)
        yield listener


def pending(told: socket.socket) -> list[bytes]:
    """What has been said and not been read yet."""
    found = []
    told.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(told.recv(1000))
    return found


def test_publish_reports_ready_when_it_has_the_lock(manager: Manager, told: socket.socket) -> None:
    with manager.popen("publish") as process:
        try:
            assert told.recv(1000) == AT_WORK
            wait_for((manager.site / "status.json").exists, "the site is there")
            refused = manager.command("publish")
            assert refused.returncode == 1 and "another publisher is running" in refused.stderr
            assert set(pending(told)) <= {b"STATUS=keeping the site up to date"}, "the second one has not started"
        finally:
            end(process)


def test_publish_fails_at_start_if_it_cannot_create_the_site_folder(manager: Manager, told: socket.socket) -> None:
    manager.site.write_text("no folder")
    done = manager.command("publish")
    assert done.returncode == 1
    assert f"cannot write to the folder `{manager.site}`: Not a directory. Give the publisher" in done.stderr
    assert pending(told) == []


def test_the_same_status_is_not_sent_twice(told: socket.socket) -> None:
    for text in ("a", "a", "b", "a"):
        supervised.status(text)
    assert [told.recv(100) for _ in range(3)] == [b"STATUS=a", b"STATUS=b", b"STATUS=a"]
    assert pending(told) == []


def test_a_failure_of_the_machine_is_not_blamed_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_named: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(SkipjackError, match=r"Too many open files\. Too many files are open: raise the limit"):
        files.write(str(tmp_path), {"index.html": b"x"})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may become another user")
@pytest.mark.parametrize("closed", [".", "assets", "mirrors", "static"])
def test_a_folder_of_another_user_is_reported(tmp_path: Path, closed: str) -> None:
    for folder in (*tmp_path.parents, tmp_path):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    site = tmp_path / "site"
    for name in (".", "assets", "mirrors", "static"):
        (site / name).mkdir(parents=True, exist_ok=True)
        (site / name).chmod(0o777)
    with privileges.acting_as("nobody"):
        files.require_writable(str(site))
        files.require_writable(str(site / "new" / "one"))
    (site / closed).chmod(0o755)
    with (
        privileges.acting_as("nobody"),
        pytest.raises(SkipjackError, match=r"cannot write to the folder `.*`: Permission denied"),
    ):
        files.require_writable(str(site))
