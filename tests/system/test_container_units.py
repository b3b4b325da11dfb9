"""Runs that are units and start containers, after `skipjack install --containers`."""

import pytest

from tests.system import engines
from tests.system.box import Box, wait_until
from tests.system.site import RUNNER, SETTINGS, SKIPJACK, Site

POLICY = f"images: [{engines.IMAGE}]\ndocker_options: [--network, --pull]\n"
IN_IMAGE = (
    f"provider: command\nupstream: x\ndocker_image: {engines.IMAGE}\ndocker_options: [--network=none, --pull=never]\n"
)
WAITS = IN_IMAGE + "command: sh -c 'cat /etc/image > image; until [ -e go ]; do sleep 0.2; done'\n"
DAEMON = (
    "dockerd", "--data-root=/var/lib/docker-of-test", "--storage-driver=vfs", "--iptables=false", "--ip6tables=false",
    "--bridge=none", "--ip-forward=false", "--ip-masq=false", "--group=docker",
)  # fmt: skip


@pytest.fixture(scope="module")
def docked(site: Site) -> Box:
    """A box with a docker daemon and a worker that may use it."""
    box = site.box
    box.do("groupadd", "--force", "docker")
    site.unit("docker", *DAEMON)
    wait_until(lambda: box.run("docker", "info").returncode == 0, "docker answers")
    engines.make_image(box.path("/srv/image.tar"))
    box.do("docker", "import", "/srv/image.tar", engines.IMAGE)
    box.write("/etc/skipjack/policy.yml", POLICY)
    site.install("--containers")
    return box


def containers(box: Box) -> str:
    return box.do("docker", "ps", "--all", "--format", "{{.Names}}")


def test_a_run_syncs_in_a_container(site: Site, docked: Box) -> None:
    site.commit({"inside.yml": WAITS})
    site.wait_for("inside", "syncing")
    wait_until(lambda: docked.path("/srv/mirror/inside/image").exists(), "the container works")
    assert containers(docked).startswith("skipjack-inside-")
    docked.do("touch", "/srv/mirror/inside/go")
    site.wait_for("inside", "success")
    assert docked.path("/srv/mirror/inside/image").read_text() == "inside\n"
    assert docked.do("stat", "-c", "%U", "/srv/mirror/inside/image") == "skipjack"
    assert containers(docked) == ""


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_a_container_ends_with_its_unit(site: Site, docked: Box, way: str) -> None:
    name = f"ends-by-{way}"
    site.commit({f"{name}.yml": WAITS})
    site.wait_for(name, "syncing")
    wait_until(lambda: docked.path(f"/srv/mirror/{name}/image").exists(), "the container works")
    docked.do("systemctl", *(["stop"] if way == "stop" else ["kill", "--signal=KILL"]), f"skipjack-run@{name}.service")
    site.wait_for(name, "interrupted")
    assert containers(docked) == ""


def test_installing_again_leaves_the_drop_ins_until_they_are_removed(site: Site, docked: Box) -> None:
    drop_in = docked.path("/etc/systemd/system/skipjack-run@.service.d/containers.conf")
    site.install()
    assert drop_in.exists()
    docked.do(SKIPJACK, "install", "--no-containers")
    assert not drop_in.parent.exists()
    site.install("--containers")
    assert drop_in.exists()


def test_podman_works_without_root_and_a_killed_runs_container_is_ended(site: Site, docked: Box) -> None:
    site.commit({"imports.yml": "provider: command\nupstream: x\ncommand: /srv/imports.sh\n"})
    docked.write("/srv/imports.sh", f"#!/bin/sh\nexec podman import /srv/image.tar {engines.IMAGE}\n", 0o755)
    docked.write("/etc/containers/containers.conf", engines.PODMAN.replace('tmp_dir = "{folder}/tmp"\n', ""))
    docked.do("usermod", "--add-subuids=200000-265535", "--add-subgids=200000-265535", "skipjack")
    # With parts of /proc covered, as a box has them, the kernel lets only root mount another one.
    docked.shell("umount --lazy /proc/sys; umount --lazy /proc/sys/net")
    docked.write(SETTINGS, RUNNER + "container_program: podman\n")
    assert "wrote /etc/systemd/system/skipjack-run@.service.d/containers.conf" in site.install()
    site.wait_for("imports", "success")
    site.commit({"rootless.yml": WAITS})
    site.wait_for("rootless", "syncing")
    wait_until(lambda: docked.path("/srv/mirror/rootless/image").exists(), "the container works")
    assert docked.do("stat", "-c", "%U", "/srv/mirror/rootless/image") == "skipjack"
    docked.do("systemctl", "kill", "--signal=KILL", "skipjack-run@rootless.service")
    site.wait_for("rootless", "interrupted")
    assert docked.run("pgrep", "-f", "until .* -e go").returncode == 1
