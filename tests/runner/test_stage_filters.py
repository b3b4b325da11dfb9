"""Which rules of the first stage's profile stay beside the filters of a mirror."""

from pathlib import Path

import pytest

from runner.providers.stage_filters import without_hiding

PROFILE = ("+ *.diff/", "+ by-hash/", "- *.diff/Index", "- Packages*")
DIFF, HASH = PROFILE[:2]


@pytest.mark.parametrize(
    ("words", "left_out"),
    [
        (["-z", "--include=by-hash/", "--exclude=*_armel.deb", "--exclude=binary-*/", "--exclude", "*.iso"], []),
        (["--exclude=by-hash/"], [HASH]),
        (["--exclude", "/dists/*/by-*"], [HASH]),
        (["--exclude=Packages.diff/"], [DIFF]),
        (["--exclude=*.d[a-z]ff"], [DIFF]),
        (["--exclude=P*f"], [DIFF]),
        (["--exclude=Contents-armel*", "--exclude=installer-*/"], [DIFF]),
        (["--exclude=+ by-hash/"], []),
        (["--include=- by-hash/"], [HASH]),
        (["-f- by-hash"], [HASH]),
        (["--filter=hide by-hash"], [HASH]),
        (["--filter=protect by-hash"], []),
        (["--filter=-! *.deb"], [DIFF, HASH]),
        (["--exclude=/*"], [DIFF, HASH]),
        (["--exclude=*/"], [DIFF, HASH]),
        # These also match everything in such a folder, so only the empty folder could come.
        (["--exclude=*"], []),
        (["--exclude=/dists/**"], []),
        (["--filter=merge /etc/skipjack/filters/x"], [DIFF, HASH]),
        (["--exclude-from=/nowhere/patterns"], [DIFF, HASH]),
    ],
    ids=" ".join,
)
def test_an_include_is_left_out_if_the_mirror_may_exclude_what_it_matches(
    words: list[str], left_out: list[str]
) -> None:
    assert without_hiding(PROFILE, words) == tuple(rule for rule in PROFILE if rule not in left_out)


@pytest.mark.parametrize(
    ("option", "content", "left_out"),
    [
        ("--exclude-from", "*.iso\n\n# by-hash/\n; by-hash/\n+ by-hash/\n", []),
        ("--exclude-from", "*.iso\n- by-hash/\n", [HASH]),
        ("--exclude-from", "*.iso\0Packages.diff\0", [DIFF]),
        ("--include-from", "by-hash/\n*.diff/\n", []),
        ("--include-from", "*.deb\n- by-hash/\n", [HASH]),
    ],
)
def test_a_file_of_patterns_is_read(tmp_path: Path, option: str, content: str, left_out: list[str]) -> None:
    (tmp_path / "patterns").write_text(content)

    left = without_hiding(PROFILE, [option, str(tmp_path / "patterns")])

    assert left == tuple(rule for rule in PROFILE if rule not in left_out)


def test_all_names_may_match_an_include_of_an_own_profile() -> None:
    assert without_hiding(("+ *.idx", "- *"), ["--exclude=binary-*/"]) == ("- *",)
    assert without_hiding(("+ x*.idx", "- *"), ["--exclude=binary-*/"]) == ("+ x*.idx", "- *")
