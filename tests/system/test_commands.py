"""Commands of a real manager to a worker of units, whose courier is kept from seeing the runs' processes."""

import json
from collections.abc import Iterator

import pytest

from tests.system.box import wait_until
from tests.system.site import RUNNER, SETTINGS, Site

MANAGER = "/opt/skipjack/bin/skipjack-manager"
FILE = "/srv/manager.yml"
WAITS = "provider: command\nupstream: x\ncommand: sh -c 'until [ -e go ]; do sleep 0.1; done; rm go'\n"


@pytest.fixture
def operator(site: Site) -> Iterator[str]:
    """The worker with a manager in its box; gives an operator's token."""
    box = site.box
    box.write(FILE, "listen: 127.0.0.1:8080\nstate_dir: /srv/m\nrun_dir: /srv/m/run\nsite_dir: /srv/m/site\n")
    token = box.do(MANAGER, "token", "add", "w1", "--settings", FILE)
    box.write("/etc/skipjack/credentials/token", token + "\n", 0o600)
    box.write(SETTINGS, RUNNER + "manager: {url: 'http://127.0.0.1:8080', token: {credential: token}}\n")
    site.unit("manager", MANAGER, "serve", "--settings", FILE)
    site.install()
    yield box.do(MANAGER, "token", "add", "alice", "--scope", "operator", "--settings", FILE)
    box.run("systemctl", "stop", "box-manager.service")
    box.write(SETTINGS, RUNNER)
    site.install()


def test_a_command_stops_a_run_that_the_courier_cannot_see(site: Site, operator: str) -> None:
    site.commit({"long.yml": WAITS})
    site.wait_for("long", "syncing")

    def give(kind: str) -> None:
        order = json.dumps({"kind": kind, "mirrors": ["long"], "worker": "w1"})
        words = ["curl", "-sf", "-H", f"Authorization: Bearer {operator}", "-d", order]
        url = "http://127.0.0.1:8080/api/v1/commands"
        wait_until(lambda: site.box.run(*words, url).returncode == 0, "the manager takes it")

    give("stop")

    ended = site.wait_for("long", "paused")
    assert ended["reason"] == "paused by alice through the manager"
    assert site.ends("long") == ["stopped"]
    give("start")
    site.wait_for("long", "syncing")
    site.box.do("touch", "/srv/mirror/long/go")
    site.wait_for("long", "success")
