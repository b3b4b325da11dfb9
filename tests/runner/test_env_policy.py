"""What the policy reports about a definition's variables, and which values only look plain."""

import pytest

from runner.policy.env_policy import entry_for, fact_violations, is_plain, violations
from schemas.records import Mirror, Policy


def told(name: str, value: str, *allowed: str) -> str:
    mirror = Mirror("m", "w1", "command", "https://h.example/", command="/opt/sync.sh", env={name: value})
    return " ".join(f"{what} {todo}" for what, todo in violations(mirror, Policy(allowed_env=allowed)))


@pytest.mark.parametrize(
    ("name", "value", "allowed", "only"),
    [
        ("OWN", "a;b", ["OWN"], "plain values"),
        ("OWN", "y", ["OWN=x"], "other values"),
        ("OWN", "y", ["OWN=x", "O*=z"], "other values"),
        ("OWN", "a;b", ["OWN=x", "OWN"], "plain values"),
        ("PYPI_MASTER", "/secrets/", ["PYPI_MASTER"], "an address of another host"),
        ("PYPI_MASTER", "/secrets/", ["PYPI_MASTER=https://p.example/"], "other values"),
    ],
)
def test_a_denied_value_is_reported_with_the_values_that_are_allowed(
    name: str, value: str, allowed: list[str], only: str
) -> None:
    assert f"`env` sets {name} to `{value}`, but this machine allows only {only}." in told(name, value, *allowed)


@pytest.mark.parametrize("name", ["PATH", "HOME"])
def test_no_entry_allows_the_variables_that_every_program_gets(name: str) -> None:
    said = f"`env` sets {name}, which Skipjack sets itself. Remove it, and write absolute paths in the definition."
    assert told(name, "/x") == told(name, "/x", f"{name}=*", "*") == said


def test_a_variable_without_an_entry_is_denied_whatever_its_value_is() -> None:
    assert told("OWN", "x", "OTHER").startswith("`env` sets OWN, which this machine does not allow.")


@pytest.mark.parametrize("name", [
    "CONDA_REPO_URL", "MIRROR_BASE_URL", "NIX_MIRROR_BASE_URL", "NIX_MIRROR_URL", "NIX_MIRROR_UPSTREAM", "PYPI_MASTER",
    "SHADOWMIRE_UPSTREAM", "TUNASYNC_S3_ENDPOINT", "TUNASYNC_TSUMUGU_TIMEZONEFILE", "TUNASYNC_UPSTREAM_URL",
])  # fmt: skip
def test_a_variable_for_an_address_takes_none_of_this_machine(name: str) -> None:
    assert is_plain(name, "https://h.example/x/") and is_plain(name, "")
    assert not any(is_plain(name, value) for value in ("secrets", "/secrets/", "file:///secrets/"))


def test_a_variable_that_the_policy_adds_may_name_a_file() -> None:
    assert is_plain("OWN", "/srv/x") and not is_plain("DEBMIRROR_HOST", "/srv/x")


@pytest.mark.parametrize(("name", "value", "entry"), [
    ("OWN", "x", "OWN"), ("OWN", "a#[x]", "OWN=a#[[]x]"), ("OWN", "a;b", "OWN=*"), ("TMPDIR", "x", "TMPDIR=x"),
])  # fmt: skip
def test_the_narrowest_entry_for_a_value(name: str, value: str, entry: str) -> None:
    """Where entries with values are on the default list, one without a value would allow more than was asked for."""
    assert entry_for(name, value) == entry


def test_the_advice_contains_no_characters_that_cannot_be_shown() -> None:
    assert "add `OWN=a#b` to `allowed_env`" in told("OWN", "a#b", "OWN=x")
    found = told("OWN", "a#\u202eb", "OWN=x")
    assert "add `OWN=VALUE` to `allowed_env`" in found and "\u202e" not in found


@pytest.mark.parametrize("name", ["LANG", "LANGUAGE", "LC_ALL", "LC_X"])
def test_a_locale_is_one_name_and_no_other_plain_text(name: str) -> None:
    assert is_plain(name, "de_DE.UTF-8@euro") and is_plain(name, "")
    assert not any(is_plain(name, value) for value in ("a b", "C,x", "a=b"))
    assert is_plain(f"X{name}", "a b"), "of another variable it is plain"


def test_a_time_zone_is_one_name_and_no_other_plain_text() -> None:
    assert is_plain("TZ", "CET-1CEST,M3.5.0,M10.5.0/3") and is_plain("TZ", "<+08>-8")
    assert not any(is_plain("TZ", value) for value in ("a b", "a=b", "Europe/../x"))
    assert is_plain("XTZ", "a b"), "of another variable it is plain"


@pytest.mark.parametrize(("value", "allowed"), [("a", True), ("ab", True), ("b", False), ("", False)])
def test_an_entry_with_a_value_allows_no_other_in_a_container(value: str, allowed: bool) -> None:
    mirror = Mirror("m", "w1", "command", "https://h.example/", docker_image="s:3", env={"OWN": value})
    policy = Policy(allowed_container_env=("OWN=a*", "OTHER=*"))
    assert (list(violations(mirror, policy)) == []) is allowed


@pytest.mark.parametrize(
    ("upstream", "allowed", "denied"),
    [
        ("https://h.example/", (), []),
        ("", (), []),
        ("a;b", ("TUNASYNC_UPSTREAM_URL",), ["upstream"]),
        ("/secrets/", (), ["upstream"]),
        ("/secrets/", ("OTHER=*", "TUNASYNC_UPSTREAM_URL=/data/", "TUNASYNC_UPSTREAM_URL"), ["upstream"]),
        ("/secrets/", ("TUNASYNC_UPSTREAM_URL=/secrets/",), []),
        ("/secrets/", ("TUNASYNC_*=*",), []),
    ],
)
def test_an_upstream_that_could_be_a_file_needs_an_entry_with_its_value(
    upstream: str, allowed: tuple[str, ...], denied: list[str]
) -> None:
    """A directory is one of this machine, and allowed."""
    mirror = Mirror("m", "w1", "command", upstream, mirror_dir="/srv/mirror/m", log_dir="/var/log/m")
    found = fact_violations(mirror, Policy(programs=("/opt/sync.sh",), allowed_env=allowed))
    assert [what.split("`")[1] for what, _todo in found] == denied


def test_a_value_that_is_reported_contains_no_control_characters() -> None:
    mirror = Mirror("m", "w1", "command", "/secrets\u202e/")
    [(what, _todo)] = fact_violations(mirror, Policy(programs=()))
    assert what.startswith("`upstream` is `/secrets") and "\u202e" not in what
