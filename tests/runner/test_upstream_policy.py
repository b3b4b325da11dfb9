"""A definition cannot make an allowed program publish a file of the machine."""

import subprocess
from pathlib import Path

import pytest

from runner.base.mirror_paths import paths_of
from runner.importing.allowance import decide
from schemas.config.upstreams import is_elsewhere
from schemas.records import Mirror, Policy, Repository, RunnerSettings

from .two_judges import violations

SETTINGS = RunnerSettings("w1", Repository("u"))
LISTED = Policy(programs=("/opt/sync.sh",))
SCRIPT = Mirror("m", "w1", "command", "https://h.example/x/", command="/opt/sync.sh")

PATHS = (
    "/secrets/", "/secrets/key", "file:///secrets/key", "FILE:///secrets/key", "File://localhost/secrets/key",
    "file:/secrets/key", "file:secrets/key", "./secrets/", "../secrets/", "secrets/", "secrets", "~/key", "https:///key",
    "url:file:/secrets/key", "url:/secrets/key", "local:/secrets", "copy:/secrets", "ext::x/y:z", "unknown://h/x",
    "https://h.example/x /secrets/key", "rsync:///secrets/",
)  # fmt: skip
ELSEWHERE = (
    "https://h.example/x/", "HTTP://h.example", "http://h.example:8080/?a=1", "ftp://h.example/x", "rsync://h.example/m/",
    "h.example::m/x/", "git@h.example:a/b.git", "user@[::1]:/x/", "https://[::1]:8/x/", "s3://bucket/x", "git://h/x.git",
    "https://archive.example/web/https://h.example/x",
)  # fmt: skip


def told(mirror: Mirror, policy: Policy) -> str:
    paths = paths_of(mirror, SETTINGS, policy)
    return " ".join(f"{what} {todo}" for what, todo in violations(mirror, paths, SETTINGS, policy))


@pytest.mark.parametrize("upstream", [each for each in PATHS if each != "ext::x/y:z"])
def test_an_upstream_is_on_another_host_where_programs_are_listed(upstream: str) -> None:
    mirror = SCRIPT._replace(upstream=upstream)
    said = told(mirror, LISTED)
    assert "which a program could take for a file of this machine and publish" in said
    assert "Write the address of another host" in said
    assert told(mirror, Policy()) == "", "where any program may run"


@pytest.mark.parametrize("upstream", ["", *ELSEWHERE])
def test_addresses_of_other_hosts_are_allowed(upstream: str) -> None:
    assert told(SCRIPT._replace(upstream=upstream), LISTED) == ""


@pytest.mark.parametrize("upstream", ["/data/[1]/*/", "mirror.example.org"])
def test_a_suggestion_allows_one_path_and_no_other(upstream: str) -> None:
    mirror = SCRIPT._replace(upstream=upstream)
    decision = decide([mirror], SETTINGS, LISTED)
    assert decision.refused == ()
    assert told(mirror, decision.policy) == ""
    assert told(SCRIPT._replace(upstream="/secrets/"), decision.policy) != ""
    assert told(SCRIPT._replace(upstream="/data/1/x/"), decision.policy) != ""


@pytest.mark.parametrize("name", [
    "MIRROR_BASE_URL", "CONDA_REPO_URL", "TUNASYNC_S3_ENDPOINT", "NIX_MIRROR_BASE_URL", "NIX_MIRROR_UPSTREAM",
    "PYPI_MASTER", "SHADOWMIRE_UPSTREAM", "TUNASYNC_TSUMUGU_TIMEZONEFILE",
])  # fmt: skip
@pytest.mark.parametrize("policy", [Policy(), LISTED], ids=["any program", "listed"])
def test_no_variable_with_an_address_names_a_file(name: str, policy: Policy) -> None:
    for value in PATHS:
        assert f"`env` sets {name}" in told(SCRIPT._replace(env={name: value}), policy), value
    for value in ("", *(each for each in ELSEWHERE if "[" not in each)):
        assert told(SCRIPT._replace(env={name: value}), policy) == "", value


@pytest.mark.parametrize("value", ["/etc/x", "a,/etc/x", "x=/etc/x", "../x", "a/../b", "file:x", "~/x", "a ~x", "x:/y"])
def test_no_variable_of_the_default_names_a_file(value: str) -> None:
    for name in ("UPSTREAM_BRANCH", "PYPI_EXCLUDE", "DEBMIRROR_HOST", "SHADOWMIRE_X", "http_proxy"):
        assert f"`env` sets {name}" in told(SCRIPT._replace(env={name: value}), Policy()), name
    assert told(SCRIPT._replace(env={"OWN": value}), Policy(allowed_env=("OWN",))) == "", "a name that is listed"


def test_common_values_name_no_file() -> None:
    env = {
        "no_proxy": ".example.org,10.0.0.0/8,::1", "http_proxy": "http://proxy.example:3128", "TMPDIR": "/var/tmp",
        "UPSTREAM_BRANCH": "release/1.0", "DEBMIRROR_HOST": "deb.example.org", "SYNC_USER_AGENT": "mirror/1.0 x.org",
        "RSYNC_PROXY": "p.example:80",
    }  # fmt: skip
    assert told(SCRIPT._replace(env=env), LISTED) == ""


def test_env_does_not_replace_variables_that_skipjack_sets() -> None:
    for prefix in ("TUNASYNC", "SKIPJACK"):
        for fact in ("MIRROR_NAME", "WORKING_DIR", "UPSTREAM_URL", "LOG_DIR", "LOG_FILE"):
            mirror = SCRIPT._replace(env={f"{prefix}_{fact}": "https://h.example/"})
            assert f"`env` sets {prefix}_{fact}, which this machine does not allow" in told(mirror, Policy())
    mirror = SCRIPT._replace(env={"TUNASYNC_UPSTREAM_URL": "/secrets/"})
    assert told(mirror, Policy(allowed_env=("TUNASYNC_UPSTREAM_URL",))) != ""


def test_a_suggestion_allows_one_value_of_a_variable() -> None:
    mirror = SCRIPT._replace(env={"TMPDIR": "/scratch", "MIRROR_BASE_URL": "/data/x/"})
    said = told(mirror, LISTED)
    assert "`TMPDIR=/scratch`" in said and "`MIRROR_BASE_URL=/data/x/`" in said
    policy = decide([mirror], SETTINGS, LISTED).policy
    assert policy.allowed_env == ("default", "TMPDIR=/scratch", "MIRROR_BASE_URL=/data/x/")
    assert told(mirror, policy) == ""
    assert told(mirror._replace(env={"TMPDIR": "/other"}), policy) != ""


@pytest.mark.parametrize("text", PATHS)
def test_which_values_may_be_read_as_a_path(text: str) -> None:
    assert not is_elsewhere(text)


@pytest.mark.parametrize(
    "mode", ["FF4755", "FFF2755", "FuF+s", "uFF+s", "DD4755", "DDu+s", "uDD+s", "FFug-s", "Fu=rwxs,u-s", "D2775,FF644"]
)
def test_no_allowed_mode_sets_set_user_id_on_a_file(tmp_path: Path, mode: str) -> None:
    """With the real rsync."""
    (tmp_path / "from").mkdir()
    (tmp_path / "from/file").touch(0o644)
    words = ["rsync", "-rp", f"--chmod={mode}", f"{tmp_path}/from/", f"{tmp_path}/to/"]
    subprocess.run(words, check=True, timeout=300)
    if (tmp_path / "to/file").stat().st_mode & 0o6000:
        mirror = SCRIPT._replace(provider="rsync", upstream="rsync://h/x/", rsync_options=(f"--chmod={mode}",))
        said = told(mirror._replace(command=""), Policy())
        assert "with which a program of the upstream runs as the owner of its file" in said
