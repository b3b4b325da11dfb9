"""Policies of earlier releases, and the allow-lists."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from runner.base.environment import SEARCH, environment, safe_home, search_path
from runner.base.mirror_paths import paths_of
from runner.base.state_dir import StateLayout
from runner.importing.allowance import decide
from runner.importing.yaml_text import block
from runner.policy.env_policy import is_plain
from runner.policy.policy_lists import rsync_options, warnings
from schemas.config.settings import load_policy
from schemas.errors import SkipjackError
from schemas.records import Bound, FreshnessFile, ManagerAddress, Mirror, Policy, Repository, RunnerSettings, Secret

from .two_judges import violations


def told(policy: Policy, settings: RunnerSettings | None = None, **fields: Any) -> str:
    """Return why the policy denies a mirror, as one text; empty if it is allowed."""
    settings = settings or RunnerSettings("w1", Repository("u"))
    mirror = Mirror("debian", "w1", "rsync", "rsync://rsync.example.org/debian/")._replace(**fields)
    paths = paths_of(mirror, settings, policy)
    return " ".join(f"{what} {todo}" for what, todo in violations(mirror, paths, settings, policy))


def test_an_entry_removed_from_an_old_deny_list_stays_allowed() -> None:
    old = Policy(forbidden_env=("LD_*", "RSYNC_*"), forbidden_rsync_options=("--rsh", "-e", "--log-file"))

    assert told(old, env={"GIT_DIR": "x", "PYTHONPATH": "$x"}, rsync_options=("-K", "--partial-dir=/x")) == ""
    assert "RSYNC_PROXY" in told(old, env={"RSYNC_PROXY": "p:1"})
    assert "OTHER" in told(old, env={"OTHER": "x"}), "what no list names is denied"
    assert "`-e`" in told(old, rsync_options=("-e", "x"))
    assert "`--exclude`" in told(Policy(forbidden_rsync_options=("--exclude",)), rsync_options=("--exclude=x",))


def test_an_old_deny_entry_covers_both_spellings_of_an_option() -> None:
    assert "--temp-dir" not in rsync_options(Policy(forbidden_rsync_options=("-T",)))
    assert "--temp-dir" in rsync_options(Policy(forbidden_rsync_options=("-K",)))


def test_old_keys_get_a_warning_with_a_remedy() -> None:
    assert list(warnings(Policy())) == []
    [(what, todo)] = warnings(Policy(forbidden_env=()))
    assert "`forbidden_env` in the policy is out of date" in what
    assert "skipjack policy suggest" in todo and "`allowed_env`" in todo


def test_entries_that_allow_nothing_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "policy.yml"
    for entry, expected in (("--bwlimt", "is not an option of rsync"), ("-v=3", "takes no value")):
        path.write_text(f"allowed_rsync_options: [default, {entry}]\n")
        with pytest.raises(SkipjackError, match=expected):
            load_policy(path)
    path.write_text("allowed_rsync_options: [default, --partial-dir=.part, -K]\nallowed_env: [default, A, B=*]\n")
    policy = load_policy(path)
    assert told(policy, rsync_options=("-zK", "--partial-dir", ".part"), env={"A": "x", "B": "$y", "TZ": "UTC"}) == ""
    assert "`--partial-dir=.part`" in told(policy, rsync_options=("--partial-dir=.other",))
    assert "`A=*`" in told(policy, env={"A": "$y"})


@pytest.mark.parametrize("key", ["rsync_options", "rsync_options_extra", "rsync_override"])
def test_the_last_option_of_a_list_cannot_take_the_next_word_as_its_value(key: str) -> None:
    fields: dict[str, Any] = {key: ("-a", "--exclude")}
    assert f"`{key}` ends in `--exclude` without its value" in told(Policy(), **fields)


def test_a_short_list_allows_nothing_else() -> None:
    assert "`-z`" in told(Policy(allowed_rsync_options=("--exclude",)), rsync_options=("--exclude=x", "-z"))
    assert told(Policy(allowed_rsync_options=()), rsync_timeout=5) == "", "the provider's own options"
    assert "TZ" in told(Policy(allowed_env=()), env={"TZ": "UTC"})


@pytest.mark.parametrize(
    "value",
    [
        "FF4755",
        "FFFu+s",
        "uFF+s",
        "F4755",
        "4755",
        "2755",
        "D2775,Fu+s",
        "u=rwxs,go=rx",
        "Fug+xs",
        "06755",
        "Fo-w,Fg+s",
    ],
)
def test_chmod_cannot_set_set_user_id_on_files(value: str) -> None:
    words = (f"--chmod={value}",)
    assert "with which a program of the upstream runs as the owner of its file" in told(Policy(), rsync_options=words)
    assert told(Policy(allowed_rsync_options=words), rsync_options=words) == "", "an administrator may want that"


@pytest.mark.parametrize(
    "value",
    ["DD2775,FF664", "uDD+s", "D2775,F664", "D755,F644", "ugo=rX", "Dg+s,Fo-w", "ug-s", "u+rwX,go+rX,go-w", "0755"],
)
def test_other_modes_are_allowed(value: str) -> None:
    assert told(Policy(), rsync_options=(f"--chmod={value}",)) == ""


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [
        ("X", "a b,c/d:1=2@x~*?%+", True), ("X", "", True), ("X", "$x", False), ("X", "`x`", False),
        ("X", "a;b", False),
        ("X", "a\nb", False), ("X", "-x", False), ("X", "a -x", False), ("X", "a[1]", False), ("X", "a#b", False),
        ("LANG", "C.UTF-8", True), ("LC_ALL", "/x", False), ("LANGUAGE", "de:en", True), ("LANGUAGE", "../x", False),
        ("TZ", "Asia/Shanghai", True), ("TZ", "CST-8", True), ("TZ", "/etc/x", False), ("TZ", ":x", False),
        ("TZ", "a/../../x", False),
    ],
)  # fmt: skip
def test_which_values_are_plain(name: str, value: str, plain: bool) -> None:
    assert is_plain(name, value) is plain


CONTAINER: dict[str, Any] = {"docker_image": "s:3", "provider": "command", "command": "sync"}


def test_variables_of_containers_have_a_list_of_their_own() -> None:
    policy = Policy(images=("s:3",))
    env = {"RSYNC_HOST": "h", "RSYNC_EXTRA": "--exclude '$x'", "OWNER": "1:1", "GITSYNC_URL": "https://g.example/"}
    assert told(policy, env=env, **CONTAINER) == ""
    assert "RSYNC_HOST" in told(policy, env=env)
    for name in ("PATH", "HOME", "LD_PRELOAD", "BASH_ENV"):
        assert f"`env` sets {name}" in told(policy, env={name: "x"}, **CONTAINER)
    assert told(policy._replace(allowed_container_env=("PATH",)), env={"PATH": "/bin"}, **CONTAINER) == ""
    for entry, value, is_allowed in (("A=", "", True), ("A=", "x", False), ("A=x", "x", True), ("A=x", "", False)):
        limited = policy._replace(allowed_container_env=(entry,))
        assert (told(limited, env={"A": value}, **CONTAINER) == "") is is_allowed, entry


def test_an_upstream_over_ssh_needs_ssh_in_programs() -> None:
    upstream = "me@host.example:debian/"
    assert told(Policy(), upstream=upstream) == ""
    assert "starts `ssh`" in told(Policy(programs=("/opt/scripts/",)), upstream=upstream)
    assert told(Policy(programs=("/usr/bin/ssh",)), upstream=upstream) == ""
    probed: dict[str, Any] = {"upstream": upstream, "freshness": FreshnessFile("x"), **CONTAINER, "command": "x"}
    assert "starts `ssh`" in told(Policy(programs=(), images=("s:3",)), **probed), "the probe runs on the machine"


def test_rsync_in_a_command_line_is_judged_by_the_allowed_options() -> None:
    policy = Policy(programs=("/usr/bin/rsync", "/opt/scripts/"))
    line: dict[str, Any] = {"provider": "command"}
    good = "/usr/bin/rsync -a --delete rsync://h.example/x/ /srv/mirror/debian/"
    assert told(policy, command=good, **line) == ""
    for command in (
        "/usr/bin/rsync -e /srv/mirror/evil/sh h.example:x/ /srv/mirror/debian/",
        "/usr/bin/rsync /etc/skipjack/token rsync://h.example/x/", "/usr/bin/rsync -a /srv/mirror/debian/ h.example:x/",
        "/usr/bin/rsync --exclude-from=/etc/skipjack/token rsync://h.example/x/ /srv/mirror/debian/",
        "/usr/bin/rsync -a rsync://h.example/x/ /srv/mirror/other/",
    ):  # fmt: skip
        assert "`command`" in told(policy, command=command, **line), command
        assert "`exec_on_success`" in told(policy, exec_on_success=(command,)), command
    assert told(Policy(), command="/usr/bin/rsync -e sh x:y /", **line) == "", "where any program may run"


def test_a_script_whose_name_begins_with_rsync_is_not_rsync(tmp_path: Path) -> None:
    policy = Policy(programs=("/opt/scripts/", str(tmp_path / "fetch"), "/usr/bin/rsync-3.2.7"))
    line: dict[str, Any] = {"provider": "command"}
    for name in ("rsync-debian.sh", "rsync_ubuntu.sh", "rsync3.py"):
        assert told(policy, command=f"/opt/scripts/{name} --fast -c /etc/x.conf /data/x", **line) == "", name
    (tmp_path / "fetch").symlink_to("/usr/bin/rsync")
    for program in (tmp_path / "fetch", "/usr/bin/rsync-3.2.7"):
        assert "`command` lets rsync reach `/`" in told(policy, command=f"{program} -a / rsync://h.example/x/", **line)


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("upstream", "h.example --post-file=/etc/passwd", "TUNASYNC_UPSTREAM_URL"),
        ("upstream", "https://h.example/$(id)", "TUNASYNC_UPSTREAM_URL"),
        ("upstream", "https://h.example/;!id", "TUNASYNC_UPSTREAM_URL"),
        ("upstream", "https://h.example/?a=1&b=2", "TUNASYNC_UPSTREAM_URL"),
        ("mirror_dir", "/srv/mirror/a -O b", "TUNASYNC_WORKING_DIR"),
        ("mirror_subdir", "$(id)", "TUNASYNC_WORKING_DIR"),
        ("log_dir", "/var/log/skipjack/a\nb", "TUNASYNC_LOG_DIR"),
    ],
)
def test_values_passed_to_programs_as_variables_must_be_plain(key: str, value: str, name: str) -> None:
    settings = RunnerSettings("w1", Repository("u"))
    fields: dict[str, Any] = {"provider": "command", "command": "/opt/scripts/x", key: value}
    policy = Policy(programs=("/opt/scripts/",))
    said = told(policy, **fields)
    assert f"`{key}` has a value with more than plain words, which programs get in the variable {name}" in said
    assert f"add `{name}=*` to `allowed_env`" in said
    mirror = Mirror("debian", "w1", "rsync", "rsync://rsync.example.org/debian/")._replace(**fields)
    decision = decide([mirror], settings, policy)
    assert [(each.key, each.entry) for _mirror, each in decision.allowed] == [("allowed_env", f"{name}=*")]
    assert told(decision.policy, **fields) == ""
    assert told(Policy(), **fields) == "", "where any program may run"
    assert told(policy, **fields | {"command": "x", "docker_image": "s:3"}).count("plain words") == 0
    for plain in ("https://[::1]:8/x/#main", "https://h.example/?a=1", "https://h.example/a%20b.txt"):
        assert told(policy, provider="command", command="/opt/scripts/x", upstream=plain) == ""


def test_a_suggestion_includes_the_options_of_command_lines() -> None:
    policy, settings = Policy(programs=("/usr/bin/rsync",)), RunnerSettings("w1", Repository("u"))
    command = "/usr/bin/rsync -aAX --exclude-from=/etc/skipjack/filters/x rsync://h.example/x/ /srv/mirror/debian/"
    mirror = Mirror("debian", "w1", "command", "x", command=command)
    decision = decide([mirror], settings, policy._replace(pattern_files=()))
    assert decision.refused == ()
    assert {"--acls", "--xattrs"} <= set(decision.policy.allowed_rsync_options)
    assert decision.policy.pattern_files == ("/etc/skipjack/filters/x",)
    following = mirror._replace(command="/usr/bin/rsync -aL . rsync://h.example/x/")
    assert decide([following], settings, policy).refused, "no policy allows it"


LEAST = Policy(
    providers=("rsync",), programs=(), readable=(), pattern_files=(), allowed_env=(), allowed_container_env=(),
    allowed_rsync_options=(), docker_options=(),
)  # fmt: skip
SCRIPT = {"provider": "command", "upstream": "https://h.example/x/"}
SHELL_PROBE = {"upstream": "h.example:/x/", "freshness": FreshnessFile("trace")}


@pytest.mark.parametrize(
    "fields",
    [
        {"mirror_dir": "/data/x"}, {"log_dir": "/data/logs/x"},
        {"provider": "two-stage-rsync", "stage1_profile": "debian"}, SCRIPT | {"command": "/opt/x"},
        {"command": "/opt/rsync"}, {"exec_on_success": ("/opt/x",)}, {"exec_on_failure_extra": ("/opt/x -a",)},
        {"upstream": "h.example:/x/"}, {"upstream": "user@h.example:/x/"}, {"upstream": "user@[::1]:/x/"},
        SHELL_PROBE, SHELL_PROBE | CONTAINER, SHELL_PROBE | SCRIPT | {"command": "/opt/x", "upstream": "h.example:/x/"},
        SCRIPT | {"command": "/usr/bin/rsync -a h.example:/x/ /srv/mirror/debian/"},
        {"exec_on_success": ("/usr/bin/rsync -a . me@h.example:/x/",)},
        {"exec_on_failure_extra": ("/usr/bin/rsync -aAX --include-from=/p/x . h.example:/x/",)},
        {"exec_on_success": ("/usr/bin/rsync --password-file=/p/x . x::",)},
        {"rsync_options": ("--password-file=/p/x",)}, {"rsync_options": ("--early-input=/p/x",)},
        {"password": Secret(file="/secrets/x")}, {"exclude_file": "/p/x"}, {"rsync_options": ("--include-from=/p/x",)},
        {"rsync_options": ("-AX",)}, {"rsync_options_extra": ("--filter=merge /p/x",)},
        {"rsync_override": ("-aX",), "rsync_override_only": True},
        {"env": {"A": "x"}}, {"env": {"A": "$x"}}, {"env": {"A": "$x"}} | CONTAINER,
        SCRIPT | {"command": "/opt/x", "upstream": "https://h.example/$x"},
        {"provider": "plug-in", "upstream": "https://h.example/$x"}, {"provider": "plug-in", "upstream": "/x/"},
        CONTAINER | {"docker_volumes": ("/data/x:/x",), "docker_options": ("--tmpfs=/x", "--init")},
        CONTAINER | {"docker_options": ("--network=host", "--network=mirrors")},
    ],
)  # fmt: skip
def test_a_suggested_policy_allows_everything_that_a_policy_can_allow(fields: dict[str, Any]) -> None:
    """Every denial whose remedy names the policy, with a policy that allows as little as possible."""
    mirror = Mirror("debian", "w1", "rsync", "rsync://h.example/debian/")._replace(**fields)
    settings = RunnerSettings("w1", Repository("u"))
    fields = {"upstream": mirror.upstream} | fields
    assert re.search("policy|`readable`|`pattern_files`", told(LEAST, settings, **fields))

    decision = decide([mirror], settings, LEAST)

    assert decision.refused == ()
    assert told(decision.policy, settings, **fields) == ""
    for key in decision.keys:
        for entry in set(getattr(decision.policy, key)) - set(getattr(LEAST, key)):
            fewer = tuple(each for each in getattr(decision.policy, key) if each != entry)
            assert told(decision.policy._replace(**{key: fewer}), settings, **fields), f"{key}: {entry} is not needed"


def test_a_password_of_rsyncs_own_option_must_be_readable_for_all_hosts(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in ("password", "bound", "linked"):
        (folder / name).write_text("open sesame\n")
    os.link(folder / "linked", tmp_path / "other")
    (folder / "out").symlink_to(tmp_path / "other")
    settings = RunnerSettings(
        "w1", Repository("u"), manager=ManagerAddress("https://m", Secret(file=f"{folder}/token"))
    )
    (folder / "token").write_text("token\n")
    readable = (str(folder), Bound(("h.example",), path=f"{folder}/bound"))
    policy = Policy(readable=readable, allowed_rsync_options=("default", "--password-file"))

    def said(path: str) -> str:
        return told(policy, settings, rsync_options=(f"--password-file={path}",))

    assert said(f"{folder}/password") == ""
    assert "is only for some hosts. Write `password: " in said(f"{folder}/bound")
    assert "is a secret of the worker itself" in said(f"{folder}/token")
    assert "has 2 hard links" in said(f"{folder}/linked")
    assert "is not a regular file" in said(str(folder))
    for path in (f"{folder}/out", f"{tmp_path}/other", "/etc/shadow", "secrets/password"):
        assert "which `readable` of the policy does not list" in said(path), path


def test_a_program_without_a_path_is_not_asked_for_in_the_policy() -> None:
    said = told(Policy(programs=()), exec_on_success=("notify all",))
    assert "`notify`" in said and "absolute path" in said and "Ask the administrator" not in said


def test_the_advice_of_each_violation_works(tmp_path: Path) -> None:
    policy = Policy(pattern_files=(str(tmp_path),))
    assert "use that path in `rsync_options`" in told(policy, rsync_options=("--include-from=/x/y",))
    for rule in ("merge\t/x", ".=/x"):
        assert "has a filter rule that rsync does not accept" in told(policy, rsync_options=(f"--filter={rule}",))
    assert "add `OWN=*` to `allowed_env`" in told(policy, env={"OWN": "-x $y"})
    assert "add `OWN` to `allowed_env`" in told(policy, env={"OWN": "x"})
    assert "is not a regular file" in told(policy, exclude_file=str(tmp_path))
    scripts = ("MIRROR_BASE_URL", "UPSTREAM_BRANCH", "CONDA_REPO_URL", "DEBMIRROR_HOST")
    assert told(policy, env=dict.fromkeys(scripts, "https://h.example/x")) == ""
    images = policy._replace(images=("s:3",))
    assert told(images, env={"TO": "/data", "LOGDIR": "/log"}, **CONTAINER) == ""


def test_rsync_in_a_command_line_reaches_only_the_mirror(tmp_path: Path) -> None:
    policy = Policy(programs=("/usr/bin/rsync",), pattern_files=(str(tmp_path / "filters"),))
    settings = RunnerSettings("w1", Repository("u"), mirror_root=str(tmp_path / "m"))
    (tmp_path / "m/debian/real").mkdir(parents=True)
    (tmp_path / "m/debian/link").symlink_to("real")

    def said(rest: str, policy: Policy = policy) -> str:
        return told(policy, settings, exec_on_success=(f"/usr/bin/rsync {rest}",))

    for option in ("-aL", "-ak", "-aK", "--copy-links", "--copy-unsafe-links", "--copy-dirlinks", "--keep-dirlinks"):
        assert "lead out of the mirror" in said(f"{option} {tmp_path}/m/debian/ rsync://h.example/x/")
    for path in (
        "link",
        "link/",
        "link/x",
        "../other",
        "real/../../other",
        f"{tmp_path}/m/debian/link/",
        f"{tmp_path}/m",
    ):
        assert "lets rsync reach" in said(f"-a {path} rsync://h.example/x/"), path
    for path in (".", "./", "real", "new/below", f"{tmp_path}/m/debian", f"{tmp_path}/m/debian/real/"):
        assert said(f"-a {path} rsync://h.example/x/") == "", path
    ssh = policy._replace(programs=("/usr/bin/rsync", "/usr/bin/ssh"))
    assert "`/usr/bin/ssh`" in said("-a . backup:/x/")
    assert said("-a . me@backup:/x/", ssh) == ""
    for host in ("-oProxyCommand=x:/x", "me@-oProxyCommand=x:/x"):
        assert "lets rsync reach" in said(f"-a . -- {host}", ssh)
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters/x").write_text("*.iso\n")
    assert said(f"-a --exclude-from={tmp_path}/filters/x . rsync://h.example/x/") == ""
    assert "may be sent" in said(f"-a --exclude-from={tmp_path}/y . rsync://h.example/x/")


def test_the_rsync_program_of_a_mirror_is_judged_as_one_program() -> None:
    """The providers use the whole text as one program, and so does the policy."""
    policy = Policy(programs=("/usr/bin/rsync",))
    assert told(policy, command="/usr/bin/rsync") == ""
    assert "`command` runs" in told(policy, command="/usr/bin/rsync /../../../srv/mirror/evil/sh")


@pytest.fixture
def filters(tmp_path: Path) -> Path:
    folder = tmp_path / "filters"
    folder.mkdir()
    (folder / "patterns").write_text("*.iso\n")
    return folder


def test_a_folder_with_a_secret_is_rejected_for_pattern_files(tmp_path: Path, filters: Path) -> None:
    patterns: dict[str, Any] = {"exclude_file": str(filters / "patterns")}
    policy = Policy(pattern_files=(str(filters),))
    assert told(policy, **patterns) == ""
    for place in (filters / "token", filters / "below/token"):
        settings = RunnerSettings("w1", Repository("u"), manager=ManagerAddress("https://m", Secret(file=str(place))))
        assert f"it holds {place}" in told(policy, settings, **patterns)
    password = Secret(file=str(filters / "password"))
    readable = policy._replace(readable=(str(filters),))
    assert "it holds" in told(readable, password=password, **patterns)
    above = policy._replace(pattern_files=(str(tmp_path),))
    settings = RunnerSettings("w1", Repository("u"), policy=str(tmp_path / "policy.yml"))
    assert f"it holds {tmp_path}/policy.yml" in told(above, settings, **patterns)
    for key in ("mirror_root", "state_dir", "run_dir", "log_dir", "snapshot_root"):
        own: dict[str, Any] = {key: str(tmp_path)}
        assert f"it lies in {tmp_path}" in told(
            policy, RunnerSettings("w1", Repository("u"))._replace(**own), **patterns
        )
    assert "it holds" in told(Policy(pattern_files=("/",)), exclude_file="/proc/self/environ")
    assert "it lies in /proc" in told(Policy(pattern_files=("/proc/self",)), exclude_file="/proc/self/environ")


def test_the_error_names_the_folders_for_pattern_files() -> None:
    said = told(Policy(), exclude_file="/etc/skipjack/debian.exclude")
    assert "only files in /etc/skipjack/filters may be sent to an upstream" in said
    assert "write `exclude_file: /etc/skipjack/filters/debian.exclude`" in said
    assert "Move" not in told(Policy(), exclude_file="/etc/shadow")


def test_a_password_is_never_the_workers_own_secret(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x\n")
    (tmp_path / "linked").symlink_to(token)
    (tmp_path / "password").write_text("x\n")
    settings = RunnerSettings(
        "w1", Repository("u"), manager=ManagerAddress("https://m", Secret(file=str(token))),
        policy=str(tmp_path / "policy.yml"),
    )  # fmt: skip
    policy = Policy(readable=(str(tmp_path),))
    for name in ("token", "linked", "policy.yml", "runner.yml"):
        assert "secret of the worker" in told(policy, settings, password=Secret(file=str(tmp_path / name))), name
    assert told(policy, settings, password=Secret(file=str(tmp_path / "password"))) == ""
    assert "not a regular file" in told(Policy(readable=("/dev",)), settings, password=Secret(file="/dev/null"))


HOST = "rsync.example.org"


def test_a_bound_password_is_sent_only_to_the_rsync_daemons_of_its_hosts(tmp_path: Path) -> None:
    (tmp_path / "debian").write_text("x\n")
    (tmp_path / "alias").symlink_to("debian")
    policy = Policy(readable=(str(tmp_path), Bound((HOST, "2001:db8::1"), str(tmp_path / "debian"))))
    for name in ("debian", "alias"):
        password = Secret(file=str(tmp_path / name))
        for good in ("rsync://RSYNC.example.org./debian/", "u@rsync.example.org::m/", "rsync://[2001:db8::1]:8730/m/"):
            assert told(policy, upstream=good, password=password) == "", good
        for bad in (
            "rsync://evil.example/debian/", "rsync://rsync.example.org@evil.example/x/", "evil.example::m/",
            "rsync://xrsync.example.org/x/", "rsync.example.org:path/", "rsync://rsync.example.org.evil/x/",
        ):  # fmt: skip
            said = told(policy, upstream=bad, password=password)
            assert f"is only for the rsync daemon on 2001:db8::1 or {HOST}, but" in said, bad
    other = Secret(file=str(tmp_path / "other"))
    assert told(policy, upstream="rsync://evil.example/debian/", password=other) == "", "a plain entry holds it"


def test_nothing_of_a_definition_can_send_a_bound_password_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("x\n")
    bound = Policy(
        readable=(Bound((HOST,), str(tmp_path)),), images=("s:3",), allowed_env=("RSYNC_PROXY=*",),
        docker_options=("--add-host",), allowed_container_env=("*",),
    )  # fmt: skip
    plain = bound._replace(readable=(str(tmp_path),))
    image: dict[str, Any] = {"docker_image": "s:3"}
    password = Secret(file=str(tmp_path / "p"))
    assert told(bound, password=password) == told(bound, password=password, **image) == ""
    for key, fields in (
        ("command", {"command": "/srv/mirror/debian/rsync"}),
        ("command", {"command": "/srv/mirror/debian/rsync", **image}),
        ("provider", {"provider": "command", "command": "/x"}),
        ("env", {"env": {"RSYNC_PROXY": "evil.example:1"}}),
        ("env", {"env": {"PATH": "/srv/mirror/debian"}, **image}),
        ("docker_volumes", {"docker_volumes": ("{directory}:/usr/bin",), **image}),
        ("docker_options", {"docker_options": ("--add-host=rsync.example.org:192.0.2.1",), **image}),
    ):
        assert f"`{key}` could send it elsewhere" in told(bound, password=password, **fields), fields
        assert told(plain, password=password, **fields) == "", fields


def test_a_credential_can_be_bound_as_well() -> None:
    policy = Policy(readable=(Bound((HOST,), credential="debian"),))
    assert told(policy, password=Secret(credential="debian")) == ""
    assert told(policy, upstream="rsync://evil.example/x/", password=Secret(credential="other")) == ""
    assert "credential `debian`, which is only for" in told(
        policy, upstream="rsync://evil.example/x/", password=Secret(credential="debian")
    )


def test_the_suggested_entry_for_a_password_is_bound_to_its_upstream(tmp_path: Path) -> None:
    mirror = Mirror("debian", "w1", "rsync", f"rsync://{HOST}/debian/", password=Secret(file="/srv/keys/debian"))
    decision = decide([mirror], RunnerSettings("w1", Repository("u")))
    bound = {"path": "/srv/keys/debian", "upstreams": [HOST]}
    assert decision.keys == {"readable": ["/etc/skipjack/secrets", bound]}

    path = tmp_path / "policy.yml"
    path.write_text(block(decision.keys))
    assert load_policy(path) == decision.policy
    assert told(decision.policy, password=mirror.password) == ""
    assert "is only for the rsync daemon on" in told(decision.policy, upstream="h::m/", password=mirror.password)


def test_one_password_can_be_suggested_for_several_mirrors_that_use_it_in_different_ways(tmp_path: Path) -> None:
    """The entry with a host, which one of them needs, must not deny the password to the others."""
    file = tmp_path / "password"
    file.write_text("x\n")
    settings, base = RunnerSettings("w1", Repository("u")), Mirror("a", "w1", "rsync", f"rsync://{HOST}/a/")
    password = Secret(file=str(file))
    mirrors = [
        base._replace(password=password),
        base._replace(name="b", upstream="rsync://other.example/b/", password=password),
        base._replace(name="c", password=password, env={"RSYNC_PROXY": "h:1"}),
        base._replace(name="d", rsync_options=(f"--password-file={file}",)),
    ]
    decision = decide(mirrors, settings)
    assert decision.refused == ()
    for each in mirrors:
        assert list(violations(each, paths_of(each, settings, decision.policy), settings, decision.policy)) == []
    assert str(tmp_path) not in decision.policy.readable, "not the whole folder"


def test_a_mirror_that_the_entries_for_another_one_would_deny_is_reported(tmp_path: Path) -> None:
    """A pattern file in the new folder of another mirror: the upstream of that one could write it."""
    settings, base = RunnerSettings("w1", Repository("u")), Mirror("a", "w1", "rsync", f"rsync://{HOST}/a/")
    patterns = base._replace(name="b", exclude_file=f"{tmp_path}/filters/b")
    placed = base._replace(mirror_dir=f"{tmp_path}/a")
    assert decide([patterns], settings).refused == ()
    for mirrors in ([patterns, placed], [placed, patterns]):
        decision = decide(mirrors, settings)
        [(name, (what, _todo))] = decision.refused
        assert name == "b" and f"may not be sent to an upstream: it lies in {tmp_path}." in what
        assert decision.keys == {"mirror_roots": (str(tmp_path),)}, "no entry for a mirror that stays denied"


@pytest.mark.parametrize(
    "entry",
    ["{path: /x}", "{path: /x, upstreams: []}", "{path: x, upstreams: [h]}", "{upstreams: [h]}",
     "{path: /x, credential: y, upstreams: [h]}", "{path: /x, upstreams: ['h:873']}", "{path: /x, upstreams: ['*']}"],
)  # fmt: skip
def test_an_entry_that_binds_nothing_is_an_error(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "policy.yml"
    path.write_text(f"readable: [{entry}]\n")
    with pytest.raises(SkipjackError, match="is invalid"):
        load_policy(path)


def test_a_container_never_sees_a_secret(tmp_path: Path) -> None:
    settings = RunnerSettings("w1", Repository("u"), state_dir="/var/lib/skipjack")
    policy = Policy(images=("s:3",), volumes=("/",))
    for volume in ("/etc/skipjack:/x", "/:/x", "/var/lib/skipjack:/x", "/var/lib/skipjack/checkout:/x"):
        assert "shows" in told(policy, settings, docker_volumes=(volume,), **CONTAINER), volume
    assert told(policy, settings, docker_volumes=(f"{tmp_path}:/x", "{directory}:/data"), **CONTAINER) == ""


STATE = "/var/lib/skipjack"
IN_STATE = RunnerSettings("w1", Repository("u"), mirror_root=STATE, state_dir=STATE, log_dir=STATE, snapshot_root=STATE)


@pytest.mark.parametrize("key", ["mirror_dir", "log_dir", "snapshot_path"])
@pytest.mark.parametrize("path", [path for key, path in vars(StateLayout(STATE)).items() if key != "state_dir"])
def test_no_folder_of_a_mirror_may_be_a_path_of_the_worker(key: str, path: str) -> None:
    others = {"mirror_dir": f"{STATE}/d", "log_dir": f"{STATE}/l", "snapshot_path": f"{STATE}/s"}
    for taken in (path, f"{path}/below", f"{path}.new"):
        assert f"{taken} is inside a folder of the worker itself" in told(Policy(), IN_STATE, **others | {key: taken})


@pytest.mark.parametrize("name", ["journal.db-wal", "journal.db-of-version-3", "plan.db.directory-1", ".deletions.gnu"])
def test_no_mirror_directory_may_be_a_file_beside_those_of_the_worker(name: str) -> None:
    assert "folder of the worker itself" in told(Policy(), IN_STATE, mirror_dir=f"{STATE}/{name}")


@pytest.mark.parametrize("name", ["debian", "home-assistant", "unitsa", "notes.org", "plan"])
def test_a_mirror_directory_may_lie_beside_the_files_of_the_worker(name: str) -> None:
    folders = {"mirror_dir": f"{STATE}/{name}", "log_dir": f"{STATE}/l", "snapshot_path": f"{STATE}/s"}
    assert told(Policy(), IN_STATE, **folders) == ""


def test_the_home_of_programs_is_outside_of_mirror_folders(tmp_path: Path) -> None:
    home, own = tmp_path / "home", "/var/lib/skipjack/home"
    home.mkdir()
    reaching = [home, tmp_path, home / ".config", home / ".config/mirrors"]
    assert [safe_home(str(home), own, ["/srv", str(root)]) for root in reaching] == [own] * len(reaching)
    for root in ("/srv/mirror", home / "mirrors"):
        assert safe_home(str(home), own, [str(root)]) == str(home)
    assert safe_home(str(tmp_path / "missing"), own, []) == safe_home("/", own, []) == safe_home("", own, []) == own


def test_programs_are_not_searched_in_folders_of_mirrors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/srv/mirror/bin")
    monkeypatch.setenv("PATH", f"/srv/mirror/bin:/srv/mirror:bin::.:/opt/bin:{tmp_path}/link:/usr/bin")
    assert search_path(["/srv/mirror"]) == "/opt/bin:/usr/bin"
    monkeypatch.setenv("PATH", "/srv/mirror/bin:.")
    assert search_path(["/srv/mirror"]) == SEARCH


def test_a_program_gets_its_own_variables_and_those_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANG", "RSYNC_RSH", "SSH_AUTH_SOCK", "KNOWN", "USER"):
        monkeypatch.setenv(name, "the worker's")
    made = environment("/home", ["/srv"], ["LANG", "KNOWN"], {"KNOWN": "own", "HOME": "/evil", "PATH": "/evil"})
    assert made.pop("PATH") != "/evil"
    kept = {"LANG": "the worker's", "USER": "the worker's", "KNOWN": "own", "HOME": "/home"}
    assert {key: value for key, value in made.items() if key not in ("LOGNAME", "SHELL")} == kept
