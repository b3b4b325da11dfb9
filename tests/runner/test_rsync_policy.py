"""Which parts of rsync's command lines the policy would have to list, and what it reports about the others."""

from collections.abc import Iterator
from typing import Any

import pytest

from runner.policy.rsync_policy import (
    FileJudges,
    Needed,
    line_violations,
    lines_needed,
    needed,
    reaches_by_ssh,
    violations,
)
from schemas.problems import shown
from schemas.records import Mirror, Policy

DIRECTORY = "/srv/mirror/debian"
NONE = Policy(allowed_rsync_options=())


def of_patterns(key: str, path: str, modifiers: str | None) -> Iterator[tuple[str, str]]:
    yield f"{key} reads {path}" + (f" with `{modifiers}`" if modifiers else ""), ""


def of_password(key: str, path: str) -> Iterator[tuple[str, str]]:
    yield f"{key} reads the password in {path}", ""


JUDGES = FileJudges(of_patterns, of_password)


def mirror(**fields: Any) -> Mirror:
    return Mirror("debian", "w1", "rsync", "rsync://rsync.example.org/debian/")._replace(**fields)


def found(policy: Policy, **fields: Any) -> list[tuple[str, str]]:
    return list(violations(mirror(**fields), DIRECTORY, policy, JUDGES))


def line(*words: str, ssh: bool) -> list[tuple[str, str]]:
    return list(line_violations("command", words, DIRECTORY, Policy(), JUDGES, ssh=ssh))


def test_modes_are_judged_only_where_they_are_modes() -> None:
    assert found(Policy(), rsync_options=("--block-size=4755", "--timeout=2755")) == []
    assert found(Policy(), rsync_options=("--chmod=F4755",)) != []


def test_patterns_from_standard_input_are_not_a_file() -> None:
    assert found(Policy(), rsync_options=("--exclude-from=-",)) == []
    assert found(Policy(), rsync_options=("--exclude-from=/x",)) == [("rsync_options reads /x", "")]


READS = Policy(allowed_rsync_options=("--early-input", "--password-file", "-F", "-C", "--link-dest=/x"))
"""A policy of an administrator who allows options that read files of the machine."""


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--early-input=/x",), "rsync_options reads /x"),
        (("--early-input", "/x"), "rsync_options reads /x"),
        (("--early-input=-",), "rsync_options reads -"),  # a file of that name, which the upstream can make a link
        (("--password-file=/x",), "rsync_options reads the password in /x"),
        (("-F",), "`rsync_options` holds `-F`, with which rsync reads files of the mirror."),
        (("-FF",), "`rsync_options` holds `-F`, with which rsync reads files of the mirror."),
        (("-C",), "`rsync_options` holds `-C`, with which rsync reads files of the mirror."),
        (("--cvs-exclude",), "`rsync_options` holds `--cvs-exclude`, with which rsync reads files of the mirror."),
        (("--password-file=-",), ""),
        (("--link-dest=/x",), ""),
        (("--link-dest=/y",), "`rsync_options` holds `--link-dest`, which this machine does not allow."),
    ],
)
def test_files_that_an_allowed_option_reads_are_judged_as_well(words: tuple[str, ...], what: str) -> None:
    policy = READS._replace(allowed_rsync_options=(*READS.allowed_rsync_options, "--timeout"))
    for fields in ({}, {"provider": "two-stage-rsync"}, {"provider": "a-plug-in"}):
        found_here = found(policy, rsync_options=words, **fields)
        assert list(dict.fromkeys(each for each, _todo in found_here)) == ([what] if what else [])
    line = list(line_violations("command", [*words, "."], DIRECTORY, policy, JUDGES, ssh=False))
    assert list(dict.fromkeys(each for each, _todo in line)) == (
        [what.replace("rsync_options", "command")] if what else []
    )


def test_an_option_that_reads_a_password_needs_two_entries() -> None:
    words = ("--password-file=/x",)
    assert list(needed(mirror(rsync_options=words), DIRECTORY, NONE)) == [
        Needed("rsync_options", "--password-file=/x", ""),
        Needed("rsync_options", "", "/x", "password"),
    ]
    assert list(lines_needed("command", words, READS)) == [Needed("command", "", "/x", "password")]


def test_a_fault_of_an_option_is_reported_once() -> None:
    [(what, _)] = found(Policy(), rsync_options=("--no-such-option",))
    assert "`--no-such-option`, which rsync does not know" in what


def test_the_advice_names_the_allowed_values_if_there_are_any() -> None:
    [(_, todo)] = found(NONE, rsync_options=("--checksum",))
    assert todo.startswith("Ask the administrator")
    several = Policy(allowed_rsync_options=tuple(f"--partial-dir=.{name}" for name in "fbdaec"))
    [(_, todo)] = found(several, rsync_options=("--partial-dir=.g",))
    assert todo.startswith(f"Allowed are {', '.join(f'`--partial-dir=.{name}`' for name in 'abcdef')}. Ask")


def test_an_option_of_the_provider_itself_may_be_written_as_well() -> None:
    assert found(NONE, rsync_options=("--safe-links",)) == []
    assert found(NONE, rsync_override_only=True, rsync_override=("--safe-links",)) == []


def test_an_upstream_like_an_option_is_not_an_option_of_the_provider() -> None:
    [(what, _)] = found(NONE, upstream="--rsync-path=/x", rsync_options=("--rsync-path=/x",))
    assert "`rsync_options` holds `--rsync-path`" in what


@pytest.mark.parametrize(
    ("rule", "reported"),
    [
        ("!", []),
        ("- ", []),
        ("merge", ["`rsync_options` has a filter rule that rsync does not accept: `merge`."]),
        ("merge /x", ["rsync_options reads /x"]),
        ("merge,w- /x", ["rsync_options reads /x with `w-`"]),
        ("dir-merge x", ["`rsync_options` has a filter rule that reads files of the mirror: `dir-merge x`."]),
    ],
)
def test_of_filter_rules_those_that_read_files_are_judged(rule: str, reported: list[str]) -> None:
    assert [what for what, _ in found(Policy(), rsync_options=(f"--filter={rule}",))] == reported


def test_a_mode_that_is_not_one_is_left_to_rsync() -> None:
    assert found(Policy(), rsync_options=("--chmod=F4755\n",)) == []


@pytest.mark.parametrize(
    "words", [("x\33[1m",), ("--x\33[1m",), ("--chmod=F4755,\33[1m",), ("--filter=: \33[1m",), ("--filter=.\33[1m",)]
)
def test_a_violation_shows_control_characters_as_text(words: tuple[str, ...]) -> None:
    [(what, _)] = found(Policy(), rsync_options=words)
    assert "\33" not in what and "\\x1b[1m" in what


@pytest.mark.parametrize("words", [("--",), ("-a", "--", "x"), ("--exclude", "--", "--", "x")])
def test_two_dashes_are_reported_once_for_all_words_after_them(words: tuple[str, ...]) -> None:
    assert found(Policy(), rsync_options_extra=words) == [
        (
            "`rsync_options_extra` holds `--`, after which rsync would take each word as a source or a target.",
            "Remove it.",
        )
    ]


def test_each_operand_before_two_dashes_is_reported() -> None:
    whats = [what for what, _ in found(Policy(), rsync_options=("x", "--exclude", "--", "y", "--", "z"))]
    assert [what.split("`")[3] for what in whats] == ["x", "y", "--"]


@pytest.mark.parametrize("operand", ["-x@h.example:/x", "me@-x:/x", "me@-x:/a@b", "-x:/x"])
def test_no_operand_is_an_option_of_ssh(operand: str) -> None:
    [(what, _)] = line("-a", "--", operand, ".", ssh=True)
    assert what == f"`command` lets rsync reach `{shown(operand)}`."


def test_only_where_ssh_is_denied_the_advice_names_it() -> None:
    [(_, allowed)] = line("-a", "/etc/", ".", ssh=True)
    [(_, denied)] = line("-a", "/etc/", ".", ssh=False)
    assert allowed.endswith("without links, or the address of an rsync daemon.") and "/usr/bin/ssh" in denied


def test_an_address_of_a_daemon_is_allowed_whatever_its_path() -> None:
    assert line("-a", "rsync://h.example/x/../y/", ".", ssh=False) == []


def test_a_denied_operand_is_shown_without_control_characters() -> None:
    [(what, _)] = line("-a", "/etc/\33[1m", ".", ssh=False)
    assert what == "`command` lets rsync reach `/etc/\\x1b[1m`."


@pytest.mark.parametrize(
    ("operand", "by_ssh"), [("me@h.example:x/", True), ("rsync://h.example/x/", False), ("/etc/", False), (".", False)]
)
def test_an_operand_that_only_ssh_reaches_is_recognized(operand: str, by_ssh: bool) -> None:
    assert reaches_by_ssh(["-a", operand, DIRECTORY], DIRECTORY) is by_ssh


def test_an_option_that_reads_a_file_needs_two_entries() -> None:
    words = ("--exclude-from=/x", "--checksum")
    assert list(needed(mirror(rsync_options=words), DIRECTORY, NONE)) == [
        Needed("rsync_options", "--exclude-from=/x", ""),
        Needed("rsync_options", "", "/x"),
        Needed("rsync_options", "--checksum", ""),
    ]
    assert list(needed(mirror(rsync_options=words), DIRECTORY, Policy())) == [Needed("rsync_options", "", "/x")]
    assert list(needed(mirror(rsync_options=("--exclude-from=x",)), DIRECTORY, Policy())) == []


def test_a_command_line_needs_its_options_and_files_but_not_its_operands() -> None:
    words = ["-a", "--exclude-from=/x", "--chmod=F4755", "/etc/", "."]
    assert list(lines_needed("command", words, Policy())) == [Needed("command", "", "/x")]


def test_the_file_of_a_mirror_is_reported_with_its_key() -> None:
    assert found(Policy(), exclude_file="/x") == [("exclude_file reads /x", "")]


def test_options_that_follow_links_are_never_asked_for() -> None:
    """They would let rsync read outside of the mirror, so nobody is advised to allow them."""
    words = ["-r", "--copy-links", "--checksum", "rsync://h.example/x/", "."]
    found = {needed.entry for needed in lines_needed("command", words, NONE)}
    assert {"--checksum", "--recursive"} <= found
    assert not any("copy-links" in entry for entry in found)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"rsync_options": ("--rsh=/srv/mirror/debian/sh",)}, "`rsync_options` holds `--rsh`"),
        ({"rsync_options": ("-a",), "rsync_options_extra": ("--log-file=/x",)}, "`rsync_options_extra` holds `--log-f"),
        ({"rsync_override": ("-aT/etc",)}, "`rsync_override` holds `-T`"),
        ({"rsync_options": ("--exclude",), "rsync_options_extra": ("x",)}, "`rsync_options` ends in `--exclude`"),
        ({"exclude_file": "/etc/skipjack/token"}, "exclude_file reads /etc/skipjack/token"),
        ({"stage1_profile": ("merge /etc/skipjack/token",)}, "stage1_profile reads /etc/skipjack/token"),
    ],
)
def test_options_that_a_plug_in_may_pass_to_rsync_are_judged(fields: dict[str, Any], named: str) -> None:
    for policy in (Policy(), NONE._replace(allowed_rsync_options=("-a", "--exclude"))):
        [(what, _todo)] = found(policy, provider="a-plug-in", **fields)
        assert named in what
    assert found(Policy(), provider="a-plug-in", rsync_options=("-z", "--bwlimit=1M")) == []


def test_an_option_of_the_output_that_a_plug_in_gets_is_reported_with_its_key() -> None:
    [(what, _)] = found(NONE, provider="a-plug-in", rsync_options_extra=("--quiet",))
    assert "`rsync_options_extra` holds `--quiet`" in what


def test_programs_of_a_plug_in_are_not_judged_here() -> None:
    assert found(NONE, provider="a-plug-in") == []
