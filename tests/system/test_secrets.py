"""Secrets that the worker's user cannot read: what installing and a typed follow say, and that their commands do it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from runner.base.secret_files import SecretFile, SecretReader, warnings
from tests.system.box import Box, wait_until
from tests.system.site import RUNNER, SETTINGS, SKIPJACK, Site
from tests.system.test_user import User

SECRETS = "/etc/skipjack/secrets"
TOKEN = "/etc/skipjack/token"
REPORTING = "manager: {url: 'http://127.0.0.1:8080', token: {file: /etc/skipjack/token}}\n"
PRIVATE = "upstream: rsync://127.0.0.1/private/\nusername: mirror\npassword: {file: /etc/skipjack/secrets/debian}\n"
RSYNCD = "[private]\npath = /srv/upstream\nauth users = mirror\nsecrets file = /etc/rsyncd.secrets\n"
STATE = "/var/lib/skipjack"


def commands(said: str) -> list[str]:
    return re.findall(r"(?m)cannot read the secret .*Run `(.*?)` as root", said)


def about(path: Path) -> list[str]:
    return warnings([SecretFile(str(path), "password of debian")], SecretReader("nobody"))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o000, 0o640])
@pytest.mark.parametrize("above", [0o755, 0o700, 0o750, 0o711])
@pytest.mark.parametrize("owner", [0, 1])
def test_the_printed_command_lets_the_user_read_a_secret_and_no_other(mode: int, above: int, owner: int) -> None:
    folder = Path("/srv") / f"skipjack secret's {os.getpid()}"
    path = folder / "de bian"
    try:
        folder.mkdir()
        path.write_text("open sesame\n")
        path.chmod(mode)
        os.chown(path, owner, owner)
        folder.chmod(above)
        [warning] = about(path)
        assert warning.startswith(
            f"nobody cannot read the secret {path} (`password of debian`): permission denied. Run `"
        )
        assert (path.stat().st_uid, path.stat().st_mode & 0o777, os.geteuid()) == (owner, mode, 0)
        [command] = commands(warning)
        if owner:  # another program's, which must still be able to read it
            assert f"setfacl -m u:nobody:r '{folder}/de bian'".replace("'s ", "'\"'\"'s ") in command
            return
        subprocess.run(["/bin/sh", "-ec", command], check=True)
        assert about(path) == []
        assert path.stat().st_mode & 0o077 == mode & 0o077, "others cannot read it"
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def prepare(box: Box) -> None:
    """Write a token and a password as root alone may read them, as the import does."""
    box.write("/etc/rsyncd.secrets", "mirror:open sesame\n", 0o600)
    config = box.path("/etc/box-rsyncd.conf")
    config.write_text(config.read_text() + RSYNCD)
    box.write(TOKEN, "secret\n", 0o600)
    box.write(f"{SECRETS}/debian", "open sesame\n", 0o600)
    box.path(SECRETS).chmod(0o700)
    box.write(SETTINGS, RUNNER + REPORTING)


def test_installing_names_each_secret_until_its_command_was_given(site: Site) -> None:
    box = site.box
    prepare(box)
    site.commit({"debian.yml": PRIVATE})
    printed = box.run(SKIPJACK, "install", "--cron")
    assert f"skipjack cannot read the secret {TOKEN} " in printed.stderr and f"{SECRETS}/debian" in printed.stderr
    assert "cannot read" not in printed.stdout and not box.path(STATE).exists()

    said = site.install(code=1)

    assert "the courier cannot report until it can read the token" in said
    assert said.count("cannot read the secret") == 2, said
    found = commands(said)
    assert f"chown skipjack {TOKEN}" in found
    assert f"chmod a+x {SECRETS} && chown skipjack {SECRETS}/debian" in found
    assert box.do("stat", "-c", "%U %a", TOKEN, SECRETS) == "root 600\nroot 700", "nothing is changed silently"
    typed = box.run(SKIPJACK, "follow")
    assert (typed.returncode, typed.stderr.count("skipjack cannot read the secret")) == (0, 2)
    assert set(commands(typed.stderr)) == set(found)
    failed = site.wait_for("debian", "failed")
    assert f"cannot read the secret {SECRETS}/debian: Permission denied." in failed["reason"]

    for command in found:
        box.shell(command)

    assert "cannot read" not in site.install()
    assert "cannot read" not in box.run(SKIPJACK, "follow").stderr + box.run(SKIPJACK, "install", "--cron").stderr
    box.do(SKIPJACK, "start", "debian")
    site.wait_for("debian", "success")


def test_a_credential_is_read_by_root_and_must_be_there(site: Site) -> None:
    box = site.box
    box.write(SETTINGS, RUNNER + REPORTING.replace("file: /etc/skipjack/token", "credential: worker"))
    site.commit({"debian.yml": PRIVATE.replace(f"file: {SECRETS}/debian", "credential: word")})
    missing = site.install(code=1)
    assert "started skipjack-tick.timer" in missing, "all else is installed"
    dead = box.run(SKIPJACK, "next").stderr
    assert "skipjack-courier" not in dead or "systemd calls this “Protocol error”" in dead
    assert missing.count("cannot read the secret") == 2, missing
    assert "WARNING install: root cannot read the secret /etc/skipjack/credentials/worker (`manager.token`)" in missing
    for command in commands(missing):
        box.shell(command)
    assert "/etc/skipjack/credentials/worker (`manager.token`) is empty" in site.install(code=1)
    box.write("/etc/skipjack/credentials/worker", "secret\n", 0o600)
    box.write("/etc/skipjack/credentials/mirrors/word", "open sesame\n", 0o600)

    assert "cannot read" not in site.install() + box.run(SKIPJACK, "follow").stderr

    site.commit({"_site.yml": "title: Once More\n"})
    box.do(SKIPJACK, "start", "debian")
    site.wait_for("debian", "success")
    cron = box.run(SKIPJACK, "install", "--cron").stderr
    for key in ("manager.token", "password of debian"):
        assert f"cron passes no credentials, so `{key}` cannot be read. Set `file:` there instead." in cron


def test_units_of_a_user_report_files_that_this_user_cannot_read(site: Site) -> None:
    ada = User(site.box)
    folder = "/home/ada/.config/skipjack"
    site.box.write(
        f"{folder}/runner.yml",
        "worker: w1\nrepository: {url: 'git://127.0.0.1/config.git'}\nmirror_root: /home/ada/mirror\n"
        "state_dir: /home/ada/state\nlog_dir: /home/ada/log\nsnapshot_root: /home/ada/snapshot\n"
        f"policy: /home/ada/policy.yml\nrun_dir: {ada.env['XDG_RUNTIME_DIR']}/skipjack\n"
        f"manager: {{url: 'http://127.0.0.1:8080', token: {{file: {folder}/token}}}}\n",
    )
    site.box.write(f"{folder}/credentials/mirrors/word", "open sesame\n", 0o600)
    site.box.write(f"{folder}/token", "secret\n", 0o600)
    site.box.do("chown", "-R", "ada:", "/home/ada")
    site.box.do("chown", "root:", f"{folder}/token", f"{folder}/credentials/mirrors/word")
    done = site.box.run(SKIPJACK, "install", "--user", user="ada", env=ada.env)
    said = done.stderr
    assert done.returncode == 1, done.stdout + said
    assert set(commands(said)) == {f"chown ada {folder}/token", f"chown ada {folder}/credentials/mirrors/word"}, said
    for command in commands(said):
        site.box.shell(command)
    again = (SKIPJACK, "install", "--user")
    wait_until(
        lambda: "cannot read" not in site.box.run(*again, user="ada", env=ada.env).stderr, "nothing is left to say"
    )
    ada.do(SKIPJACK, "uninstall", "--user", "--stop-jobs")
