"""systemd holds the manager's socket, with TLS and without root as well: a restart under load loses no request."""

import json
from collections.abc import Callable
from functools import partial

from tests.system.box import Box, wait_until
from tests.system.site import SKIPJACK, Site
from tests.system.test_user import HOME, User

ASKERS = 4
RESTARTS = 6

ASKING = """
import json, os, ssl, sys, urllib.request
url, name = sys.argv[1:]
trusted = ssl.create_default_context(cafile="/srv/tls.crt") if url.startswith("https") else None
failed, done = [], 0
while not os.path.exists("/srv/enough"):
    try:
        with urllib.request.urlopen(url, timeout=120, context=trusted) as answer:
            answer.read()
        done += 1
        open(f"/srv/{name}.count", "w").write(str(done))
    except Exception as error:
        failed.append(repr(error))
json.dump({"done": done, "failed": failed}, open(f"/srv/{name}.new", "w"))
os.replace(f"/srv/{name}.new", f"/srv/{name}.json")
"""


def restarted_under_load(site: Site, url: str, restart: Callable[[], object]) -> None:
    """Restart a manager again and again while clients ask it, each request on a connection of its own."""
    box = site.box

    def go_on(before: list[int]) -> bool:
        return all(count(box, name) > was for name, was in zip(names, before, strict=True))

    box.shell("rm -f /srv/enough /srv/asker-*")
    box.write("/srv/asking.py", ASKING)
    names = [f"asker-{number}" for number in range(ASKERS)]
    for name in names:
        site.unit(name, "/usr/bin/python3", "/srv/asking.py", url, name)
    for _again in range(RESTARTS):
        restart()
        wait_until(partial(go_on, [count(box, name) for name in names]), "all go on")
    box.write("/srv/enough", "")
    for name in names:
        wait_until(box.path(f"/srv/{name}.json").exists, "the asking has ended")
        found = json.loads(box.path(f"/srv/{name}.json").read_text())
        assert found["failed"] == [] and found["done"] >= RESTARTS


def count(box: Box, name: str) -> int:
    path = box.path(f"/srv/{name}.count")
    return int(path.read_text() or 0) if path.exists() else 0


def main_pid(box: Box) -> str:
    return box.do("systemctl", "show", "--value", "--property=MainPID", "skipjack-manager.service")


def test_a_restart_of_a_manager_with_tls_loses_no_request(site: Site) -> None:
    box = site.box
    box.shell(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
        " -keyout /srv/tls.key -out /srv/tls.crt 2>/dev/null; chmod 644 /srv/tls.key"
    )
    box.write(
        "/etc/skipjack/manager.yml",
        "listen: 127.0.0.1:8443\ntls: {certificate: /srv/tls.crt, key: /srv/tls.key}\n"
        "limits: {rate: 100000, burst: 100000}\n",
    )
    assert "started skipjack-manager.socket" in box.do(SKIPJACK, "install", "--manager")
    before = main_pid(box)
    restarted_under_load(
        site, "https://127.0.0.1:8443/jobs", lambda: box.do("systemctl", "restart", "skipjack-manager.service")
    )
    assert main_pid(box) != before
    box.do(SKIPJACK, "uninstall", "--manager")


def test_a_restart_of_a_users_own_manager_loses_no_request(site: Site) -> None:
    site.box.run(SKIPJACK, "uninstall", "--manager")
    ada = User(site.box)
    site.box.write(
        f"{HOME}/.config/skipjack/manager.yml",
        f"listen: 127.0.0.1:8090\nstate_dir: {HOME}/state\nsite_dir: {HOME}/site\n"
        f"run_dir: {ada.env['XDG_RUNTIME_DIR']}/skipjack\nlimits: {{rate: 100000, burst: 100000}}\n",
    )
    site.box.do("chown", "-R", "ada:", f"{HOME}/.config")
    assert "started skipjack-manager.socket" in ada.do(SKIPJACK, "install", "--manager", "--user")
    assert site.box.run("systemctl", "is-active", "skipjack-manager.socket").returncode != 0, "it is the user's alone"
    restarted_under_load(
        site,
        "http://127.0.0.1:8090/jobs",
        lambda: ada.do("systemctl", "--user", "restart", "skipjack-manager.service"),
    )
    ada.do(SKIPJACK, "uninstall", "--manager", "--user")
    assert ada.do("find", f"{HOME}/.config/systemd", "-name", "*skipjack*") == ""
