"""A person without root at a worker of the system: what may be seen is shown, the rest names who may do it."""

import re

from tests.system.site import SKIPJACK, Site

READING = ("next", "run --dry-run hello")
CHANGING = (
    *(f"{verb} hello" for verb in ("start", "stop", "restart", "disable", "enable", "run")),
    *("follow", "follow --start", "tick", "once", "courier", "release", "hold"),
)
WHOSE = "This worker belongs to the user skipjack: run the command as that user (`sudo -u skipjack …`) or as root."


def test_an_ordinary_users_message_has_the_owner_of_the_worker_and_no_full_disk(site: Site) -> None:
    box = site.box
    site.commit({"hello.yml": "upstream: rsync://127.0.0.1/files/hello/\n"})
    site.install()
    site.wait_for("hello", "success")
    # Each start of a unit gives the folder the mode of its `StateDirectoryMode=` again.
    box.shell("systemctl stop 'skipjack-*.timer' 'skipjack-*.path' 'skipjack-*.service'")
    for mode in ("755", "700"):
        box.do("chmod", mode, "/var/lib/skipjack")
        for command in (*READING, *CHANGING):
            done = box.run(SKIPJACK, *command.split(), user="nobody")
            said = done.stdout + done.stderr
            assert not re.search("[Ff]ree some space|disk|This is a bug", said), (command, said)
            assert "Check the path" not in said, (command, said)
            if command in CHANGING or mode == "700":
                assert (done.returncode, WHOSE in said) == (1, True), (command, said)
    box.do("chmod", "755", "/var/lib/skipjack")
    assert site.mirrors()["hello"]["status"] == "success"
