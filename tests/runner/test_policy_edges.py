"""The policy's violations, at the edges: advice, ssh at another path, containers, folders that hold several things."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.base import private_paths
from runner.base.mirror_paths import paths_of
from runner.policy import policy as judge
from runner.policy.policy import allows_ssh, denied_hooks, program_lines, starts_ssh
from schemas.records import FreshnessFile, Mirror, Policy, Repository, RunnerSettings, Secret

from .two_judges import violations

ROOT = "/srv/mirror"
SETTINGS = RunnerSettings("w1", Repository("u"), mirror_root=ROOT)
PLAIN = Mirror("debian", "w1", "rsync", "rsync://rsync.example.org/debian/")
SCRIPT = PLAIN._replace(provider="command", command="/opt/sync.sh")
SHELL = "me@host.example:debian/"


def found(mirror: Mirror, policy: Policy, **settings: Any) -> Iterator[tuple[str, str]]:
    changed = SETTINGS._replace(**settings)
    return violations(mirror, paths_of(mirror, changed, policy), changed, policy)


def whats(mirror: Mirror, policy: Policy, **settings: Any) -> list[str]:
    return [what for what, _todo in found(mirror, policy, **settings)]


def test_the_advice_depends_on_whether_a_denied_program_has_a_path() -> None:
    policy = Policy(programs=())
    [(_, todo)] = found(SCRIPT._replace(command="/opt/sync.sh x"), policy)
    assert "Ask the administrator" in todo
    [(_, todo)] = found(SCRIPT._replace(command="sync.sh /x"), policy)
    assert "Write the program's absolute path" in todo


def test_a_violation_shows_control_characters_as_text() -> None:
    [what] = whats(SCRIPT._replace(command="x\33[1m"), Policy(programs=()))
    assert what == "`command` runs `x\\x1b[1m`, which this machine does not allow."
    [what] = whats(PLAIN._replace(upstream="me@h.example:\33[1m"), Policy(programs=()))
    assert what == "For the upstream `me@h.example:\\x1b[1m`, rsync starts `ssh`, which this machine does not allow."
    [what] = whats(PLAIN._replace(upstream="\33[1m"), Policy())
    assert what == "The upstream `\\x1b[1m` is not an address for rsync."


def test_a_plug_in_that_is_provider_and_hook_is_allowed_as_a_provider() -> None:
    mirror = PLAIN._replace(provider="both", plugins={"both": {}, "hook": {}})
    assert denied_hooks(mirror, Policy()) == ["hook"]
    assert denied_hooks(mirror, Policy(hooks=("hook",))) == []


def test_a_hook_that_the_policy_does_not_list_is_denied() -> None:
    mirror = PLAIN._replace(plugins={"hook": {}})
    assert whats(mirror, Policy()) == ["The hook `hook` is not allowed on this machine."]
    assert whats(mirror, Policy(hooks=("hook",))) == []


def test_a_plug_in_gets_no_value_that_could_control_a_script() -> None:
    mirror = PLAIN._replace(provider="plug-in", upstream="a;b")
    [what] = whats(mirror, Policy(programs=(), providers=("plug-in",)))
    assert what.startswith("`upstream` has a value with more than plain words")


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"provider": "command", "command": "x"}, False),
        ({"provider": "command", "command": "x", "docker_image": "s:3"}, True),
        ({"rsync_override_only": True, "rsync_override": ("-a",)}, False),
        ({"rsync_override_only": True, "rsync_override": ("-a",), "docker_image": "s:3"}, True),
        ({}, True),
        ({"docker_image": "s:3"}, True),
        ({"provider": "plug-in"}, True),
        ({"provider": "plug-in", "docker_image": "s:3", "rsync_override_only": True}, True),
    ],
)
def test_a_pattern_file_is_judged_once_where_rsync_or_a_container_reads_it(fields: dict[str, Any], read: bool) -> None:
    policy = Policy(images=("s:3",), providers=("rsync", "command", "plug-in"))
    assert whats(PLAIN._replace(**fields), policy) == []
    found = whats(PLAIN._replace(exclude_file="/etc/shadow", **fields), policy)
    assert [what.partition(" ")[0] for what in found] == ["`exclude_file`"] * read


def test_the_folders_for_logs_and_snapshots_may_be_links(tmp_path: Path) -> None:
    for name in ("logs", "snapshots"):
        (tmp_path / f"real {name}").mkdir()
        (tmp_path / name).symlink_to(tmp_path / f"real {name}")
    assert whats(PLAIN, Policy(), log_dir=f"{tmp_path}/logs", snapshot_root=f"{tmp_path}/snapshots") == []


@pytest.mark.parametrize("provider", ["rsync", "two-stage-rsync"])
def test_the_program_of_rsync_providers_is_one_word(provider: str) -> None:
    mirror = PLAIN._replace(provider=provider, command="/usr/bin/rsync x")
    assert list(program_lines(mirror)) == [("command", ["/usr/bin/rsync x"])]


def test_ssh_may_be_listed_by_its_path_on_this_machine_or_by_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    usual = "/usr/bin/ssh"
    allowed = [allows_ssh(Policy(programs=programs)) for programs in ((str(ssh),), (usual,), ("/bin/x",), None)]
    assert allowed == [True, True, False, True]
    ssh.unlink()
    assert [allows_ssh(Policy(programs=programs)) for programs in ((usual,), (str(ssh),))] == [True, False]


@pytest.mark.parametrize("upstream", ["/etc/", "../x/", "-x:y", "-h::m/", "-e rsync://h.example/m/"])
def test_an_upstream_that_rsync_would_read_as_a_path_or_an_option_is_denied(upstream: str) -> None:
    expected = f"The upstream `{upstream}` is not an address for rsync."
    assert expected in whats(PLAIN._replace(upstream=upstream), Policy())
    assert expected not in whats(SCRIPT._replace(upstream=upstream), Policy()), "no rsync reads it"


@pytest.mark.parametrize(
    ("fields", "starts"),
    [
        ({}, True),
        ({"docker_image": "s:3"}, False),
        ({"docker_image": "s:3", "freshness": FreshnessFile("time")}, True),
        ({"provider": "command", "command": "x"}, False),
        ({"provider": "command", "command": "x", "freshness": FreshnessFile("time")}, True),
        ({"provider": "command", "command": "x", "freshness": FreshnessFile("time"), "upstream": "s3:bucket"}, True),
        ({"provider": "command", "command": "x", "freshness": FreshnessFile("time"), "upstream": "me@h h:x"}, False),
        ({"upstream": "rsync://h.example/m/", "freshness": FreshnessFile("time")}, False),
    ],
)
def test_ssh_is_started_for_a_sync_or_a_freshness_check_on_this_machine(fields: dict[str, Any], starts: bool) -> None:
    mirror = PLAIN._replace(**({"upstream": SHELL} | fields))
    assert starts_ssh(mirror, paths_of(mirror, SETTINGS, Policy())) is starts


def test_the_secrets_of_other_mirrors_lie_outside_of_a_mirrors_directory() -> None:
    other = PLAIN._replace(name="other", password=Secret(file=f"{ROOT}/debian/keys/password"))
    paths = paths_of(PLAIN, SETTINGS, Policy())
    [(what, _todo)] = judge.violations(PLAIN, paths, SETTINGS, Policy(), private_paths.private(SETTINGS, [other]))
    assert f"{ROOT}/debian would contain this machine's {ROOT}/debian/keys/password, which a sync would delete" in what
    assert whats(PLAIN, Policy()) == []


def test_logs_inside_of_a_folder_that_is_named_already_are_not_named_as_well() -> None:
    logs = f"{ROOT}/debian/logs"
    said = whats(PLAIN._replace(log_dir=f"{logs}/debian"), Policy(), log_dir=logs)
    assert [what for what in said if "would contain" in what] == [
        f"The directory {ROOT}/debian would contain this machine's `log_dir` {logs}, which a sync would delete."
    ]


def test_a_real_path_is_shown_only_where_it_differs(tmp_path: Path) -> None:
    assert whats(PLAIN._replace(mirror_dir="/etc/x"), Policy(mirror_roots=("/etc",)))[0].startswith("/etc/x is, or is")
    (tmp_path / "link").symlink_to("/etc")
    said = whats(PLAIN._replace(mirror_dir=f"{tmp_path}/link"), Policy(mirror_roots=(str(tmp_path),)))
    assert said[0].startswith(f"{tmp_path}/link, which is really /etc, is, or is in")


def test_a_root_of_the_policy_may_be_a_folder_of_the_system() -> None:
    assert whats(PLAIN._replace(mirror_dir="/home/debian"), Policy(mirror_roots=("/home",))) == []
    assert any(
        "`mirror_root` /home is a folder of the system" in what for what in whats(PLAIN, Policy(), mirror_root="/home")
    )
