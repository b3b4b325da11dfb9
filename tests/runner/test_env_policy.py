"""What the policy reports about a definition's variables, and which values only look plain."""

import pytest

from runner.policy.env_policy import fact_violations, is_plain, violations
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
    found = told(name, "/x", f"{name}=*", "*")
    assert f"`env` sets {name}, which Skipjack sets itself." in found and "absolute paths" in found


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
