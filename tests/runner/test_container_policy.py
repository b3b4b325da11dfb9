"""Definitions that could leave the container are denied, and common ones are allowed."""

from pathlib import Path
from typing import Any

import pytest

from runner.base.mirror_paths import paths_of
from schemas.records import Mirror, Policy, Repository, RunnerSettings

from .two_judges import violations

SETTINGS = RunnerSettings("w1", Repository("u"), mirror_root="/srv/mirror", log_dir="/var/log/skipjack")
ALLOWING = Policy(images=("mirror-tools:*", "registry.example/team/*"), volumes=("/etc/skipjack/keys",))


def told(policy: Policy = ALLOWING, **fields: Any) -> str:
    """Return why the policy denies a mirror, as one text; empty if it is allowed."""
    image = fields.pop("docker_image", "mirror-tools:3")
    mirror = Mirror("debian", "w1", "command", "https://files.example/", command="sync", docker_image=image)
    mirror = mirror._replace(**fields)
    return " ".join(what for what, _todo in violations(mirror, paths_of(mirror, SETTINGS, policy), SETTINGS, policy))


def test_no_container_runs_unless_the_policy_names_its_image() -> None:
    assert "`mirror-tools:3` is not allowed" in told(Policy())
    assert told() == ""


@pytest.mark.parametrize(
    "image",
    [
        "mirror-tools:3", "mirror-tools:latest", "registry.example/team/tools", "registry.example/team/tools:1",
        "registry.example/team/tools@sha256:" + "0" * 64, "mirror-tools:3@sha256:" + "0" * 64,
    ],
)  # fmt: skip
def test_an_image_that_matches_a_pattern_is_allowed(image: str) -> None:
    assert told(docker_image=image) == ""


@pytest.mark.parametrize(
    "image",
    [
        "mirror-tools", "evil", "evil:3", "evil/mirror-tools:3", "mirror-tools:5000/evil", "mirror-tools:5000/evil:3",
        "mirror-tools.evil.example/x", "mirror-tools@sha256:" + "0" * 64, "xmirror-tools:3",
        "registry.example/team/../evil", "registry.example/team/x/evil", "registry.example/team",
        "registry.example:5000/team/tools", "registry.example/Team/tools", "localhost/mirror-tools:3",
    ],
)  # fmt: skip
def test_an_image_that_matches_no_pattern_is_denied(image: str) -> None:
    assert f"`{image}` is not allowed" in told(docker_image=image)


@pytest.mark.parametrize(
    "word",
    [
        "--privileged", "--privileged=true", "-v", "-v/:/x", "-v=/:/x", "--volume=/:/x", "--volume", "/:/x",
        "--mount=type=bind,source=/,target=/x", "--mount", "--volumes-from=other", "--device=/dev/sda",
        "--device-cgroup-rule=a *:* rwm", "--cap-add=ALL", "--cap-add=SYS_ADMIN", "--security-opt=apparmor=unconfined",
        "--security-opt=label=disable", "--pid=host", "--ipc=host", "--uts=host", "--userns=host", "--cgroupns=host",
        "--cgroup-parent=/", "--env-file=/etc/shadow", "--env=X", "-e", "-eX", "--entrypoint=/bin/sh", "--user=0",
        "--user", "-u0", "-u", "--name=skipjack-other", "--rm=false", "-d", "--detach", "--runtime=evil", "-it", "-",
        "--", "--label-file=/etc/shadow", "--cidfile=/etc/cron.d/x", "--log-driver=syslog", "--log-opt=x=y",
        "--network=container:other", "--network=ns:/proc/1/ns/net", "--network=name=host,alias=x", "--network=",
        "--network", "--hostname", "--label", "--tmpfs", "--ulimit", "--dns", "--add-host", "--memory-swap", "--pull",
        "--net=host", "--network=host", "--net=container:other", "--Network=host", "--init=x --privileged\n--x",
        "evil:3", "", " --privileged",
        "--label=traefik.enable=true", "--label=io.containers.autoupdate=registry", "--group-add=disk",
        "--sysctl=kernel.core_pattern=|/x", "--gpus=all", "--isolation=process", "--platform=x", "--annotation=run.oci",
        "--rootfs", "--pod=other", "--secret=x", "--replace", "--restart=always", "--oom-score-adj=-1000",
        "--storage-opt=size=1", "--blkio-weight=1000", "--stop-signal=0", "--tz=local", "--systemd=always",
        "--pidfile=/etc/x", "--requires=other", "--hooks-dir=/x", "--conmon-pidfile=/x", "--workdir=/", "-w/",
    ],
)  # fmt: skip
def test_options_that_leave_the_container_or_replace_the_image_are_denied(word: str) -> None:
    assert word.partition("=")[0] in told(docker_options=(word,)) != ""


def test_an_option_split_into_two_words_is_denied() -> None:
    """`--hostname IMAGE WORD` would make the first word of the command the image."""
    assert "would take the next word" in told(docker_options=("--hostname",), command="evil:1 sh")
    for words in (("--network", "host"), ("--label", "--privileged"), ("--init", "evil:1"), ("--read-only", "-v/:/x")):
        assert told(docker_options=words) != ""


@pytest.mark.parametrize(
    "word",
    [
        "--network=none", "--network=mirrors", "--init", "--init=true", "--read-only", "--cpus=1.5",
        "--tmpfs=/tmp:size=1g", "--ulimit=nofile=1024:1024", "--label=mirror=debian", "--label=mirror",
        "--add-host=upstream:192.0.2.1", "--dns=192.0.2.53", "--pull=never", "--pull=always", "--cap-drop=ALL",
        "--hostname=mirrors.example", "--shm-size=1g", "--pids-limit=100", "--memory-swap=-1",
    ],
)  # fmt: skip
def test_common_options_are_allowed(word: str) -> None:
    assert told(docker_options=(word,)) == ""


def test_the_network_of_the_machine_must_be_listed_with_its_value() -> None:
    said = told(ALLOWING._replace(docker_options=("--network",)), docker_options=("--network=host",))
    assert "the container can reach services on 127.0.0.1 of this machine" in said
    assert told(ALLOWING._replace(docker_options=("--network=host",)), docker_options=("--network=host",)) == ""


def test_the_policy_can_allow_more_or_fewer_options() -> None:
    assert told(ALLOWING._replace(docker_options=("--device",)), docker_options=("--device=/dev/fuse",)) == ""
    assert told(ALLOWING._replace(docker_options=()), docker_options=("--init",)) != ""


def test_the_policy_can_allow_an_option_with_one_value_only() -> None:
    policy = ALLOWING._replace(docker_options=("--device=/dev/fuse", "--network=container:x"))

    assert told(policy, docker_options=("--device=/dev/fuse",)) == ""
    for word in ("--device=/dev/sda", "--device=/dev/fuse2", "--device", "--device=/dev/fuse:/dev/sda"):
        assert f"`{word}`, which this machine does not allow" in told(policy, docker_options=(word,))
    assert "joins the network of another container" in told(policy, docker_options=("--network=container:x",))


@pytest.mark.parametrize(
    "volume",
    [
        "/:/x", "/etc:/x", "/etc/skipjack:/x", "/etc/skipjack/keys/..:/x", "/etc/skipjack/keys/../../shadow:/x:ro",
        "/etc/skipjack/keysx:/x", "/srv/mirror:/x", "/srv/mirror/other:/x", "/srv/mirror/debian/../other:/x",
        "/var/run/docker.sock:/x", "/proc:/x", "/dev:/x", "//etc:/x", "{mirror}:/x", "relative:/x",
        "/var/log/skipjack:/x", "/var/log/skipjack/other:/x",
    ],
)  # fmt: skip
def test_volumes_elsewhere_are_denied(volume: str) -> None:
    assert "`docker_volumes` shows" in told(docker_volumes=(volume,))


@pytest.mark.parametrize(
    "volume",
    [
        "/etc/skipjack/keys:/keys:ro", "/etc/skipjack/keys/a:/keys", "/srv/mirror/debian:/data", "{directory}:/data",
        "/srv/mirror/debian/pool:/pool:rw", "{log_dir}:/log", "/var/log/skipjack/debian:/log",
    ],
)  # fmt: skip
def test_volumes_of_the_mirror_and_of_the_policy_are_allowed(volume: str) -> None:
    assert told(docker_volumes=(volume,)) == ""


def test_a_link_does_not_lead_out_of_a_volume(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/out").symlink_to("/etc")
    policy = ALLOWING._replace(volumes=(str(tmp_path / "keys"),))
    assert "resolves to /etc, to" in told(policy, docker_volumes=(f"{tmp_path}/keys/out:/x",))


def test_programs_in_a_container_need_no_entry_of_programs() -> None:
    policy = ALLOWING._replace(programs=("/opt/scripts/",))
    assert told(policy, command="/sync.sh") == ""
    assert "`exec_on_success` runs" in told(policy, exec_on_success=("/bin/sh",))
    assert "`command` runs" in told(policy, command="/sync.sh", docker_image="")


def test_without_an_image_the_other_container_keys_are_not_checked() -> None:
    assert told(docker_image="", docker_volumes=("/:/x",), docker_options=("--privileged",)) == ""
