"""The rsync providers against a real daemon."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.plan import plan
from runner.providers import PROVIDERS
from tests.e2e.parts import BIN, PATIENCE, ConfigRepository, RsyncDaemon, Worker, programs, wait_until


def declared(repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker, more: str = "") -> Path:
    """Declare the mirror `m`, sync it once, and give its directory."""
    repository.commit({"m.yml": f"upstream: {upstream.url('files')}\n{more}"}, "Add m")
    worker.command("once")
    return worker.root / "m"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_an_upstream_that_went_empty_does_not_empty_the_mirror(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker
) -> None:
    directory = declared(repository, upstream, worker, "max_delete: 5\n")
    before = files(directory)
    for path in tree.glob("folder-*/*"):
        path.unlink()
    (tree / "new").write_text("arrives nevertheless")

    assert worker.command("run", "m", check=False).returncode == 1

    run = worker.run_of("m")
    assert (run.status, "`max_delete: 5` allows 5. If" in run.reason) == ("refused", True)
    assert files(directory) == before | {"new"}
    log = (worker.folder / "logs/m/latest").read_text()
    assert "--max-delete 100%" in log

    worker.command("run", "m", "--max-delete", "100%")
    assert files(directory) == files(tree)


def test_few_deletions_are_done_and_the_figures_are_reported(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker
) -> None:
    directory = declared(repository, upstream, worker)
    next(tree.glob("folder-1/*")).unlink()
    (tree / "new").write_text("x" * 1000)

    worker.command("run", "m")

    assert files(directory) == files(tree)
    run = worker.run_of("m")
    assert (run.status, run.exit_code, run.files) == ("success", 0, 1)
    assert run.bytes and run.bytes >= 1000


def test_the_size_that_is_shown_is_that_on_disk_where_files_have_many_names(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker
) -> None:
    (tree / "big").write_bytes(b"x" * 10_000_000)
    for number in range(19):
        os.link(tree / "big", tree / f"big-{number}")
    directory = declared(repository, upstream, worker)
    told = worker.run_of("m").size
    assert told is not None and told > 200_000_000, "rsync counts each name"

    before = size_of(worker)  # of the walk that counts the files after the first success
    found = [path.lstat() for path in directory.rglob("*") if path.is_file() and not path.is_symlink()]
    assert before == sum({each.st_ino: each.st_size for each in found}.values()) < 11_000_000
    (tree / "new").write_bytes(b"y" * 1000)
    worker.command("run", "m")
    assert size_of(worker) == before + 1000
    os.link(tree / "big", tree / "one more name")
    worker.command("run", "m")
    assert (directory / "one more name").stat().st_ino == (directory / "big").stat().st_ino
    assert size_of(worker) == before + 1000, "a new name takes no room"
    worker.command("run", "m")
    assert "m: measured" not in worker.messages(), "no second walk on that day"


def size_of(worker: Worker) -> int | None:
    with journal.opened(StateLayout(str(worker.state)).journal) as book:
        return book.states()["m"].size


def test_two_stages_fetch_indices_only_after_what_they_name(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker
) -> None:
    (tree / "dists").mkdir()
    (tree / "dists" / "Packages").write_text("names folder-0")

    directory = declared(repository, upstream, worker, "provider: two-stage-rsync\n")

    assert files(directory) == files(tree)
    log = (worker.folder / "logs/m/latest").read_text()
    first, _, second = log.partition("total size is")
    assert "dists/Packages" not in first
    assert "dists/Packages" in second


@pytest.mark.parametrize("option", ["--inplace", "--append-verify"])
@pytest.mark.parametrize("provider", ["rsync", "two-stage-rsync"])
def test_options_that_exclude_delayed_updates_sync_where_these_are_off(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker, provider: str, option: str
) -> None:
    more = f"provider: {provider}\nrsync_options: [--no-delay-updates]\nrsync_options_extra: [{option}]\n"

    directory = declared(repository, upstream, worker, more)

    assert worker.run_of("m").status == "success"
    assert files(directory) == files(tree)


def test_a_dry_run_shows_everything_and_changes_nothing(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker, tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text("open sesame\n")
    directory = declared(repository, upstream, worker, f"username: me\npassword: {{file: {secret}}}\n")
    gone = next(tree.glob("folder-1/*"))
    gone.unlink()
    (tree / "new").write_text("new")
    wait_until(lambda: not programs(worker), "the tick and the measurement after the first run have ended")
    before = {path: path.lstat().st_mtime_ns for path in worker.folder.rglob("*")}

    said = worker.command("run", "m", "--dry-run").stdout

    assert {path: path.lstat().st_mtime_ns for path in worker.folder.rglob("*")} == before
    assert "1. rsync -aHh --no-o --no-g --stats --filter 'risk .~tmp~/' --exclude '.~tmp~/'" in said
    assert f"'--out-format=%i %n%L' --debug=del2 --outbuf=L --max-delete=0 {upstream.url('files')} {directory}/" in said
    assert "\nenvironment, in addition to the worker's own:\n" in said
    assert "RSYNC_PASSWORD=***" in said
    assert "open sesame" not in said
    assert "USER=me" in said
    assert ">f+++++++++ new" in said
    assert f"*deleting   folder-1/{gone.name}\n" in said
    assert "the run would delete 1 files (" in said
    assert "delete_item" not in said
    for words in ("lock:", "slots:      0 of 2 are busy", "attempts:   1, time-out of each: none", "deletions 50%"):
        assert words in said


def test_a_dry_run_has_the_limits_of_a_run(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker
) -> None:
    directory = declared(repository, upstream, worker, "max_delete: 10%\nmax_delete_bytes: 1GiB\n")
    before = files(directory)
    for path in tree.glob("folder-[12]/*"):
        path.unlink()

    said = worker.command("run", "m", "--dry-run").stdout
    accepted = worker.command("run", "m", "--dry-run", "--max-delete", "20").stdout

    assert "environment" not in said, "an rsync without a password gets no variables"
    assert "deletions 10%, 1.00 GiB\n" in said
    assert "the run would be refused: 20 of 41 files (" in said
    assert said.count("*deleting   folder-") == 20
    assert "the run would delete 20 files (" in accepted
    assert files(directory) == before


def test_a_dry_run_of_a_command_runs_nothing(repository: ConfigRepository, worker: Worker, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    text = f"provider: command\nupstream: https://x.example/\ncommand: touch {proof}\n"
    repository.commit({"m.yml": text}, "Add m")
    worker.command("once")
    proof.unlink()

    said = worker.command("run", "m", "--dry-run").stdout

    assert f"1. touch {proof}" in said
    assert "TUNASYNC_MIRROR_NAME=m" in said
    assert not proof.exists()


LIMITS = "limits:     memory 64.0 MiB, processor 150%, weight on the disks 50; enforced by "


@pytest.mark.parametrize(
    ("text", "setting", "told"),
    [
        ("", "", ""),
        (
            "memory_limit: 64MiB\ncpu_limit: 150%\nio_weight: 50",
            "",
            f"{LIMITS}nothing: there is neither systemd nor `cg",
        ),
        (
            "memory_limit: 64MiB",
            "cgroup: /sys/fs/cgroup/x",
            "the control group /sys/fs/cgroup/x/m, which limits only memory",
        ),
        ("zpool: tank/mirror", "", "dataset:    one below tank/mirror, mounted on the directory"),
        ("btrfs_snapshot: true", "snapshot_root: /srv/new", "snapshot:   /srv/new/m"),
    ],
)
def test_a_dry_run_prints_limits_and_the_directory(
    repository: ConfigRepository, worker: Worker, text: str, setting: str, told: str
) -> None:
    with worker.settings.open("a") as settings:
        settings.write(f"{setting}\n")
    repository.commit({"m.yml": f"provider: command\nupstream: x\ncommand: 'true'\n{text}\n"}, "Add m")
    worker.command("follow")

    said = worker.command("run", "m", "--dry-run").stdout

    assert told in said
    if not told:
        assert not [word for word in ("limits:", "dataset:", "snapshot:") if word in said]


def test_a_missing_exclude_file_is_reported(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    missing = worker.folder.parent / "filters/missing"
    text = f"upstream: {upstream.url('files')}\nexclude_file: {missing}\n"
    repository.commit({"m.yml": text}, "Add m")

    worker.command("once", check=False)

    assert worker.run_of("m").reason.startswith(f"cannot read the `exclude_file` {missing}: ")
    assert f"cannot read the `exclude_file` {missing}: " in worker.command("run", "m", "--dry-run", check=False).stderr


def test_the_progress_file_is_beside_the_log_during_a_run(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker
) -> None:
    declared(repository, upstream, worker, "rsync_options: [--bwlimit=400]\n")
    (tree / "large").write_bytes(os.urandom(1_500_000))
    published = worker.folder / "run/progress/m"

    run = worker.start("run", "m")
    wait_until(lambda: published.exists() and json.loads(published.read_text())["bytes"] > 0, "progress is published")

    assert run.wait(PATIENCE) == 0
    assert not published.exists()
    log = (worker.folder / "logs/m/latest").read_text()
    assert "Total file size" in log
    assert "%" not in log
    assert worker.run_of("m").files == 1


@pytest.mark.parametrize("provider", ["rsync", "two-stage-rsync"])
def test_the_policy_judges_every_rsync_that_a_run_starts(
    provider: str, repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker, tmp_path: Path
) -> None:
    """Each argument list with which a run really starts rsync is among those that the provider hands to the policy."""
    lists = tmp_path / "lists"
    recorder = tmp_path / "recorder"
    recorder.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" >>{lists}\nprintf '\\n' >>{lists}\nexec rsync \"$@\"\n")
    recorder.chmod(0o755)
    more = f"provider: {provider}\ncommand: {recorder}\nexclude_file: {tmp_path}/filters/excluded\nuse_ipv4: true\n"
    (tmp_path / "filters/excluded").write_text("nothing\n")
    text = more + "rsync_options: [--exclude, 'two words', -z]\nrsync_options_extra: [--bwlimit=9999]\n"
    declared(repository, upstream, worker, text)
    next(tree.glob("folder-1/*")).unlink()
    worker.command("run", "m")

    copy = re.escape(f"{worker.state}/patterns/m/") + r"\d+/"
    started = {
        tuple(re.sub(copy, f"{tmp_path}/filters/", word) for word in line.split("\0")[:-1])
        for line in lists.read_text().splitlines()
    }
    with plan.opened(str(worker.state / "plan.db")) as opened:
        planned = opened.mirror("m")
    assert planned is not None
    judged = PROVIDERS[provider].argument_lists(planned.mirror, planned.paths.directory)
    assert started
    assert started <= set(judged)


def test_options_without_effect_are_a_warning_and_stop_nothing(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker
) -> None:
    text = f"upstream: {upstream.url('files')}\nrsync_options: [-vv, --max-delete=40]\n"
    repository.commit({"m.yml": text}, "Add m")

    followed = worker.command("follow")
    again = worker.command("follow")
    words = [str(BIN / "skipjack"), "validate", str(repository.tree)]
    validated = subprocess.run(words, check=True, capture_output=True, text=True)
    worker.command("run", "m")

    warnings = [
        "`m`: `-v` in `rsync_options` has no effect: Skipjack sets the output options of rsync. Remove it.",
        "`m`: `--max-delete=40` in `rsync_options` is a second limit beside the deletion guard."
        " Write `max_delete: 40` instead (it is `50%` now).",
    ]
    assert [f"WARNING follow: {line}" in followed.stderr for line in warnings] == [True, True]
    assert "WARNING" not in again.stderr
    assert validated.stderr.splitlines() == [f"WARNING validate: {line}" for line in warnings]
    assert worker.run_of("m").status == "success"
    assert files(worker.root / "m") == files(tree)


def test_a_dry_run_before_the_first_sync_reports_that_there_is_no_directory_yet(
    worker: Worker, repository: ConfigRepository, upstream: RsyncDaemon
) -> None:
    repository.commit({"a.yml": f"upstream: {upstream.url('files')}\n"}, "Add a")

    told = worker.command("run", "a", "--dry-run").stdout

    assert "(the directory does not exist yet; a run would create it)" in told
    assert "created directory" not in told
    assert "folder-1/" in told
