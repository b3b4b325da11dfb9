"""The command lines of Skipjack in the lines of the pages, each given once, on a machine with worker and manager."""

import json
import re
import shlex
from collections.abc import Iterator

import pytest

from tests.docs.own_commands import to_run
from tests.system.box import Box, wait_until
from tests.system.conftest import CHECKOUT
from tests.system.site import RUNNER, SETTINGS, Site

NOT_RUN = {
    "skipjack install --user": "needs a user's own service manager: tests/system/test_user.py",
    "skipjack forge list": "needs the job of a forge: tests/runner/test_forge_comment.py",
}
"""Complete commands that are not given here, and the test that gives them."""

NAMES = {
    "NAME": "debian",
    "WORKER": "w1",
    "FOLDER": "/srv/tree",
    "DIR": "/srv/tree",
    "FILE": "/srv/backup.db",
    "ID": "2",
    "BASE": "HEAD~",
    "https://manager.example.org": "http://127.0.0.1:8080",
}
"""What a reader writes in the place of a word in capitals, or of an example; token 1 is the worker's own."""

EXPORT = "skipjack policy export --manager https://manager.example.org --token-file FILE --into DIR"
PINNED = 'skipjack pin 0123456789ab --until 2d --reason "the new filters delete too much"'
_IN_FORCE = "$(git -C /srv/tree rev-parse origin/main)"
OTHER_NAMES = {
    "skipjack plugins NAME": {"NAME": "rsync"},
    "skipjack schema NAME": {"NAME": "mirror"},
    "skipjack validate --changed-since REVISION": {"REVISION": "HEAD~"},
    "skipjack pin REVISION --until 2d": {"REVISION": _IN_FORCE},
    PINNED: {"0123456789ab": _IN_FORCE},
    EXPORT: {"FILE": "/srv/operator-token"},
}
"""The same where a word means something else."""

PLACES = {
    "skipjack import tunasync": "/srv/import",
    "skipjack init": "/srv/new",
    **dict.fromkeys(("skipjack validate", "skipjack schema", "skipjack plan"), "/srv/tree"),
}
"""Where a command is given, as its page says."""

STAYS = (
    "skipjack-manager serve",
    "skipjack-manager serve --publish",
    "skipjack-manager publish",
    "skipjack courier --linger",
)
"""Commands that stay at work: each must be there until it is interrupted, and then exit with 130 as the page says."""

_COURIER = "skipjack-courier.timer skipjack-courier.service"
_MANAGER = "skipjack-manager.socket skipjack-manager skipjack-publish"
BEFORE = {
    **dict.fromkeys(STAYS, f"systemctl stop {_MANAGER}"),
    "skipjack-manager publish --once": "systemctl stop skipjack-publish",
    "skipjack run NAME --while-held": "skipjack hold",
    **dict.fromkeys(("skipjack courier", "skipjack courier --linger"), f"systemctl stop {_COURIER}"),
    **{each: "rm -rf /srv/new; mkdir /srv/new" for each in to_run() if each.startswith("skipjack init")},
    "skipjack init --update": "rm -rf /srv/new; mkdir /srv/new; skipjack init /srv/new",
    "skipjack init --update mirrors": "rm -rf /srv/new; mkdir /srv/new; skipjack init /srv/new/mirrors",
    "skipjack init --worker": "mkdir -p /srv/new; mv /etc/skipjack/runner.yml /srv/runner.yml",
    "skipjack init --worker mirrors": "rm -rf /srv/new; mkdir /srv/new; skipjack init /srv/new/mirrors;"
    " mv /etc/skipjack/runner.yml /srv/runner.yml",
    "skipjack init --manager": "mkdir -p /srv/new; mv /etc/skipjack/manager.yml /srv/manager.yml",
    # A manager that has just started asks each worker for its policy, with the answer to its next report.
    EXPORT: "skipjack-manager token add boss --scope operator > /srv/operator-token;"
    " systemctl restart skipjack-manager; skipjack start debian;"
    " timeout 60 sh -c 'until skipjack policy export --manager http://127.0.0.1:8080 --token-file /srv/operator-token"
    " --into /srv/tree; do sleep 1; done'",
    "skipjack unpin": f"skipjack pin {_IN_FORCE} --until 1h",
}
AFTER = {
    **dict.fromkeys(STAYS, f"systemctl start {_MANAGER}"),
    "skipjack-manager publish --once": "systemctl start skipjack-publish",
    "skipjack run NAME --while-held": "skipjack release",
    "skipjack hold": "skipjack release",
    **{each: "skipjack enable debian" for each in to_run() if each.startswith(("skipjack stop", "skipjack disable"))},
    **dict.fromkeys(("skipjack courier", "skipjack courier --linger"), "systemctl start skipjack-courier.timer"),
    **dict.fromkeys(("skipjack init --worker", "skipjack init --worker mirrors"), "mv /srv/runner.yml /etc/skipjack/"),
    "skipjack init --manager": "mv /srv/manager.yml /etc/skipjack/",
    **dict.fromkeys(("skipjack pin REVISION --until 2d", PINNED), "skipjack unpin"),
    "skipjack install --containers": "skipjack install --no-containers",
    "skipjack uninstall": "skipjack install",
}
"""What is given before and after some commands, so that each finds what its page expects."""

WORKER_CONF = """
[global]
name = "w1"
log_dir = "/var/log/tunasync"
mirror_dir = "/srv/tunasync"
interval = 60
concurrent = 4
[manager]
api_base = "http://127.0.0.1:12345"
[[mirrors]]
name = "debian"
provider = "rsync"
upstream = "rsync://127.0.0.1/files/hello/"
"""


@pytest.fixture(scope="module")
def whole(site: Site) -> Iterator[Site]:
    """A worker that was held and released, with a mirror that was synced, and its manager, both as units."""
    box = site.box
    site.commit({"debian.yml": "upstream: rsync://127.0.0.1/files/hello/\n"})
    box.do("ln", "-s", "/opt/skipjack/bin/skipjack", "/opt/skipjack/bin/skipjack-manager", "/usr/local/bin/")
    manager = "listen: 127.0.0.1:8080\nrepository: {url: 'git://127.0.0.1/config.git'}\n"
    box.write("/etc/skipjack/manager.yml", manager)
    box.do("skipjack", "install", "--manager")
    box.do("useradd", "--system", "skipjack")
    box.write("/etc/skipjack/token", box.do("skipjack-manager", "token", "add", "w1"), 0o600)
    box.do("chown", "skipjack:", "/etc/skipjack/token")
    box.do("skipjack-manager", "token", "add", "spare")
    report = "manager: {url: 'http://127.0.0.1:8080', token: {file: /etc/skipjack/token}}\n"
    box.write(SETTINGS, RUNNER + report + "start: held\n")
    site.install()
    box.do("skipjack", "release")
    site.wait_for("debian", "success")
    box.write("/srv/import/worker.conf", WORKER_CONF)
    status = box.path("/var/www/skipjack/status.json")
    wait_until(
        lambda: status.exists() and any(each["last_seen_at"] for each in json.loads(status.read_text())["workers"]),
        "the manager has its report",  # the worker itself is shown before, since the repository lists it
    )
    yield site


def give(box: Box, command: str) -> None:
    """Give a command with names in the place of words in capitals; Failed when it does not do what its page says."""
    plain = re.sub(r"[\[\]…]", "", command)
    for word, name in (NAMES | OTHER_NAMES.get(command, {})).items():
        plain = re.sub(rf"\b{word}\b", name, plain)
    place = next((place for begin, place in PLACES.items() if command.startswith(begin)), "/")
    if command in STAYS:
        done = box.run("timeout", "--preserve-status", "--signal=INT", "5", *shlex.split(plain))
        assert done.returncode == 130, f"{plain} exited with {done.returncode}: {done.stdout}{done.stderr}"
    else:
        box.shell(f"cd {place}; {plain}")


@pytest.mark.parametrize("command", [command for command in to_run() if command not in NOT_RUN])
def test_a_command_in_a_line_of_a_page_works(whole: Site, command: str) -> None:
    whole.box.shell(BEFORE.get(command, ":"))
    try:
        give(whole.box, command)
    finally:
        whole.box.shell(AFTER.get(command, ":"))


def test_the_tables_name_commands_of_the_pages_alone() -> None:
    assert {*NOT_RUN, *BEFORE, *AFTER, *OTHER_NAMES} <= {*to_run()}
    for reason in NOT_RUN.values():
        assert (CHECKOUT / reason.rpartition(" ")[2]).exists(), reason
