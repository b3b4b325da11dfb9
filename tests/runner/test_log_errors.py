"""The reason of a failed run contains the line of its log that names the error."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.run.log_errors import LONGEST, is_unreached, shortened, whole_error_line
from tests.e2e.parts import RsyncDaemon, free_port

from .syncing import Site

DENYING = {
    "auth": "auth users = mirror\nsecrets file = {folder}/none",
    "chroot": "path = {folder}/missing\nuse chroot = yes",
    "denied": "hosts allow = 192.0.2.1",
    "full": "max connections = -1",
    "limited": "max connections = 1\nlock file = {folder}/lock",
}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RsyncDaemon]:
    """Run a daemon with modules that no client may read."""
    made = RsyncDaemon(tmp_path / "daemon", {})
    (tmp_path / "files").mkdir()
    with (tmp_path / "daemon/rsyncd.conf").open("a") as config:
        for name, text in DENYING.items():
            config.write(f"[{name}]\npath = {tmp_path}/files\n{text.format(folder=tmp_path)}\n")
    with made:
        yield made


@pytest.mark.parametrize("provider", ["rsync", "two-stage-rsync"])
@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("auth", "@ERROR: auth failed on module auth"),
        ("chroot", "@ERROR: chroot failed"),
        ("denied", "@ERROR: access denied to denied from localhost (127.0.0.1)"),
        ("nowhere", "@ERROR: Unknown module 'nowhere'"),
        ("full", "@ERROR: max connections (-1) reached -- try again later"),
    ],
)
def test_the_message_of_a_daemon_is_the_reason(
    tmp_path: Path, daemon: RsyncDaemon, module: str, said: str, provider: str
) -> None:
    ending = Site(tmp_path, daemon.url(module)).sync(provider=provider)
    assert ending.status == "failed"
    assert ending.reason.replace("from UNDETERMINED", "from localhost") == f"rsync exited with 5: {said}"
    assert ending.reason in ending.log_tail
    assert ending.unreached == (module == "full")


def test_a_connection_limit_is_the_reason(tmp_path: Path, daemon: RsyncDaemon) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port)) as holder:
        holder.sendall(b"@RSYNCD: 31.0\nlimited\n")
        while b"@RSYNCD: OK" not in holder.recv(4096):
            pass
        ending = Site(tmp_path, daemon.url("limited")).sync()
    assert ending.unreached
    assert ending.reason == "rsync exited with 5: @ERROR: max connections (1) reached -- try again later"


def test_a_closed_port_is_named(tmp_path: Path) -> None:
    port = free_port()
    ending = Site(tmp_path, f"rsync://127.0.0.1:{port}/files/").sync()
    assert ending.unreached
    assert ending.reason.startswith(
        "rsync exited with 10: error in socket I/O; the upstream may be down. The log says: "
    )
    assert ending.reason.endswith("failed to connect to 127.0.0.1 (127.0.0.1): Connection refused (111)")


def test_a_missing_directory_of_the_upstream_is_named(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    with RsyncDaemon(tmp_path / "daemon", {"files": tmp_path / "files"}) as daemon:
        ending = Site(tmp_path, daemon.url("files/none")).sync()
    assert "The log says: rsync: [sender] change_dir " in ending.reason
    assert "failed: No such file or directory (2)" in ending.reason
    assert not ending.unreached


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("git clone file:///nowhere/at/all x", "fatal: "),
        ("nowhere-to-be-found", "nowhere-to-be-found: not found"),
        ("python3 -c 'import nowhere'", "ModuleNotFoundError: No module named 'nowhere'"),
        ("python3 -c 'import subprocess; subprocess.run([str(9)*9])'", "FileNotFoundError: [Errno 2] No such file"),
        ("perl -e 'die qq(the index is empty)'", "the index is empty at -e line 1."),
        ("tar xf none.tar; echo ERROR: sync failed", "tar: none.tar: Cannot open: No such file or directory"),
    ],
    ids=["git", "sh", "python", "python in a traceback", "perl", "tar"],
)
def test_the_message_of_a_real_program_is_the_reason(tmp_path: Path, script: str, said: str) -> None:
    """Of programs that every machine for development has; `test_error_lines.py` has messages of others."""
    log = tmp_path / "log"
    with log.open("wb") as file:
        subprocess.run(
            ["sh", "-c", f"{script}; echo; echo cleaning up"], stdout=file, stderr=file, check=False, cwd=tmp_path
        )
    found = shortened(whole_error_line(str(log)))
    assert said in found, log.read_text()
    assert not is_unreached(found)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("docker: Error response from daemon: No such image: x:1.\nSee 'docker run --help'.\n", "docker: Error"),
        ("Error: x:1: image not known\n", "Error: x:1: image not known"),
        ("mirror: Access failed: 550 /pub: No such file or directory\n1 error detected\n", "mirror: Access failed"),
        ("Host key verification failed.\nrsync: connection unexpectedly closed (0 bytes)\n", "Host key verification"),
        ("me@h: Permission denied (publickey,password).\nrsync: [Receiver] connection unexpectedly closed\n", "me@h"),
        ("rsync: [receiver] write failed on \"x\": No space left on device (28)\n"
         "rsync error: error in file IO (code 11) at receiver.c(378)\n"
         "rsync: [generator] write error: Broken pipe (32)\n", "rsync: [receiver] write failed"),
        ("[Receiver] io timeout after 120 seconds -- exiting\nrsync error: timeout (code 30)\n", "[Receiver] io"),
        ("rsync: connection unexpectedly closed (0 bytes)\nrsync error: x (code 12)\n", "rsync: connection"),
        ("ssh: connect to host h port 2: Connection refused\nfatal: Could not read from remote repository.\n", "ssh: "),
        ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.\n", "git@h: Perm"),
        ("2026-01-01 10:00:00 ERROR cannot read index\ndone\n", "2026-01-01 10:00:00 ERROR cannot read index"),
        ("first\nfatal: one\nfatal: two\nbye\n", "fatal: two"),
        ("@ERROR: chroot failed\nfatal: two\n", "@ERROR: chroot failed"),
        (">f+++++++++ pool/error: x\nbye\n", ""),
        ("skipjack: error: own line\nrsync error: syntax (code 1)\nall is well, 0 errors\n", ""),
    ],
)  # fmt: skip
def test_the_clearest_line_is_chosen(tmp_path: Path, lines: str, said: str) -> None:
    log = tmp_path / "log"
    log.write_text(lines)
    found = shortened(whole_error_line(str(log)))
    assert found.startswith(said) and bool(found) == bool(said)


def test_a_reason_is_short_plain_and_without_secrets(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"fatal: \x1b]0;title\x07 caf\xe9 https://me:pass@example.org/x " + b"y" * 100_000 + b"\n")
    found = shortened(whole_error_line(str(log)))
    assert found.startswith("fatal: \\x1b]0;title\\x07 caf� https://") and found.isprintable()
    assert "pass" not in found and len(found) == LONGEST


def test_a_cause_at_the_end_of_a_long_line_is_seen(tmp_path: Path) -> None:
    """The form of Python's `requests`."""
    log = tmp_path / "log"
    url = "/pkgs/main/linux-64/" + "x" * 250
    log.write_text(
        f"requests.exceptions.ConnectionError: HTTPSConnectionPool(host='h', port=443): Max retries: {url}"
        " (Caused by NewConnectionError('<x>: Failed to establish a new connection: [Errno 111] Connection refused'))\n"
    )
    assert is_unreached(whole_error_line(str(log))) and not is_unreached(shortened(whole_error_line(str(log))))


def test_only_the_end_of_a_large_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"@ERROR: long ago\n" + b"x\n" * 2_200_000 + b"fatal: at the end\n")
    assert shortened(whole_error_line(str(log))) == "fatal: at the end"


def test_the_reason_of_a_command_that_names_no_error_is_its_exit_code(tmp_path: Path) -> None:
    ending = Site(tmp_path, "").sync(provider="command", command="sh -c 'echo hello; exit 7'")
    assert ending.reason == "the command exited with 7"
    ending = Site(tmp_path, "").sync(provider="command", command="sh -c 'echo fatal: no index; exit 7'")
    assert ending.reason == "the command exited with 7. The log says: fatal: no index"
