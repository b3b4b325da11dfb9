"""The syntaxes of an import: TOML with its lines, YAML, and the regular expressions of Go and Python."""

import os
import re
from pathlib import Path

import pytest

from runner.importing import toml_source
from runner.importing.patterns import not_python, sees_more_than_a_line
from runner.importing.yaml_text import block
from schemas.config.yaml_file import parse
from schemas.errors import SkipjackError

PLACES = r"""
a = "L1" # [[mirrors]]
"b c" = 'L2'
d.e."f.g" = "L3"
text = @@@
[[mirrors]]
x = "no" \@@@ more
@@@"
raw = '''
[mirrors]
"'''
[ t . "u" ] # [x]
v = "L12"
list = [ # ]
  "L14", ["L14",
  # "no",
  "L16"], {x = "L16", y = {z = "L16"}}, [],
  {w = "L17"},
]
[[mirrors]]
name = "L20"
env = {A = "L21", "B C" = "L21"}
odd = 'a = "b'
date = 2020-01-01 10:00:00 # x = "no"
  [mirrors.sub]
  x = "L25"
  [[mirrors.mirrors]]
  name = "L27"
    [[mirrors.mirrors.mirrors]]
    name = "L29"
  [[mirrors.mirrors]]
  name = "L31"
[[mirrors]]

    [[mirrors.mirrors]]
    name = "L35"
""".lstrip().replace("@@@", '"""')


def test_every_value_is_found_on_its_line(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(PLACES)
    source = toml_source.read(str(tmp_path / "x.toml"))
    found = []

    def walk(value: object, path: tuple[str | int, ...]) -> None:
        if isinstance(value, dict):
            for key, below in value.items():
                walk(below, (*path, key))
        elif isinstance(value, list):
            for number, below in enumerate(value):
                walk(below, (*path, number))
        elif isinstance(value, str) and re.fullmatch("L[0-9]+", value):
            found.append((f"L{source.line(path)}", value))

    walk(source.value, ())
    assert len(found) == PLACES.count('"L') + PLACES.count("'L")
    assert [place for place, value in found] == [value for _place, value in found]
    assert [source.line(("mirrors", number)) for number in (0, 1)] == [19, 32]
    assert source.line(("mirrors", 1, "mirrors", 0, "missing")) == 34


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "worker.conf")
    with pytest.raises(SkipjackError, match=r"cannot read .*/worker.conf: it is a named pipe"):
        toml_source.read(str(tmp_path / "worker.conf"))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "a", "yes", "No", "on", "null", "~", "true", "1", "010", "1e3", "12:30", "6h", "0x1f", ".5", "-", "--",
        "-a", "--exclude=*.iso", "- a", "a: b", "a:", ":a", "a #b", "#a", "'a'", '"', "it's", "a\nb", "a\tb", "\\z",
        "{a}", "[a]", "a, b", "*a", "&a", "!a", "%a", "@a", "`a`", "|", ">", "?", "= ", "=", "---", "...", "<<",
        "中文 é", "\u2028", "\ufeff", "\x85", "😀", "a ", " a", "a  b", "--filter=P x", "/a b/c", "^a{1,2}$", "a\\",
        "rsync://a/b/", "x" * 500,
        "256MiB", "1B", "12e3B",
    ],
)  # fmt: skip
def test_written_text_is_read_back_unchanged(text: str) -> None:
    value = {"key": text, "list": [text, text], "below": {"env": {"A": text, f"{text}x": "1"}}, "codes": [1, 2]}
    document = parse(block(value).encode(), "x.yml")
    assert document.problems == ()
    assert document.value == value


@pytest.mark.parametrize(
    "pattern",
    [r"a\z", "(?U)a+", r"\C", r"\pN", r"\p{Greek}", "[[:alpha:]]", r"\Qa.b\E", "a{,3}", "(?<n>a)",
     r"\x{2603}", "a(", "a(?i)b"],
)  # fmt: skip
def test_patterns_that_python_reads_differently_are_found(pattern: str) -> None:
    assert not_python(pattern)


@pytest.mark.parametrize(
    "pattern", [r"a\\z", "(?i)error", "(?P<n>a)", "[a-z]+?", r"\d{2,3}", r"\[[:x]", "size: ([0-9.]+[KMGTP]?)", r"\\pN"]
)
def test_patterns_that_both_read_alike_are_kept(pattern: str) -> None:
    assert not_python(pattern) is None
    re.compile(pattern)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [("^a", True), ("a$", True), ("(?m)^a$", False), ("[^a]", False), (r"\^a\$", False), (r"a\nb", True),
     ("(?s)a.b", True)],
)  # fmt: skip
def test_patterns_that_need_the_whole_log_are_reported(pattern: str, told: bool) -> None:
    assert sees_more_than_a_line(pattern) is told
