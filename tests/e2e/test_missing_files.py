"""A mirror whose files have disappeared is not fetched again without an operator."""

import shutil
import subprocess
from pathlib import Path

import pytest

from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.last_success import Past
from tests.e2e.gate import status, upcoming
from tests.e2e.parts import ConfigRepository, Manager, RsyncDaemon, Worker, programs, wait_until
from tests.e2e.test_whole_path import same_tree

LATER = "interval: 1d\n"


@pytest.fixture
def synced(repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker) -> Path:
    """The directory of the mirror `m` after a success."""
    repository.commit({"m.yml": f"{LATER}upstream: {upstream.url('files')}\n"}, "Add m")
    worker.command("once")
    wait_until(lambda: not programs(worker), "the measurement of the size has ended")
    return worker.root / "m"


def refused(worker: Worker, how: str) -> str:
    """Run `m`, which must fail early because of its files; returns the reason."""
    assert worker.command("run", "m", check=False).returncode == 1
    run = worker.run_of("m")
    assert (run.status, run.attempts) == ("refused", 0)
    assert f"/m is {how}, but the last success (" in run.reason
    assert run.reason.endswith("`skipjack run m --from-empty` fetches everything again")
    return run.reason


def past(worker: Worker) -> Past:
    with journal.opened(StateLayout(str(worker.state)).journal) as book:
        return book.past("m")


def test_a_missing_directory_is_neither_made_nor_filled_until_the_operator_allows_it(
    synced: Path, worker: Worker, tree: Path
) -> None:
    synced.rename(worker.folder / "away")

    assert "left files in it; mount the disk or put the files back" in refused(worker, "missing")
    assert not synced.exists()
    dry = worker.command("run", "m", "--dry-run", check=False)
    assert (dry.returncode, "--from-empty` fetches everything again" in dry.stderr) == (1, True)
    allowed = worker.command("run", "m", "--dry-run", "--from-empty").stdout
    assert (">f+++++++++ folder-1/" in allowed, synced.exists()) == (True, False)
    why = upcoming(worker)["m"]["why"]
    assert ("failed; last run refused: " in why, why.endswith("--from-empty` fetches everything again")) == (True, True)

    worker.command("run", "m", "--from-empty")
    assert same_tree(tree, synced)
    worker.command("run", "m")


def test_an_empty_directory_is_refused_and_files_that_are_back_are_enough(synced: Path, worker: Worker) -> None:
    synced.rename(worker.folder / "away")
    synced.mkdir()
    refused(worker, "empty")
    assert list(synced.iterdir()) == []
    synced.rmdir()
    (worker.folder / "away").rename(synced)
    worker.command("run", "m")
    assert worker.run_of("m").files == 0, "nothing was transferred again"


def test_folders_alone_do_not_count_as_files(synced: Path, worker: Worker) -> None:
    """The disks that were mounted on them are missing."""
    shutil.rmtree(synced)
    (synced / "pool/main").mkdir(parents=True)
    (synced / "dists").mkdir()
    refused(worker, "empty")
    assert not [path for path in synced.rglob("*") if path.is_file()]


@pytest.mark.parametrize("link", [False, True])
def test_a_file_in_the_place_of_the_directory_is_named_and_stays(synced: Path, worker: Worker, link: bool) -> None:
    synced.rename(worker.folder / "away")
    place = worker.folder / "file" if link else synced
    place.write_text("notes")
    if link:
        synced.symlink_to(place)
    reason = f"cannot sync into {synced}: {synced} is not a directory; move it away"

    for more in ([], ["--from-empty"]):
        assert worker.command("run", "m", *more, check=False).returncode == 1
        run = worker.run_of("m")
        assert (run.status, run.attempts, run.reason) == ("refused", 0, reason)
        dry = worker.command("run", "m", "--dry-run", *more, check=False)
        assert (dry.returncode, f"a run of m would end at once: {reason}." in dry.stderr) == (1, True)

    assert place.read_text() == "notes"
    synced.unlink()
    (worker.folder / "away").rename(synced)
    worker.command("run", "m")
    assert worker.run_of("m").files == 0


def test_a_file_in_the_place_of_a_folder_above_is_named(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    (worker.root / "os").write_text("notes")
    repository.commit({"m.yml": f"{LATER}upstream: {upstream.url('files')}\nmirror_subdir: os/old\n"}, "Add m")
    worker.command("once", check=False)
    run = worker.run_of("m")
    assert (run.status, run.reason) == (
        "refused",
        f"cannot sync into {worker.root}/os/old/m: {worker.root}/os is not a directory; move it away",
    )


@pytest.mark.parametrize(
    ("replace", "why"),
    [
        ("mkdir m", "/m is no longer the directory in which this run began"),
        ("ln -s {outside} m", "/m is really {outside}, which does not lie below "),
        ("true", "/m is no longer the directory"),
    ],
)
def test_no_attempt_begins_in_what_took_the_place_of_the_directory(
    repository: ConfigRepository, worker: Worker, replace: str, why: str
) -> None:
    outside, script = worker.folder / "outside", worker.folder / "script"
    outside.mkdir()
    gone = f"cd .. && mv m away && {replace.format(outside=outside)}"
    script.write_text(f"#!/bin/sh\necho >> {worker.folder}/tries\ntouch file\n{gone}\nexit 1\n")
    script.chmod(0o755)
    text = f"{LATER}provider: command\nupstream: https://files.example/\ncommand: {script}\nretry: 3\nretry_delay: 0s\n"
    repository.commit({"m.yml": text}, "Add m")
    worker.command("once", check=False)
    run = worker.run_of("m")
    assert (run.status, why.format(outside=outside) in run.reason) == ("refused", True), run
    assert ((worker.folder / "tries").read_text(), list(outside.iterdir())) == ("\n", [])


def test_a_directory_that_is_lost_during_the_last_process_is_not_a_success(
    repository: ConfigRepository, synced: Path, worker: Worker, upstream: RsyncDaemon
) -> None:
    script, published = worker.folder / "rsync", worker.folder / "published"
    script.write_text(f'#!/bin/sh\nrsync "$@"; mv {synced} {worker.folder}/away; mkdir {synced}\n')
    script.chmod(0o755)
    text = f"{LATER}upstream: {upstream.url('files')}\ncommand: {script}\nexec_on_success: ['touch {published}']\n"
    repository.commit({"m.yml": text}, "Sync with a script")
    worker.command("follow")
    worker.command("run", "m", check=False)
    run = worker.run_of("m")
    assert (run.status, "is no longer the directory in which this run began" in run.reason) == ("refused", True), run
    assert not published.exists()
    script.write_text('#!/bin/sh\nrsync "$@"\n')
    refused(worker, "empty")


def test_a_command_may_put_another_directory_in_the_place_of_its_own(
    repository: ConfigRepository, worker: Worker
) -> None:
    script, again = worker.folder / "script", worker.folder / "again"
    swap = "mkdir ../m.new && date > ../m.new/file && rm -rf ../m && mv ../m.new ../m"
    script.write_text(f"#!/bin/sh\n{swap}\n[ -e {again} ] || {{ touch {again}; exit 1; }}\n")
    script.chmod(0o755)
    text = f"{LATER}provider: command\nupstream: https://files.example/\ncommand: {script}\nretry: 2\nretry_delay: 0s\n"
    repository.commit({"m.yml": text}, "Add m")
    worker.command("once")
    run = worker.run_of("m")
    assert (run.status, run.attempts) == ("success", 2), run


def test_a_scheduled_run_fails_early_and_the_page_shows_why(
    repository: ConfigRepository, upstream: RsyncDaemon, reporter: Worker, manager: Manager
) -> None:
    repository.commit({"m.yml": f"interval: 1s\nupstream: {upstream.url('files')}\n"}, "Add m")
    reporter.command("once")
    shutil.rmtree(reporter.root / "m")

    def is_shown() -> bool:
        reporter.command("tick")
        reporter.command("courier")
        page = manager.published("mirrors/m.json")
        return bool(page) and page["status"] == "refused"

    wait_until(is_shown, "the page shows it")
    [newest, *_earlier] = manager.published("mirrors/m.json")["runs"]
    assert (newest["status"], "is missing, but the last success" in newest["reason"]) == ("refused", True)
    wait_until(lambda: "is missing, but the last success" in manager.page("mirrors/m.html"), "the page shows it")


def test_after_a_commit_that_moves_a_mirror_a_message_shows_where_its_files_are(
    repository: ConfigRepository, upstream: RsyncDaemon, synced: Path, worker: Worker
) -> None:
    repository.commit({"m.yml": f"{LATER}upstream: {upstream.url('files')}\nmirror_subdir: os\n"}, "Move m")
    worker.command("follow")
    move = f"mkdir -p {worker.root}/os && mv -T {synced} {worker.root}/os/m"
    assert f"left files in {synced}; move them with `{move}`" in refused(worker, "missing")
    subprocess.run(move, shell=True, check=True)
    worker.command("run", "m")
    assert worker.run_of("m").files == 0


def test_a_mirror_without_files_and_one_without_a_success_are_not_refused(
    repository: ConfigRepository, worker: Worker
) -> None:
    text = f"{LATER}provider: command\nupstream: https://files.example/\ncommand: "
    repository.commit({"none.yml": f"{text}'true'\n", "fails.yml": f"{text}'false'\n"}, "Add two")
    worker.command("once", check=False)
    status(worker, "none", "success")
    status(worker, "fails", "failed")
    for name in ("none", "fails"):
        (worker.root / name).rmdir()
    worker.command("run", "none")
    worker.command("run", "fails", check=False)
    assert worker.run_of("fails").status == "failed"


def test_a_first_run_that_was_cut_off_goes_on(repository: ConfigRepository, worker: Worker) -> None:
    script = worker.folder / "script"
    script.write_text("#!/bin/sh\nkill -9 $PPID\n")
    script.chmod(0o755)
    text = f"{LATER}provider: command\nupstream: https://files.example/\ncommand: {script}\n"
    repository.commit({"m.yml": text}, "Add m")
    worker.command("follow")
    assert worker.command("run", "m", check=False).returncode == -9
    script.write_text("#!/bin/sh\ntouch file\n")
    worker.command("tick")
    worker.command("run", "m")
    assert worker.run_of("m").status == "success"


def test_the_operators_permission_holds_until_the_next_success(
    synced: Path, worker: Worker, upstream: RsyncDaemon
) -> None:
    shutil.rmtree(synced)
    upstream.stop()
    worker.command("run", "m", "--from-empty", check=False)
    assert worker.run_of("m").status == "failed"
    upstream.start()
    synced.rmdir()
    worker.command("run", "m")
    assert past(worker).files_in == str(synced)


@pytest.mark.usefixtures("synced")
def test_a_permission_that_was_not_needed_changes_nothing(worker: Worker) -> None:
    before = past(worker)
    done = worker.command("run", "m", "--from-empty")
    assert "`--from-empty` has no effect, since its directory has files" in done.stderr
    after = past(worker)
    # The size is that of the log until the disk has been measured in the background.
    assert after._replace(success_at=before.success_at, size=before.size) == before


def test_a_directory_that_the_run_before_emptied_is_not_a_lost_disk(
    repository: ConfigRepository, worker: Worker
) -> None:
    script, directory = worker.folder / "script", worker.root / "m"
    text = f"{LATER}provider: command\nupstream: https://files.example/\ncommand: {script}\n"
    script.write_text("#!/bin/sh\ntouch file\n")
    script.chmod(0o755)
    repository.commit({"m.yml": text}, "Add m")
    worker.command("once")
    for killed in ("exit 1", "kill -9 $PPID"):
        script.write_text(f"#!/bin/sh\nrm -rf ./*\n{killed}\n")
        worker.command("run", "m", check=False)
        worker.command("tick")
        assert list(directory.iterdir()) == []
        script.write_text("#!/bin/sh\ntouch file\n")
        worker.command("run", "m")
    script.write_text("#!/bin/sh\nrm -rf ./*\nexit 1\n")
    worker.command("run", "m", check=False)
    directory.rename(worker.folder / "away")
    directory.mkdir()
    refused(worker, "empty")


def test_after_an_upgrade_the_size_tells_whether_there_were_files(synced: Path, worker: Worker) -> None:
    with journal.opened(StateLayout(str(worker.state)).journal) as book, book.together() as db:
        db.execute("UPDATE mirror SET files_in = NULL, emptied = NULL, accepted_files = NULL, accepted_bytes = NULL")
    shutil.rmtree(synced)
    refused(worker, "missing")
    with journal.opened(StateLayout(str(worker.state)).journal) as book, book.together() as db:
        db.execute("UPDATE mirror SET size = 0")
    worker.command("run", "m")
