"""The stamp of a plan: a run that has read a plan need not read it again until follow replaces it."""

import os
from pathlib import Path

import pytest

from runner.base.mirror_paths import Paths
from runner.base.state_dir import StateLayout
from runner.plan import plan
from runner.plan.plan import Header, Planned
from runner.run import active_run
from schemas import sqlite_database
from schemas.mirror_record import Mirror


@pytest.fixture
def layout(tmp_path: Path) -> StateLayout:
    made = StateLayout(str(tmp_path))
    write(made, "a")
    return made


def write(layout: StateLayout, *names: str) -> None:
    mirrors = [
        Planned(Mirror(name, "w1", "command", "https://x.example/"), Paths(f"/srv/{name}", "/srv", "/log"), "a" * 40)
        for name in names
    ]
    plan.write(layout.plan, Header("w1", 1, "a" * 40, "a" * 40, "x", layout.state_dir), mirrors)


def test_a_plan_has_another_stamp_after_it_was_replaced_within_one_tick_of_the_clock(layout: StateLayout) -> None:
    with plan.opened(layout.plan) as opened:
        first = opened.stamp
    before = Path(layout.plan).stat()
    assert plan.stamp_of(layout.plan) == first

    write(layout, "a")
    os.utime(layout.plan, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert plan.stamp_of(layout.plan) not in (first, None)
    Path(layout.plan).unlink()
    assert plan.stamp_of(layout.plan) is None


def test_a_run_reads_the_plan_again_only_after_it_was_replaced(
    layout: StateLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = plan.stamp_of(layout.plan)
    assert seen is not None
    read: list[str] = []
    has = plan.Plan.has

    def counted(opened: plan.Plan, name: str) -> bool:
        read.append(name)
        return has(opened, name)

    monkeypatch.setattr(plan.Plan, "has", counted)

    assert active_run.is_planned(layout, "a", seen) and not read

    write(layout, "b")
    assert not active_run.is_planned(layout, "a", seen)
    assert active_run.is_planned(layout, "b", seen)
    assert read[0] == "a" and read[-1] == "b"


def test_a_plan_that_was_replaced_while_it_was_opened_counts_as_another_one(
    layout: StateLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite_database.connect

    def late(path: str, options: str) -> object:
        if options.startswith("mode=ro"):
            write(layout, "b")
        return connect(path, options)

    monkeypatch.setattr(sqlite_database, "connect", late)
    with plan.opened(layout.plan) as opened:
        assert opened.has("b") and opened.stamp != plan.stamp_of(layout.plan)
