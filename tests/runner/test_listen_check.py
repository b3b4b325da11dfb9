"""`install --manager` checks that the address is free before it stops the manager; `systemctl` is a fake."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.install import listen_check, setup
from runner.install.setup import Setup
from schemas.errors import SkipjackError
from schemas.records import ManagerSettings


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 at which this very program listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def manager(listen: str) -> Setup:
    return setup.of_manager(ManagerSettings(listen=listen), "/etc/skipjack/manager.yml", "skipjack-manager", own=False)


def play(folder: Path, monkeypatch: pytest.MonkeyPatch, shown: str, service: int) -> None:
    """Let `systemctl show` say something about the socket, and `is-active` of the service exit with a code."""
    (folder / "systemctl").write_text(f'#!/bin/sh\n[ "$1" = show ] || exit {service}\nprintf "{shown}"\n')
    (folder / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_free_address_is_accepted(taken: int) -> None:
    listen_check.require_free(manager("127.0.0.1:0"))
    listen_check.require_free(manager(f"[::1]:{taken}") if socket.has_dualstack_ipv6() else manager("127.0.0.2:0"))
    listen_check.require_free(manager("mirrors.example:80"))  # a name, which the manager looks up itself


@pytest.mark.parametrize(
    "shown", ["ActiveState=inactive\\n", "ActiveState=active\\nListen=127.0.0.1:8080 (Stream)\\n", ""]
)
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_an_address_in_use_is_reported_with_the_program_that_uses_it(
    taken: int, shown: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, monkeypatch, shown, 3)
    with pytest.raises(SkipjackError) as raised:
        listen_check.require_free(manager(f"{host}:{taken}"))
    assert raised.value.what.startswith(f"the manager cannot listen on {host}:{taken}: Address already in use")
    assert f"(process {os.getpid()})." in raised.value.what or not shutil.which("ss")
    assert "Change `listen` in /etc/skipjack/manager.yml" in raised.value.todo


def test_an_address_of_another_machine_is_reported() -> None:
    with pytest.raises(SkipjackError, match=r"cannot listen on 192\.0\.2\.1:8080: Cannot assign requested address\."):
        listen_check.require_free(manager("192.0.2.1:8080"))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_managers_own_socket_is_accepted(
    taken: int, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, monkeypatch, f"ActiveState=active\\nListen=127.0.0.1:{taken} (Stream)\\n", 3)
    listen_check.require_free(manager(f"{host}:{taken}"))


def test_a_manager_that_opened_its_socket_itself_is_accepted(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(tmp_path, monkeypatch, "ActiveState=inactive\\n", 0)
    listen_check.require_free(manager(f"127.0.0.1:{taken}"))
