"""The progress of a run, from the program's output to the page, where it disappears when the run has ended."""

from pathlib import Path
from typing import Any

from tests.e2e.parts import ConfigRepository, Manager, Worker, wait_until


def shown(manager: Manager) -> dict[str, Any] | None:
    progress: dict[str, Any] | None = (manager.published("mirrors/m.json") or {"progress": None})["progress"]
    return progress


def test_progress_of_a_run_reaches_the_page_and_leaves_it_with_the_run(
    repository: ConfigRepository, manager: Manager, reporter: Worker, tmp_path: Path
) -> None:
    gate, script = tmp_path / "gate", tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho 45% done\nwhile [ ! -e {gate} ]; do sleep 0.02; done\n")
    script.chmod(0o755)
    text = f"provider: command\nupstream: https://x.example/\ncommand: {script}\nprogress_pattern: '([0-9]+)% done'\n"
    repository.commit({"m.yml": text}, "Add m")
    reporter.command("follow", "--start")  # which starts the run

    try:
        wait_until((reporter.folder / "run/progress/m").exists, "the run tells how far it is")
        reporter.command("courier")
        wait_until(lambda: shown(manager), "the page shows it")
        progress = shown(manager) or {}
    finally:
        gate.touch()

    wait_until(lambda: reporter.states()["m"] == "success", "the run has ended")
    assert (progress["percent"], progress["bytes"]) == (45.0, None)
    assert progress["at"] >= (reporter.run_of("m").launched_at or 0)
    wait_until(lambda: 'value="45"' in manager.page("mirrors/m.html"), "the page shows it")
    wait_until(lambda: 'value="45"' in manager.page("index.html"), "so does the overview")
    reporter.command("courier")
    wait_until(lambda: manager.published("mirrors/m.json")["status"] == "success", "the page shows the end")
    assert shown(manager) is None
    wait_until(lambda: "<progress" not in manager.page("index.html"), "nor does the overview")
