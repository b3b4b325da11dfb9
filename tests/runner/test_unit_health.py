"""The health of units by the answers of the service manager, which a fake `systemctl` gives."""

import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.base import next_wake, start_requests
from runner.base.state_dir import StateLayout
from runner.subprocesses import launch, unit_health
from runner.subprocesses.unit_health import Dead

HEALTHY = {"LoadState": "loaded", "ActiveState": "active", "Result": "success", "ExecMainStatus": "0"}


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateLayout:
    """Return a worker's folder on a machine whose `systemctl` gives the answers that `answer` sets."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "launcher").write_text("systemd\n")
    answer(tmp_path)
    return StateLayout(str(tmp_path))


def answer(folder: Path, units: Mapping[str, dict[str, str]] = {}, start: int = 0) -> None:
    """Let `systemctl show` report all units but some as healthy, and `start` exit with a code."""
    names = (*unit_health.STARTERS, *unit_health.SERVICES)
    blocks = [{"Id": name} | HEALTHY | units.get(name, {}) for name in names]
    shown = "\n\n".join("\n".join(f"{key}={value}" for key, value in block.items()) for block in blocks)
    (folder / "shown").write_text(shown + "\n")
    program = folder / "bin" / "systemctl"
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{folder}/asked\n'
        f'case "$*" in *" start "*) echo denied >&2; exit {start};; esac\ncat {folder}/shown\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def started(folder: Path) -> list[str]:
    return [line for line in (folder / "asked").read_text().splitlines() if " start " in line]


def restarted(folder: Path) -> list[str]:
    return [line for line in (folder / "asked").read_text().splitlines() if " try-restart " in line]


def test_a_check_of_healthy_units_starts_nothing_and_is_recorded(layout: StateLayout, tmp_path: Path) -> None:
    assert unit_health.check(layout) == [] == unit_health.remembered(layout)
    assert started(tmp_path) == [] and (tmp_path / "units").exists()


def test_all_failed_units_are_started_again_in_one_call(layout: StateLayout, tmp_path: Path) -> None:
    failed = {"ActiveState": "failed", "Result": "trigger-limit-hit"}
    answer(tmp_path, {"skipjack-tick.path": failed, "skipjack-follow.timer": failed | {"Result": "resources"}}, 1)
    dead = unit_health.check(layout)
    assert started(tmp_path) == ["--no-ask-password start skipjack-follow.timer skipjack-tick.path"]
    assert dead == [
        Dead(
            "skipjack-follow.timer",
            "It has failed (resources).",
            "Start it again: `systemctl start skipjack-follow.timer`.",
        ),
        Dead(
            "skipjack-tick.path",
            "It has failed (trigger-limit-hit).",
            "Start it again: `systemctl start skipjack-tick.path`.",
        ),
    ]
    assert unit_health.remembered(layout) == dead


@pytest.mark.parametrize(
    ("unit", "found", "what"),
    [
        ("skipjack-tick.timer", {"ActiveState": "inactive"}, "It is stopped, so it starts nothing."),
        ("skipjack-tick.path", {"LoadState": "masked", "ActiveState": "inactive"}, "It is masked."),
        ("skipjack-measure.path", {"LoadState": "not-found", "ActiveState": "inactive"}, "It is not-found."),
        ("skipjack-courier.timer", {"LoadState": "not-found", "ActiveState": "inactive"}, ""),
        (
            "skipjack-tick.service",
            {"ActiveState": "activating", "Result": "exit-code", "ExecMainStatus": "226"},
            "It cannot run: a folder that it may write to is missing (exit-code 226).",
        ),
        ("skipjack-tick.service", {"ActiveState": "failed", "Result": "resources"}, "It cannot run: resources 0."),
        ("skipjack-follow.service", {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "1"}, ""),
        ("skipjack-follow.service", {"ActiveState": "inactive"}, ""),
        ("skipjack-tick.service", {"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "15"}, ""),
        (
            "skipjack-tick.service",
            {"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "11"},
            "It cannot run: signal 11.",
        ),
    ],
)
def test_units_that_cannot_be_started_again_are_reported(
    layout: StateLayout, tmp_path: Path, unit: str, found: dict[str, str], what: str
) -> None:
    answer(tmp_path, {unit: found})
    assert [dead.what for dead in unit_health.check(layout)] == ([what] if what else [])
    assert started(tmp_path) == []


LOST = {
    "UnitFileState": "enabled",
    "ActiveState": "inactive",
    "Job": "",
    "ConditionTimestampMonotonic": "0",
    "InactiveEnterTimestampMonotonic": "0",
}


def test_a_path_unit_whose_disk_was_not_mounted_at_boot_is_started(layout: StateLayout, tmp_path: Path) -> None:
    answer(tmp_path, {"skipjack-tick.path": LOST}, 1)
    dead = Dead("skipjack-tick.path", "It could not start at boot.", "Start it: `systemctl start skipjack-tick.path`.")
    assert unit_health.look(layout) == [dead]
    assert unit_health.check(layout) == [dead]
    assert started(tmp_path) == ["--no-ask-password start skipjack-tick.path"]


@pytest.mark.parametrize(
    "found",
    [
        {"InactiveEnterTimestampMonotonic": "123"},
        {"UnitFileState": "disabled"},
        {"LoadState": "masked", "UnitFileState": "masked"},
        {"Job": "42"},
        {"ConditionTimestampMonotonic": "123"},
    ],
    ids=["stopped by a person", "disabled", "masked", "about to start", "with a condition"],
)
def test_other_inactive_path_units_stay_as_they_are(layout: StateLayout, tmp_path: Path, found: dict[str, str]) -> None:
    answer(tmp_path, {"skipjack-tick.path": LOST | found})
    assert [dead.unit for dead in unit_health.check(layout)] == ["skipjack-tick.path"]
    assert started(tmp_path) == []


def request(layout: StateLayout, name: str, seconds: float) -> None:
    start_requests.leave(layout, name)
    at = time.time() - seconds
    os.utime(layout.start_request(name), (at, at))


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("tick", "skipjack-tick.path"),
        ("start", "skipjack-tick.path"),
        ("follow", "skipjack-follow.path"),
        ("measure/debian", "skipjack-measure.path"),
    ],
)
def test_a_path_unit_that_does_not_see_a_request_is_restarted(
    layout: StateLayout, tmp_path: Path, name: str, unit: str
) -> None:
    service = unit.replace(".path", ".service")
    answer(tmp_path, {service: {"ActiveState": "inactive"}})
    request(layout, name, 70.0)
    dead = [Dead(unit, "It does not see its start requests.", f"Restart it: `systemctl restart {unit}`.")]
    assert unit_health.look(layout) == dead == unit_health.check(layout)
    assert restarted(tmp_path) == [f"--no-ask-password try-restart {unit}"]


def test_a_path_unit_is_not_restarted_for_a_request_that_is_young_or_served(
    layout: StateLayout, tmp_path: Path
) -> None:
    idle = {"ActiveState": "inactive"}
    answer(tmp_path, {"skipjack-tick.service": idle, "skipjack-measure.service": idle, "skipjack-tick.path": idle})
    start_requests.leave(layout, "measure/debian")
    for name in ("follow", "tick", "measure/.hidden"):
        request(layout, name, 70.0)
    assert [dead.what for dead in unit_health.check(layout)] == ["It is stopped, so it starts nothing."]
    assert restarted(tmp_path) == []


def test_folders_of_start_requests_that_cannot_be_written_are_reported(
    layout: StateLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(layout.start_request("measure"))
    folder.mkdir(parents=True)
    answer(tmp_path, {"skipjack-tick.service": {"ActiveState": "inactive"}})
    request(layout, "tick", 70.0)
    monkeypatch.setattr(os, "access", lambda path, _mode: path != str(folder.parent))
    [dead] = unit_health.check(layout)
    assert dead.unit == "start requests"
    assert dead.what == f"The folder {folder.parent} cannot be written, so they are delayed."
    assert restarted(tmp_path) == [], "a restart would not help"

    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "start requests" not in [dead.unit for dead in unit_health.look(layout)], "not to a user who may only look"


def test_a_unit_writes_the_name_of_its_service_manager_again(
    layout: StateLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launcher = tmp_path / "launcher"
    launcher.unlink()
    for name, restored in (("", False), ("another", False), ("systemd --user", True), ("systemd", True)):
        monkeypatch.setenv(launch.SERVICE_MANAGER, name)
        launch.restore_service_manager(layout)
        assert (launcher.exists(), "was lost" in capsys.readouterr().err) == (restored, name == "systemd --user")
    assert launch.service_manager(layout) == ("systemctl", "--user"), "an existing file stays"
    launch.restore_service_manager(StateLayout(str(tmp_path / "none")))
    assert not (tmp_path / "none").exists()


def test_a_service_manager_that_does_not_answer_is_reported(layout: StateLayout, tmp_path: Path) -> None:
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\nexit 1\n")
    assert [dead.unit for dead in unit_health.check(layout)] == ["systemd"]


def test_look_starts_nothing_and_records_nothing(layout: StateLayout, tmp_path: Path) -> None:
    answer(tmp_path, {"skipjack-tick.path": {"ActiveState": "failed", "Result": "trigger-limit-hit"}})
    assert [dead.unit for dead in unit_health.look(layout)] == ["skipjack-tick.path"]
    assert started(tmp_path) == [] and not (tmp_path / "units").exists()


def test_a_tick_is_not_idle_if_the_last_check_of_units_is_old(layout: StateLayout) -> None:
    now = time.time()
    assert not next_wake.are_units_unchecked(layout, now), "never checked: there may be no units"
    unit_health.check(layout)
    assert not next_wake.are_units_unchecked(layout, now)
    os.utime(layout.units, (now - 601, now - 601))
    assert next_wake.are_units_unchecked(layout, now)
    unit_health.check(layout)
    assert not next_wake.are_units_unchecked(layout, time.time())


def test_without_units_ticks_do_not_check_them(layout: StateLayout, tmp_path: Path) -> None:
    unit_health.check(layout)
    (tmp_path / "launcher").unlink()
    assert unit_health.check(layout) == [] and not (tmp_path / "units").exists()
