"""From a commit to the status page, with every part real."""

import os
import subprocess
from pathlib import Path

import requests

from runner.base import private_paths
from schemas.config.settings import load_runner
from tests.e2e.parts import ConfigRepository, Manager, RsyncDaemon, Worker, wait_until


def same_tree(one: Path, other: Path) -> bool:
    return subprocess.run(["diff", "-r", "--no-dereference", one, other], capture_output=True).returncode == 0


def mirror(upstream: RsyncDaemon, more: str = "") -> str:
    return f"upstream: {upstream.url('files')}\n{more}"


def test_a_commit_becomes_files_on_disk_and_a_line_on_the_page(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, manager: Manager, reporter: Worker
) -> None:
    commit = repository.commit(
        {"distributions/debian.yml": mirror(upstream, "title: Debian\ncategory: os\n")}, "Add Debian"
    )

    reporter.command("once")

    assert same_tree(tree, reporter.root / "debian")
    job = manager.job("debian")
    size = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file() or path.is_symlink())
    assert job["status"] == "success"
    assert job["upstream"] == upstream.url("files")
    assert job["last_ended_ts"] == job["last_update_ts"] > 1_700_000_000

    def line() -> list[tuple[str, ...]]:
        keys = ("name", "title", "category", "status", "freshness")
        return [tuple(each[key] for key in keys) for each in (manager.published() or {"mirrors": []})["mirrors"]]

    wait_until(lambda: line() == [("debian", "Debian", "os", "success", "fresh")], "the page has the whole line")
    run = manager.published("mirrors/debian.json")["runs"][0]
    assert (run["exit_code"], run["attempts"], run["revision"], run["files"]) == (0, 1, commit, 40)
    assert abs(run["size"] - size) < 100  # rsync counts a link by the length of its target
    wait_until(lambda: "debian" in manager.page("index.html"), "the page shows it")


def test_no_mirror_may_use_what_the_programs_put_into_the_state_directory(
    repository: ConfigRepository, upstream: RsyncDaemon, reporter: Worker
) -> None:
    repository.commit({"debian.yml": mirror(upstream)}, "Add Debian")
    reporter.command("once")

    names = [path.name for path in reporter.state.iterdir()]
    assert {"plan.db", "journal.db-mark", "checkout", "locks"} <= set(names)
    private = private_paths.private(load_runner(reporter.settings))
    assert [name for name in names if not private.is_own(os.path.realpath(reporter.state / name))] == []


def test_tunasyncs_clients_find_the_same_list_as_a_file(
    repository: ConfigRepository, upstream: RsyncDaemon, manager: Manager, reporter: Worker
) -> None:
    unmeasured = mirror(upstream, "measure_size: false\n")  # else a size comes later
    repository.commit({"b.yml": unmeasured, "a.yml": unmeasured}, "Add two")

    reporter.command("once")

    wait_until(
        lambda: [job["status"] for job in manager.published("static/tunasync.json") or []] == ["success"] * 2, "both"
    )
    listed = manager.published("static/tunasync.json")
    assert [job["name"] for job in listed] == ["a", "b"]
    answered = requests.get(f"{manager.url}/jobs", timeout=300).json()
    for job in (*listed, *answered):
        del job["skipjack"]["unknown_at"]  # of the worker's last report, which alone does not make the file be written
    assert listed == answered
    workers = requests.get(f"{manager.url}/workers", timeout=300).json()
    assert [(each["id"], each["token"]) for each in workers] == [("w1", "REDACTED")]


def test_a_merged_change_is_followed_and_a_removed_mirror_leaves_the_page(
    repository: ConfigRepository, upstream: RsyncDaemon, manager: Manager, reporter: Worker
) -> None:
    repository.commit({"old.yml": mirror(upstream)}, "Add old")
    reporter.command("once")
    repository.git("switch", "-q", "-c", "change")
    repository.commit({"old.yml": None, "new.yml": mirror(upstream)}, "Replace old")
    reporter.command("once")
    assert not (reporter.root / "new").exists(), "an unmerged branch was followed"

    repository.git("switch", "-q", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "Merge", "change")
    repository.git("push", "-q", "origin", "main")
    reporter.command("once")

    assert (reporter.root / "new").exists()
    wait_until(lambda: manager.names() == ["new"], "the page has the new one and not the old one")
    wait_until(lambda: not (manager.site / "mirrors/old.html").exists(), "its page is gone")


def test_the_deleted_file_of_an_upstream_is_deleted_here(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker
) -> None:
    repository.commit({"debian.yml": mirror(upstream)}, "Add Debian")
    worker.command("once")
    next(tree.glob("folder-1/*")).unlink()

    worker.command("run", "debian")

    assert same_tree(tree, worker.root / "debian")


def test_a_password_goes_through_the_environment_and_nowhere_else(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker, tmp_path: Path
) -> None:
    with (tmp_path / "upstream/rsyncd.conf").open("a") as config:
        config.write(f"[locked]\npath = {tree}\nauth users = mirror\n")
    secret = tmp_path / "password"
    secret.write_text("open sesame\n")
    text = f"upstream: {upstream.url('locked')}\nusername: mirror\npassword: {{file: {secret}}}\n"
    repository.commit({"locked.yml": text}, "Add a locked one")

    worker.command("once")
    assert same_tree(tree, worker.root / "locked")

    secret.write_text("wrong\n")
    assert worker.command("run", "locked", check=False).returncode == 1
    log = (worker.folder / "logs/locked/latest").read_text()
    assert "rsync exited with 5" in log
    places = [path for path in worker.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in places if b"open sesame" in path.read_bytes()]


def test_a_command_runs_as_the_public_scripts_expect(repository: ConfigRepository, worker: Worker) -> None:
    script = worker.folder / "script.sh"
    script.write_text('#!/bin/sh\nenv\npwd\necho "args: $*"\ncat\necho to stderr >&2\necho "Total size is 1.50G"\n')
    script.chmod(0o755)
    text = (
        f"provider: command\ncommand: {script} 'two words' *\nupstream: https://files.example/\n"
        "size_pattern: Total size is ([0-9.]+[KMGTP]?)\nenv: {REPO: stable, TUNASYNC_LOG_DIR: mine}\n"
    )
    with (worker.folder / "policy.yml").open("a") as policy:
        policy.write("allowed_env: [default, REPO, TUNASYNC_LOG_DIR]\n")
    repository.commit({"pypi.yml": text}, "Add a script")

    worker.command("once")

    log = (worker.folder / "logs/pypi/latest").resolve()
    lines = log.read_text().splitlines()
    directory = str(worker.root / "pypi")
    assert {
        "TUNASYNC_MIRROR_NAME=pypi", f"TUNASYNC_WORKING_DIR={directory}", "TUNASYNC_UPSTREAM_URL=https://files.example/",
        f"TUNASYNC_LOG_FILE={log}", "TUNASYNC_LOG_DIR=mine", f"SKIPJACK_WORKING_DIR={directory}", "REPO=stable",
        directory, "args: two words *", "to stderr",
    } <= set(lines)  # fmt: skip
    assert worker.run_of("pypi").size == 1_610_612_736


def test_a_web_server_can_read_the_files_of_a_command(repository: ConfigRepository, worker: Worker) -> None:
    text = "provider: command\nupstream: https://x.example/\ncommand: sh -c 'umask; mkdir d; touch d/f'\n"
    repository.commit({"m.yml": text}, "Add m")
    before = os.umask(0o077)
    try:
        worker.command("once")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (worker.root / "m", *(worker.root / "m").rglob("*"))}
    assert modes == {"m": 0o755, "d": 0o755, "f": 0o644}


def test_a_size_that_no_log_tells_is_measured_on_disk(
    repository: ConfigRepository, manager: Manager, reporter: Worker
) -> None:
    text = "provider: command\nupstream: https://x.example/\ncommand: dd if=/dev/zero of=file bs=1000 count=7\n"
    unguarded = f"{text}max_delete: 100%\n"
    files = {"m.yml": text, "unguarded.yml": unguarded, "not.yml": f"{text}measure_size: false\n"}
    repository.commit(files, "Add three")
    reporter.command("once")
    assert reporter.run_of("m").size == 7000

    wait_until(lambda: "unguarded: measured 7000 bytes" in reporter.messages(), "it was measured in the background")
    reporter.command("courier")

    wait_until(lambda: "m" in manager.jobs() and manager.jobs()["unguarded"]["size"] == "7.00K", "the size is reported")
    assert manager.jobs()["m"]["size"] == "7.00K"
    assert manager.jobs()["not"]["size"] == "unknown"
    assert "m: measured" not in reporter.messages()
