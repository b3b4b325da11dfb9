import pytest

from schemas.freshness import Freshness, freshness, stale_after
from schemas.records import Mirror
from schemas.states import FRESH, STALE, UNKNOWN

LAST, LIMIT, SILENT = 1000.0, 100, 1500.0


@pytest.mark.parametrize(
    ("now", "silent_at", "told"),
    [
        (1000.0, SILENT, Freshness(FRESH, 1100.0)),
        (1099.9, SILENT, Freshness(FRESH, 1100.0)),
        (1100.0, SILENT, Freshness(STALE, 1500.0)),
        (1499.9, SILENT, Freshness(STALE, 1500.0)),
        (1500.0, SILENT, Freshness(UNKNOWN, None)),
        (1000.0, 1050.0, Freshness(FRESH, 1050.0)),
        (1050.0, 1050.0, Freshness(UNKNOWN, None)),
        (1000.0, None, Freshness(UNKNOWN, None)),
        (900.0, SILENT, Freshness(FRESH, 1100.0)),
    ],
)
def test_a_mirror_is_judged_by_its_last_success_and_its_workers_word(
    now: float, silent_at: float | None, told: Freshness
) -> None:
    assert freshness(LAST, LIMIT, silent_at, now) == told


def test_a_mirror_that_never_succeeded_is_unknown() -> None:
    assert freshness(None, LIMIT, SILENT, LAST) == Freshness(UNKNOWN, None)


@pytest.mark.parametrize("silent_at", [None, 1040.0, 1100.0, 1500.0])
@pytest.mark.parametrize("last", [None, 990.0, 1000.0])
def test_the_verdict_changes_at_the_moment_that_was_told_and_not_before(
    last: float | None, silent_at: float | None
) -> None:
    now, seen = 1000.0, []
    while (judged := freshness(last, LIMIT, silent_at, now)).changes_at is not None:
        assert freshness(last, LIMIT, silent_at, judged.changes_at - 0.001).verdict == judged.verdict
        seen.append(judged.verdict)
        now = judged.changes_at
    seen.append(judged.verdict)
    assert len(set(seen)) == len(seen) and seen[-1] == UNKNOWN


@pytest.mark.parametrize(
    ("interval", "said", "limit"), [(3600, None, 86400), (86400, None, 259200), (3600, 60, 60), (28800, None, 86400)]
)
def test_a_mirror_is_stale_after_what_was_said_or_three_intervals_but_a_day_at_least(
    interval: int, said: int | None, limit: int
) -> None:
    assert stale_after(Mirror("m", "w", "rsync", "u", interval=interval, stale_after=said)) == limit
