"""Which of the mirror's own files are looked at, and which mirrors are probed when."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import journal
from runner.journal import Ending, Journal, Subject
from runner.paths import Paths
from runner.probe import NotRead, _own, continued, is_probed
from schemas.freshness import PROBE_LASTS
from schemas.records import FreshnessFile, Mirror
from schemas.report import Probe

SUBJECT = Subject("debian", "rsync://rsync.example.org/debian/", True, "a" * 40)
HOUR = 3600.0


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    (tmp_path / "m").mkdir()
    (tmp_path / "outside").write_text("1")
    return Paths(str(tmp_path / "m"), str(tmp_path), str(tmp_path / "logs"))


def test_a_link_within_the_mirror_is_followed_and_none_out_of_it(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "m/real").write_text("2")
    (tmp_path / "m/inner").symlink_to("real")
    (tmp_path / "m/outer").symlink_to("../outside")

    assert _own(paths, "inner") == b"2"
    with pytest.raises(NotRead, match="outer leads out of the mirror"):
        _own(paths, "outer")


@pytest.mark.parametrize("upstream", ["git://h.example/x", "h", ""])
def test_an_inherited_file_of_an_upstream_that_cannot_be_asked_is_passed_over(upstream: str) -> None:
    mirror = Mirror("m", "w1", "command", "https://h.example/", freshness=FreshnessFile("x"))
    assert is_probed(mirror)
    assert not is_probed(mirror._replace(upstream=upstream))
    assert not is_probed(mirror._replace(freshness=None))


def test_when_a_mirror_was_last_even_with_its_upstream_is_carried_on() -> None:
    even = continued(None, Probe(10.0, None, None, True))
    assert even.even_at == 10.0
    behind = continued(even, Probe(20.0, 19.0, 9.0, False))
    assert (behind.even_at, behind.own_at) == (10.0, 9.0)
    assert continued(behind, Probe(30.0, 19.0, 25.0, False)).even_at == 30.0, "ours is ahead"
    assert continued(None, Probe(20.0, 19.0, 9.0, False)).even_at is None


def test_an_upstream_that_does_not_answer_takes_the_former_comparison_away_only_after_a_while() -> None:
    before = Probe(10.0, 9.0, 9.0, True, "", 10.0)
    failed = Probe(20.0, None, 9.0, None, "nobody answers")
    kept = continued(before, failed)
    assert kept == before._replace(problem="nobody answers")
    assert continued(kept, Probe(30.0, 9.0, 9.0, True)).problem == ""
    late = failed._replace(at=11.0 + PROBE_LASTS)
    assert continued(kept, late) == late._replace(even_at=10.0)
    assert continued(None, failed) == failed
    assert continued(failed, failed._replace(at=30.0)) == failed._replace(at=30.0)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Journal]:
    with journal.opened(str(tmp_path / "journal.db")) as opened:
        yield opened


def test_mirrors_are_probed_after_a_success_each_hour_and_only_at_rest(book: Journal) -> None:
    def due(now: float) -> bool:
        return book.probes_due(now, HOUR) == ["debian"]

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
    book.override([SUBJECT], "paused", "ada", 40.0)
    assert not due(11.0 + HOUR)


def test_a_probe_is_reported_and_stays_in_later_reports(book: Journal) -> None:
    run = book.begin(None, SUBJECT, 0.0)
    assert run is not None
    book.end(run, "debian", Ending("success"), 10.0)
    found = Probe(11.0, None, 4.0, None, "the upstream is gone")
    assert book.probe("debian") is None
    book.probed("debian", found, 11.0)
    assert book.probe("debian") == found
    book.snapshot(0, 12.0)

    statuses = [status for report in book.outbox(100, 10**9) for status in report["statuses"]]

    assert [status["probe"] for status in statuses] == [found._asdict()]
