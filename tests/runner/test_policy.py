"""The policy denies every way to break out of a machine by configuration, and allows everyday definitions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.base.mirror_paths import Paths, paths_of
from schemas.config import catalogue
from schemas.config.settings import load_policy
from schemas.config.sources import read_directory
from schemas.errors import SkipjackError
from schemas.records import ManagerAddress, Mirror, Policy, Repository, RunnerSettings, Secret

from .two_judges import violations

ROOT = "/srv/mirror"
DEFAULT = Policy()
SETTINGS = RunnerSettings("w1", Repository("u"), mirror_root=ROOT)


def told(policy: Policy = DEFAULT, directory: str = f"{ROOT}/debian", **fields: Any) -> str:
    """Return why the policy denies a mirror, as one text; empty if it is allowed."""
    mirror = Mirror("debian", "w1", "rsync", "rsync://rsync.example.org/debian/")._replace(**fields)
    return " ".join(what for what, _todo in violations(mirror, at(directory, mirror), SETTINGS, policy))


def at(directory: str, mirror: Mirror) -> Paths:
    return paths_of(mirror, SETTINGS, DEFAULT)._replace(directory=directory)


@pytest.mark.parametrize(
    "words",
    [
        ("-e", "sh -c id"), ("-esh",), ("-ave", "sh"), ("--rsh=sh",), ("--rsh", "sh"), ("--rsync-path=sh",),
        ("-M--log-file=/x",), ("--remote-option=--log-file=/x",), ("--log-file=/etc/cron.d/x",), ("--log-file", "/x"),
        ("--write-batch=/x",), ("--only-write-batch=/x",), ("--read-batch=/x",), ("--temp-dir=/etc",), ("-T", "/etc"),
        ("-aT/etc",), ("--partial-dir=/etc",), ("--backup-dir=/etc",), ("--link-dest=/etc",), ("--copy-dest=/etc",),
        ("--compare-dest=/etc",), ("--files-from=/etc/shadow",), ("--exclude-from=/etc/shadow",),
        ("--include-from", "/etc/shadow"), ("--password-file=/etc/shadow",), ("--early-input=/etc/shadow",),
        ("--daemon",), ("--server",), ("--sender",), ("--config=/x",), ("-K",), ("-aK",), ("--keep-dirlinks",),
        ("--copy-as=root",), ("--remove-source-files",), ("--backup",), ("-ab",), ("--suffix=.old",),
        ("--filter=merge /etc/shadow",), ("--filter", "merge /etc/shadow"), ("-f", ". /etc/shadow"),
        ("-f. /etc/shadow",), ("--filter=dir-merge /etc/shadow",), ("--filter=: /etc/shadow",),
        ("--filter=merge,- /etc/shadow",), ("/etc/",), ("-a", "/etc/"), ("--", "/etc/"), ("-",),
        ("--exclude", "x", "/etc/"), ("rsync://evil.example/x/",), ("--delete", "--delete-after", "/etc"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["rsync_options", "rsync_options_extra", "rsync_override"])
def test_options_that_run_programs_or_reach_other_files_are_denied(key: str, words: tuple[str, ...]) -> None:
    fields: dict[str, Any] = {key: words}
    assert key in told(**fields)


@pytest.mark.parametrize(
    "words",
    [
        ("--bwlimit=20M",), ("--bwlimit", "20M"), ("--exclude=*.iso",), ("--exclude", "/etc/"), ("--include", "*/"),
        ("--filter", "risk .~tmp~/"), ("--filter=- *.iso",), ("-f", "+ */"), ("-aHvh", "--no-o", "--delete-excluded"),
        ("--max-delete=100",), ("--info=progress2",), ("-B", "4096"), ("--chmod=Dugo+x",), ("-4",),
        ("--contimeout=60",),
    ],
)  # fmt: skip
def test_common_options_are_allowed(words: tuple[str, ...]) -> None:
    assert told(rsync_options=words) == ""


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "LD_LIBRARY_PATH", "RSYNC_RSH", "RSYNC_CONNECT_PROG", "GIT_SSH_COMMAND", "BASH_ENV", "ENV",
             "PYTHONSTARTUP", "PYTHONPATH", "PERL5OPT", "RUBYOPT", "NODE_OPTIONS", "SSH_AUTH_SOCK", "BASH_FUNC_x%%"]
)  # fmt: skip
def test_variables_that_load_code_are_denied(name: str) -> None:
    assert f"`env` sets {name}" in told(env={name: "x"})


def test_common_variables_are_allowed() -> None:
    env = {"LANG": "C.UTF-8", "LC_ALL": "zh_CN.UTF-8", "TZ": "Asia/Shanghai", "HTTP_PROXY": "http://p.example:3128"}
    scripts = {"USE_IPV6": "1", "PYPI_EXCLUDE": "tf-nightly tf_gpu", "NIX_MIRROR_THREADS": "8"}
    assert told(env=env | scripts) == ""


@pytest.mark.parametrize("directory", ["/etc", "/srv/mirror", "/srv/mirror/../x", "/srv/mirrors/x", "/"])
def test_a_directory_must_lie_below_the_root(directory: str) -> None:
    assert "does not lie below" in told(directory=directory)


def test_a_link_does_not_lead_out_of_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    mirror = Mirror("m", "w1", "rsync", "rsync://rsync.example.org/m/")

    settings = SETTINGS._replace(mirror_root=str(root))
    for directory, forbidden in (("link/m", True), ("m", False)):
        paths = paths_of(mirror._replace(mirror_dir=str(root / directory)), settings, DEFAULT)
        assert bool(list(violations(mirror, paths, settings, DEFAULT))) is forbidden


@pytest.mark.parametrize(
    "directory", ["/usr", "/home", "/etc/cron.d", "/proc/1", "/boot/m", "/usr/bin", "/var/lib", "/srv"]
)
def test_no_mirror_root_allows_a_folder_of_the_system(directory: str) -> None:
    policy = Policy(mirror_roots=("/",))
    said = told(policy, directory=directory)
    assert "is, or is in, a folder of the system." in said
    assert "of the system" not in told(policy, directory="/home/debian")


def test_a_link_to_a_folder_of_the_system_is_not_a_mirror_root(tmp_path: Path) -> None:
    mirror = Mirror("m", "w1", "rsync", "rsync://rsync.example.org/m/")
    for place, word in (("/", "is a folder of the system"), ("/etc", "is, or is in, a folder of the system"),
                        ("/home", "is a folder of the system")):  # fmt: skip
        root = tmp_path / "root"
        root.symlink_to(place)
        settings = SETTINGS._replace(mirror_root=str(root))
        said = [what for what, _todo in violations(mirror, paths_of(mirror, settings, DEFAULT), settings, DEFAULT)]
        assert len(said) == 1 and word in said[0] and "which is really" in said[0], said
        root.unlink()


def test_the_policy_adds_roots_for_mirrors_and_for_logs() -> None:
    policy = Policy(mirror_roots=("/srv/more",), log_roots=("/srv/logs",))
    for mirror_dir, log_dir in (("/srv/more/m", "/srv/logs/m"), ("/srv/more", "/srv/logs"), ("/srv/m", "/srv/l")):
        mirror = Mirror("m", "w1", "command", "", command="x", mirror_dir=mirror_dir, log_dir=log_dir)
        allowed = [len(list(violations(mirror, paths_of(mirror, SETTINGS, p), SETTINGS, p))) for p in (DEFAULT, policy)]
        assert allowed == ([2, 0] if mirror_dir == "/srv/more/m" else [2, 2])


def test_a_snapshot_stays_below_its_root() -> None:
    for path, count in (("/srv/snapshot/m", 0), ("/srv/snapshot", 1), ("/srv/mirror/m", 1)):
        mirror = Mirror("m", "w1", "command", "", command="x", snapshot_path=path)
        assert len(list(violations(mirror, paths_of(mirror, SETTINGS, DEFAULT), SETTINGS, DEFAULT))) == count


@pytest.mark.parametrize(
    "fields",
    [
        {"password": Secret(file="/etc/shadow")},
        {"password": Secret(file="/etc/skipjack/secrets/../../shadow")},
    ],
)
def test_files_are_read_only_where_the_policy_says(fields: Mapping[str, Any]) -> None:
    assert "may be read" in told(**fields)
    assert told(Policy(readable=("/etc",)), **fields) == ""


def test_a_credential_needs_no_entry_for_files() -> None:
    assert told(password=Secret(credential="debian")) == ""


@pytest.mark.parametrize(("token", "name"), [("manager-token", "manager-token"), ("mirror_debian", "debian")])
def test_the_credential_of_the_workers_token_is_not_a_password(token: str, name: str) -> None:
    settings = SETTINGS._replace(manager=ManagerAddress("https://m.example.org", Secret(credential=token)))
    mirror = Mirror("debian", "w1", "rsync", "rsync://rsync.example.org/debian/", password=Secret(credential=name))
    said = " ".join(what for what, _todo in violations(mirror, at(f"{ROOT}/debian", mirror), settings, DEFAULT))
    assert "a secret of the worker itself" in said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("command", "/bin/sh -c id"),
        ("command", "sh"),
        ("command", "'/opt/scripts/../../bin/sh'"),
        ("exec_on_success", ("/opt/scripts/fine", "/bin/sh")),
        ("exec_on_failure", ("/bin/sh",)),
        ("exec_on_success_extra", ("/bin/sh",)),
        ("exec_on_failure_extra", ("/bin/sh",)),
    ],
)
def test_only_listed_programs_run(key: str, value: object) -> None:
    fields: dict[str, Any] = {key: value}
    assert f"`{key}` runs" in told(Policy(programs=("/opt/scripts/", "/usr/bin/rsync")), **fields)
    assert told(Policy(programs=("/opt/scripts/",)), command="/opt/scripts/fine --quick") == ""
    assert told(Policy(programs=("/usr/bin/rsync",)), command="/usr/bin/rsync") == ""


def test_a_link_of_a_mirror_does_not_lead_to_an_allowed_program(tmp_path: Path) -> None:
    """An upstream could let the link lead elsewhere once it is accepted."""
    scripts, links, mirror = tmp_path / "scripts", tmp_path / "links", tmp_path / "mirror"
    for folder in (scripts, mirror):
        folder.mkdir()
    (scripts / "sync").touch()
    links.symlink_to(scripts)
    (scripts / "current").symlink_to("sync")
    (mirror / "sync").symlink_to(scripts / "sync")
    (mirror / "scripts").symlink_to(scripts)
    for allowed in (scripts, links):
        policy = Policy(programs=(f"{allowed}/",))
        for path in ("sync", "scripts/sync", f"../{allowed.name}/../mirror/sync"):
            assert "`command` runs" in told(policy, command=f"{mirror}/{path} now")
            assert "`exec_on_success` runs" in told(policy, exec_on_success=(f"{mirror}/{path}",))
        for path in (f"{allowed}/sync", f"{scripts}/sync", f"{allowed}/current", f"{allowed}/./sync"):
            assert told(policy, command=path) == ""
    (scripts / "out").symlink_to("/bin/sh")
    assert "`command` runs" in told(Policy(programs=(f"{scripts}/",)), command=f"{scripts}/out")


def test_a_provider_can_be_denied() -> None:
    assert "provider `command`" in told(Policy(providers=("rsync",)), provider="command", command="/bin/true")


def test_the_example_repository_needs_only_the_default_policy() -> None:
    loaded = catalogue.load(read_directory(Path(__file__).parents[2] / "mirrors"))
    policy = Policy()
    for mirror in loaded.mirrors:
        assert list(violations(mirror, paths_of(mirror, SETTINGS, policy), SETTINGS, policy)) == [], mirror.name


def test_a_missing_policy_means_defaults_and_one_that_others_can_write_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "policy.yml"
    assert load_policy(path) == Policy()
    path.write_text("programs: [/opt/x]\nforbidden_env: [A*]\n")
    path.chmod(0o644)
    assert load_policy(path) == Policy(programs=("/opt/x",), forbidden_env=("A*",))
    path.chmod(0o664)
    with pytest.raises(SkipjackError, match="can be changed by other users"):
        load_policy(path)
    path.chmod(0o600)
    path.write_text("programms: []\n")
    with pytest.raises(SkipjackError, match="Did you mean `programs`"):
        load_policy(path)


@pytest.mark.parametrize("key", ["state_dir", "run_dir", "log_dir", "snapshot_root"])
@pytest.mark.parametrize("below", ["", "/below/it"])
def test_no_mirror_directory_may_contain_the_machines_own_folders(key: str, below: str) -> None:
    place: dict[str, Any] = {key: f"{ROOT}/own{below}"}
    settings = SETTINGS._replace(**place)
    own, other = (Mirror(name, "w1", "rsync", "rsync://h/m/", log_dir="/var/log/skipjack/x") for name in ("own", "x"))

    def said(mirror: Mirror) -> str:
        policy = Policy(log_roots=("/var/log/skipjack",))
        return " ".join(
            what for what, _todo in violations(mirror, paths_of(mirror, settings, policy), settings, policy)
        )

    assert f"The directory {ROOT}/own would contain this machine's `{key}` {ROOT}/own{below}, which" in said(own)
    assert "own" not in said(other)


def test_no_mirror_directory_may_contain_its_own_logs() -> None:
    assert "would contain its own logs" in told(Policy(log_roots=(ROOT,)), log_dir=f"{ROOT}/debian/logs")
    assert told(Policy(log_roots=(ROOT,)), log_dir=f"{ROOT}/debian-logs") == ""
