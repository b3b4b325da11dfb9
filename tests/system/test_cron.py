"""A worker without units: a real cron and the printed lines alone, through reboots."""

from tests.system.box import Box, wait_until
from tests.system.site import SKIPJACK, Site

LONG = 400.0
"""Seconds after which something counts as never happening; cron looks once a minute."""


def put(box: Box) -> None:
    """Write the printed files, each below the line with its path; follow each minute, not to wait for the third."""
    path = ""
    texts: dict[str, str] = {}
    for line in box.do(SKIPJACK, "install", "--cron").splitlines():
        if line.startswith("# /etc/"):
            path = line.removeprefix("# ")
        else:
            texts[path] = texts.get(path, "") + line.replace("*/3 ", "* ") + "\n"
    for path, text in texts.items():
        box.write(path, text)


def owner(box: Box, path: str) -> str:
    return box.run("stat", "--format=%U", path).stdout.strip()


def test_the_printed_lines_alone_make_a_worker_that_reboots_do_not_stop(site: Site) -> None:
    box = site.box
    site.commit({"hello.yml": "upstream: rsync://127.0.0.1/files/hello/\ninterval: 1s\n"})
    put(box)
    box.do("systemctl", "enable", "cron.service")
    assert box.run("id", "skipjack").returncode != 0 and not box.path("/run/skipjack").exists()
    _reboot(site)
    wait_until(lambda: has_run(box), "a run has begun", LONG)
    site.wait_for("hello", "success", seconds=LONG)
    _reboot(site)
    known = len(site.ends("hello"))
    wait_until(lambda: "success" in site.ends("hello")[known:], "it syncs again", LONG)


def has_run(box: Box) -> bool:
    """Looks at the log: who opens a journal that is not there yet makes it."""
    return box.path("/var/log/skipjack/hello/latest").is_symlink()


def _reboot(site: Site) -> None:
    """Reboot, and wait for a commit of after that to be in force, by cron alone."""
    site.box.reboot()
    site.serve()
    wait_until(lambda: owner(site.box, "/run/skipjack") == "skipjack", "the folders are there", LONG)
    site.commit({"_site.yml": f"title: {site.box.do('cat', '/proc/sys/kernel/random/uuid')}\n"})
    wait_until(lambda: site.box.path("/var/lib/skipjack/plan.db").exists(), "there is a plan", LONG)
    site.wait_for_revision(LONG)
