"""Warnings about secrets that the worker's user cannot read, with the command that grants access.

Tests with a second user are in tests/system.
"""

import os
import pwd
import re
import subprocess
from pathlib import Path

import pytest

from runner.base.secret_files import SecretFile, SecretReader, named, warnings
from schemas.records import Mirror, Secret

ME = pwd.getpwuid(os.geteuid()).pw_name


def about(path: Path | str, seen: tuple[str, ...] | None = None, user: str = ME) -> list[str]:
    return warnings([SecretFile(str(path), "password of debian")], SecretReader(user, seen))


def test_each_secret_is_checked_once() -> None:
    mirror = Mirror("a", "w1", "rsync", "rsync://x.example/a/", password=Secret(file="/p"))
    others = [mirror._replace(name="b"), mirror._replace(name="c", password=Secret(credential="x"))]
    assert named("/t", [mirror, *others]) == [SecretFile("/t", "manager.token"), SecretFile("/p", "password of a")]
    assert named("", []) == []


def test_a_secret_that_can_be_read_is_not_mentioned(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("open sesame\n")
    (tmp_path / "link").symlink_to("secret")
    assert about(tmp_path / "secret") == about(tmp_path / "link") == []


def test_the_command_for_a_missing_secret_creates_an_empty_file_only_for_the_user(tmp_path: Path) -> None:
    path = tmp_path / "it's missing"
    [warning] = about(path)
    assert warning.startswith(f"{ME} cannot read the secret {path} (`password of debian`): no such file")
    assert warning.endswith("as root, and write the secret into it.")
    [command] = re.findall(r"Run `(.*?)` as root", warning)
    subprocess.run(["/bin/sh", "-ec", command], check=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert about(path) == []


def test_a_secret_that_is_not_a_file_is_reported_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    [pipe], [folder] = about(tmp_path / "pipe"), about(tmp_path)
    assert "it is a named pipe. Write the secret into a regular file." in pipe and "it is a directory." in folder


@pytest.mark.parametrize("path", ["/home/ada/token", "/root/token", "/run/user/1000/token"])
def test_units_see_no_home_except_their_own_folders(path: str) -> None:
    [warning] = about(path, seen=("/srv/mirror",))
    words = f"install -D -m 600 -o {ME} {path} /etc/skipjack/secrets/token"
    assert f"units see no home folders. Run `{words}` as root, and use that path instead." in warning
    assert not any("home folders" in each for each in (*about(path, seen=(str(Path(path).parent),)), *about(path)))
