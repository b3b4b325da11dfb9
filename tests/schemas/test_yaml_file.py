import threading

import pytest

from schemas.config.sources import MAX_BYTES
from schemas.config.yaml_file import parse, suggest

from .kit import lines


def problems(text: str | bytes) -> list[str]:
    return lines(parse(text.encode() if isinstance(text, str) else text, "f.yml").problems)


def value(text: str) -> object:
    document = parse(text.encode(), "f.yml")
    assert not document.problems, lines(document.problems)
    return document.value


def test_plain_values_are_parsed_as_in_yaml_1_2() -> None:
    text = "a: text\nb: 12\nc: -3\nd: 1.5\ne: true\nf: False\ng: [x, z]\nh: {i: 10.0.0.1}\nj: 2024-01-01\nk: 1e\n"
    assert value(text) == {
        "a": "text", "b": 12, "c": -3, "d": 1.5, "e": True, "f": False, "g": ["x", "z"], "h": {"i": "10.0.0.1"},
        "j": "2024-01-01", "k": "1e",
    }  # fmt: skip


def test_quoted_values_are_text_whatever_they_look_like() -> None:
    assert value("a: 'on'\nb: \"010\"\nc: '12:30'\nd: |\n  yes\ne: >-\n  true\n") == {
        "a": "on", "b": "010", "c": "12:30", "d": "yes\n", "e": "true",
    }  # fmt: skip


def test_keys_are_text_even_if_they_look_like_something_else() -> None:
    assert value("on: a\n010: b\n5: c\n") == {"on": "a", "010": "b", "5": "c"}


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "y", "n", "On", "OFF", "Yes", "NO"])
def test_words_that_are_booleans_in_yaml_1_1_are_reported(word: str) -> None:
    assert problems(f"a: 1\nbb: {word}") == [
        f"f.yml:2:5: `{word}` is a boolean for some YAML parsers and a word for others."
        " Write `true` or `false`, or quote it."
    ]


@pytest.mark.parametrize(
    "number",
    [
        "010", "-017", "0x1F", "0o17", "0b11", "1_000", "12:30", "1:30:00.5", ".inf", "-.NaN", "1e3", "1.5E-3", "+5",
        ".5", "5.", "12345678901234567890",
    ],
)  # fmt: skip
def test_numbers_that_parsers_read_differently_are_reported(number: str) -> None:
    assert problems(f"list:\n  - {number}\n") == [
        f"f.yml:2:5: `{number}` is a number that YAML parsers read differently."
        " Quote it if it is meant as text, or write it as a plain decimal number."
    ]


def test_a_duplicate_key_is_reported_at_its_second_place() -> None:
    assert problems("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n") == ["f.yml:5:3: The key `c` is set twice. Keep one of them."]


@pytest.mark.parametrize("nothing", ["", " ~", " null", " # soon"])
def test_a_key_without_a_value_is_reported(nothing: str) -> None:
    assert problems(f"a: 1\nbb:{nothing}\n") == ["f.yml:2:1: `bb` has no value. Add one, or remove the line."]


@pytest.mark.parametrize(
    "tagged", ["!!python/object:os.system x", "!!str 5", "!vault 'x'", "&a !x z", "!!set {a: 1}", "!!seq [a]", "! x"]
)
def test_tags_are_reported_everywhere(tagged: str) -> None:
    (problem,) = problems(f"a: {tagged}")
    assert problem.startswith("f.yml:1:4: The tag `!") and problem.endswith("` is not supported. Remove it.")


def test_merge_keys_are_reported() -> None:
    assert problems("a: &x {b: 1}\nc:\n  <<: *x\n") == [
        "f.yml:3:3: Merge keys are not supported. Put shared keys into `_defaults.yml`."
    ]


def test_a_key_must_be_a_word() -> None:
    assert problems("? [a, b]\n: c\n") == ["f.yml:1:3: A key must be a word. Quote it if it is meant as text."]


def test_anchors_and_aliases_are_plain_repetition() -> None:
    assert value("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


def test_multiplying_aliases_are_reported_once_and_early() -> None:
    text = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    (problem,) = problems(text)
    assert problem.endswith(
        "The file has too many values, or is nested too deeply. Write fewer levels, and no anchors."
    )


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a\n  b: *a"])
def test_an_alias_of_itself_is_reported(text: str) -> None:
    (problem,) = problems(text)
    assert "The file has too many values" in problem


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 60_000,
        "[{" * 100_000,
        "- " * 100_000,
        "? " * 100_000,
        "".join(" " * (998 * level) + "- " * 499 + "\n" for level in range(20)),
        "".join(" " * level + "-\n" for level in range(700)),
        "# " + "]" * 120_000 + "\n" + ("[" * 400 + "\n") * 340,
        ("[" * 400 + " # " + "]" * 400 + "\n") * 300,
    ],
    ids=[
        "lists",
        "mappings",
        "both",
        "dashes",
        "question marks",
        "stairs",
        "steps",
        "closed before",
        "closed in comments",
    ],
)
def test_extreme_nesting_is_reported_even_with_a_small_stack(text: str) -> None:
    found: list[str] = []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: found.extend(problems(text[:MAX_BYTES])))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    (problem,) = found
    assert problem.endswith(": The file is nested too deeply. Write fewer levels.")


def test_many_brackets_side_by_side_are_not_nesting() -> None:
    assert value("- [a]\n" * 2000) == [["a"]] * 2000


@pytest.mark.parametrize(("text", "line"), [("a: 1\nb: \0", 2), ("é: 1\né: 2\né: 3\nb: \x07\nc: 1\n", 4)])
def test_characters_that_yaml_forbids_are_reported_with_their_line(text: str, line: int) -> None:
    assert problems(text) == [f"f.yml:{line}:1: The file contains a character that YAML does not allow. Remove it."]


@pytest.mark.parametrize(("written", "shown"), [(r"x\0y", r"x\x00y"), (r"\e[2J", r"\x1b[2J"), (r"a\rb", r"a\rb")])
def test_control_characters_cannot_be_smuggled_in_by_escapes(written: str, shown: str) -> None:
    assert problems(f'a: "{written}"') == [f"f.yml:1:4: `{shown}` contains a control character. Remove it."]


def test_a_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    document = parse(b"\xef\xbb\xbfa: 1\r\nb: on\r\n", "f.yml")
    assert document.value == {"a": 1, "b": "on"}
    assert [problem.place for problem in document.problems] == ["f.yml:2:4"]


def test_a_byte_order_mark_moves_no_place() -> None:
    assert problems(b"\xef\xbb\xbfa: !x z\n") == ["f.yml:1:4: The tag `!x` is not supported. Remove it."]


@pytest.mark.parametrize("data", [b"a: 1\nb: \xff\n", b"a: 1\nb: caf\xe9\n"])
def test_a_file_that_is_not_utf_8_is_reported_with_the_line(data: bytes) -> None:
    assert problems(data) == ["f.yml:2:1: The file is not UTF-8 text. Save it as UTF-8."]


def test_a_file_in_utf_16_is_reported() -> None:
    assert problems("a: 1\n".encode("utf-16")) == ["f.yml:1:1: The file is not UTF-8 text. Save it as UTF-8."]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\n\tb: 2\n", "f.yml:2:1", "found a tab character that violates indentation"),
        ("a: [1, 2\nb: 3\n", "f.yml:2:2", "did not find expected ',' or ']'"),
        ("a: 'x\n", "f.yml:2:1", "found unexpected end of stream"),
        ("a: 1\n---\nb: 2\n", "f.yml:2:1", "but found another document"),
        ("a: *nothing\n", "f.yml:1:4", "found undefined alias"),
        ("a: b: c\n", "f.yml:1:5", "mapping values are not allowed in this context"),
        ('a: "\\ud800"\n', "f.yml:1:7", "found invalid Unicode character escape code"),
    ],
)
def test_broken_syntax_is_reported_with_its_place(text: str, place: str, words: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(f"{place}: This is not valid YAML: ")
    assert problem.endswith(f"{words}. Fix the syntax near this place.")


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_an_empty_file_has_neither_a_value_nor_a_problem(text: str) -> None:
    assert value(text) is None


def test_a_file_may_be_as_large_as_the_limit_and_not_a_byte_larger() -> None:
    assert problems(b"#" * MAX_BYTES) == []
    assert problems(b"#" * (MAX_BYTES + 1)) == [
        "f.yml:1:1: The file is larger than 256 KiB. Split it, or move other content elsewhere."
    ]


def test_every_problem_of_a_file_is_reported_at_once() -> None:
    assert [problem.split(": ")[0] for problem in problems("a: on\nb: 010\na: 1\nc: !x z\n")] == [
        "f.yml:1:4", "f.yml:2:4", "f.yml:3:1", "f.yml:4:4",
    ]  # fmt: skip


def test_values_are_shown_short_and_on_one_line() -> None:
    key = '"' + r"fake\nf.yml:1:1: all is well" + "x" * 100 + '"'
    (problem,) = problems(f"{key}: 1\n{key}: 2\n")
    assert "\n" not in problem and r"`fake\nf.yml:1:1: all is well" in problem and len(problem) < 150


def test_places_of_values_keys_and_entries() -> None:
    document = parse(b"a:\n  b:\n    - x\n    - yy\n", "f.yml")
    assert document.place_of(["a", "b", 1]) == (4, 7)
    assert document.place_of_key(["a", "b"]) == (2, 3)
    assert document.place_of(["a", "nothing", "at", "all"]) == (2, 3)
    assert document.place_of(["a", "b", 7]) == (3, 5)


def test_a_suggestion_is_similar_or_lists_all() -> None:
    assert suggest("intervall", ["interval", "retry"]) == "Did you mean `interval`?"
    assert suggest("zzz", ["b", "a"]) == "Known: `a`, `b`."
    assert suggest("zzz", []) == "None is defined yet."


def test_a_merge_conflict_is_reported() -> None:
    text = "worker: w1\n<<<<<<< HEAD\ninterval: 6h\n=======\ninterval: 12h\n>>>>>>> their change\n"
    assert [str(problem) for problem in parse(text.encode(), "debian.yml").problems] == [
        "debian.yml:2:1: The file contains an unresolved merge conflict: this line is its marker `<<<<<<< HEAD`. "
        "Keep one side, and remove the lines with the markers."
    ]
    assert not parse(b"description: |\n  <<<<<<< is how git marks a conflict\n", "debian.yml").problems


@pytest.mark.parametrize("marker", ["<<<<<<<", "=======", ">>>>>>>", "||||||| base"])
def test_a_marker_of_a_merge_that_was_left_alone_is_called_that(marker: str) -> None:
    text = f"worker: w1\n{marker}\ninterval: 12h\n"
    assert [str(problem) for problem in parse(text.encode(), "debian.yml").problems] == [
        f"debian.yml:2:1: The file contains an unresolved merge conflict: this line is its marker `{marker}`. "
        "Keep one side, and remove the lines with the markers."
    ]
