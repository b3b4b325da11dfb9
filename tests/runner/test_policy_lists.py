"""The lists of an earlier release's policy: what its deny lists allowed, and what the new lists allow."""

import pytest

from runner.policy.policy_lists import env_entries, rsync_options, warnings, without_old_keys
from schemas.records import PLAIN_ENV, RSYNC_OPTIONS, Policy
from schemas.rsync.rsync_options import canonical


@pytest.mark.parametrize(
    "name",
    [
        "LD_*", "RSYNC_*", "GIT_*", "SSH_*", "PYTHON*", "PERL5*", "RUBY*", "NODE_OPTIONS", "BASH_ENV", "BASH_FUNC_*",
        "ENV", "IFS", "SHELLOPTS", "BASHOPTS",
    ],
)  # fmt: skip
def test_a_variable_removed_from_the_old_default_may_have_any_value(name: str) -> None:
    assert (name, "*") in env_entries(Policy(forbidden_env=()))
    assert (name, "*") not in env_entries(Policy(forbidden_env=(name,)))
    assert (name, "*") not in env_entries(Policy())


@pytest.mark.parametrize(
    "spellings",
    [
        ("-e", "--rsh"), ("--rsync-path",), ("-M", "--remote-option"), ("-K", "--keep-dirlinks"), ("--log-file",),
        ("--write-batch",), ("--only-write-batch",), ("--read-batch",), ("-T", "--temp-dir"), ("--partial-dir",),
        ("--backup-dir",), ("--compare-dest",), ("--copy-dest",), ("--link-dest",), ("--files-from",),
        ("--exclude-from",), ("--include-from",), ("--password-file",), ("--early-input",), ("--copy-as",),
        ("--remove-source-files",),
    ],
)  # fmt: skip
def test_an_option_removed_from_the_old_default_may_have_any_value(spellings: tuple[str, ...]) -> None:
    name = canonical(spellings[0])
    assert name is not None
    assert None in rsync_options(Policy(allowed_rsync_options=(), forbidden_rsync_options=()))[name]
    assert name not in rsync_options(Policy(allowed_rsync_options=()))
    for spelling in spellings:
        assert name not in rsync_options(Policy(forbidden_rsync_options=(spelling,)))


def test_variables_that_old_lists_deny_leave_the_new_list_with_their_values() -> None:
    found = without_old_keys(
        Policy(allowed_env=("default", "OWN=x", "OTHER"), forbidden_env=("HTTP*", "OWN", "TMPDIR"))
    )
    assert found.forbidden_env is None
    denied = {"HTTP_PROXY", "HTTPS_PROXY", "TMPDIR=/tmp", "TMPDIR=/var/tmp"}
    assert found.allowed_env == (*(each for each in PLAIN_ENV if each not in denied), "OTHER")
    assert denied < set(PLAIN_ENV)


def test_options_that_old_lists_deny_leave_the_new_list_in_both_spellings() -> None:
    policy = Policy(
        allowed_rsync_options=("default", "--partial-dir=.part", "-K"),
        forbidden_rsync_options=("--compress", "--partial-dir", "-K", "--bwlimit"),
    )
    found = without_old_keys(policy)
    assert found.forbidden_rsync_options is None
    denied = {"-z", "--compress", "--bwlimit"} & set(RSYNC_OPTIONS)
    assert found.allowed_rsync_options == tuple(each for each in RSYNC_OPTIONS if each not in denied)
    assert len(denied) >= 2


def test_lists_without_old_keys_stay_as_they_are() -> None:
    policy = Policy(allowed_env=("default", "OWN"), allowed_rsync_options=("default", "-K"))
    assert without_old_keys(policy) == policy
    assert without_old_keys(policy._replace(forbidden_env=())).allowed_rsync_options == ("default", "-K")
    assert without_old_keys(policy._replace(forbidden_rsync_options=())).allowed_env == ("default", "OWN")


def test_an_option_of_a_newer_rsync_may_be_listed() -> None:
    policy = Policy(allowed_rsync_options=("--newest", "--newer=x"), forbidden_rsync_options=("--newest",))
    assert rsync_options(policy._replace(forbidden_rsync_options=None)) == {
        "--newest": frozenset({None}),
        "--newer": frozenset({"x"}),
    }
    assert "--newest" not in rsync_options(policy)
    assert without_old_keys(policy).allowed_rsync_options == ("--newer=x",)


def test_each_old_key_causes_a_warning() -> None:
    found = list(warnings(Policy(forbidden_env=(), forbidden_rsync_options=())))
    assert [(what.split("`")[1], what.split("`")[3]) for what, _todo in found] == [
        ("forbidden_env", "allowed_env"),
        ("forbidden_rsync_options", "allowed_rsync_options"),
    ]
    assert list(warnings(Policy())) == []
