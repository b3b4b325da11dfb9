"""A mirror site within a box: an upstream, a config repository, and a worker that `skipjack install` made."""

import json
from collections.abc import Mapping
from typing import Any

from tests.system.box import PATIENCE, Box, wait_until

SKIPJACK = "/opt/skipjack/bin/skipjack"
SETTINGS = "/etc/skipjack/runner.yml"

RUNNER = "worker: w1\nrepository: {url: 'git://127.0.0.1/config.git'}\n"

# Timers that need not wait for the next minute: a test that waits for them would be slow, not better.
QUICK = {
    "skipjack-follow.timer": "[Timer]\nOnUnitInactiveSec=1s\nAccuracySec=10ms\n",
    "skipjack-tick.timer": "[Timer]\nOnCalendar=\nOnBootSec=0\nOnUnitInactiveSec=1s\nAccuracySec=10ms\n",
}

_JOURNAL = """
import json, sys
try:
    from runner.journal import journal
except ImportError:  # an older release
    from runner import journal
with journal.opened("/var/lib/skipjack/journal.db") as book:
    states = {name: state.status for name, state in book.states().items()}
    runs = {name: book.last_run(name) for name in states}
print(json.dumps({name: (run._asdict() if run else {}) | {"status": states[name]} for name, run in runs.items()}))
"""

_ENDS = """
import sqlite3, sys
db = sqlite3.connect("/var/lib/skipjack/journal.db")
print(*(row[0] for row in db.execute("SELECT status FROM run WHERE mirror = ? ORDER BY id", sys.argv[1:])))
"""

_REVISION = """
from runner.plan import plan
with plan.opened("/var/lib/skipjack/plan.db") as opened:
    print(opened.header.revision)
"""

_RSYNCD = "uid = 0\ngid = 0\nuse chroot = no\n[files]\npath = /srv/upstream\nread only = yes\n"


def is_active(box: Box, units: str) -> bool:
    """Whether any unit of these names is active."""
    return box.run("systemctl", "is-active", "--quiet", units).returncode == 0


class Site:
    """The parts of a site in a box, each a real one."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def prepare(self, settings: str = RUNNER) -> None:
        """Start an upstream and a config repository, and write the worker's settings."""
        self.box.write("/etc/skipjack/runner.yml", settings)
        self.box.write("/srv/upstream/hello/file.txt", "hello\n")
        self.box.write("/etc/box-rsyncd.conf", _RSYNCD)
        self.box.shell(
            "git init -q --bare -b main /srv/git/config.git; git init -q -b main /srv/tree; cd /srv/tree;"
            "git config user.name Ada; git config user.email ada@mirrors.example;"
            "git remote add origin /srv/git/config.git"
        )
        self.commit(
            {
                "_site.yml": "title: Test Mirrors\n",
                "_workers.yml": "workers:\n  w1: {slots: 2}\n",
                "_defaults.yml": "worker: w1\nprovider: rsync\ninterval: 1h\nretry: 1\njitter: 0s\nretry_delay: 0s\n"
                "min_free_space: 0B\n",
            }
        )
        self.serve()

    def serve(self) -> None:
        """Start what is served from here; again after a reboot."""
        self.unit(
            "upstream", "rsync", "--daemon", "--no-detach", "--address=127.0.0.1", "--config=/etc/box-rsyncd.conf"
        )
        self.unit("git", "git", "daemon", "--listen=127.0.0.1", "--base-path=/srv/git", "--export-all")
        wait_until(lambda: self.box.run("rsync", "rsync://127.0.0.1/").returncode == 0, "the upstream answers")
        words = ("git", "ls-remote", "git://127.0.0.1/config.git")
        wait_until(lambda: self.box.run(*words).returncode == 0, "the config repository answers")

    def unit(self, name: str, *words: str) -> None:
        """Run a program as a unit of the box."""
        self.box.do("systemd-run", "--quiet", "--collect", f"--unit=box-{name}", *words)

    def commit(self, files: Mapping[str, str | None]) -> None:
        """Commit files of the config repository (None removes one) and push them."""
        for name, text in files.items():
            if text is None:
                self.box.path(f"/srv/tree/{name}").unlink()
            else:
                self.box.write(f"/srv/tree/{name}", text)
        self.box.shell("cd /srv/tree; git add --all; git commit -q -m Change; git push -q origin HEAD")

    def install(self, *words: str, quick: bool = True, code: int = 0) -> str:
        """Install the worker's units; with timers that need not wait for the minute unless configured otherwise."""
        if quick:
            for timer, text in QUICK.items():
                self.box.write(f"/etc/systemd/system/{timer}.d/quick.conf", text)
        done = self.box.run(SKIPJACK, "install", *words)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def mirrors(self) -> dict[str, Any]:
        """Each mirror's last run with its status, from the journal."""
        found: dict[str, Any] = json.loads(self.box.do("/opt/skipjack/bin/python", "-c", _JOURNAL, user="skipjack"))
        return found

    def wait_for(self, name: str, *statuses: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until a mirror has one of these statuses, and give its last run."""
        found: dict[str, Any] = {}

        def there() -> bool:
            found.clear()
            found.update(self.mirrors().get(name, {}))
            return found.get("status") in statuses

        try:
            wait_until(there, f"{name} is {' or '.join(statuses)}", seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it is {found}\n{self.lines()}") from error
        return found

    def ends(self, name: str) -> list[str]:
        """How all of a mirror's runs ended, oldest first."""
        return self.box.do("/opt/skipjack/bin/python", "-c", _ENDS, name, user="skipjack").split()

    def wait_for_revision(self, seconds: float = PATIENCE) -> None:
        """Wait until the newest commit is in force."""
        commit = self.box.do("git", "-C", "/srv/tree", "rev-parse", "HEAD")
        wait_until(lambda: self.revision() == commit, "the newest commit is in force", seconds)

    def revision(self) -> str:
        """The revision in force."""
        return self.box.do("/opt/skipjack/bin/python", "-c", _REVISION, user="skipjack")

    def lines(self) -> str:
        """The last lines of the box's journal, for a test that fails."""
        return self.box.do("journalctl", "--no-pager", "-n", "60")
