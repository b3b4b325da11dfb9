"""Problems of schedules are reported at their place."""

import pytest

from schemas.clock.freshness import stale_after
from schemas.records import Mirror
from tests.schemas.kit import BASE, lines, load, one


def reported(**files: str) -> list[str]:
    return lines(load(**files).problems)


@pytest.mark.parametrize("value", ["0s", "0m", "0h0s"])
def test_an_interval_of_zero_is_reported(value: str) -> None:
    (problem,) = reported(debian=f"interval: {value}\n")
    assert problem.startswith(
        f"debian.yml:1:11: `interval: {value}` would sync the mirror without a pause. Write at least `1s`"
    )
    assert one("interval: 1s").interval == 1


@pytest.mark.parametrize("value", ["1s", "59s"])
def test_a_too_short_retry_after_failure_is_reported(value: str) -> None:
    (problem,) = reported(debian=f"retry_after_failure: {value}\n")
    assert problem.startswith(f"debian.yml:1:22: `retry_after_failure: {value}` is too short for an upstream")
    assert problem.endswith("Write at least `1m`, or `0s` for no run before the next scheduled one.")
    pauses = [one(f"retry_after_failure: {each}").retry_after_failure for each in ("0s", "1m", "1d")]
    assert [one("").retry_after_failure, *pauses] == [600, 0, 60, 86400]


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("4 * *", "has 3 fields, not 5. Write minute, hour, day of month"),
        ("0 0 30 2 *", "is not a valid cron expression: bad day-of-month"),
        ("@daily xxx", "has 2 fields, not 5"),
        ("a b c d e", "bad minute"),
    ],
)
def test_invalid_cron_schedules_are_reported(cron: str, words: str) -> None:
    (problem,) = reported(debian=f"retry: 1\ncron: '{cron}'\n")
    assert problem.startswith(f"debian.yml:2:7: `{cron}` ") and words in problem
    assert "for example `30 4 * * *`" in problem


def test_cron_beside_interval_is_reported() -> None:
    (problem,) = reported(debian="interval: 6h\ncron: 30 4 * * *\n")
    assert problem == "debian.yml:2:7: `cron` and `interval` are both set. Remove one of them."


def test_of_fixed_times_and_an_interval_the_nearer_one_holds() -> None:
    base = "provider: rsync\nworker: w1\nupstream: rsync://up.example.org/all/\n"
    assert one("cron: 30 4 * * *", _defaults=base + "interval: 2h\n").cron == "30 4 * * *"
    near = one("interval: 2h", _defaults=base + "cron: 30 4 * * *\n")
    assert (near.cron, near.interval) == ("", 7200)
    found = load(os__debian="retry: 1\n", os___defaults="cron: 0 1 * * *\n", _defaults=base + "interval: 2h\n")
    assert [mirror.cron for mirror in found.mirrors] == ["0 1 * * *"]


NEVER = "sync_windows: {forbidden: ['00:00-24:00']}\n"


def test_sync_windows_that_never_allow_a_start_are_reported() -> None:
    found = load(debian=NEVER, ubuntu="")
    assert lines(found.problems) == [
        "debian.yml:1:15: `sync_windows` never allow a sync to start. Allow more, or forbid less."
    ]
    assert found.quarantined == {"debian"}


def test_sync_windows_without_overlap_with_the_workers_are_reported() -> None:
    workers = "workers:\n  w1: {sync_windows: {allowed: ['22:00-06:00']}}\n  w2: {}\n"
    found = load(
        _workers=workers,
        day="sync_windows: {allowed: ['08:00-18:00']}\n",
        elsewhere="worker: w2\nsync_windows: {allowed: ['08:00-18:00']}\n",
        evening="sync_windows: {allowed: ['18:00-23:00']}\n",
    )
    (problem,) = lines(found.problems)
    assert problem.startswith(
        "day.yml:1:15: `sync_windows` and those of the worker never allow a sync at the same time."
    )


def test_a_worker_whose_windows_never_allow_a_sync_is_rejected() -> None:
    from schemas.problems import InvalidConfigError

    with pytest.raises(InvalidConfigError) as refused:
        load(_workers=f"workers:\n  w1:\n    {NEVER}", debian="")
    assert "_workers.yml:3:19: `sync_windows` never allow a sync to start." in str(refused.value)


def test_only_mirrors_of_the_same_worker_can_be_followed() -> None:
    found = load(
        debian="",
        far="worker: w2\n",
        a="after: [debian, debain]\n",
        b="after: [far]\n",
        c="worker: [w1, w2]\nafter: [debian]\n",
    )
    assert lines(found.problems) == [
        "a.yml:1:17: The mirror `debain` in `after` does not exist. Did you mean `debian`?",
        "b.yml:1:9: The worker `w1` does not have the mirror `far` in `after`. Remove it from `after`.",
        "c.yml:2:9: The worker `w2` does not have the mirror `debian` in `after`. Remove it from `after`.",
    ]
    assert found.quarantined == {"a", "b", "c"}


def test_a_wrong_entry_of_an_inherited_after_is_reported_where_it_stands() -> None:
    """Once, however many mirrors inherit it."""
    defaults = f"{BASE['_defaults.yml']}after: [x, nope]\n"
    found = load(_defaults=defaults, a="", b="worker: {w1: {after: [c, gone]}}\n", d="", x="after: []\n")
    assert lines(found.problems) == [
        "_defaults.yml:4:12: The mirror `nope` in `after` does not exist. Known: `a`, `b`, `d`, `x`.",
        "b.yml:1:23: The mirror `c` in `after` does not exist. Known: `a`, `b`, `d`, `x`.",
        "b.yml:1:26: The mirror `gone` in `after` does not exist. Known: `a`, `b`, `d`, `x`.",
    ]


def test_mirrors_that_follow_each_other_in_a_circle_are_quarantined_and_no_others() -> None:
    found = load(a="after: [c]\n", b="after: [a]\n", c="after: [x, b]\n", own="after: [own]\n", d="after: [a]\n", x="")
    assert lines(found.problems) == [
        "a.yml:1:9: `a` would wait for itself, since `c` comes after it. Remove it from `after`.",
        "b.yml:1:9: `b` would wait for itself, since `a` comes after it. Remove it from `after`.",
        "c.yml:1:12: `c` would wait for itself, since `b` comes after it. Remove it from `after`.",
        "own.yml:1:9: `own` would wait for itself. Remove it from `after`.",
    ]
    assert [mirror.name for mirror in found.mirrors] == ["d", "x"]


def test_a_mirror_may_follow_one_that_is_quarantined() -> None:
    found = load(debian="retry: 0\n", after="after: [debian]\n")
    assert [mirror.name for mirror in found.mirrors] == ["after"]
    assert len(found.problems) == 1


@pytest.mark.parametrize(("cron", "hours"), [("0 * * * *", 24), ("0 4 * * *", 72), ("0 4 * * mon-fri", 216)])
def test_with_cron_a_mirror_is_stale_after_three_longest_gaps(cron: str, hours: int) -> None:
    assert stale_after(Mirror("m", "w", "rsync", "u", cron=cron)) == hours * 3600
