"""What a plan warns of, what the exported policy says, and how the load of a day changes."""

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest

from runner.authoring.policy_export import write
from runner.forecast import day_load
from schemas.config import exported_policy
from schemas.records import Mirror, Policy, Repository, RunnerSettings, SyncWindows, Worker

from .forecasting import BASE, Proposal

GNU = BASE["gnu.yml"]


def warnings(proposal: Proposal) -> list[str]:
    plain = proposal.plain()
    return [note["what"] for worker in plain["workers"] for note in worker["warnings"]]


CHANGES = {
    "max_delete: 100%\n": (
        "No guard before deletions: with `max_delete: 100%` one run may delete all files but the last."
    ),
    "mirror_subdir: sub\n": (
        "The directory changes from `/srv/mirror/gnu` to `/srv/mirror/sub/gnu`: all files are fetched again."
    ),
    "provider: two-stage-rsync\n": (
        "The provider changes from `rsync` to `two-stage-rsync`: it may replace or delete files."
    ),
    "exec_on_success: [/opt/notify x]\n": "`exec_on_success` starts `/opt/notify` on the worker.",
    "username: u\npassword: {file: /etc/skipjack/secrets/gnu}\n": (
        "The password `/etc/skipjack/secrets/gnu` must exist on the worker."
    ),
    "rsync_options: [--max-delete=10]\n": (
        "`--max-delete=10` in `rsync_options` is a second limit beside the deletion guard. Write `max_delete: 10`"
        " instead (it is `50%` now)."
    ),
}


@pytest.mark.parametrize("lines", CHANGES)
def test_a_doubtful_change_is_warned_of_only_when_it_comes(proposal: Proposal, lines: str) -> None:
    proposal.commit({"gnu.yml": GNU + lines})
    assert warnings(proposal) == [CHANGES[lines]]
    proposal.accept()
    proposal.commit({"gnu.yml": f"{GNU}{lines}retry: 7\n"})
    assert warnings(proposal) == []


def test_another_upstream_is_warned_of(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": GNU.replace("up.", "other.")})
    assert warnings(proposal) == ["Another upstream: the next run deletes the files that it does not have."]


def test_a_warning_that_many_mirrors_share_is_shown_once(proposal: Proposal) -> None:
    proposal.commit({"_defaults.yml": f"{BASE['_defaults.yml']}max_delete: 100%\n"})
    assert "  warning: debian, gnu: No guard before deletions: " in proposal.plan()


def test_a_rename_without_formerly_is_named_with_its_remedy(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": None, "software/GNU.yml": f"{GNU}title: GNU\n"})
    assert warnings(proposal) == [
        "Its upstream is that of `gnu`, which this removes: without `formerly` it is a new mirror, not a renamed one."
    ]
    assert "  warning: GNU: Its upstream is that of `gnu`" in proposal.plan()
    assert "Write `formerly: [gnu]` to keep its history.\n" in proposal.plan()
    proposal.commit({"software/GNU.yml": f"{GNU}formerly: [gnu]\n"})
    assert warnings(proposal) == []
    proposal.commit({"software/GNU.yml": "upstream: rsync://up.example.org/other/\n"})
    assert warnings(proposal) == []
    proposal.commit({"software/GNU.yml": GNU, "gnu.yml": f"{GNU}worker: w2\n"})
    assert warnings(proposal) == []  # a further copy elsewhere removes nothing


def test_many_renames_without_formerly_share_a_warning(proposal: Proposal) -> None:
    many = {f"m{number}.yml": f"upstream: rsync://h{number}.example.org/m/\n" for number in range(6)}
    proposal.commit(many)
    proposal.accept()
    proposal.commit(dict.fromkeys(many) | {f"n{name}": text for name, text in many.items()})
    (warning,) = proposal.plain()["workers"][0]["warnings"]
    assert warning["mirrors"] == [f"nm{number}" for number in range(6)]
    assert warning["what"].startswith("Each has the upstream of a mirror that this removes: ")


def test_many_connections_to_one_host_are_warned_of(proposal: Proposal) -> None:
    more = {f"m{number}.yml": f"upstream: rsync://UP.example.org/m{number}/\nworker: [w1, w2]\n" for number in range(5)}
    proposal.commit(more)
    found = [note["what"] for note in proposal.plain()["warnings"]]
    assert found == ["Up to 6 connections at once to `up.example.org`, 2 before this change."]
    proposal.accept()
    proposal.commit({"new.yml": "upstream: rsync://up.example.org/new/\n"})
    assert proposal.plain()["warnings"] == []


@pytest.fixture
def exported(tmp_path: Path) -> str:
    """The text of an exported policy of w1, whose mirrors are in /data."""
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/_site.yml").touch()
    settings = RunnerSettings("w1", Repository(""), "/data")
    policy = exported_policy.exported(settings, Policy(programs=("/opt/sync",)), "1")
    with redirect_stderr(io.StringIO()):
        write(tmp_path / "policy", [policy])
    return (tmp_path / "policy/.skipjack/policies/w1.yml").read_text()


RUNS = "upstream: https://h.example.org/gnu/\nprovider: command\ncommand: {}\n"


def verdict(proposal: Proposal, *more: str) -> Any:
    worker = proposal.plain(*more)["workers"][0]
    return worker["policy"]["state"], [note["what"] for note in worker["policy"]["denied"]]


def test_the_exported_policy_decides_and_names_the_folders(proposal: Proposal, exported: str) -> None:
    proposal.commit({".skipjack/policies/w1.yml": exported, "gnu.yml": RUNS.format("/opt/sync")})
    code, out, _err = proposal.run("main..topic")
    assert (code, "  policy: allowed\n" in out) == (0, True)
    assert "note: The exported policy of w1 changes as well." in out
    proposal.accept()
    proposal.commit({"debian.yml": None, "gnu.yml": RUNS.format("/opt/other")})
    assert verdict(proposal) == ("denied", ["`command` runs `/opt/other`, which this machine does not allow."])
    code, out, _err = proposal.run("main..topic")
    assert code == 1
    assert "its data stays in /data/debian\n" in out
    assert "  ~ gnu: denied by the exported policy: nothing changes\n" in out
    assert "  policy: DENIED\n    ! gnu: `command` runs `/opt/other`" in out
    assert out.splitlines()[-1].startswith("Denied: an exported policy does not allow this change.")


def test_a_policy_of_the_command_line_counts_instead(proposal: Proposal, exported: str, tmp_path: Path) -> None:
    file = tmp_path / "w1.yml"
    file.write_text(exported)
    proposal.commit({"gnu.yml": RUNS.format("/opt/other")})
    assert verdict(proposal) == ("none", [])
    assert verdict(proposal, "--policy", str(file))[0] == "denied"
    file.write_text("worker: w1\n")
    code, out, err = proposal.run("main..topic", "--policy", str(file))
    assert (code, out, "is invalid" in err) == (1, "", True)
    code, out, err = proposal.run("main..topic", "--policy", f"{file}x")
    assert (code, out, err.count("\n")) == (1, "", 1)


def test_an_invalid_exported_policy_is_a_problem(proposal: Proposal) -> None:
    proposal.commit({".skipjack/policies/w1.yml": "worker: 1\n", "gnu.yml": f"{GNU}title: GNU\n"})
    code, out, err = proposal.run("main..topic")
    assert (code, err) == (1, "")
    assert "  ! .skipjack/policies/w1.yml:1:" in out


def day(*mirrors: Mirror, windows: SyncWindows | None = None, zone: str = "UTC") -> tuple[float, ...]:
    found = day_load.compare([], mirrors, None, Worker("w1", sync_windows=windows), zone)
    assert found is not None
    return found.after


def timed(cron: str = "", interval: int = 6 * 3600) -> Mirror:
    return Mirror("m", "w1", "rsync", "rsync://up.example.org/m/", cron=cron, interval=interval)


@pytest.mark.parametrize(
    ("cron", "hours"),
    [("0 4 * * *", {4: 1.0}), ("*/30 1,2 * * *", {1: 2.0, 2: 2.0}), ("0 3 * * 0", {3: 0.14}), ("5 0 1 * *", {0: 0.14})],
)
def test_cron_times_count_in_their_hours(cron: str, hours: dict[int, float]) -> None:
    for zone in ("UTC", "Asia/Kolkata", "America/New_York"):
        assert day(timed(cron), zone=zone) == tuple(hours.get(hour, 0.0) for hour in range(24))


def test_an_interval_counts_evenly_and_waits_for_sync_windows() -> None:
    assert day(timed(interval=3600)) == (1.0,) * 24
    night = day(timed(interval=3600), windows=SyncWindows(("22:00-02:00",)))
    assert night == tuple({22: 2.0, 23: 1.0, 0: 1.0, 1: 1.0}.get(hour, 0.0) for hour in range(24))
    rare = day(timed(interval=24 * 3600), windows=SyncWindows(("22:00-02:00",)))
    assert rare[22] == pytest.approx(0.87, abs=0.01)
    assert sum(rare) == pytest.approx(1.0, abs=0.05)


def test_the_load_counts_the_definitions_that_stay_in_force(proposal: Proposal, exported: str) -> None:
    proposal.commit({"gnu.yml": "upstream: bad\n", "debian.yml": "a: [\n"})
    assert proposal.plain()["workers"][0]["load"] is None
    proposal.commit({**BASE, ".skipjack/policies/w1.yml": exported})
    proposal.accept()
    denied = {"gnu.yml": f"{RUNS.format('/opt/other')}interval: 1h\n", "new.yml": RUNS.format("/opt/new")}
    proposal.commit(denied)
    assert proposal.plain()["workers"][0]["load"] is None
    proposal.commit({"new.yml": None, "debian.yml": f"{BASE['debian.yml']}interval: 1h\n"})
    assert sum(proposal.plain()["workers"][0]["load"]["after"]) == pytest.approx(28, abs=0.1)


def test_the_load_is_shown_when_it_changes(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": f"{GNU}cron: '0 4 * * *'\n"})
    plan = proposal.plan()
    assert "  load: 8 -> 5 starts a day, 0.3 -> 1.2 in the busiest hour (04:00), slots 4\n" in plan
    assert "    starts each hour after:  0.2 0.2 0.2 0.2 1.2 0.2" in plan
    proposal.commit({"gnu.yml": f"{GNU}title: GNU\n"})
    assert "load" not in proposal.plan()
