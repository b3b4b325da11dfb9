"""Patterns from a config repository cannot take long."""

import pytest

from schemas.config import safe_patterns
from schemas.config.quick import compiled
from schemas.names import NAME_PATTERN
from schemas.units import DURATION_PATTERN, SIZE_PATTERN


@pytest.mark.parametrize(
    "pattern",
    [
        DURATION_PATTERN, SIZE_PATTERN, NAME_PATTERN, "^https?://[^\\s]+$", "^/", "^[a-z]+$", "^[a-z]+/[a-z]+$",
        "[0-9]", "^(main|release-[0-9]{1,3})$", "^v?[0-9]+\\.[0-9]{1,3}$", "^(?:ab)*$", "^[^\\s/]{1,40}$",
        "^\\d{4}-\\d{2}$", "",
    ],
)  # fmt: skip
def test_usual_patterns_can_be_used(pattern: str) -> None:
    assert safe_patterns.problem(pattern) == ""


@pytest.mark.parametrize(
    "pattern",
    [
        "^(a+)+$", "^(a|a)*$", "^(a|ab)*$", "^" + "a?" * 30 + "a" * 30 + "$", "^.*.*.*$", "a*a*",
        "^(([a-z])+.)+$", "^([a-z]+,)*$", "^(a{1,9}){1,9}$", "^(\\w+\\s?)*$", "(x|y)+z+",
    ],
)  # fmt: skip
def test_patterns_with_many_ways_to_match_are_rejected(pattern: str) -> None:
    assert "too many ways" in safe_patterns.problem(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "a" * 201, "(a", "a)", "[a", "a**", "a+?", "a++", "*a", "{1}", "a{1,2000}", "a{5}{5}", "(?=a)", "(?!a)",
        "(?P<x>a)", "(?i)a", "(?#a)", "(a)\\1", "\\bword", "a\\Z", "\\$", "[$]", "\\", "[]a]", "[a--b]", "(){9}",
        "(a*)+", "(.*)*", "^(a?){50}$", "^*", "()*", "(^)+", "\\p{L}", "[[:alpha:]]", "(" * 50 + "a" + ")" * 50,
        "[b-a]", "a|*",
    ],
)  # fmt: skip
def test_patterns_beyond_the_supported_part_are_rejected(pattern: str) -> None:
    assert safe_patterns.problem(pattern) != ""


def test_the_length_of_the_text_counts() -> None:
    assert safe_patterns.problem("^[a-z]+-[a-z]+-[a-z]+$", 20) == ""
    assert safe_patterns.problem("^[a-z]+-[a-z]+-[a-z]+$", 100) != ""
    assert safe_patterns.problem("^[a-z]+$", 10**15) != ""


def test_the_end_is_the_very_end() -> None:
    assert compiled("^a$").search("a")
    assert not compiled("^a$").search("a\n")


def test_known_patterns_are_fast_with_every_text() -> None:
    """They are not counted, so each is tried with texts that make other patterns slow."""
    for pattern in safe_patterns._KNOWN:
        for text in ("1h" * 50_000 + "!", "1" * 100_000, "a" * 100_000 + "\n", "1." * 50_000):
            assert compiled(pattern).search(text) is None
