"""A held worker under systemd, from the first trial to its release, and what typed commands start beside units."""

from tests.system.box import wait_until
from tests.system.site import RUNNER, SETTINGS, SKIPJACK, Site

MIRROR = "upstream: rsync://127.0.0.1/files/\n"
HELD = "held: no run starts on this worker until `skipjack release`"
STATE = "/var/lib/skipjack"


def test_any_user_may_try_the_settings_before_anything_is_installed(site: Site) -> None:
    site.box.write(SETTINGS, RUNNER + "start: held\n")
    site.commit({"a.yml": MIRROR, "b.yml": MIRROR})

    for user in ("nobody", "root"):
        assert site.box.do(SKIPJACK, "next", user=user).startswith(HELD)
        assert "hello/file.txt" in site.box.do(SKIPJACK, "run", "a", "--dry-run", user=user)

    for path in (STATE, "/run/skipjack", "/srv/mirror/a"):
        assert not site.box.path(path).exists()


def test_an_installed_worker_that_is_held_starts_no_run_before_its_release(site: Site) -> None:
    box = site.box
    assert "followed the config repository:" in site.install()
    wait_until(lambda: box.path(f"{STATE}/agenda").exists(), "a tick found nothing to do")
    box.do(SKIPJACK, "start", "a")
    box.run("systemctl", "start", "skipjack-run@b.service")
    wait_until(lambda: box.run("systemctl", "is-failed", "skipjack-run@b.service").returncode == 0, "it is refused")
    assert "this worker is held" in box.do("journalctl", "--no-pager", "-t", "skipjack-b")
    assert site.mirrors() == {}
    assert box.do(SKIPJACK, "next", user="nobody").startswith(HELD)

    commands = (
        "release", "hold", "follow", "tick", "follow --accept-rewrite", "start a", "stop a", "restart a", "disable a",
        "enable a", "run a", "once",
    )  # fmt: skip
    for command in commands:
        refused = box.run(SKIPJACK, *command.split(), user="nobody")
        assert refused.returncode == 1, command
        assert "This worker belongs to the user skipjack: run the command as" in refused.stderr, (command, refused)

    box.do(SKIPJACK, "release")
    assert " ago by root; nothing was changed" in box.do(SKIPJACK, "release")

    for name in ("a", "b"):
        site.wait_for(name, "success")
    site.commit({"later.yml": MIRROR})
    site.wait_for("later", "success")


def test_typed_commands_start_what_they_name_while_the_timers_are_stopped(site: Site) -> None:
    box, timers = site.box, ("skipjack-tick.timer", "skipjack-follow.timer")
    box.do("systemctl", "stop", *timers)
    wait_until(lambda: _idle(site), "no program is at work")
    site.commit({"c.yml": MIRROR, "d.yml": MIRROR})

    box.do(SKIPJACK, "follow")
    box.do(SKIPJACK, "start", "c")

    site.wait_for("c", "success")
    wait_until(lambda: _idle(site), "no program is at work")
    assert site.mirrors()["d"] == {"status": "none"}, "it never ran"
    box.do("systemctl", "start", *timers)
    site.wait_for("d", "success")


def _idle(site: Site) -> bool:
    """Return whether no program of Skipjack runs or is requested."""
    wishes = {path.name for path in site.box.path(f"{STATE}/wishes").iterdir()}
    states = ("--state=active,activating,deactivating", "skipjack-*.service")
    return wishes <= {"measure"} and not site.box.do("systemctl", "list-units", "--no-legend", "--plain", *states)
