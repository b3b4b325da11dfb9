"""docs/from-tunasync.md is right about each option."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runner.base.mirror_paths import Paths
from runner.cli import _parser
from runner.importing.options import MIRROR, SECTIONS
from runner.plugin_api import Job
from runner.providers import PROVIDERS
from schemas.records import Policy

from .importing import DEBIAN, GLOBAL, SECRET, Bench, ImportResult

DOCS = Path(__file__).parents[2] / "docs" / "from-tunasync.md"


class OptionRow(NamedTuple):
    """One row of the page's table."""

    section: str
    option: str
    key: str
    where: str


def rows() -> list[OptionRow]:
    found = re.findall(r"^\| `(?:\[(\w+)\] )?(\w+)` \| (?:`([\w.]+)`)? ?\| (.*?) \|", DOCS.read_text("utf-8"), re.M)
    return [OptionRow(*each) for each in found]


MEMORY_TREE = "/memory" if Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists() else ""
"""Where this machine's kernel has the control groups that limit memory, below `/sys/fs/cgroup`."""

SAMPLES: dict[tuple[str, str], tuple[str, Any]] = {
    ("global", "name"): ("'beta'", "beta"),
    ("global", "log_dir"): ("'/logs/{{ .Name }}/'", "/logs"),
    ("global", "mirror_dir"): ("'/data/'", "/data"),
    ("global", "concurrent"): ("17", 17),
    ("global", "interval"): ("90", 5400),
    ("global", "retry"): ("5", 5),
    ("global", "timeout"): ("86400", 86400),
    ("global", "rsync_options"): ("['-z']", ("-z",)),
    ("global", "exec_on_success"): ("['/x ok']", ("/x ok",)),
    ("global", "exec_on_failure"): ("['/x bad']", ("/x bad",)),
    ("global", "dangerous_global_success_exit_codes"): ("[0, 5]", (5,)),
    ("global", "dangerous_global_rsync_success_exit_codes"): ("[24, 23]", (24, 23)),
    ("manager", "api_base"): ("'https://m.example.org'", "https://m.example.org"),
    ("manager", "api_base_list"): ("['https://m.example.org']", "https://m.example.org"),
    ("manager", "ca_cert"): ("'/etc/ca.pem'", "/etc/ca.pem"),
    ("", "name"): ("'debian'", "debian"),
    ("", "provider"): ("'two-stage-rsync'", "two-stage-rsync"),
    ("", "upstream"): ("'rsync://up.example.org/debian/'", "rsync://up.example.org/debian/"),
    ("", "interval"): ("1440", 86400),
    ("", "retry"): ("3", 3),
    ("", "timeout"): ("61", 61),
    ("", "mirror_dir"): ("'/srv/mirror/x'", "/srv/mirror/x"),
    ("", "mirror_subdir"): ("'a'", "a"),
    ("", "env"): ("{A = 'b'}", {"A": "b"}),
    ("", "role"): ("'slave'", "slave"),
    ("", "exec_on_success"): ("['/y']", ("/y",)),
    ("", "exec_on_failure"): ("['/y']", ("/y",)),
    ("", "exec_on_success_extra"): ("['/y']", ("/y",)),
    ("", "exec_on_failure_extra"): ("['/y']", ("/y",)),
    ("", "success_exit_codes"): ("[7]", (7,)),
    ("", "rsync_success_exit_codes"): ("[24]", (24,)),
    ("", "command"): ("'/opt/rsync'", "/opt/rsync"),
    ("", "fail_on_match"): ("'ERROR'", "ERROR"),
    ("", "size_pattern"): (r"'size ([0-9]+)'", "size ([0-9]+)"),
    ("", "use_ipv6"): ("true", True),
    ("", "use_ipv4"): ("true", True),
    ("", "exclude_file"): ("'/etc/x'", "/etc/x"),
    ("", "log_dir"): ("'/var/log/tunasync/x/{{.Name}}'", "/var/log/tunasync/x/debian"),
    ("", "memory_limit"): ("'256M'", 256 * 1024**2),
    ("", "docker_image"): ("'scripts:3'", "scripts:3"),
    ("", "docker_volumes"): ("['/keys:/keys:ro']", ("/keys:/keys:ro",)),
    ("", "docker_options"): ("['--network', 'none', '-h', 'x']", ("--network=none", "--hostname=x")),
    ("", "snapshot_path"): ("'/srv/shot/x/y'", "/srv/shot/x/y"),
    ("cgroup", "enable"): ("true", 256 * 1024**2),
    ("cgroup", "group"): ("'/a/b'", f"/sys/fs/cgroup{MEMORY_TREE}/a/b"),
    ("docker", "enable"): ("true", "scripts:3"),
    ("docker", "volumes"): ("['/keys:/keys']", ("/keys:/keys",)),
    ("docker", "options"): ("['--init', '--network=none']", ("--init", "--network=none")),
    ("zfs", "enable"): ("true", "tank/mirror"),
    ("zfs", "zpool"): ("'tank/mirror'", "tank/mirror"),
    ("btrfs_snapshot", "enable"): ("true", True),
    ("btrfs_snapshot", "snapshot_path"): ("'/srv/shot/'", "/srv/shot"),
    ("", "username"): ("'me'", "me"),
    ("", "rsync_no_timeout"): ("true", True),
    ("", "rsync_timeout"): ("600", 600),
    ("", "rsync_options"): ("['-z']", ("-z",)),
    ("", "rsync_override"): ("['-a']", ("-a",)),
    ("", "rsync_override_only"): ("true", True),
    ("", "stage1_profile"): ("'debian-oldstyle'", "debian-oldstyle"),
    ("", "mirrors"): ("[{}]", None),
    ("include", "include_mirrors"): ("'worker*.nothing'", None),
}
"""For each option a value in TOML, and its value after the import where it is kept."""

BESIDE = {
    ("", "size_pattern"): "provider = 'command'\ncommand = '/x'\n",
    ("", "stage1_profile"): "provider = 'two-stage-rsync'\n",
    ("", "rsync_override_only"): "rsync_override = ['-a']\n",
    ("", "docker_volumes"): "docker_image = 'scripts:3'\n",
    ("", "docker_options"): "docker_image = 'scripts:3'\n",
    ("", "username"): f"password = '{SECRET}'\n",
    ("manager", "ca_cert"): "api_base = 'https://m.example.org'\n",
    ("cgroup", "enable"): "group = 'x'\n",
    ("zfs", "enable"): "zpool = 'tank/mirror'\n",
    ("btrfs_snapshot", "enable"): "snapshot_path = '/srv/shot'\n",
}
"""What an option needs beside it in its table to have an effect."""

IN_MIRROR = {"cgroup": "memory_limit = '256M'\n", "docker": "docker_image = 'scripts:3'\n"}
"""What a mirror needs for a section to have an effect."""

IN_SECTION = {
    "memory_limit": "[cgroup]\nenable = true\ngroup = 'x'\n",
    "docker_image": "[docker]\nenable = true\n",
    "docker_volumes": "[docker]\nenable = true\n",
    "docker_options": "[docker]\nenable = true\n",
    "snapshot_path": "[btrfs_snapshot]\nenable = true\nsnapshot_path = '/srv/shot'\n",
}
"""The section that an option of a mirror needs to have an effect."""

DEBIAN_UPSTREAM = "upstream: rsync://up.example.org/debian/"

ENABLED = ("cgroup", "docker", "zfs", "btrfs_snapshot")
"""The sections that do nothing unless they enable it."""

SECTION_KIND = {"text": "'x'", "texts": "['x']", "number": "1", "flag": "true", "size": "'1G'"}


def sample(row: OptionRow) -> str:
    kinds = SECTIONS[row.section] if row.section else MIRROR
    if (row.section, row.option) in SAMPLES:
        return SAMPLES[row.section, row.option][0]
    return f"'{SECRET}'" if row.option == "password" else SECTION_KIND[kinds[row.option]]


def config_with(row: OptionRow) -> tuple[str, int]:
    """A configuration that sets the row's option, and on which line."""
    line = f"{row.option} = {sample(row)}\n"
    beside = BESIDE.get((row.section, row.option), "")
    if row.section == "global":
        head = "".join(f"{each}\n" for each in GLOBAL.splitlines() if not each.startswith(f"{row.option} ="))
        return head + line + DEBIAN, len((head + line).splitlines())
    if row.section:
        enable = "enable = true\n" if "enable" in SECTIONS[row.section] and row.option != "enable" else ""
        head = GLOBAL + f"[{row.section}]\n" + enable + beside
        return head + line + DEBIAN + IN_MIRROR.get(row.section, ""), len((head + line).splitlines())
    kept = "".join(f"{each}\n" for each in DEBIAN.splitlines() if not each.startswith(f"{row.option} ="))
    head = GLOBAL + IN_SECTION.get(row.option, "") + kept + beside
    return head + line, len((head + line).splitlines())


def found_at(row: OptionRow, result: ImportResult) -> Any:
    """What stands where the row says that the option went."""
    where = row.where.removesuffix(" and `policy.yml`")
    if where == "`runner.yml`":
        value: Any = result.settings
        for part in row.key.split("."):
            value = getattr(value, part)
        return value
    if where == "`_workers.yml`":
        [worker] = result.catalogue.workers.values()
        return getattr(worker, row.key)
    if where == "`_defaults.yml`":
        assert f"\n{row.key}:" in (result.folder / "mirrors/_defaults.yml").read_text()
    else:
        assert where == "the mirror's file"
    value = getattr(result.mirrors["debian"], row.key)
    return dict(value) if isinstance(value, Mapping) else value


FACTS = """
global: name log_dir mirror_dir concurrent interval retry timeout rsync_options exec_on_success exec_on_failure
  dangerous_global_success_exit_codes dangerous_global_rsync_success_exit_codes
manager: api_base api_base_list ca_cert
cgroup: enable group
docker: enable volumes options
zfs: enable zpool
btrfs_snapshot: enable snapshot_path
include: include_mirrors
: name provider upstream interval retry timeout mirror_dir mirror_subdir log_dir env role
  exec_on_success exec_on_failure exec_on_success_extra exec_on_failure_extra
  success_exit_codes rsync_success_exit_codes command fail_on_match
  size_pattern use_ipv6 use_ipv4 exclude_file username password rsync_no_timeout rsync_timeout rsync_options
  rsync_override rsync_override_only stage1_profile memory_limit docker_image docker_volumes docker_options
  snapshot_path mirrors
"""


def test_the_page_has_every_option_once() -> None:
    told = [(row.section, row.option) for row in rows()]
    known = {(section, option) for section, kinds in SECTIONS.items() for option in kinds}
    assert sorted(told) == sorted(known | {("", option) for option in MIRROR})
    for part in re.split(r"\n(?=\w*:)", FACTS.strip("\n")):
        section, _colon, options = part.partition(":")
        assert {(section, option) for option in options.split()} <= set(told)


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.section}.{row.option}")
def test_each_row_of_the_page_is_true(bench: Bench, row: OptionRow) -> None:
    if row.option == "include_mirrors":
        (bench.folder / "worker.nothing").touch()
    config, line = config_with(row)

    result = bench.with_secrets(config)

    here = [found for found in result.findings if found.startswith(f"worker.conf:{line}: ")]
    if row.where.endswith("`policy.yml`"):
        [told] = here
        assert row.key in told and "policy.yml" in told
        assert result.forbidden(result.mirrors["debian"], Policy())
    else:
        assert here == []
    if row.where == "not needed":
        assert not row.key
        without = config.splitlines(keepends=True)
        without[line - 1] = ""
        again = bench.run("".join(without), "--force", "--secrets", str(bench.folder / "secrets"))
        assert (again.mirrors, again.settings) == (result.mirrors, result.settings)
    elif row.option == "password":
        secret = result.mirrors["debian"].password
        assert secret and secret.file and Path(secret.file).read_text() == f"{SECRET}\n"
    else:
        assert found_at(row, result) == SAMPLES[row.section, row.option][1]


@pytest.mark.parametrize("section", ENABLED)
def test_options_of_a_disabled_section_are_reported_and_left_out(bench: Bench, section: str) -> None:
    inert = "".join(
        f"{option} = {SECTION_KIND[kind]}\n" for option, kind in SECTIONS[section].items() if option != "enable"
    )
    mirror = "memory_limit = '1G'\ndocker_image = 'x'\ndocker_volumes = ['/x']\nsnapshot_path = '/x'\n"
    result = bench.run(GLOBAL + f"[{section}]\nenable = false\n" + inert + DEBIAN + mirror)
    said = {
        "memory_limit": "without `enable = true` in `[cgroup]`",
        "docker_image": "without `enable = true` in `[docker]`",
        "docker_volumes": "without `enable = true` in `[docker]`",
        "snapshot_path": "without `enable = true` in `[btrfs_snapshot]`",
    }
    assert result.code == 1
    assert len(result.findings) == len(said)
    for option, why in said.items():
        assert any(
            f" `{option}` has no effect in tunasync {why}, and was left out." in each for each in result.findings
        )
    assert (bench.folder / "mirrors/debian.yml").read_text().splitlines()[1:] == [DEBIAN_UPSTREAM]
    assert not (bench.folder / "policy.yml").exists()
    assert result.settings.cgroup is None


def test_every_command_of_the_page_exists() -> None:
    text = DOCS.read_text("utf-8")
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.M | re.S)
    lines = [line for block in blocks for line in re.findall(r"^(?:\$ )?skipjack (.*)", block, re.M)]
    steps = {"import", "validate", "next", "run", "install", "release", "uninstall"}
    assert {line.split()[0] for line in lines} >= steps
    for line in lines:
        assert _parser().parse_args(shlex.split(line, comments=True))
    verbs = set(re.findall(r"`skipjack ([a-z]+)[ `]", text))
    assert verbs <= set(re.findall(r"^    ([a-z]+)\b", _parser().format_help(), re.M))


def test_the_written_settings_start_held_and_this_is_printed(bench: Bench) -> None:
    result = bench.run(GLOBAL + DEBIAN)

    assert result.settings.held
    assert "`start: held` keeps every run from starting until `skipjack release`" in result.out
    assert "until `skipjack release`" in (bench.folder / "runner.yml").read_text()


def test_global_lists_are_merged_into_those_of_a_mirror_and_only_where_they_count(bench: Bench) -> None:
    codes = "dangerous_global_success_exit_codes = [1]\ndangerous_global_rsync_success_exit_codes = [24]\n"
    own = "success_exit_codes = [2]\nrsync_success_exit_codes = [23]\n"
    command = DEBIAN.replace('"debian', '"x') + "provider = 'command'\ncommand = '/x'\nsuccess_exit_codes = [2]\n"
    result = bench.run(GLOBAL + codes + DEBIAN + own + command)
    debian, x = result.mirrors["debian"], result.mirrors["x"]
    assert (debian.success_exit_codes, debian.rsync_success_exit_codes) == ((1, 2), (24, 23))
    rsync, program = PROVIDERS["rsync"], PROVIDERS["command"]
    taken = [code for code in range(1, 256) if rsync.is_success(Job(debian, Paths("/d", "/", "/l")), code)]
    assert taken == [1, 2, 23, 24]
    assert [code for code in range(1, 256) if program.is_success(Job(x, Paths("/d", "/", "/l")), code)] == [1, 2]


def test_commands_after_a_failure_run_after_each_attempt_as_they_did(bench: Bench) -> None:
    assert bench.run(GLOBAL + DEBIAN + "exec_on_failure = ['/x']\n").mirrors["debian"].exec_on_each_failure
