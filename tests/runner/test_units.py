"""How are the answers of the service manager read? A program in the place of `systemctl` gives them, also bad ones."""

import stat
import time
from pathlib import Path

import pytest

from runner.base.state_dir import StateLayout
from runner.subprocesses import launch, units
from schemas.records import Mirror

MIRRORS = {name: Mirror(name, "w1", "rsync", "rsync://x.example/x/") for name in ("a", "b-c", "d.e")}


def systemctl(folder: Path, script: str) -> tuple[str, ...]:
    path = folder / "systemctl"
    path.write_text(f'#!/bin/sh\necho "$@" >>{folder}/asked\n{script}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return (str(path),)


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text().splitlines()


def test_all_are_started_in_one_call_and_without_waiting(tmp_path: Path) -> None:
    assert units.start(systemctl(tmp_path, ""), str(tmp_path), MIRRORS) == {}
    names = "skipjack-run@a.service skipjack-run@b-c.service skipjack-run@d.e.service"
    assert asked(tmp_path) == [f"--no-ask-password --no-block start {names}"]


@pytest.mark.parametrize(
    ("said", "failed", "reason"),
    [
        ("Failed to start skipjack-run@b-c.service: Access denied", {"b-c"}, "polkit rule is missing"),
        (
            "Failed to start skipjack-run@a.service: Interactive authentication required.\n"
            "See system logs and systemctl status skipjack-run@a.service for details.",
            {"a"},
            "authentication required. (run `skipjack install`",
        ),
        ("Failed to start skipjack-run@a.service: Unit skipjack-run@a.service not found.", {"a"}, "skipjack install"),
        ("Failed to connect to bus: No such file or directory", set(MIRRORS), "Failed to connect to bus"),
        ("", set(MIRRORS), "without a message"),
    ],
)
def test_a_refused_start_is_reported_for_each_of_its_units(
    tmp_path: Path, said: str, failed: set[str], reason: str
) -> None:
    found = units.start(systemctl(tmp_path, f"echo '{said}' >&2; exit 1"), str(tmp_path), MIRRORS)
    assert set(found) == failed
    assert all(reason in why for why in found.values())


def test_a_missing_systemctl_is_reported(tmp_path: Path) -> None:
    found = units.start((str(tmp_path / "gone"),), str(tmp_path), MIRRORS)
    assert set(found) == set(MIRRORS) and "not found" in found["a"]


def test_a_timeout_is_not_a_failure_since_the_units_may_have_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(units, "PATIENCE", 0.1)
    monkeypatch.setattr(units, "_PATIENCE_PER_UNIT", 0.0)
    assert units.start(systemctl(tmp_path, "exec sleep 60"), str(tmp_path), MIRRORS) == {}
    assert "did not answer within 0.1 s" in capfd.readouterr().err


def test_limits_are_set_when_they_change_and_lifted_when_they_are_removed(tmp_path: Path) -> None:
    manager, run_dir = systemctl(tmp_path, ""), str(tmp_path)
    limited = {"a": MIRRORS["a"]._replace(memory_limit=2**20, cpu_limit="50%")}
    for mirrors in (limited, limited, {"a": MIRRORS["a"]}, {"a": MIRRORS["a"]}):
        assert units.start(manager, run_dir, mirrors) == {}
    sets = [line.partition("skipjack-run@a.service ")[2] for line in asked(tmp_path) if "set-property" in line]
    assert sets == ["MemoryMax=1048576 CPUQuota=50% IOWeight=", "MemoryMax=infinity CPUQuota= IOWeight="]


def test_a_limit_that_is_refused_starts_nothing(tmp_path: Path) -> None:
    manager = systemctl(tmp_path, 'case "$*" in *set-property*) echo "Access denied"; exit 1;; esac')
    mirrors = MIRRORS | {"a": MIRRORS["a"]._replace(io_weight=50)}
    found = units.start(manager, str(tmp_path), mirrors)
    assert set(found) == {"a"} and "cannot set its limits" in found["a"]
    assert asked(tmp_path)[-1].endswith("start skipjack-run@b-c.service skipjack-run@d.e.service")


SHOWN = """Id=skipjack-run@{name}.service
ActiveState={active}
Result={result}
ExecMainStatus={status}
ExecMainStartTimestamp={begun}
Job={job}
"""


@pytest.mark.parametrize(
    ("active", "result", "status", "begun", "job", "pending", "before", "failure"),
    [
        ("active", "success", "0", "@{after}", "", True, False, ""),
        ("inactive", "success", "0", "", "17", True, False, ""),
        ("failed", "exit-code", "1", "@{earlier}", "", False, True, "exit-code 1"),
        ("failed", "exit-code", "243", "@{after}", "", False, False, "a credential is missing (exit-code 243)"),
        ("failed", "resources", "0", "@{earlier}", "", False, False, "resources 0"),
        ("failed", "signal", "9", "@{after}", "", False, False, "signal 9"),
        ("inactive", "success", "0", "@{earlier}", "", False, True, ""),
    ],
)
def test_the_outcome_of_a_unit(
    tmp_path: Path, active: str, result: str, status: str, begun: str, job: str,
    pending: bool, before: bool, failure: str,
) -> None:  # fmt: skip
    launched = time.time()
    moment = begun.format(after=int(launched), earlier=int(launched) - 5)
    text = SHOWN.format(name="b-c", active=active, result=result, status=status, begun=moment, job=job)
    (tmp_path / "shown").write_text(text)
    found = units.outcomes(systemctl(tmp_path, f"cat {tmp_path}/shown"), ["b-c"])["b-c"]
    assert (found.pending, found.is_of_before(launched)) == (pending, before)
    assert failure in found.failure


def test_without_an_installation_there_are_no_units(tmp_path: Path) -> None:
    layout = StateLayout(str(tmp_path))
    assert launch.service_manager(layout) is None
    for text, words in (("systemd\n", ("systemctl",)), ("systemd --user\n", ("systemctl", "--user")), ("x", None)):
        Path(layout.launcher).write_text(text)
        assert launch.service_manager(layout) == words
