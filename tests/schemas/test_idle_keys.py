"""Keys without effect, and options that change the output of rsync."""

import pytest

from schemas.config import hints
from schemas.rsync import rsync_output

from .kit import lines, load, one

ALONE = "rsync_override: [-a]\nrsync_override_only: true\n"


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        *[
            (f"{ALONE}{key}: {value}", key, "with `rsync_override_only`")
            for key, value in (
                ("rsync_options", "[-z]"), ("rsync_options_extra", "[-z]"), ("rsync_timeout", "5m"),
                ("rsync_no_timeout", "true"), ("use_ipv4", "true"), ("use_ipv6", "true"),
                ("exclude_file", "/etc/skipjack/filters/x"),
            )
        ],
        ("rsync_override_only: true", "rsync_override_only", "without `rsync_override`"),
        ("rsync_no_timeout: true\nrsync_timeout: 5m", "rsync_timeout", "with `rsync_no_timeout`"),
        ("use_ipv6: true\nuse_ipv4: true", "use_ipv4", "with `use_ipv6`"),
        ("max_delete: 5\nmax_delete_floor: 3", "max_delete_floor", "if `max_delete` is a number"),
        ("exec_on_each_failure: true", "exec_on_each_failure", "without `exec_on_failure`"),
        ("exec_timeout: 5s", "exec_timeout", "without `exec_on_success` or `exec_on_failure`"),
        ("retry: 1\nretry_delay: 5s", "retry_delay", "with `retry: 1`"),
        ("provider: command\ncommand: /x.sh\nsize_units: 1000", "size_units", "without `size_pattern`"),
        ("username: m", "username", "without `password`"),
        ("upstream: m@h.example.org::x/\nusername: m", "username", "with a user name in `upstream`"),
        ("upstream: h.example.org:x/\nusername: m", "username", "with an upstream over ssh"),
        ("upstream: h.example.org:x/\npassword: {file: /x}", "password", "with an upstream over ssh"),
    ],
)  # fmt: skip
def test_a_key_without_effect_is_a_problem(text: str, key: str, what: str) -> None:
    found = load(debian=text)

    (problem,) = lines(found.problems)
    line = [row.partition(":")[0] for row in text.splitlines()].index(key) + 1
    assert problem.startswith(f"debian.yml:{line}:")
    assert f"`{key}` has no effect {what}." in problem
    assert found.quarantined == {"debian"}


def test_only_rsync_starts_ssh_for_an_address() -> None:
    text = "provider: command\ncommand: /x.sh\nupstream: https://h.example.org/\nusername: m\n"
    (problem,) = lines(load(debian=text).problems)
    assert "`username` has no effect with the provider `command`." in problem


@pytest.mark.parametrize(
    ("defaults", "text"),
    [
        ("rsync_options: [-z]\nrsync_timeout: 5m\nexclude_file: /etc/x", ALONE),
        (
            "use_ipv4: true\nrsync_timeout: 5m\nmax_delete_floor: 9",
            "use_ipv6: true\nrsync_no_timeout: true\nmax_delete: 5",
        ),
        ("exec_on_failure: [/bin/x]", "exec_on_each_failure: true"),
        ("", f"{ALONE}use_ipv4: false\nrsync_options: []"),
    ],
)
def test_inherited_and_empty_keys_are_not_a_problem(defaults: str, text: str) -> None:
    base = "provider: rsync\nworker: w1\nupstream: rsync://up.example.org/all/\n"
    assert load(_defaults=base + defaults, debian=text).problems == ()


@pytest.mark.parametrize("key", ["rsync_options", "rsync_options_extra", "rsync_override"])
@pytest.mark.parametrize(
    ("words", "spelling"),
    [
        ("[-a, --out-format=%n]", "--out-format"), ("[-a, --log-format, '%n']", "--log-format"),
        ("[-a, '--log-file-format=%f']", "--log-file-format"),
    ],
)  # fmt: skip
def test_an_output_format_is_a_problem(key: str, words: str, spelling: str) -> None:
    (problem,) = lines(load(debian=f"{key}: {words}").problems)

    assert f"`{key}` has `{spelling}`, which changes the output of rsync" in problem


@pytest.mark.parametrize(
    "text",
    [
        "username: m\npassword: {file: /x}",
        "username: m\nenv: {RSYNC_PASSWORD: x}",
        "username: m\nrsync_options: [--password-file, /x]",
        "retry: 2\nretry_delay: 5s",
        "exec_on_failure_extra: [/bin/true]\nexec_timeout: 5s",
    ],
)
def test_a_complete_pair_is_not_a_problem(text: str) -> None:
    assert hints.of_mirrors([one(text)]) == []


def test_a_password_without_a_user_name_is_a_warning() -> None:
    password = "password: {file: /x}"
    assert hints.of_mirrors([one(password)]) == [
        "`debian`: `password` without `username`: rsync sends the name of the worker's own user. Add `username:`."
    ]
    assert hints.of_mirrors([one(f"{password}\nupstream: rsync://m@h.example.org/x/")]) == []


def test_an_option_that_has_no_effect_is_a_warning_and_no_problem() -> None:
    mirror = one("rsync_options: [-avz, --info=progress2, --exclude, -q]\nrsync_override: [-a, --max-delete, '7']")

    assert hints.of_mirrors([mirror, mirror._replace(worker="w2")]) == [
        "`debian`: `--max-delete=7` in `rsync_override` is a second limit beside the deletion guard."
        " Write `max_delete: 7` instead (it is `50%` now).",
        "`debian`: `-v`, `--info` in `rsync_options` has no effect: Skipjack sets the output options of rsync."
        " Remove it.",
    ]
    assert hints.of_mirrors([one("rsync_options: [-a, --stats, -h, -P]")]) == []


NOTHING = (
    "allows no deletion: a run with a file to delete is refused. Write `max_delete: 0` instead;"
    " to keep files that the upstream has deleted, write an `rsync_override` without `--delete`."
)


@pytest.mark.parametrize(
    ("word", "more", "number", "advice"),
    [
        ("--max-delete=0", "", 0, NOTHING), ("--max-delete=-1", "", -1, NOTHING), ("--max-delete=", "", 0, NOTHING),
        ("--max-delete=-1", "max_delete: 5", -1, NOTHING),
        ("--max-delete=0x10", "max_delete: 20", 16,
         "is a second limit beside the deletion guard. Write `max_delete: 16` instead."),
        ("--max-delete=010", "max_delete: 5", 8, "has no effect beside `max_delete: 5`. Remove it."),
        ("--max-delete=0", "max_delete: 0", 0, "has no effect beside `max_delete: 0`. Remove it."),
        ("--max-delete=-2147483648", "", -(2**31), "has no effect beside `max_delete: 50%`. Remove it."),
        ("--max-delete=2000000000", "", 2_000_000_000, "has no effect beside `max_delete: 50%`. Remove it."),
    ],
)  # fmt: skip
def test_the_advice_about_an_own_limit_of_deletions_is_true(word: str, more: str, number: int, advice: str) -> None:
    mirror = one(f"rsync_options: ['{word}']\n{more}")

    assert hints.of_mirrors([mirror]) == [f"`debian`: `--max-delete={number}` in `rsync_options` {advice}"]
    written = advice.partition("Write `")[2].partition("`")[0] or more or "max_delete: 50%"
    assert one(written).name == "debian", "what it says can be written"


def test_options_that_are_not_in_force_get_no_warning() -> None:
    mirror = one("rsync_override: [-a]\nrsync_override_only: true")
    assert hints.of_mirrors([mirror._replace(rsync_options=("-v", "--max-delete=3"))]) == []
    command = one("provider: command\ncommand: /srv/sync")
    assert hints.of_mirrors([command._replace(rsync_options=("-v",))]) == []


def test_output_options_are_removed_from_clusters_as_well() -> None:
    words = ("-avzi", "-q", "--exclude", "-v", "--info", "name2", "--out-format=%n", "-e", "ssh -v")

    assert rsync_output.without_output(words) == ("-az", "--exclude", "-v", "-e", "ssh -v")


def test_a_guard_that_sees_no_more_than_the_last_file_is_a_warning() -> None:
    blind = "provider: command\ncommand: /srv/sync\nmeasure_size: false"
    assert hints.of_mirrors([one(blind)]) == [
        "`debian`: with `measure_size: false` and no `size_pattern` the deletion guard notices only the loss of"
        " the last file. Set `size_pattern`, or remove `measure_size: false`."
    ]
    for more in ("size_pattern: 'size: (.*)'", "max_delete: 100%"):
        assert hints.of_mirrors([one(f"{blind}\n{more}")]) == []
    assert hints.of_mirrors([one("measure_size: false")]) == [], "rsync's deletions are judged beforehand"
