"""Clocks that change by daylight saving or by hand: no mirror runs twice for one due time."""

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from runner.journal import journal
from runner.journal.journal import Ending, Subject
from runner.plan.plan import Due
from runner.plan.schedule import Rules, State, World, decide
from schemas.records import SyncWindows
from schemas.states import INTERRUPTED, SUCCESS, SYNCING

MINUTE, HOUR, DAY = 60, 3600, 86400
NOW = 1_800_000_000.0
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
CHANGES = {
    (BERLIN, "2026-03-29"): "forward",
    (BERLIN, "2026-10-25"): "back",
    (NEW_YORK, "2026-03-08"): "forward",
    (NEW_YORK, "2026-11-01"): "back",
}


class ClockedWorker:
    """One mirror on one worker; runs take five minutes, a tick comes each minute."""

    def __init__(self, zone: str, now: float, **keys: object) -> None:
        self.mirror = Due("m", 6 * HOUR)._replace(**keys)  # type: ignore[arg-type]
        self.rules = Rules("w1", 1, zone)
        self.now, self.states = now, {"m": State(SUCCESS, now - 600, now - 300, now - 300)}
        self.starts: list[float] = []
        self._ends_in = 0

    def run(self, minutes: int) -> None:
        """Let that much time go by."""
        for _ in range(minutes):
            self._tick()
            self.now += MINUTE

    def _tick(self) -> None:
        state = self.states["m"]
        if state.status == SYNCING:
            self._ends_in -= 1
            if not self._ends_in:
                self.states["m"] = state._replace(status=SUCCESS, last_ended_at=self.now, last_success_at=self.now)
        decision = decide([self.mirror], World(self.rules, self.states, {}, frozenset("m")), self.now)
        if decision.stop:
            self.states["m"] = self.states["m"]._replace(status=INTERRUPTED, last_ended_at=self.now)
        if decision.launch:
            self.starts.append(self.now)
            self.states["m"] = state._replace(status=SYNCING, last_started_at=self.now)
            self._ends_in = 5

    @property
    def shown(self) -> list[str]:
        """The starts as the zone's clocks showed them."""
        zone = ZoneInfo(self.rules.time_zone)
        return [datetime.fromtimestamp(moment, zone).strftime("%d %H:%M") for moment in self.starts]


def midnight(zone: str, day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp()


def days(day: str, count: int) -> list[str]:
    first = datetime.fromisoformat(day)
    return [(first + timedelta(days=number)).strftime("%d") for number in range(count)]


@pytest.mark.parametrize(("zone", "day"), CHANGES)
@pytest.mark.parametrize("clock", ["01:30", "02:00", "02:30", "03:00", "12:00"])
def test_a_daily_time_comes_once_a_day_across_daylight_saving(zone: str, day: str, clock: str) -> None:
    hour, minute = clock.split(":")
    machine = ClockedWorker(zone, midnight(zone, day), cron=f"{int(minute)} {int(hour)} * * *")

    machine.run(3 * 24 * 60)

    assert [start[:2] for start in machine.shown] == days(day, 3)
    assert [start[3:] for start in machine.shown][1:] == [clock] * 2


@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_an_hourly_time_comes_in_each_existing_hour(zone: str, day: str) -> None:
    machine = ClockedWorker(zone, midnight(zone, day) + 1, cron="0 * * * *")

    machine.run(24 * 60)

    between = {later - earlier for earlier, later in zip(machine.starts, machine.starts[1:], strict=False)}
    assert between == {HOUR}


@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_an_interval_ignores_daylight_saving(zone: str, day: str) -> None:
    machine = ClockedWorker(zone, midnight(zone, day))

    machine.run(24 * 60)

    assert machine.starts == [midnight(zone, day) - 300 + n * (6 * HOUR + 300) + 6 * HOUR for n in range(3)]


@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_sync_windows_follow_the_clock(zone: str, day: str) -> None:
    windows = SyncWindows(("03:30-05:00",), stop_running=True)
    machine = ClockedWorker(zone, midnight(zone, day), interval=1, sync_windows=windows)

    machine.run(6 * 60)

    assert (machine.shown[0][3:], machine.shown[-1][3:] < "05:00") == ("03:30", True)
    expected = 90 // 6  # five minutes each, and a second of rest
    assert len(machine.starts) == expected


@pytest.mark.parametrize("keys", [{"cron": "30 4 * * *"}, {"interval": DAY}])
def test_a_clock_that_jumps_a_day_forward_makes_a_mirror_due_once(keys: dict[str, object]) -> None:
    machine = ClockedWorker(BERLIN, midnight(BERLIN, "2026-06-01") + 12 * HOUR, **keys)
    machine.run(60)
    assert machine.starts == []

    machine.now += DAY
    machine.run(10 * 60)

    assert machine.shown == ["02 13:00"]


def test_a_clock_set_back_by_a_day_causes_one_run_at_once() -> None:
    machine = ClockedWorker(BERLIN, midnight(BERLIN, "2026-06-10"), cron="30 4 * * *")
    machine.run(12 * 60)
    assert machine.shown == ["10 04:30"]

    machine.now -= DAY
    machine.run(3 * 24 * 60)

    assert machine.shown[1:] == ["09 12:00", "10 04:30", "11 04:30", "12 04:30"]


@pytest.mark.parametrize("seconds", [1, 20, 59])
def test_a_clock_corrected_by_less_than_a_minute_causes_no_second_run(seconds: int) -> None:
    machine = ClockedWorker(BERLIN, midnight(BERLIN, "2026-06-10"), cron="30 4 * * *")
    machine.run(4 * 60 + 31)
    assert machine.shown == ["10 04:30"]

    machine.now -= MINUTE + seconds
    machine.run(12 * 60)

    assert machine.shown == ["10 04:30"]


def test_times_missed_while_the_machine_was_off_run_once() -> None:
    machine = ClockedWorker(BERLIN, midnight(BERLIN, "2026-06-10"), cron="30 4 * * *")
    machine.run(12 * 60)

    machine.now += 5 * DAY
    machine.run(24 * 60)

    assert machine.shown == ["10 04:30", "15 12:00", "16 04:30"]


def test_times_during_a_run_cause_one_further_run() -> None:
    machine = ClockedWorker(BERLIN, midnight(BERLIN, "2026-06-10") + 1, cron="* * * * *")

    machine.run(60)

    assert len(machine.starts) == 12, "one after the other, and never two at once"


def test_a_success_of_a_wrong_clock_counts_from_the_first_run_with_the_right_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subject, ahead = Subject("m", "x", True, "a" * 40), NOW + 5 * 365 * 86400
    with journal.opened(str(tmp_path / "journal.db")) as book:
        run = book.begin(None, subject, ahead)
        assert run is not None
        book.end(run, "m", Ending("success"), ahead + 5)
        for hours in (1, 2, 3):
            run = book.begin(None, subject, NOW + hours * 3600)
            assert run is not None
            book.end(run, "m", Ending("failed"), NOW + hours * 3600 + 5)
        reported = book.outbox.oldest(100, 10**9)[-1]["statuses"][0]

    assert reported["last_success_at"] == NOW + 3600, "and does not move with every run that fails"
    assert capsys.readouterr().err.count("the clock was wrong, so it counts as of now") == 1
