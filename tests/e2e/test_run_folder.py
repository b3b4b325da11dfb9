"""What a reboot takes away: the run folder; and units that have died. Neither stops mirrors and reports in silence."""

import os
from pathlib import Path

import pytest

from tests.e2e.parts import ConfigRepository, Manager, RsyncDaemon, Worker, wait_until


def problems(manager: Manager) -> list[dict[str, str]]:
    """What the page shows of the worker's problems."""
    found = (manager.published() or {}).get("workers", [])
    return [problem for worker in found for problem in worker["problems"]]


def test_without_its_run_folder_a_worker_syncs_and_reports_and_prints_a_warning(
    reporter: Worker, manager: Manager, repository: ConfigRepository, upstream: RsyncDaemon
) -> None:
    # What would be measured in the background would be reported later.
    repository.commit({"a.yml": f"upstream: {upstream.url('files')}\nmeasure_size: false\n"}, "Add a mirror")
    (reporter.folder / "run").write_text("in the way")
    done = reporter.command("once", check=False)
    assert done.returncode == 1
    assert f"cannot use the run folder {reporter.folder}/run: File exists." in done.stderr
    assert "`skipjack install --cron`" in done.stderr
    assert reporter.states() == {"a": "success"} and reporter.pending() == 0
    assert manager.job("a")["status"] == "success"
    wait_until(lambda: [each["place"] for each in problems(manager)] == ["run_dir"], "the page shows it")
    (reporter.folder / "run").unlink()
    assert reporter.command("once").returncode == 0
    wait_until(lambda: problems(manager) == [], "the page does not show it any more")


def test_once_prints_which_plan_it_uses(worker: Worker, repository: ConfigRepository, upstream: RsyncDaemon) -> None:
    repository.commit({"a.yml": f"upstream: {upstream.url('files')}\ninterval: 1s\n"}, "Add a mirror")
    worker.command("once")
    commit = repository.git("rev-parse", "HEAD")
    made = (worker.state / "plan.db").stat().st_mtime
    os.utime(worker.state / "plan.db", (made - 3 * 86400, made - 3 * 86400))
    repository.remote.rename(repository.remote.with_suffix(".gone"))
    before = worker.run_of("a")
    done = worker.command("once", check=False)
    assert done.returncode == 1
    assert "follow: the plan in force stays in use, made 3d" in done.stderr
    assert f"ago from revision {commit[:12]}" in done.stderr
    wait_until(lambda: worker.command("once", check=False) and worker.run_of("a") != before, "it is still synced")


def test_a_failed_unit_is_shown_on_the_page_until_it_runs_again(
    reporter: Worker, manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter.command("follow")
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.parent.mkdir()
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")

    def let(state: str) -> None:
        systemctl.write_text(
            "#!/bin/sh\nfor name; do case $name in *.timer|*.path|*.service)\n"
            f"echo Id=$name; echo LoadState=loaded; echo ActiveState={state}; echo Result=success; echo\n"
            "esac; done\n"
        )
        systemctl.chmod(0o755)

    let("inactive")
    (reporter.state / "launcher").write_text("systemd\n")
    reporter.command("follow", "--start")
    reporter.command("courier")
    wait_until(lambda: "skipjack-tick.path" in [each["place"] for each in problems(manager)], "the page shows it")
    shown = next(each for each in problems(manager) if each["place"] == "skipjack-tick.path")
    assert shown["what"] == "It is stopped, so it starts nothing." and "systemctl start" in shown["todo"]
    let("active")
    reporter.command("follow", "--start")
    reporter.command("courier")
    wait_until(lambda: problems(manager) == [], "the page does not show it any more")
