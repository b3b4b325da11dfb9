"""Import of the machine's settings and policy: folders for logs and snapshots, and control groups."""

import re
from pathlib import Path

import pytest

from runner.importing.folders import control_group
from schemas.records import Bound, Policy

from .importing import DEBIAN, GLOBAL, Bench

OTHER = DEBIAN.replace('"debian', '"other')


def places(findings: list[str]) -> list[str]:
    return [line.split(" ", 1)[0] for line in findings]


def with_logs(template: str) -> str:
    return GLOBAL.replace("/var/log/tunasync/{{.Name}}", template)


# Logs.


@pytest.mark.parametrize("template", ["/logs", "/logs/", "/logs/{{.Name}}", "/logs/{{ .Name -}}/"])
def test_default_folders_are_not_written(bench: Bench, template: str) -> None:
    result = bench.run(with_logs(template) + DEBIAN + "log_dir = '/logs/{{.Name}}'\n" + OTHER)
    assert (result.code, result.settings.log_dir) == (0, "/logs")
    assert "log_dir" not in result.text()


@pytest.mark.parametrize(
    ("template", "root", "folder"),
    [
        ("/logs/{{.Name}}/sync", "/logs", "/logs/debian/sync"),
        ("/logs/of-{{.Name}}", "/logs", "/logs/of-debian"),
        ("/logs/{{.Name}}/{{.Name}}", "/logs", "/logs/debian/debian"),
    ],
)
def test_other_log_folders_are_written_for_each_mirror(bench: Bench, template: str, root: str, folder: str) -> None:
    result = bench.run(with_logs(template) + DEBIAN + OTHER)
    assert (result.code, result.settings.log_dir) == (0, root)
    assert result.mirrors["debian"].log_dir == folder
    assert result.mirrors["other"].log_dir == folder.replace("debian", "other")


def test_logs_elsewhere_are_kept_there_by_the_policy(bench: Bench) -> None:
    result = bench.run(GLOBAL + DEBIAN + "log_dir = '/data/logs/{{.Name}}'\n" + OTHER)
    debian = result.mirrors["debian"]
    assert (debian.log_dir, result.policy) == ("/data/logs/debian", Policy(log_roots=("/data/logs",)))
    assert result.forbidden(debian, Policy())
    assert result.findings == [
        "worker.conf:10: `log_dir`: denied by default; `policy.yml` has `/data/logs` in `log_roots`."
        " Check that this is wanted."
    ]


def test_mirrors_that_share_a_folder_get_one_of_their_own_in_it(bench: Bench) -> None:
    shared = "log_dir = '/var/log/tunasync/shared'\n"
    alone = DEBIAN.replace('"debian', '"alone') + "log_dir = '/var/log/tunasync/alone-logs/'\n"
    result = bench.run(GLOBAL + DEBIAN + shared + OTHER + shared + alone)
    assert {name: mirror.log_dir for name, mirror in result.mirrors.items()} == {
        "debian": "/var/log/tunasync/shared/debian",
        "other": "/var/log/tunasync/shared/other",
        "alone": "/var/log/tunasync/alone-logs",
    }
    assert places(result.findings) == ["worker.conf:10:", "worker.conf:14:"]


def test_a_folder_that_is_another_mirrors_default_counts_as_shared(bench: Bench) -> None:
    result = bench.run(GLOBAL + DEBIAN + "log_dir = '/var/log/tunasync/other'\n" + OTHER)
    assert result.mirrors["debian"].log_dir == "/var/log/tunasync/other/debian"
    assert places(result.findings) == ["worker.conf:10:"]


@pytest.mark.parametrize("folder", ["logs/x", "/logs/{{.Role}}", "/logs/{{ if .Name }}x{{ end }}"])
def test_unusable_folders_are_reported_and_the_default_is_used(bench: Bench, folder: str) -> None:
    result = bench.run(GLOBAL + DEBIAN + f"log_dir = '{folder}'\n")
    assert result.mirrors["debian"].log_dir is None
    assert places(result.findings) == ["worker.conf:10:"]


# Directories.


def test_mirrors_elsewhere_are_kept_there_by_the_policy(bench: Bench) -> None:
    result = bench.run(GLOBAL + DEBIAN + "mirror_dir = '/data/linux/debian'\n" + OTHER)
    debian = result.mirrors["debian"]
    assert (debian.mirror_dir, result.policy) == ("/data/linux/debian", Policy(mirror_roots=("/data/linux",)))
    assert result.forbidden(debian, Policy())
    assert result.forbidden(debian._replace(mirror_dir="/data/other"), result.policy)


def test_the_policy_never_lists_the_root_directory(bench: Bench) -> None:
    result = bench.run(GLOBAL + DEBIAN + "mirror_dir = '/debian'\n" + OTHER + "log_dir = '/other'\n")
    assert (result.mirrors, result.policy) == ({}, Policy())
    assert [line.split(" ")[:6] for line in result.findings] == [
        [place, "The", "mirror", "is", "left", "out:"] for place in ("worker.conf:7:", "worker.conf:11:")
    ]


# Control groups.


@pytest.mark.parametrize(
    ("group", "below"), [("tunasync", "tunasync"), ("/a//b/", "a/b"), ("../../etc", "etc"), ("", ""), ("/", "")]
)
@pytest.mark.parametrize("tree", ["", "memory"])
def test_a_control_group_is_looked_for_where_this_kernel_limits_memory(
    tmp_path: Path, group: str, below: str, tree: str
) -> None:
    if tree:
        (tmp_path / tree).mkdir()
        (tmp_path / tree / "memory.limit_in_bytes").touch()
    assert control_group(group, str(tmp_path)) == (str(tmp_path / tree / below) if below else "")


def test_limits_without_a_group_are_reported_once(bench: Bench) -> None:
    limit = "memory_limit = '256M'\n"
    result = bench.run(GLOBAL + "[cgroup]\nenable = true\n" + DEBIAN + limit + OTHER + limit)
    assert result.settings.cgroup is None
    assert result.mirrors["debian"].memory_limit == 256 * 1024**2
    assert places(result.findings) == ["worker.conf:8:"]


@pytest.mark.parametrize(
    ("value", "count"),
    [("'1G'", 1024**3), ("'1.5g'", 3 * 1024**3 // 2), ("'512MiB'", 512 * 1024**2), ("'300 mb'", 300 * 1024**2),
     ("33554433", 2**25 + 1), ("'67108864b'", 2**26), ("'0'", None), ("0", None), ("''", None)],
)  # fmt: skip
def test_limits_are_read_as_tunasync_reads_them(bench: Bench, value: str, count: int | None) -> None:
    result = bench.run(GLOBAL + "[cgroup]\nenable = true\ngroup = 'x'\n" + DEBIAN + f"memory_limit = {value}\n")
    assert result.mirrors["debian"].memory_limit == count
    assert result.code == 0


@pytest.mark.parametrize("value", ["'much'", "'1X'", "'-1G'", "-1", "1.5", "true", "'G'"])
def test_limits_that_tunasync_rejects_are_rejected(bench: Bench, value: str) -> None:
    result = bench.run(GLOBAL + DEBIAN + f"memory_limit = {value}\n")
    assert (result.code, result.out) == (1, "")
    assert 'worker.conf:10: `memory_limit` must be text such as `"256M"`' in result.err


def test_a_limit_in_which_nothing_can_run_leaves_the_mirror_out(bench: Bench) -> None:
    result = bench.run(GLOBAL + "[cgroup]\nenable = true\ngroup = 'x'\n" + OTHER + DEBIAN + "memory_limit = '1M'\n")
    assert set(result.mirrors) == {"other"}
    assert places(result.findings) == ["worker.conf:16:"]


# ZFS and Btrfs.


def test_zfs_without_a_pool_is_reported(bench: Bench) -> None:
    result = bench.run(GLOBAL + "[zfs]\nenable = true\n" + DEBIAN)
    assert result.mirrors["debian"].zpool == ""
    assert places(result.findings) == ["worker.conf:8:"]


def test_an_invalid_pool_is_reported_and_left_out(bench: Bench) -> None:
    result = bench.run(GLOBAL + "[zfs]\nenable = true\nzpool = '-x'\n" + DEBIAN)
    assert result.mirrors["debian"].zpool == ""
    assert places(result.findings) == ["worker.conf:9:"]


def test_of_zfs_and_btrfs_only_one_is_kept_and_the_other_reported(bench: Bench) -> None:
    both = "[zfs]\nenable = true\nzpool = 'tank'\n[btrfs_snapshot]\nenable = true\nsnapshot_path = '/shot'\n"
    result = bench.run(GLOBAL + both + DEBIAN + "snapshot_path = '/shot/x'\n")
    debian = result.mirrors["debian"]
    assert (debian.zpool, debian.btrfs_snapshot, debian.snapshot_path) == ("tank", False, None)
    assert places(result.findings) == ["worker.conf:11:"]


@pytest.mark.parametrize("path", ["", "snapshot_path = 'relative'\n"])
def test_snapshots_without_a_folder_are_reported(bench: Bench, path: str) -> None:
    result = bench.run(GLOBAL + "[btrfs_snapshot]\nenable = true\n" + path + DEBIAN)
    assert result.mirrors["debian"].btrfs_snapshot
    assert result.settings.snapshot_root == "/srv/snapshot"
    assert len(result.findings) == 1 and "`snapshot_path`" in result.findings[0]


@pytest.mark.parametrize("path", ["/elsewhere/debian", "/srv/shot", "debian"])
def test_a_snapshot_elsewhere_is_reported_and_published_with_the_others(bench: Bench, path: str) -> None:
    btrfs = "[btrfs_snapshot]\nenable = true\nsnapshot_path = '/srv/shot'\n"
    result = bench.run(GLOBAL + btrfs + DEBIAN + f"snapshot_path = '{path}'\n")
    assert result.mirrors["debian"].snapshot_path is None
    assert places(result.findings) == ["worker.conf:13:"]


# The policy.


def test_mirrors_within_the_default_policy_need_none(bench: Bench) -> None:
    assert bench.run(GLOBAL + DEBIAN + "rsync_options = ['-z']\nenv = {TZ = 'UTC'}\n").code == 0
    assert not (bench.folder / "policy.yml").exists()


def test_rsync_options_are_listed_with_their_values_and_lines(bench: Bench) -> None:
    usual = "rsync_options = ['--partial-dir=.part', '-z']\n"
    own = "rsync_options = ['-K', '-b']\n" + OTHER + "rsync_override = ['-a', '-e', 'ssh -p 22']\n"
    result = bench.run(GLOBAL + usual + DEBIAN + own)

    entries = ("--partial-dir=.part", "--keep-dirlinks", "--backup", "--rsh=ssh -p 22")
    assert result.policy == Policy(allowed_rsync_options=("default", *entries))
    assert set(result.mirrors) == {"debian", "other"}
    named = [line.split("`")[5:8:2] for line in result.findings]
    assert sorted(named) == sorted([each, "allowed_rsync_options"] for each in entries)
    assert places(result.findings) == ["worker.conf:7:", "worker.conf:11:", "worker.conf:11:", "worker.conf:15:"]


def test_the_names_of_variables_are_listed(bench: Bench) -> None:
    env = "env = {BRANCH = 'stable', PYTHONPATH = '/x', FLAGS = '$y', PATH = '/z', TZ = 'UTC'}\n"
    result = bench.run(GLOBAL + DEBIAN + env)

    assert result.policy == Policy(allowed_env=("default", "BRANCH", "PYTHONPATH", "FLAGS=*"))
    assert dict(result.mirrors["debian"].env) == {
        "BRANCH": "stable", "PYTHONPATH": "/x", "FLAGS": "$y", "TZ": "UTC"
    }  # fmt: skip
    assert [line.partition("`")[2].partition("`")[0] for line in result.findings] == ["env.PATH", "env"]
    assert places(result.findings) == ["worker.conf:10:"] * 2


def test_the_variables_of_containers_have_a_list_of_their_own(bench: Bench) -> None:
    docker = "[docker]\nenable = true\n" + DEBIAN + "docker_image = 's:3'\nenv = {RSYNC_HOST = 'h', ODD = '$x'}\n"
    policy = bench.run(GLOBAL + docker).policy
    assert (policy.allowed_env, policy.allowed_container_env) == (Policy().allowed_env, ("default", "ODD"))


def test_a_pattern_file_stays_in_place_and_only_it_is_allowed(bench: Bench) -> None:
    (bench.folder / "patterns").write_text("*.iso\n")
    path = str(bench.folder / "patterns")
    result = bench.run(GLOBAL + DEBIAN + f"exclude_file = '{path}'\nrsync_options = ['--exclude-from', '{path}']\n")

    assert result.policy == Policy(pattern_files=("/etc/skipjack/filters", path))
    debian = result.mirrors["debian"]
    assert result.forbidden(debian._replace(exclude_file=str(bench.folder / "worker.conf")), result.policy)


def test_a_secret_as_pattern_file_leaves_the_mirror_out(bench: Bench) -> None:
    other = OTHER + f"exclude_file = '{bench.folder}/secrets/debian'\n"
    result = bench.with_secrets(GLOBAL + DEBIAN + "password = 'x'\n" + other)
    assert set(result.mirrors) == {"debian"}
    assert "may not be sent to an upstream" in result.findings[-1]


def test_an_operand_among_the_options_leaves_the_mirror_out(bench: Bench) -> None:
    result = bench.run(GLOBAL + DEBIAN + "rsync_options = ['/etc/']\n" + OTHER)
    assert set(result.mirrors) == {"other"}
    assert places(result.findings) == ["worker.conf:10:"]


def test_a_left_out_mirror_adds_nothing_to_the_policy(bench: Bench) -> None:
    result = bench.run(GLOBAL + DEBIAN + "rsync_options = ['/etc/', '-K']\nmirror_dir = '/data/x'\n")
    assert (result.mirrors, result.policy) == ({}, Policy())


def test_the_folder_of_the_secrets_may_be_read(bench: Bench) -> None:
    result = bench.with_secrets(GLOBAL + DEBIAN + "password = 'x'\n")
    bound = Bound(("up.example.org",), str(bench.folder / "secrets/debian"))
    assert (result.code, result.policy.readable) == (0, ("/etc/skipjack/secrets", bound))
    assert set(result.mirrors) == {"debian"}


def test_an_existing_policy_is_kept_without_force(bench: Bench) -> None:
    (bench.folder / "policy.yml").write_text("programs: []\n")
    elsewhere = GLOBAL + DEBIAN + "mirror_dir = '/data/debian'\n"
    refused = bench.run(elsewhere)
    assert refused.code == 1 and "policy.yml already exists" in refused.err
    assert sorted(path.name for path in bench.folder.iterdir()) == ["policy.yml", "worker.conf"]
    assert bench.run(elsewhere, "--force").policy == Policy(mirror_roots=("/data",))


def test_the_policy_is_printed_with_its_purpose(bench: Bench) -> None:
    result = bench.run(GLOBAL + DEBIAN + "mirror_dir = '/data/debian'\n")
    assert "The policy of the machine, in policy.yml:\n  mirror_roots:\n    - /data\n" in result.out
    assert (bench.folder / "policy.yml").read_text().startswith("# What tunasync did and the policy denies by default")


@pytest.mark.parametrize("place", ["relative", "/", "/home/", "/etc", "/usr/bin/m", "/var/lib"])
def test_a_folder_that_cannot_hold_mirrors_is_reported_and_not_written(bench: Bench, place: str) -> None:
    config = re.sub(r"(?m)^mirror_dir = .*$", f'mirror_dir = "{place}"', GLOBAL)
    result = bench.run(config + DEBIAN)
    [found] = result.findings
    assert "`mirror_dir` is not an absolute path, or is a folder of the system. Set `mirror_root`" in found
    assert "mirror_root" not in (bench.folder / "runner.yml").read_text().replace("`mirror_root`", "")
    assert result.settings.mirror_root == "/srv/mirror"
