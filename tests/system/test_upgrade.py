"""Upgrading a manager and a worker by the commands of docs/systemd.md: links, units, and no request that is lost."""

import json

from tests.system.box import Box, wait_until
from tests.system.conftest import install_version
from tests.system.site import SKIPJACK, Site

ASKING = """
import json, os, time, urllib.request
failed, done = [], 0
while not os.path.exists("/srv/enough"):
    try:
        with urllib.request.urlopen("http://127.0.0.1:8080/jobs", timeout=120) as answer:
            answer.read()
        done += 1
        time.sleep(0.01)
    except Exception as error:
        failed.append(repr(error))
json.dump({"done": done, "failed": failed}, open("/srv/asked.json.new", "w"))
os.replace("/srv/asked.json.new", "/srv/asked.json")
"""


def versioned(box: Box, version: str) -> None:
    """Install a version and lead the link to it, as the documents say."""
    install_version(box, f"/opt/skipjack-{version}")
    box.shell(f"ln -sfT /opt/skipjack-{version} /opt/skipjack")
    box.shell("ln -sf /opt/skipjack/bin/skipjack /opt/skipjack/bin/skipjack-manager /usr/local/bin/")


def programs(box: Box, unit: str) -> str:
    return box.do("systemctl", "show", "--value", "--property=ExecStart", unit)


def test_an_upgrade_moves_units_and_links_and_loses_no_request(site: Site) -> None:
    box = site.box
    box.do("rm", "-rf", "/opt/skipjack")
    versioned(box, "1.0")
    box.write("/etc/skipjack/manager.yml", "listen: 127.0.0.1:8080\nlimits: {rate: 100000, burst: 100000}\n")
    said = box.do("skipjack", "install", "--manager")
    assert "started skipjack-manager.socket" in said
    site.install()
    box.write("/srv/asking.py", ASKING)
    site.unit("asking", "/usr/bin/python3", "/srv/asking.py")

    versioned(box, "1.1")
    assert "1.1" in box.do("readlink", "/opt/skipjack")
    assert "/opt/skipjack-1.0/" in programs(box, "skipjack-manager.service"), "units move with `install` alone"
    box.do("skipjack", "install", "--manager")
    box.do("skipjack", "install")
    for _again in range(3):
        box.do("systemctl", "restart", "skipjack-manager.service")

    box.write("/srv/enough", "")
    wait_until(lambda: box.path("/srv/asked.json").exists(), "the asking has ended")
    asked = json.loads(box.path("/srv/asked.json").read_text())
    assert asked["failed"] == [] and asked["done"] > 0
    for unit in ("skipjack-manager.service", "skipjack-publish.service", "skipjack-follow.service"):
        assert "/opt/skipjack-1.1/" in programs(box, unit), unit
    assert box.do("skipjack", "--version").startswith("skipjack ")
    assert box.run("ln", "-sfT", "/opt/skipjack-1.1", "/opt/skipjack-1.0").returncode != 0, (
        "it never links into a folder"
    )


def test_a_manager_that_cannot_start_fails_the_installation_with_its_reason(site: Site) -> None:
    box = site.box
    box.write("/etc/skipjack/manager.yml", "listen: 127.0.0.1:8080\ndatabase: {url: postgresql://127.0.0.1:1/none}\n")
    done = box.run(SKIPJACK, "install", "--manager")
    assert done.returncode == 1, done.stdout
    assert "skipjack-manager.service cannot start: " in done.stderr
    assert "no output" not in done.stderr
    assert "started skipjack-manager" not in done.stdout
    box.write("/etc/skipjack/manager.yml", "listen: 127.0.0.1:8081\n")
    assert "started skipjack-manager.socket" in box.do(SKIPJACK, "install", "--manager")
    box.do("/usr/bin/python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8081/jobs')")
    assert "removed /etc/systemd/system/skipjack-manager.socket" in box.do(SKIPJACK, "uninstall", "--manager")
    assert box.run("systemctl", "is-active", "skipjack-manager.socket").returncode != 0
