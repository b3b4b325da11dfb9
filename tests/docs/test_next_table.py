"""The table that docs/scheduling.md shows is what `skipjack next` prints in that state."""

from datetime import UTC, datetime

import pytest

from runner.plan import schedule
from runner.plan.plan import Due
from runner.plan.schedule import OperatorRequest, Rules, State, World
from runner.tick.next_runs import _say_table, rows_of
from schemas.mirror_record import SyncWindows
from schemas.states import FAILED, NONE, SUCCESS, SYNCING

from .pages import blocks

HOUR, DAY = 3600, 86400
NIGHT = SyncWindows(allowed=("22:00-06:00",))


def at(day: int, hour: int, minute: int, second: int = 0) -> float:
    return datetime(2026, 11, day, hour, minute, second, tzinfo=UTC).timestamp()


NOW = at(22, 16, 58, 12)
MIRRORS = [
    Due("fedora", 6 * HOUR),
    Due("debian", 6 * HOUR),
    Due("ubuntu", 6 * HOUR),
    Due("cpan", 6 * HOUR, sync_windows=NIGHT),
    Due("archlinux", 6 * HOUR),
    Due("ctan", DAY, cron="30 4 * * *", jitter=HOUR),
    Due("gnu", 6 * HOUR, backoff_limit=DAY),
    Due("debian-cd", 6 * HOUR, after=("debian",)),
    Due("videolan", 6 * HOUR),
]
STATES = {
    "fedora": State(SUCCESS, at(22, 10, 0), NOW - 6 * HOUR),
    "debian": State(SYNCING, at(22, 16, 50), at(22, 10, 0)),
    "ubuntu": State(SYNCING, at(22, 16, 50), at(22, 10, 0)),
    "cpan": State(SUCCESS, at(22, 5, 0), at(22, 5, 30)),
    "archlinux": State(SUCCESS, at(22, 16, 50), at(22, 16, 52)),
    "ctan": State(SUCCESS, at(22, 4, 31), at(22, 5, 0)),
    "gnu": State(FAILED, at(22, 16, 50), at(22, 16, 51), failures=4),
    "debian-cd": State(SUCCESS, at(22, 9, 0), at(22, 9, 30)),
    "videolan": State(NONE),
}


def test_the_table_of_the_page_is_what_next_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jitter is any, but that of a mirror is always the same: here ctan's is a minute."""
    [block] = [each for each in blocks("docs/scheduling.md", "console") if each.first == "$ skipjack next"]
    monkeypatch.setattr(schedule, "_share", lambda _worker, name: 1 / 60 if name == "ctan" else 0.0)
    requests = {"videolan": OperatorRequest("disabled", made_at=at(22, 12, 11), made_by="ada")}
    world = World(Rules("w1", 2), STATES, requests, frozenset(STATES))
    _say_table(rows_of(MIRRORS, world, NOW), UTC, NOW)
    assert capsys.readouterr().out.splitlines() == block.text.splitlines()[1:]
