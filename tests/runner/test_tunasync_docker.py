"""Programs that tunasync ran in a container get the same container from Skipjack."""

import getopt
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from runner.base.mirror_paths import paths_of
from runner.hooks import container
from runner.plugin_api import Job, Machine
from runner.providers import PROVIDERS
from schemas.records import Mirror, Policy

from .importing import DEBIAN, GLOBAL, Bench, ImportResult, table, toml

DOCKER = "[docker]\nenable = true\n"
IMAGE = DEBIAN + "docker_image = 'scripts:3'\n"
UPSTREAM = "https://up.example.org/x"

LETTERS = "a:e:h:m:u:v:w:it"
WORDS = [
    "attach=", "cpus=", "device=", "entrypoint=", "env=", "hostname=", "init", "interactive", "log-driver=", "memory=",
    "name=", "network=", "rm", "stop-timeout=", "tmpfs=", "tty", "user=", "volume=", "workdir=",
]  # fmt: skip
LONG = {"-a": "--attach", "-e": "--env", "-h": "--hostname", "-i": "--interactive", "-m": "--memory", "-t": "--tty",
        "-u": "--user", "-v": "--volume", "-w": "--workdir"}  # fmt: skip
OF_EACH_KIND = ("--attach", "--log-driver", "--stop-timeout", "--name")
"""What the two give to every container in their own ways."""


class Container(NamedTuple):
    """What a `docker run` asks for, however it is spelt."""

    image: str
    words: tuple[str, ...]
    options: frozenset[tuple[str, str]]


def understood(argv: list[str]) -> Container:
    """The words of `docker run` as docker reads them: options up to the first word that is none, image, program."""
    assert argv[:2] == ["docker", "run"]
    options, (image, *words) = getopt.getopt(argv[2:], LETTERS, WORDS)
    named = [(LONG.get(option, option), value) for option, value in options]
    limits = [("--memory", in_bytes(value)) for option, value in named if option == "--memory"]
    others = [each for each in named if each[0] not in (*OF_EACH_KIND, "--memory")]
    return Container(image, tuple(words), frozenset(others + limits[-1:]))


def in_bytes(memory: str) -> str:
    return memory if memory.isdigit() else str(int(memory[:-1]) * 1024 ** "_kmg".index(memory[-1].lower()))


def of_tunasync(mirror: Mapping[str, Any], usual: Mapping[str, list[str]], log_file: str) -> Container:
    """The container that tunasync runs for one mirror of the provider `command`, after what is known of it."""
    name = mirror["name"]
    directory, log_dir = f"/srv/mirror/{name}", f"/var/log/tunasync/{name}"
    argv = ["docker", "run", "--rm", "-a", "STDOUT", "-a", "STDERR", "--name", f"tunasync-job-{name}", "-w", directory]
    argv += ["-u", f"{os.getuid()}:{os.getgid()}"]
    own = [*usual.get("volumes", []), *mirror.get("docker_volumes", [])]
    for volume in [*own, *(f"{path}:{path}" for path in (log_dir, log_file, directory))]:
        argv += ["-v", volume]
    told = {"MIRROR_NAME": name, "WORKING_DIR": directory, "UPSTREAM_URL": UPSTREAM, "LOG_DIR": log_dir}
    env = {f"TUNASYNC_{key}": value for key, value in {**told, "LOG_FILE": log_file}.items()}
    for key, value in (env | mirror.get("env", {})).items():
        argv += ["-e", f"{key}={value}"]
    if limit := mirror.get("memory_limit"):
        argv += ["-m", in_bytes(limit)]
    argv += [*usual.get("options", []), *mirror.get("docker_options", [])]
    return understood([*argv, mirror["docker_image"], *mirror["command"].split()])


def of_skipjack(mirror: Mirror, result: ImportResult, log_file: str) -> Container:
    """The container that Skipjack's hook makes, without the variables that it adds under names of its own."""
    machine = Machine(volumes=result.policy.volumes)
    job = Job(mirror, paths_of(mirror, result.settings, result.policy), machine)
    job.log_file = log_file
    [command] = PROVIDERS["command"].commands(job)
    found = understood(list(container.enclosed(job, command).argv))
    return found._replace(options=frozenset(each for each in found.options if not each[1].startswith("SKIPJACK_")))


MIRROR = {"name": "x", "provider": "command", "upstream": UPSTREAM, "command": "/opt/x.sh a", "docker_image": "s:3"}

CONTAINERS: list[tuple[dict[str, Any], dict[str, list[str]]]] = [
    ({}, {}),
    ({"memory_limit": "256M", "env": {"A": "b c", "D": "$e"}}, {}),
    ({"docker_volumes": ["/keys:/keys:ro"], "memory_limit": "2G"}, {"volumes": ["/etc/ssl:/etc/ssl:ro"]}),
    ({"docker_options": ["--network", "host", "-h", "box"]}, {"options": ["--init", "--cpus=1.5"]}),
    ({"docker_options": ["-v", "/a:/b", "--volume=/c:/d:ro", "-v/e:/f"]}, {"options": ["-v", "/g:/h"]}),
    (
        {"docker_options": ["-e", "X=1", "--env=Y=2=3", "-m", "1g"], "memory_limit": "256M"},
        {"options": ["-it"]},
    ),
    ({"docker_options": ["--device", "/dev/fuse", "--entrypoint="]}, {"options": ["--tmpfs", "/tmp:size=1g"]}),
]


@pytest.mark.parametrize(("more", "usual"), CONTAINERS)
def test_the_same_container_is_run(bench: Bench, more: dict[str, Any], usual: dict[str, list[str]]) -> None:
    mirror = {**MIRROR, **more}
    own = table({key: value for key, value in mirror.items() if key != "env"})
    env = table(mirror.get("env", {}), "[mirrors.env]")
    result = bench.run(GLOBAL + DOCKER + table(usual, "") + own + env)

    log = "/var/log/tunasync/x/x_now.log"
    assert of_skipjack(result.mirrors["x"], result, log) == of_tunasync(mirror, usual, log)


def test_a_docker_option_overrides_the_limit_of_the_mirror(bench: Bench) -> None:
    result = bench.run(GLOBAL + DOCKER + IMAGE + "memory_limit = '256M'\ndocker_options = ['--memory', '1.5g']\n")
    assert result.mirrors["debian"].memory_limit == 1536 * 1024**2


def test_of_two_limits_among_the_options_the_mirrors_own_counts(bench: Bench) -> None:
    usual = "options = ['-m', '1g', '-e', 'A=1', '-e', 'B=1']\n"
    result = bench.run(GLOBAL + DOCKER + usual + IMAGE + "docker_options = ['-m', '2g', '-e', 'B=2']\n")
    assert result.mirrors["debian"].memory_limit == 2 * 1024**3
    assert dict(result.mirrors["debian"].env) == {"A": "1", "B": "2"}


def test_options_of_all_containers_are_written_once_and_only_own_lists_are_merged(bench: Bench) -> None:
    usual = DOCKER + "volumes = ['/a:/a']\noptions = ['--init', '-v', '/b:/b']\n"
    other = IMAGE.replace('"debian', '"other') + "docker_volumes = ['/c:/c']\n"
    plain = DEBIAN.replace('"debian', '"plain')

    result = bench.run(GLOBAL + usual + IMAGE + other + plain)

    defaults = (bench.folder / "mirrors/_defaults.yml").read_text()
    assert "docker_volumes:\n  - /a:/a\n  - /b:/b\ndocker_options:\n  - --init\n" in defaults
    assert "docker_volumes" not in (bench.folder / "mirrors/debian.yml").read_text()
    assert "docker_" not in (bench.folder / "mirrors/plain.yml").read_text()
    assert result.mirrors["other"].docker_volumes == ("/a:/a", "/b:/b", "/c:/c")
    assert result.mirrors["other"].docker_options == ("--init",)


def test_without_a_mirror_in_a_container_nothing_is_written_for_them(bench: Bench) -> None:
    result = bench.run(GLOBAL + DOCKER + "volumes = ['/a:/a', 'broken']\noptions = ['--privileged']\n" + DEBIAN)
    assert (result.code, result.findings, result.policy) == (0, [], Policy())
    assert "docker" not in result.text()


def test_the_policy_allows_what_was_in_use_and_nothing_else(bench: Bench) -> None:
    usual = DOCKER + "volumes = ['/etc/ssl:/etc/ssl:ro', '/srv/mirror/debian/x:/x']\noptions = ['--init', '-u', '7']\n"
    other = IMAGE.replace('"debian', '"other') + "docker_volumes = ['/srv/mirror/other:/data']\n"
    result = bench.run(GLOBAL + usual + IMAGE + "docker_options = ['--privileged']\n" + other)

    policy, default = result.policy, Policy()
    assert policy.images == ("scripts:3",)
    assert policy.volumes == ("/etc/ssl", "/srv/mirror/debian/x")
    assert policy.docker_options == (*default.docker_options, "--user=7", "--privileged")
    assert policy == default._replace(
        images=policy.images, volumes=policy.volumes, docker_options=policy.docker_options
    )
    told = {line.split(" ", 1)[0]: line for line in result.findings}
    assert "`/etc/ssl` in `volumes`, for 2 mirrors." in "".join(result.findings)
    assert "`scripts:3` in `images`, for 2 mirrors." in told["worker.conf:14:"]
    assert "`--privileged` in `docker_options`." in told["worker.conf:15:"]
    assert [(place, "policy.yml" in line) for place, line in told.items()] == [
        (f"worker.conf:{number}:", True) for number in (9, 10, 14, 15)
    ]
    debian = result.mirrors["debian"]
    assert result.forbidden(debian._replace(docker_image="scripts:4"), policy)
    assert result.forbidden(debian._replace(docker_volumes=("/etc:/etc",)), policy)


UNFIT = {
    "a named volume": "docker_volumes = ['cache:/cache']",
    "a volume of one word": "docker_volumes = ['/cache']",
    "a mode": "docker_volumes = ['/a:/b:z']",
    "a named volume among options": "docker_options = ['-v', 'cache:/cache']",
    "a mount of another kind": "docker_options = ['--mount', 'type=volume,source=x,target=/x']",
    "a mount with more": "docker_options = ['--mount=type=bind,source=/a,target=/b,bind-propagation=shared']",
    "an option without its value": "docker_options = ['--network']",
    "a letter without its value": "docker_options = ['-itv']",
    "another image": "docker_options = ['alpine']",
    "the end of options": "docker_options = ['--']",
    "no word": "docker_options = ['']",
    "a letter that is none": "docker_options = ['-Z']",
    "the environment of tunasync": "docker_options = ['-e', 'HOME']",
    "no amount": "docker_options = ['-m', 'much']",
}


@pytest.mark.parametrize("line", UNFIT.values(), ids=UNFIT)
def test_words_that_no_key_can_hold_leave_the_mirror_out(bench: Bench, line: str) -> None:
    result = bench.run(GLOBAL + DOCKER + DEBIAN.replace('"debian', '"x') + IMAGE + line + "\n")
    assert set(result.mirrors) == {"x"}
    assert len(result.findings) == 1, result.findings
    assert result.findings[0].startswith("worker.conf:16: The mirror is left out: ")


@pytest.mark.parametrize("line", UNFIT.values(), ids=UNFIT)
def test_such_words_for_all_containers_leave_out_mirrors_with_an_image(bench: Bench, line: str) -> None:
    config = GLOBAL + DOCKER + line.removeprefix("docker_") + "\n" + DEBIAN.replace('"debian', '"x') + IMAGE
    result = bench.run(config + IMAGE.replace('"debian', '"other'))
    assert set(result.mirrors) == {"x"}
    assert len(result.findings) == 1, result.findings
    assert result.findings[0].startswith("worker.conf:9: Each mirror with a `docker_image` is left out: ")


def test_options_that_no_policy_allows_leave_the_mirror_out(bench: Bench) -> None:
    result = bench.run(GLOBAL + DOCKER + IMAGE + "docker_options = ['--network=container:db']\n")
    assert (result.mirrors, result.policy) == ({}, Policy())
    assert result.findings == [
        "worker.conf:9: The mirror is left out: `--network=container:db` joins the network of another container"
        " or process. Write `--network=none`, or a network's name."
    ]


@pytest.mark.parametrize(
    ("words", "volumes"),
    [
        (["--mount", "type=bind,source=/a,target=/b"], ("/a:/b",)),
        (["--mount=type=bind,src=/a,dst=/b,readonly"], ("/a:/b:ro",)),
        (["--mount=destination=/b,type=bind,src=/a,ro=true"], ("/a:/b:ro",)),
        (["--mount=type=bind,src=/a,dst=/b,readonly=false"], ("/a:/b",)),
        (["-v", "/a:/b", "-itv", "/c:/d:rw", "-v=/e:/f", "-v", "/a:/b"], ("/a:/b", "/c:/d:rw", "/e:/f")),
    ],
)
def test_volumes_among_the_options_are_found(bench: Bench, words: list[str], volumes: tuple[str, ...]) -> None:
    result = bench.run(GLOBAL + DOCKER + IMAGE + f"docker_options = {toml(words)}\n")
    assert result.mirrors["debian"].docker_volumes == volumes


def test_the_machines_own_network_is_written_into_the_policy(bench: Bench) -> None:
    result = bench.run(GLOBAL + DOCKER + IMAGE + "docker_options = ['--network', 'host']\n")
    assert result.mirrors["debian"].docker_options == ("--network=host",)
    assert result.policy is not None
    assert result.policy.docker_options == (*Policy().docker_options, "--network=host")


def test_options_that_skipjack_sets_itself_are_reported_except_one_without_effect(bench: Bench) -> None:
    options = "docker_options = ['--rm', '--rm=true', '--name', 'x', '-d', '--net', 'none', '--rm=false']\n"
    result = bench.run(GLOBAL + DOCKER + IMAGE + options)
    assert result.mirrors["debian"].docker_options == ("--network=none",)
    told = [line for line in result.findings if line.startswith("worker.conf:13: ")]
    assert [line.split("`")[1] for line in told] == ["--detach", "--name", "--rm"]


def test_secrets_among_the_options_stay_out_of_the_repository(bench: Bench) -> None:
    options = "docker_options = ['-e', 'API_TOKEN=hush', '-e', 'RSYNC_PASSWORD=quiet', '-e', 'A=b']\n"
    result = bench.with_secrets(GLOBAL + DOCKER + IMAGE + options)
    assert dict(result.mirrors["debian"].env) == {"A": "b"}
    assert (bench.folder / "secrets/debian").read_text() == "quiet\n"
    for text in (result.text(), result.out, (bench.folder / "policy.yml").read_text()):
        assert "hush" not in text and "quiet" not in text


def test_an_address_with_a_password_in_common_options_is_reported_but_never_shown(bench: Bench) -> None:
    options = "options = ['-e', 'PROXY=https://me:hush@x.example.org/', '--label', 'x=https://me:hush@x.example.org']\n"
    result = bench.run(GLOBAL + DOCKER + options + IMAGE)
    assert result.mirrors == {} and result.findings
    assert "hush" not in result.text() + result.out


def test_lists_for_containers_without_an_image_are_reported(bench: Bench) -> None:
    lists = "docker_volumes = ['/a:/a']\ndocker_options = ['--init']\n"
    result = bench.run(GLOBAL + DOCKER + DEBIAN + lists)
    assert [line.split(" ")[:2] for line in result.findings] == [
        ["worker.conf:12:", "`docker_volumes`"],
        ["worker.conf:13:", "`docker_options`"],
    ]
    assert result.mirrors["debian"].docker_options == ()


def test_children_inherit_the_image_of_their_parent(bench: Bench) -> None:
    child = '  [[mirrors.mirrors]]\n  name = "child"\n  docker_volumes = ["/b:/b"]\n'
    result = bench.run(GLOBAL + DOCKER + IMAGE + "docker_volumes = ['/a:/a']\n" + child)
    assert result.mirrors["child"].docker_image == "scripts:3"
    assert result.mirrors["child"].docker_volumes == ("/b:/b",)
