"""How an image gets into the store of the worker's podman, and how a store that a login session made is used."""

import re

import pytest

from runner.hooks import control_group
from tests.system import engines
from tests.system.box import Box, wait_until
from tests.system.site import RUNNER, SETTINGS, SKIPJACK, Site

POLICY = f"images: [{engines.IMAGE}]\ndocker_options: [--network, --pull]\n"
IN_IMAGE = (
    f"provider: command\nupstream: x\ndocker_image: {engines.IMAGE}\ndocker_options: [--network=none, --pull=never]\n"
)
READS = IN_IMAGE + "command: sh -c 'cat /etc/image > image'\n"
ARCHIVE = "/root/tools.tar"
STORE = "/var/lib/skipjack/.local/share/containers"
DATABASE = f"{STORE}/storage/libpod/bolt_state.db"
IN_SESSION = ("su", "-s", "/bin/sh", "skipjack", "-c")
ROOTS_SESSION = {"XDG_RUNTIME_DIR": "/run/user/0", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/0/bus"}


@pytest.fixture(scope="module")
def podded(site: Site) -> Box:
    """A box whose worker may start containers with podman, and an archive of an image that root alone can read."""
    box = site.box
    engines.make_image(box.path("/srv/image.tar"))
    box.write("/etc/containers/containers.conf", engines.PODMAN.replace('tmp_dir = "{folder}/tmp"\n', ""))
    box.write("/etc/skipjack/policy.yml", POLICY)
    # With parts of /proc covered, as a box has them, the kernel lets only root mount another one.
    box.shell("umount --lazy /proc/sys; umount --lazy /proc/sys/net")
    box.write(SETTINGS, RUNNER + "container_program: podman\n")
    site.install("--containers")
    box.do("usermod", "--add-subuids=200000-265535", "--add-subgids=200000-265535", "skipjack")
    own = "podman --root=/srv/store --runroot=/srv/store-run --storage-driver=vfs"
    box.shell(f"{own} import /srv/image.tar {engines.IMAGE}; {own} save --output {ARCHIVE} {engines.IMAGE}")
    box.do("chmod", "600", ARCHIVE)
    box.do("useradd", "--create-home", "bob")
    return box


@pytest.fixture(autouse=True)
def empty_store(podded: Box) -> None:
    """Each test begins with an unused store."""
    podded.shell(f"rm -rf {STORE}")


def load(box: Box, archive: str = ARCHIVE, user: str = "root") -> tuple[int, str]:
    done = box.run(SKIPJACK, "container", "load", archive, user=user, env=ROOTS_SESSION if user == "root" else {})
    return done.returncode, (done.stdout + done.stderr).strip()


def run(site: Site, name: str, text: str) -> tuple[str, str]:
    """How the next run of a mirror as a unit ends, and why."""
    site.commit({f"{name}.yml": text})
    found = site.wait_for(name, "success", "failed")
    site.commit({f"{name}.yml": None})
    return found["status"], found["reason"]


def end_session(box: Box) -> None:
    """End the session that a test opened as the worker's user, and with it its folder."""
    number = box.do("id", "-u", "skipjack")
    box.do("loginctl", "terminate-user", "skipjack")
    wait_until(lambda: not box.path(f"/run/user/{number}").exists(), "the session's folder is gone")


def test_images_that_root_loads_are_there_for_the_runs(site: Site, podded: Box) -> None:
    assert load(podded) == (0, f"loaded {engines.IMAGE}")
    assert run(site, "loaded", READS) == ("success", "")
    assert podded.path("/srv/mirror/loaded/image").read_text() == "inside\n"


def test_an_image_that_the_policy_lacks_is_loaded_and_reported(podded: Box) -> None:
    podded.write("/etc/skipjack/policy.yml", "images: ['other/*']\n")
    code, said = load(podded)
    podded.write("/etc/skipjack/policy.yml", POLICY)
    assert (code, said.split("; ")[0]) == (0, f"loaded {engines.IMAGE}")
    assert "`images` in /etc/skipjack/policy.yml does not list it" in said


def test_another_user_is_refused_with_the_users_name(podded: Box) -> None:
    podded.shell(f"cp {ARCHIVE} /srv/everybodys.tar; chmod 644 /srv/everybodys.tar")
    code, said = load(podded, "/srv/everybodys.tar", "bob")
    assert code == 1
    assert "each user has a separate store of images. This worker belongs to the user skipjack: run the command" in said
    assert load(podded, "/srv/everybodys.tar", "skipjack") == (0, f"loaded {engines.IMAGE}")


@pytest.mark.parametrize(("path", "why"), [("/srv/image.tar", "podman: "), ("/srv/nothing.tar", "No such file")])
def test_a_file_that_is_not_an_archive_of_images_is_refused(podded: Box, path: str, why: str) -> None:
    code, said = load(podded, path)
    assert code == 1
    assert said.startswith(f"ERROR skipjack: cannot {'load' if why == 'podman: ' else 'read'} {path}: {why}")
    assert "`podman save --output FILE NAME`" in said


def test_a_store_that_a_login_session_made_names_its_cure_and_keeps_its_images(site: Site, podded: Box) -> None:
    podded.do(*IN_SESSION, f"podman import /srv/image.tar {engines.IMAGE}")
    end_session(podded)

    status, reason = run(site, "spoilt", READS)

    assert status == "failed"
    assert reason.startswith("cannot use podman: podman rm: ") and "login session" in reason
    refused = load(podded)
    assert refused[0] == 1 and DATABASE in refused[1]
    [database] = re.findall(r"remove (\S+) \(images stay\)", reason)
    assert database == DATABASE
    podded.do("rm", database)
    assert run(site, "cured", READS) == ("success", "")


def test_a_run_by_hand_in_a_login_session_spoils_no_store(site: Site, podded: Box) -> None:
    site.commit({"typed.yml": READS})
    site.wait_for("typed", "failed")  # for want of the image
    podded.shell(f"rm -rf {STORE}")
    podded.run(*IN_SESSION, f"cd /root; {SKIPJACK} run typed")
    podded.run(SKIPJACK, "run", "typed", env=ROOTS_SESSION)
    end_session(podded)
    site.commit({"typed.yml": None})
    assert load(podded)[0] == 0
    assert run(site, "after", READS) == ("success", "")


def test_a_limit_that_podman_ignores_is_reported_and_never_given_as_the_reason(site: Site, podded: Box) -> None:
    """Of control groups of version 1, podman without root sets none."""
    load(podded)
    _status, reason = run(site, "killed", IN_IMAGE + "memory_limit: 64MiB\ncommand: sh -c 'kill -9 $$'\n")
    log = podded.do("cat", "/var/log/skipjack/killed/latest")
    assert ("`memory_limit` is not enforced" in log) != control_group.is_unified()
    assert ("over its `memory_limit`" in reason) == control_group.is_unified()
