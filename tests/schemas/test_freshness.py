"""The rule that decides whether visitors can trust a mirror, and the cause if not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.clock.freshness import (
    PROBE_LASTS,
    SLACK,
    Freshness,
    counting,
    freshness,
    is_of_another_file,
    lag,
    moved_at,
    stale_after,
)
from schemas.records import FreshnessFile, Mirror
from schemas.report import Probe
from schemas.states import AGE, FRESH, FRESHNESS, LAG, NEVER, SILENCE, STALE, UNKNOWN, UPSTREAM

HOUR, DAY = 3600.0, 86400.0
NOW = 1_800_000_000.0
SILENT = NOW + 30 * DAY
LIMIT = 100

PLAIN = Mirror("m", "w", "rsync", "u", stale_after=LIMIT)
PROBED = Mirror(
    "m", "w", "rsync", "u", stale_after=int(10 * DAY), freshness=FreshnessFile("f", int(12 * HOUR), int(7 * DAY))
)


def judged(probe: Probe | None, *, success: float = NOW - HOUR, now: float = NOW, mirror: Mirror = PROBED) -> Freshness:
    return freshness(mirror, success, probe, SILENT, now)


def said(*words: object, **more: float) -> tuple[str, str | None]:
    found = judged(Probe(NOW, *words), **more)  # type: ignore[arg-type]
    return found.verdict, found.cause


@pytest.mark.parametrize(
    ("now", "silent_at", "reported"),
    [
        (1000.0, 1500.0, (FRESH, None, 1100.0)),
        (1099.9, 1500.0, (FRESH, None, 1100.0)),
        (1100.0, 1500.0, (STALE, AGE, 1500.0)),
        (1499.9, 1500.0, (STALE, AGE, 1500.0)),
        (1500.0, 1500.0, (UNKNOWN, SILENCE, None)),
        (1000.0, 1050.0, (FRESH, None, 1050.0)),
        (1050.0, 1050.0, (UNKNOWN, SILENCE, None)),
        (1000.0, None, (UNKNOWN, SILENCE, None)),
        (900.0, 1500.0, (FRESH, None, 1100.0)),
    ],
)
def test_without_a_probe_freshness_depends_on_the_last_success_and_the_worker(
    now: float, silent_at: float | None, reported: tuple[str, str | None, float | None]
) -> None:
    found = freshness(PLAIN, 1000.0, None, silent_at, now)
    assert (found.verdict, found.cause, found.changes_at) == reported


def test_a_mirror_that_never_succeeded_is_unknown() -> None:
    assert freshness(PLAIN, None, None, SILENT, NOW) == Freshness(UNKNOWN, NEVER, None, None)


def test_an_upstream_with_a_time_in_the_future_is_neither_newer_nor_fresh_for_years() -> None:
    """That time is useless; that the two differ, and since when, still counts."""
    year = NOW + 365 * DAY
    assert lag(Probe(NOW, year, NOW - HOUR, False)) is None
    assert said(year, NOW - HOUR, False) == (FRESH, None)
    assert said(NOW + SLACK, NOW - HOUR, False) == (FRESH, None), "clocks may differ a little"
    assert judged(Probe(NOW, year, year, True)).changes_at == NOW - HOUR + 10 * DAY
    differs = Probe(NOW, year, NOW - HOUR, False, even_at=NOW - 13 * HOUR)
    assert judged(differs)[:2] == (STALE, LAG)


def test_hourly_successes_from_an_unchanged_upstream_are_stale_because_of_the_upstream() -> None:
    week = NOW - 7 * DAY
    assert said(week, week, True) == (STALE, UPSTREAM)
    assert said(week + 1, week + 1, True) == (FRESH, None)
    assert judged(Probe(NOW, week + 60, week + 60, True)).changes_at == NOW + 60
    assert said(week, None, None, "ours is not there") == (STALE, UPSTREAM)


def test_a_mirror_behind_a_lively_upstream_is_stale_because_of_us() -> None:
    assert said(NOW, NOW - 12 * HOUR, False) == (FRESH, None)
    assert said(NOW, NOW - 12 * HOUR - 1, False) == (STALE, LAG)
    assert said(NOW - 12 * HOUR, NOW, False) == (FRESH, None), "the mirror is newer than one of several servers"


def test_being_behind_counts_from_when_the_two_were_last_even() -> None:
    """A monthly upstream is a month ahead as soon as it changes."""
    moved = Probe(NOW, NOW - 60, NOW - 30 * DAY, False, even_at=NOW - HOUR)
    found = judged(moved)
    assert (found.verdict, found.changes_at) == (FRESH, NOW + 11 * HOUR)
    assert judged(moved, now=NOW + 11 * HOUR)[:2] == (STALE, LAG)


def test_a_time_of_the_upstream_counts_if_it_is_ahead_by_ten_minutes_at_most() -> None:
    assert moved_at(Probe(NOW, NOW + 600)) == NOW + 600
    assert moved_at(Probe(NOW, NOW + 600.1)) is None


def test_an_upstream_is_unchanged_for_too_long_only_within_the_validity_of_a_probe() -> None:
    limit = NOW - 7 * DAY + PROBE_LASTS
    assert judged(Probe(NOW, limit, limit, True), now=NOW + PROBE_LASTS)[:2] == (STALE, UPSTREAM)
    assert judged(Probe(NOW, limit + 1, limit + 1, True), now=NOW + PROBE_LASTS + 1)[:2] == (FRESH, None)


def test_a_lag_counts_from_the_probe_if_the_upstreams_time_is_a_little_ahead() -> None:
    assert judged(Probe(NOW, NOW + SLACK, NOW - 13 * HOUR, False), now=NOW - 1).changes_at == NOW
    assert judged(Probe(NOW, NOW - 60, NOW - 13 * HOUR, False), now=NOW - 61).changes_at == NOW - 60


def test_a_failed_comparison_is_not_a_lag_however_long_ago_both_were_the_same() -> None:
    assert said(None, None, None, "nobody answers", NOW - 5 * DAY) == (FRESH, None)


def test_without_an_own_time_a_lag_is_only_known_from_the_last_complete_one() -> None:
    assert said(NOW - DAY, None, False) == (FRESH, None)
    assert said(NOW - DAY, None, False, "", NOW - DAY) == (STALE, LAG)


def test_the_earlier_of_two_causes_is_reported() -> None:
    assert said(NOW - 8 * DAY, NOW - 9 * DAY, False) == (STALE, LAG)
    even = NOW - 7.1 * DAY
    assert said(NOW - 7.05 * DAY, NOW - 9 * DAY, False, "", even) == (STALE, LAG)
    assert said(NOW - 10 * DAY, NOW - 9.6 * DAY, False, "", NOW - DAY) == (STALE, UPSTREAM)


def test_stamps_that_hold_no_time_only_have_to_be_the_same() -> None:
    assert said(None, None, True) == (FRESH, None)
    assert said(None, None, False, "", NOW - 11 * HOUR) == (FRESH, None)
    assert said(None, None, False, "", NOW - 12 * HOUR) == (STALE, LAG)
    assert said(None, None, False) == (FRESH, None), "they may never be the same: only the last success can be judged"


@pytest.mark.parametrize(
    "probe",
    [
        None,
        Probe(NOW, None, None, None, "nobody answers"),
        Probe(NOW, None, NOW - 30 * DAY, None, "nobody answers"),
        Probe(NOW - HOUR - PROBE_LASTS - 1, NOW - 20 * DAY, NOW - 30 * DAY, False),
    ],
    ids=["missing", "failed", "failed for the upstream alone", "overtaken by a success"],
)
def test_without_a_useful_probe_the_age_of_the_last_success_counts(probe: Probe | None) -> None:
    found = judged(probe)
    assert (found.verdict, found.changes_at) == (FRESH, NOW - HOUR + 10 * DAY)


def test_a_probe_counts_until_a_later_success_and_only_where_configured() -> None:
    probe = Probe(NOW, NOW, NOW, True)
    assert counting(PROBED, NOW + PROBE_LASTS, probe) == counting(PROBED, None, probe) == probe
    assert counting(PROBED, NOW + PROBE_LASTS + 1, probe) is None
    assert counting(PLAIN, NOW, probe) is None
    assert counting(PROBED, NOW, None) is None


@pytest.mark.parametrize(
    ("compared", "named", "counts"),
    [("f", "f", True), ("TIME", "f", False), (None, "f", True), ("TIME", "", True)],
    ids=["same", "another", "an older worker does not tell", "no configuration is known"],
)
def test_a_probe_of_another_file_does_not_count(compared: str | None, named: str, counts: bool) -> None:
    behind = Probe(NOW, NOW, NOW - 5 * DAY, False, file=compared)
    mirror = PROBED._replace(freshness=FreshnessFile(named, int(12 * HOUR)))
    assert counting(mirror, NOW, behind) == (behind if counts else None)
    assert judged(behind, mirror=mirror).verdict == (STALE if counts else FRESH)


def test_no_file_is_another_one_where_none_is_configured() -> None:
    assert not is_of_another_file(PLAIN, Probe(NOW, NOW, NOW, True, file="TIME"))


def test_a_probe_does_not_predict_the_upstream() -> None:
    assert judged(Probe(NOW, NOW, NOW, True), now=NOW + 8 * DAY, success=NOW)[:2] == (FRESH, None)


def test_the_age_of_the_last_success_counts_although_the_stamps_are_the_same() -> None:
    """A failed run may have transferred the timestamp file, but not the data."""
    found = judged(Probe(NOW, NOW, NOW, True), success=NOW - 10 * DAY)
    assert (found.verdict, found.cause) == (STALE, AGE)


@pytest.mark.parametrize(
    ("probe", "seconds"),
    [
        (Probe(NOW, NOW, NOW - 90, False), 90.0),
        (Probe(NOW, NOW - 90, NOW, False), 0.0),
        (Probe(NOW, None, None, True), 0.0),
        (Probe(NOW, None, None, False), None),
        (Probe(NOW, NOW, None, None), None),
    ],
)
def test_the_lag_is_the_time_from_our_stamp_to_the_upstreams(probe: Probe, seconds: float | None) -> None:
    assert lag(probe) == seconds


@pytest.mark.parametrize(
    ("interval", "said", "limit"), [(3600, None, 86400), (86400, None, 259200), (3600, 60, 60), (28800, None, 86400)]
)
def test_stale_after_defaults_to_three_intervals_at_least_a_day(interval: int, said: int | None, limit: int) -> None:
    assert stale_after(Mirror("m", "w", "rsync", "u", interval=interval, stale_after=said)) == limit


@pytest.mark.parametrize(("cron", "days"), [("0 4 * * mon", 21), ("*/5 * * * *", 1)])
def test_with_cron_stale_after_defaults_to_three_of_its_longest_gaps_at_least_a_day(cron: str, days: int) -> None:
    found = stale_after(Mirror("m", "w", "rsync", "u", interval=3600, cron=cron))
    assert str(found) == str(days * 86400), "as whole seconds, as the configured ones"


moments = st.floats(-20 * DAY, 20 * DAY).map(lambda shift: NOW + shift)
stamps = st.none() | moments
lengths = st.integers(1, int(20 * DAY))
probes = st.builds(Probe, moments, stamps, stamps, st.none() | st.booleans(), st.just(""), stamps)
mirrors = st.builds(
    lambda limit, rule: PROBED._replace(stale_after=limit, freshness=rule),
    lengths,
    st.none() | st.builds(FreshnessFile, st.just("f"), lengths, lengths),
)


@given(mirrors, stamps, st.none() | probes, stamps, moments)
def test_time_alone_makes_a_verdict_worse_exactly_when_predicted(
    mirror: Mirror, success: float | None, probe: Probe | None, silent_at: float | None, now: float
) -> None:
    def at(moment: float) -> Freshness:
        return freshness(mirror, success, probe, silent_at, moment)

    seen = [at(now)]
    while (moment := seen[-1].changes_at) is not None:
        assert moment > now
        just_before = moment - 0.001
        if just_before > now:
            assert at(just_before) == seen[-1]
        now = moment
        seen.append(at(now))
    ranks = [FRESHNESS.index(each.verdict) for each in seen]
    assert ranks == sorted(set(ranks)), "no verdict comes twice, and none is better than the one before"
    assert at(now + 1000 * DAY) == seen[-1], "nothing changes after the last predicted time"
    assert all((each.cause is None) == (each.verdict == FRESH) for each in seen)


@given(mirrors, moments, probes, moments, st.floats(0, 20 * DAY))
def test_a_newer_success_or_a_stamp_that_catches_up_never_makes_it_worse(
    mirror: Mirror, success: float, probe: Probe, now: float, more: float
) -> None:
    def rank(success: float, probe: Probe | None) -> int:
        return FRESHNESS.index(freshness(mirror, success, probe, SILENT + 90 * DAY, now).verdict)

    assert rank(success + more, probe) <= rank(success, probe)
    assert rank(success, None) <= rank(success, probe), "a probe never hides that the last success is too long ago"
    if probe.own_at is not None:
        assert rank(success, probe._replace(own_at=probe.own_at + more)) <= rank(success, probe)
    if probe.even_at is not None:
        assert rank(success, probe._replace(even_at=probe.even_at + more)) <= rank(success, probe)
    assert rank(success, probe._replace(same=True)) <= rank(success, probe)
