"""Which of the mirror's own files are looked at, and which mirrors are probed when."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.base.mirror_paths import Paths
from runner.courier.upstream_probe import NEWEST_LASTS, NotRead, _own, continued, is_probed, probe
from runner.journal.journal import Ending, Journal, Subject
from runner.overrides import override_store
from runner.plan.plan import Planned
from runner.plugin_api import Machine
from schemas.clock.freshness import PROBE_LASTS, freshness
from schemas.records import FreshnessFile, Mirror, Secret
from schemas.report import Probe

SUBJECT = Subject("debian", "rsync://rsync.example.org/debian/", True, "a" * 40)
HOUR = 3600.0


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "m").mkdir()
    (tmp_path / "outside").write_text("1")
    return Paths(str(tmp_path / "m"), str(tmp_path), str(tmp_path / "logs"))


def test_a_link_is_followed_within_the_mirror_only(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "m/real").write_text("2")
    (tmp_path / "m/inner").symlink_to("real")
    (tmp_path / "m/outer").symlink_to("../outside")

    assert _own(paths, "inner") == b"2"
    with pytest.raises(NotRead, match="outer is outside of the mirror"):
        _own(paths, "outer")


@pytest.mark.parametrize("upstream", ["git://h.example/x", "h", ""])
def test_an_inherited_timestamp_file_is_ignored_where_the_upstream_cannot_be_probed(upstream: str) -> None:
    mirror = Mirror("m", "w1", "command", "https://h.example/", freshness=FreshnessFile("x"))
    assert is_probed(mirror)
    assert not is_probed(mirror._replace(upstream=upstream))
    assert not is_probed(mirror._replace(freshness=None))


def test_the_time_until_which_the_mirror_was_even_is_kept() -> None:
    even = continued(None, Probe(10.0, None, None, True))
    assert even.even_at == 10.0
    behind = continued(even, Probe(20.0, 19.0, 9.0, False))
    assert (behind.even_at, behind.own_at) == (19.0, 9.0), "at 19 there was something new for the first time"
    assert continued(behind, Probe(25.0, 24.0, 9.0, False)).even_at == 19.0
    assert continued(behind, Probe(30.0, 19.0, 25.0, False)).even_at == 30.0, "the mirror's own file is newer"
    assert continued(None, Probe(20.0, 21.0, 9.0, False)).even_at == 20.0, "no time of the upstream is later than now"
    assert continued(even, Probe(20.0, None, None, False)).even_at == 10.0, "no times"
    assert continued(None, Probe(20.0, None, None, False)).even_at is None


def test_a_server_behind_the_others_does_not_count_for_a_while() -> None:
    even = continued(None, Probe(1000.0, 900.0, 900.0, True))
    newer = continued(even, Probe(1100.0, 1050.0, 900.0, False))
    late = continued(newer, Probe(1200.0, 900.0, 900.0, True))
    assert (late.upstream_at, late.seen_at, late.same, late.even_at) == (1050.0, 1100.0, False, 1050.0)
    assert continued(late, Probe(1300.0, 900.0, 1050.0, False)).same is True, "we have what the best of them has"
    unreadable = continued(late, Probe(1300.0, 900.0, None, None, "ours is not there"))
    assert unreadable == late._replace(problem="ours is not there")
    put_back = continued(late, Probe(1101.0 + NEWEST_LASTS, 900.0, 900.0, True))
    assert (put_back.upstream_at, put_back.even_at) == (900.0, put_back.at)


def test_a_probe_of_another_file_is_ignored() -> None:
    before = Probe(1000.0, 990.0, 10.0, False, "", 20.0, "TIME", 1000.0)
    assert continued(before, Probe(1100.0, 500.0, 500.0, True, file="state")).upstream_at == 500.0
    failed = Probe(1100.0, None, None, None, "nobody answers", file="state")
    assert continued(before, failed) == failed
    assert continued(before, failed._replace(file="TIME")).upstream_at == 990.0
    assert continued(before._replace(file=None), failed).upstream_at == 990.0, "an older release wrote it down"


RULE = FreshnessFile("f", int(24 * HOUR), int(365 * 24 * HOUR))
JUDGED = Mirror("m", "w", "rsync", "rsync://h/m/", stale_after=10**8, freshness=RULE)
START = 1_800_000_000.0


def verdict(probe: Probe, now: float) -> tuple[str, str | None]:
    found = freshness(JUDGED, START, probe, now + 10**9, now)
    return found.verdict, found.cause


waits = st.floats(60.0, HOUR)


@given(
    st.floats(0.0, 0.9 * RULE.max_lag),
    st.floats(0.0, 0.9 * RULE.max_lag),
    st.lists(st.tuples(waits, st.booleans(), st.sampled_from(["neither", "first", "second"])), min_size=1, max_size=30),
    st.booleans(),
)
def test_a_mirror_stays_fresh_while_its_upstream_alternates_between_two_recent_times(
    first: float, second: float, probes: list[tuple[float, bool, str]], was_even: bool
) -> None:
    """Whatever server answers whom: what visitors miss is younger than what the rule allows."""
    old = START - 30 * 24 * HOUR
    stamps = {"first": START - first, "second": START - second, "neither": old}
    ends = min(stamps["first"], stamps["second"]) + RULE.max_lag
    before = Probe(START - 2 * RULE.max_lag, old, old, True, "", START - 2 * RULE.max_lag, "f") if was_even else None
    at = START
    for wait, asks_second, has in probes:
        upstream_at, own_at = stamps["second" if asks_second else "first"], stamps[has]
        before = continued(before, Probe(at, upstream_at, own_at, upstream_at == own_at, file="f"))
        assert verdict(before, at) == ("fresh", None)
        at += wait
        if at >= ends:
            break
        assert verdict(before, at - 1) == ("fresh", None), "nor until the next probe"


@given(st.lists(st.booleans(), min_size=60, max_size=60), st.floats(0.0, HOUR))
def test_lag_is_found_in_time_although_a_server_as_old_as_the_mirror_answers_most_probes(
    late: list[bool], shift: float
) -> None:
    """One server is updated each hour, another one is as old as the mirror, and each probe reaches one of them."""
    found: Probe | None = None
    said = []
    for hour, asks_late in enumerate(late):
        at = START + hour * HOUR + shift
        upstream_at = START if asks_late and hour % 11 else START + hour * HOUR
        found = continued(found, Probe(at, upstream_at, START, upstream_at == START, file="f"))
        said.append(verdict(found, at))
    missed = next(hour for hour in range(1, 60) if not (late[hour] and hour % 11))
    in_time = missed + int(RULE.max_lag / HOUR) + 11
    assert set(said[:24]) == {("fresh", None)}
    assert set(said[in_time:]) == {("stale", "lag")}
    changes = sum(one != other for one, other in itertools.pairwise(said))
    assert changes == 1, "it changes once and stays"


def test_a_server_that_is_stuck_for_long_does_not_stand_for_the_upstream() -> None:
    found: Probe | None = None
    for hour in range(48):
        at = START + hour * HOUR
        upstream_at = START - 400 * 24 * HOUR if hour % 2 else at
        own_at = START + (hour - hour % 2) * HOUR
        found = continued(found, Probe(at, upstream_at, own_at, upstream_at == own_at, file="f"))
        assert verdict(found, at) == ("fresh", None)


def test_the_last_comparison_holds_for_a_while_when_the_upstream_does_not_answer() -> None:
    before = Probe(10.0, 9.0, 9.0, True, "", 10.0)
    failed = Probe(20.0, None, 9.0, None, "nobody answers")
    kept = continued(before, failed)
    assert kept == before._replace(problem="nobody answers")
    assert continued(kept, Probe(30.0, 9.0, 9.0, True)).problem == ""
    late = failed._replace(at=11.0 + PROBE_LASTS)
    assert continued(kept, late) == late._replace(even_at=10.0)
    assert continued(None, failed) == failed
    assert continued(failed, failed._replace(at=30.0)) == failed._replace(at=30.0)


def test_mirrors_are_probed_after_a_success_and_hourly_but_not_during_a_run(book: Journal) -> None:
    def due(now: float) -> bool:
        assert book.probes_due({}, now, HOUR) == [], "none of its files is to be compared"
        return book.probes_due({"debian": "TIME"}, now, HOUR) == ["debian"]

    run = book.begin(None, SUBJECT, 0.0)
    assert run is not None
    assert not due(1.0), "it is at work, and had no success"
    book.end(run, "debian", Ending("success"), 10.0)
    assert due(10.0)
    book.probed("debian", Probe(11.0, 5.0, 5.0, True), 11.0)
    assert (due(12.0), due(11.0 + HOUR), due(11.0 - HOUR)) == (False, True, True)
    run = book.begin(None, SUBJECT, 20.0)
    assert run is not None
    assert not due(11.0 + HOUR), "it is at work"
    book.end(run, "debian", Ending("failed"), 30.0)
    assert (due(31.0), due(11.0 + HOUR)) == (False, True)
    override_store.override(book, [SUBJECT], "paused", "ada", 40.0)
    assert not due(11.0 + HOUR)


def test_a_new_timestamp_file_is_compared_at_once(book: Journal) -> None:
    run = book.begin(None, SUBJECT, 0.0)
    assert run is not None
    book.end(run, "debian", Ending("success"), 10.0)
    for file, expected in (("TIME", []), ("state", ["debian"]), (None, [])):
        book.probed("debian", Probe(11.0, 5.0, 5.0, True, file=file), 11.0)
        assert book.probes_due({"debian": "TIME"}, 12.0, HOUR) == expected


def test_a_probe_is_reported_and_stays_in_later_reports(book: Journal) -> None:
    run = book.begin(None, SUBJECT, 0.0)
    assert run is not None
    book.end(run, "debian", Ending("success"), 10.0)
    found = Probe(11.0, None, 4.0, None, "the upstream is gone")
    assert book.probe("debian") is None
    book.probed("debian", found, 11.0)
    assert book.probe("debian") == found
    book.outbox.snapshot(0, 12.0)

    statuses = [status for report in book.outbox.oldest(100, 10**9) for status in report["statuses"]]

    assert [status["probe"] for status in statuses] == [found._asdict()]


def test_a_probe_starts_the_machines_own_rsync_and_never_a_definitions_program(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("own", "evil"):
        program = tmp_path / name / "rsync"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\nenv > {tmp_path}/{name}.env\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/own:/usr/bin:/bin")
    for name in ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"):
        monkeypatch.setenv(name, str(tmp_path))
    (tmp_path / "word").write_text("sesame\n")
    env = {"RSYNC_RSH": str(tmp_path / "evil/rsync"), "RSYNC_PROXY": "p.example:1"}
    mirror = Mirror("m", "w", "rsync", "rsync://127.0.0.1:9/m/", freshness=FreshnessFile("x"), env=env)
    mirror = mirror._replace(command=str(tmp_path / "evil/rsync"), password=Secret(file=str(tmp_path / "word")))

    probe(Planned(mirror, paths, "a" * 40), Machine(env=("*",)))

    assert not (tmp_path / "evil.env").exists()
    seen = (tmp_path / "own.env").read_text()
    assert "RSYNC_PASSWORD=sesame" in seen
    assert "RSYNC_PROXY=p.example:1" in seen
    assert not any(name in seen for name in ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "RSYNC_RSH"))


def test_a_mirror_whose_password_is_a_credential_is_not_compared(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "token").write_text("secret\n")
    mirror = Mirror("m", "w", "rsync", "rsync://127.0.0.1:9/m/", freshness=FreshnessFile("x"))
    found = probe(Planned(mirror._replace(password=Secret(credential="token")), paths, "a" * 40), Machine())
    assert "the password `token` is a credential, which only runs get" in found.problem
