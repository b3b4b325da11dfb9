"""The manager as units, and a worker's units that report to it."""

import json

from tests.system.box import Box, wait_until
from tests.system.site import RUNNER, SETTINGS, SKIPJACK, Site

MANAGER = "/opt/skipjack/bin/skipjack-manager"


def test_a_workers_units_report_to_the_managers_units_which_publish_the_site(site: Site) -> None:
    box = site.box
    box.write("/etc/skipjack/manager.yml", "repository: {url: 'git://127.0.0.1/config.git'}\n")
    assert "started skipjack-publish.service" in box.do(SKIPJACK, "install", "--manager")
    token = box.do(MANAGER, "token", "add", "w1", user="skipjack-manager")
    box.write("/etc/skipjack/credentials/token", f"{token}\n", 0o600)
    box.write(SETTINGS, RUNNER + "manager: {url: 'http://127.0.0.1:8080', token: {credential: token}}\n")
    site.commit({"hello.yml": "upstream: rsync://127.0.0.1/files/\n"})
    site.install()
    site.wait_for("hello", "success")
    published = box.path("/var/www/skipjack/status.json")

    def is_told() -> bool:
        if not published.exists():
            return False
        return any(
            mirror["name"] == "hello" and "success" in json.dumps(mirror) for mirror in _mirrors(published.read_text())
        )

    wait_until(is_told, "the site shows the success")
    assert box.do("cat", "/var/www/skipjack/index.html", user="www-data")
    for unit in ("skipjack-manager.service", "skipjack-publish.service"):
        is_started_again_and_stops_cleanly(box, unit)
    assert "removed /etc/systemd/system/skipjack-manager.service" in box.do(SKIPJACK, "uninstall", "--manager")
    assert published.exists()


def is_started_again_and_stops_cleanly(box: Box, unit: str) -> None:
    def shown(what: str) -> str:
        return box.do("systemctl", "show", "--value", f"--property={what}", unit)

    pid = shown("MainPID")
    box.do("kill", "-KILL", pid)
    wait_until(lambda: shown("MainPID") not in (pid, "0"), f"{unit} is back")
    box.do("systemctl", "stop", unit)
    assert shown("Result") == "success"


def _mirrors(text: str) -> list[dict[str, object]]:
    found = json.loads(text)["mirrors"]
    return list(found.values()) if isinstance(found, dict) else found
