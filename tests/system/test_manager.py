"""The manager as units, and a worker's units that report to it."""

import json

from tests.system.box import Box, wait_until
from tests.system.conftest import WHEELS
from tests.system.postgresql import BINARIES
from tests.system.site import RUNNER, SETTINGS, SKIPJACK, Site

MANAGER = "/opt/skipjack/bin/skipjack-manager"
STATE = "/var/lib/skipjack-manager"


def test_a_workers_units_report_to_the_managers_units_which_publish_the_site(site: Site) -> None:
    box = site.box
    box.write("/etc/skipjack/manager.yml", "repository: {url: 'git://127.0.0.1/config.git'}\n")
    token = box.do(MANAGER, "token", "add", "w1")
    said = box.do(SKIPJACK, "install", "--manager")
    assert "started skipjack-publish.service" in said
    assert f"gave {STATE}, created by root, to skipjack-manager" in said
    assert set(box.do("find", STATE, "-printf", "%u\n").split()) == {"skipjack-manager"}
    box.write("/etc/skipjack/credentials/token", f"{token}\n", 0o600)
    box.write(SETTINGS, RUNNER + "manager: {url: 'http://127.0.0.1:8080', token: {credential: token}}\n")
    site.commit({"hello.yml": "upstream: rsync://127.0.0.1/files/\n"})
    site.install()
    site.wait_for("hello", "success")
    published = box.path("/var/www/skipjack/status.json")

    def is_reported() -> bool:
        if not published.exists():
            return False
        return any(
            mirror["name"] == "hello" and "success" in json.dumps(mirror) for mirror in _mirrors(published.read_text())
        )

    wait_until(is_reported, "the site shows the success")
    assert box.do("cat", "/var/www/skipjack/index.html", user="www-data")
    for unit in ("skipjack-manager.service", "skipjack-publish.service"):
        is_started_again_and_stops_cleanly(box, unit)
    an_address_in_use_changes_nothing(box)
    a_refused_token_is_shown(box)
    assert "removed /etc/systemd/system/skipjack-manager.service" in box.do(SKIPJACK, "uninstall", "--manager")
    assert published.exists()


def an_address_in_use_changes_nothing(box: Box) -> None:
    """The port is the git daemon's, which serves the configuration."""
    box.do("systemctl", "start", "skipjack-manager.service")
    settings = box.path("/etc/skipjack/manager.yml").read_text()
    box.write("/etc/skipjack/manager.yml", f"{settings}listen: 127.0.0.1:9418\n")
    done = box.run(SKIPJACK, "install", "--manager")
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1:9418: Address already in use" in done.stderr
    assert box.do("systemctl", "is-active", "skipjack-manager.socket", "skipjack-manager.service").split() == [
        "active", "active",
    ]  # fmt: skip
    box.write("/etc/skipjack/manager.yml", settings)
    box.do(SKIPJACK, "install", "--manager")


def a_refused_token_is_shown(box: Box) -> None:
    box.write("/etc/skipjack/credentials/token", f"{'x' * 43}\n", 0o600)
    box.do(SKIPJACK, "install")
    words = "WARNING next: manager: It has accepted no reports since"
    wait_until(lambda: words in box.run(SKIPJACK, "next").stderr, "the token is refused")


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


def test_the_managers_units_open_postgresql_with_a_credential(site: Site) -> None:
    box = site.box
    box.do(f"{OPT}/pip", "install", "--quiet", "--no-index", f"--find-links={WHEELS}", "skipjack[postgresql]")
    start_postgresql(box)
    box.write(
        "/etc/skipjack/manager.yml",
        "database: {url: 'postgresql://skipjack@127.0.0.1/skipjack', password: {credential: database-password}}\n",
    )
    box.do("rm", "-rf", "/etc/skipjack/credentials")
    refused = box.run(SKIPJACK, "install", "--manager")
    assert refused.returncode == 1 and "cannot read every secret" in refused.stderr
    assert f"root cannot read the secret {PASSWORD} (`database.password`): no such file" in refused.stderr
    assert not box.path("/etc/systemd/system/skipjack-manager.service").exists()

    box.write(PASSWORD, "correct horse\n", 0o600)
    box.do("rm", "-rf", STATE)
    box.do(MANAGER, "token", "add", "w1")
    assert "started skipjack-publish.service" in box.do(SKIPJACK, "install", "--manager")

    assert box.do("stat", "-c", "%U", STATE, f"{STATE}/postgresql-mark").split() == ["skipjack-manager"] * 2
    answered = box.do("/usr/bin/python3", "-c", ASKING)
    assert answered == "[]"
    wait_until(box.path("/var/www/skipjack/status.json").exists, "the site is published")
    box.do(SKIPJACK, "uninstall", "--manager")


OPT = "/opt/skipjack/bin"
PASSWORD = "/etc/skipjack/credentials/database-password"
ASKING = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/jobs').read().decode())"
MAKE_DATABASE = """
import psycopg
with psycopg.connect(host="127.0.0.1", user="postgres", dbname="postgres", autocommit=True) as connection:
    connection.execute("CREATE ROLE skipjack LOGIN PASSWORD 'correct horse'")
    connection.execute("CREATE DATABASE skipjack OWNER skipjack")
"""


def start_postgresql(box: Box) -> None:
    """Start a server in the box that asks everyone but its administrator for a password."""
    folder = "/srv/postgresql"
    box.do("install", "-d", "-o", "postgres", folder)
    words = ("-A", "trust", "-U", "postgres", "--no-sync", "--locale=C.UTF-8")
    box.do(str(BINARIES[-1] / "initdb"), "-D", f"{folder}/data", *words, user="postgres")
    rules = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    box.path(f"{folder}/data/pg_hba.conf").write_text(rules)
    options = ("-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
    server = ("--uid=postgres", str(BINARIES[-1] / "postgres"), "-D", f"{folder}/data", *options)
    box.do("systemd-run", "--quiet", "--collect", "--unit=box-postgresql", *server)
    make = ("/opt/skipjack/bin/python", "-c", MAKE_DATABASE)
    wait_until(lambda: box.run(*make).returncode == 0, "the database is made")
