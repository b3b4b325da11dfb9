import re

import pytest

from schemas.config.validation import examine
from schemas.config.yaml_file import parse, suggest

from .kit import lines


def problems(kind: str, text: str) -> list[str]:
    return lines(examine(kind, parse(text.encode(), "f.yml")).problems)


@pytest.mark.parametrize(
    ("text", "place", "what", "todo"),
    [
        ("intervall: 6h", "1:1", "Unknown key `intervall`.", "Did you mean `interval`?"),
        ("retry: 1\ninterval: 6", "2:11", "`interval` must be text, not 6. A bare number has no unit.", "interval: 6h"),
        ("interval: 1.5", "1:11", "`interval` must be text, not 1.5. A bare number has no unit.", "interval: 6h"),
        ("interval: true", "1:11", "`interval` must be text, not true.", "interval: 6h"),
        ("interval: 6 hours", "1:11", '`interval` cannot be "6 hours".', "interval: 6h"),
        ('interval: "6h\\n"', "1:11", '`interval` cannot be "6h\\n".', "interval: 6h"),
        ("retry: many", "1:8", '`retry` must be a whole number, not "many".', "retry: 3"),
        ("retry: 2.0", "1:8", "`retry` must be a whole number, not 2.0.", "retry: 3"),
        ("retry: 0", "1:8", "`retry` is 0, but must be at least 1.", "retry: 3"),
        ("use_ipv4: 1", "1:11", "`use_ipv4` must be `true` or `false`, not 1.", "use_ipv4: true"),
        ("env: [A]", "1:6", '`env` must be a mapping of keys to values, not ["A"].', 'env: {"USE_IPV6": "1"}'),
        ("env: {A: 5}", "1:10", "`A` must be text, not 5.", 'env: {"USE_IPV6": "1"}'),
        (
            "rsync_options: --delete",
            "1:16",
            '`rsync_options` must be a list, not "--delete".',
            'rsync_options: ["--bwlimit=20M"]',
        ),
        (
            "rsync_options:\n  - -a\n  - 5",
            "3:5",
            "Entry 2 of `rsync_options` must be text, not 5.",
            'rsync_options: ["--bwlimit=20M"]',
        ),
        (
            "success_exit_codes: [24, 24]",
            "1:21",
            "`success_exit_codes` contains an entry twice.",
            "success_exit_codes: [23]",
        ),
        (
            "success_exit_codes: [23, 256]",
            "1:26",
            "Entry 2 of `success_exit_codes` is 256, but must be at most 255.",
            "success_exit_codes: [23]",
        ),
        ("role: main", "1:7", '`role` is "main", but must be one of `master`, `slave`.', "role: master"),
        ("worker: []", "1:9", "`worker` is empty.", "worker: w1"),
        ("worker: {}", "1:9", "`worker` is empty.", "worker: w1"),
        ("worker: [w1, w1]", "1:9", "`worker` contains an entry twice.", "worker: w1"),
        ("worker: 5", "1:9", "`worker` cannot be 5.", "worker: w1"),
        ("title: ''", "1:8", "`title` is empty.", "title: Debian"),
        (
            "password: hunter2",
            "1:11",
            "`password` must be a mapping of keys to values, not `***`.",
            'password: {"file": "/etc/skipjack/secrets/debian"}',
        ),
        (
            "password: {file: /a, credential: b}",
            "1:11",
            "`password` sets more than one key, but only one may be set.",
            'password: {"file": "/etc/skipjack/secrets/debian"}',
        ),
        (
            "env: {1A: x}",
            "1:7",
            "`1A` is not a valid name.",
            "Use letters, digits and `_`, and do not begin with a digit.",
        ),
        ("mirror_dir: srv", "1:13", '`mirror_dir` cannot be "srv".', "mirror_dir: /srv/mirror/debian"),
    ],
)
def test_a_mirrors_problem_is_reported_with_an_example(text: str, place: str, what: str, todo: str) -> None:
    advice = todo if todo.endswith((".", "?")) else f"Write for example `{todo}`."
    assert problems("mirror", text) == [f"f.yml:{place}: {what} {advice}"]


@pytest.mark.parametrize("path", ["/srv/../etc", "/srv/x/..", "/..", "/./srv", "//srv/x", "srv/x", "/srv/./x"])
def test_a_mirrors_directory_can_be_written_in_one_way_only(path: str) -> None:
    assert len(problems("mirror", f"mirror_dir: {path}")) == 1


@pytest.mark.parametrize("path", ["/srv/mirror/a", "/srv/..a/b..", "/srv/mit leerzeichen", "/srv/a.b/"])
def test_a_directory_may_hold_dots_and_spaces(path: str) -> None:
    assert problems("mirror", f"mirror_dir: {path}") == []


@pytest.mark.parametrize("path", ["../x", "a/../b", "/a", "a/..", ".", "..", "a b", "./a"])
def test_a_subdirectory_stays_below_the_root(path: str) -> None:
    assert len(problems("mirror", f"mirror_subdir: {path}")) == 1


def test_an_upstream_must_fit_into_a_report() -> None:
    assert problems("mirror", f"upstream: {'x' * 2001}")[0].startswith("f.yml:1:11: `upstream` is longer than 2000")


def test_all_known_keys_are_listed_if_none_is_similar() -> None:
    assert problems("site", "title: X\nzzzzzz: 1") == [
        "f.yml:2:1: Unknown key `zzzzzz`. Known: `categories`, `contact`, `description`, `time_zone`, `title`, `url`."
    ]


def test_keys_of_one_mirror_cannot_be_inherited_or_differ_on_its_workers() -> None:
    what = "cannot be inherited. Set it in the file of each mirror."
    assert problems("defaults", "title: Everything") == [f"f.yml:1:1: `title` {what}"]
    assert problems("workers", "workers: {w1: {defaults: {formerly: [a]}}}") == [f"f.yml:1:27: `formerly` {what}"]
    assert problems("mirror", "worker: {w1: {}, w2: {description: x}}") == [
        "f.yml:1:23: `description` cannot differ on `w2`. Set it for the mirror as a whole."
    ]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("mirror", "zzzzzz: 1"),
        ("mirror", "worker: {w1: {zzzzzz: 1}}"),
        ("defaults", "zzzzzz: 1"),
        ("workers", "workers: {w1: {defaults: {zzzzzz: 1}}}"),
    ],
)
def test_keys_of_mirrors_are_too_many_for_a_list(kind: str, text: str) -> None:
    (problem,) = problems(kind, text)
    place = r"See docs/configuration\.md or `skipjack schema` for the \d+ known ones\."
    assert re.fullmatch(rf"f\.yml:1:\d+: Unknown key `zzzzzz`\. {place}", problem)


def test_a_long_list_of_names_is_cut() -> None:
    names = [f"w{number:02}" for number in range(23)]
    assert suggest("zzzzzz", names[:20]) == "Known: " + ", ".join(f"`{name}`" for name in names[:20]) + "."
    assert suggest("zzzzzz", names) == "Known: " + ", ".join(f"`{name}`" for name in names[:20]) + " and 3 more."
    assert suggest("zzzzzz", []) == "None is defined yet."


def test_a_missing_key_is_reported_with_an_example() -> None:
    assert problems("site", "url: https://a.example") == [
        "f.yml:1:1: `title` is missing. Write for example `title: Example University Mirrors`."
    ]
    assert problems("runner", "worker: w1\nrepository:\n  branch: main\n") == [
        "f.yml:3:3: `url` is missing in `repository`. Write for example `url: https://git.example.org/mirrors.git`."
    ]


def test_a_workers_defaults_are_checked_as_closely_as_a_mirror() -> None:
    keys = ["intervall: 6h", "retry: 2.0", 'timeout: "6h\\n"', "worke: x"]
    text = "workers:\n  w1:\n    defaults:\n" + "".join(f"      {key}\n" for key in keys)
    assert sorted(problems("workers", text)) == [
        "f.yml:4:7: Unknown key `intervall`. Did you mean `interval`?",
        "f.yml:5:14: `retry` must be a whole number, not 2.0. Write for example `retry: 3`.",
        'f.yml:6:16: `timeout` cannot be "6h\\n". Write for example `timeout: 12h`.',
        "f.yml:7:7: Unknown key `worke`. Did you mean `worker`?",
    ]


@pytest.mark.parametrize("name", ["-w", "a/b", '"w1\\n"', "ü", "x" * 65])
def test_a_worker_must_have_a_name_that_can_be_one(name: str) -> None:
    (problem,) = problems("workers", f"workers:\n  {name}: {{}}\n")
    assert (
        problem.startswith("f.yml:2:3: `")
        and "is not a valid name. Use at most 64 letters, digits and `._-`" in problem
    )


def test_a_repository_without_workers_is_reported() -> None:
    assert problems("workers", "workers: {}") == [
        'f.yml:1:10: `workers` is empty. Write for example `workers: {"w1": {"slots": 4}}`.'
    ]


@pytest.mark.parametrize("text", ["", "- a\n", "text\n", "5\n"])
def test_a_file_without_keys_is_reported(text: str) -> None:
    assert problems("site", text) == [
        "f.yml:1:1: The file must contain keys and values. Write lines like `key: value`."
    ]


def test_problems_of_parser_and_schema_are_reported_once_per_value() -> None:
    found = problems("mirror", "retry: many\nuse_ipv4: yes\nuse_ipv6: yes\nintervall: 6\n")
    assert [problem.split(": ")[0] for problem in sorted(found)] == [
        "f.yml:1:8", "f.yml:2:11", "f.yml:3:11", "f.yml:4:1",
    ]  # fmt: skip


@pytest.mark.parametrize("lines", ["foo: 1\nfoo: 2", "foo:", "foo: on", "foo: !x 1"])
def test_an_unknown_key_is_reported_beside_a_problem_of_its_value(lines: str) -> None:
    found = problems("mirror", f"upstream: rsync://a.example/b/\n{lines}\n")
    assert len(found) == 2 and sum("Unknown key `foo`." in problem for problem in found) == 1


def test_all_problems_of_a_file_are_reported_at_once() -> None:
    assert len(problems("mirror", "retry: 0\nintervall: 6h\nprovider: x\nenv: {A: 1, B: 2}\n")) == 5


def test_a_long_value_is_shown_in_part() -> None:
    (problem,) = problems("mirror", f"interval: {'9' * 5000}h")
    assert len(problem) < 150
