"""Units of a user's own service manager: a worker without root."""

from collections.abc import Iterator

import pytest

from runner.hooks import control_group
from tests.system.box import Box, wait_until
from tests.system.site import SKIPJACK, Site

HOME = "/home/ada"


class User:
    """A user with a service manager of its own, which lives without a login."""

    def __init__(self, box: Box) -> None:
        self.box = box
        box.do("useradd", "--create-home", "--shell", "/bin/bash", "ada")
        self.env = {"XDG_RUNTIME_DIR": f"/run/user/{box.do('id', '-u', 'ada')}"}
        box.do("loginctl", "enable-linger", "ada")
        wait_until(lambda: box.run("systemctl", "--user", "show", user="ada", env=self.env).returncode == 0, "it runs")

    def do(self, *words: str) -> str:
        return self.box.do(*words, user="ada", env=self.env)


@pytest.fixture(scope="module")
def ada(site: Site) -> Iterator[User]:
    user = User(site.box)
    settings = (
        "worker: w1\nrepository: {url: 'git://127.0.0.1/config.git'}\n"
        f"mirror_root: {HOME}/mirror\nstate_dir: {HOME}/state\nlog_dir: {HOME}/log\npolicy: {HOME}/policy.yml\n"
        f"snapshot_root: {HOME}/snapshot\nrun_dir: {user.env['XDG_RUNTIME_DIR']}/skipjack\n"
    )
    site.box.write(f"{HOME}/.config/skipjack/runner.yml", settings)
    site.box.do("chown", "-R", "ada:", HOME)
    yield user
    user.do(SKIPJACK, "uninstall", "--user", "--stop-jobs")


def test_a_user_without_root_gets_mirrors_synced_by_units(site: Site, ada: User) -> None:
    site.box.write("/etc/rsyncd.secrets", "mirror:open sesame\n", 0o600)
    config = site.box.path("/etc/box-rsyncd.conf")
    private = "[private]\npath = /srv/upstream\nauth users = mirror\nsecrets file = /etc/rsyncd.secrets\n"
    config.write_text(config.read_text() + private)
    site.commit(
        {
            "x.y-z.yml": "upstream: rsync://127.0.0.1/private/\nusername: mirror\npassword: {credential: word}\n",
            "hog.yml": "provider: command\nupstream: x\ncommand: cat /proc/self/cgroup\nmemory_limit: 64MiB\n",
        }
    )
    site.box.write(f"{HOME}/.config/skipjack/credentials/mirrors/word", "open sesame\n")
    site.box.do("chown", "-R", "ada:", f"{HOME}/.config")
    lingering = site.box.path("/var/lib/systemd/linger/ada")
    lingering.unlink()
    said = site.box.run(SKIPJACK, "install", "--user", user="ada", env=ada.env)
    assert said.returncode == 0 and "INFO install: these units stop when you log out" in said.stderr
    assert "loginctl enable-linger ada" in said.stderr
    lingering.touch()
    assert not site.box.path("/etc/systemd/system/skipjack-tick.service").exists()
    wait_until(lambda: site.box.path(f"{HOME}/mirror/x.y-z/hello/file.txt").exists(), "it is synced")
    log = f"{HOME}/log/hog/latest"
    wait_until(lambda: "skipjack-run@hog.service" in site.box.run("cat", log).stdout, "its run is a unit")
    limit = ("systemctl", "--user", "show", "--value", "--property=MemoryMax", "skipjack-run@hog.service")
    assert ada.do(*limit) == str(64 * 1024**2)
    # Control groups of version 1 give a user's units no memory controller, whatever systemd shows.
    log_has = "`memory_limit` is not enforced" in site.box.do("cat", log)
    assert log_has != control_group.is_unified()
    shown = site.box.run(SKIPJACK, "next", user="ada", env=ada.env).stderr
    words = "WARNING next: `memory_limit` of hog is not enforced: units of a user"
    assert (words in shown) != control_group.is_unified()
    again = site.box.run(SKIPJACK, "install", "--user", user="ada", env=ada.env)
    assert "wrote" not in again.stdout and "enable-linger" not in again.stderr


def test_uninstalling_takes_the_users_units_away(ada: User) -> None:
    ada.do(SKIPJACK, "install", "--user")
    said = ada.do(SKIPJACK, "uninstall", "--user")
    assert f"kept: {HOME}/.config/skipjack/runner.yml" in said
    assert ada.do("find", f"{HOME}/.config/systemd", "-name", "*skipjack*") == ""
    assert ada.do("systemctl", "--user", "list-units", "--all", "--plain", "--no-legend", "skipjack*.timer") == ""
