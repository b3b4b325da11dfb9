"""Tests of single hooks, with real files and small real processes."""

import gzip
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from runner import hooks
from runner.base.mirror_paths import Paths
from runner.hooks import free_space, log_keeper, trace
from runner.journal.journal import Ending
from runner.plugin_api import Abort, Job, Outcome
from runner.providers import PROVIDERS
from runner.run import pipeline
from runner.subprocesses import supervisor
from schemas import VERSION
from schemas.records import Mirror, Secret
from tests.runner.syncing import UNSTOPPED


@pytest.fixture
def job(tmp_path: Path) -> Job:
    mirror = Mirror("debian", "w1", "rsync", "rsync://rsync.example.org/debian/", retry=1, retry_delay=0)
    (tmp_path / "mirrors/debian").mkdir(parents=True)
    made = Job(mirror, Paths(*(str(tmp_path / path) for path in ("mirrors/debian", "mirrors", "logs/debian"))))
    made.attempt = 1
    return made


def change(job: Job, **fields: object) -> None:
    job.mirror = job.mirror._replace(**fields)  # type: ignore[arg-type]


def logs(job: Job) -> list[str]:
    """Return the files in the log folder, without links."""
    return sorted(path.name for path in Path(job.log_dir).iterdir() if not path.is_symlink())


def put(job: Job, name: str, text: str = "x\n", age: float = 0) -> Path:
    path = Path(job.log_dir, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    moment = time.time() - age  # not the module's own time: minutes may have gone by since it was loaded
    os.utime(path, (moment, moment))
    return path


def succeed(job: Job) -> None:
    job.outcome = Outcome("success", "", 0)
    log_keeper.post_success(job)


def fail(job: Job, status: str = "failed") -> None:
    job.outcome = Outcome(status, "broken", 1)
    log_keeper.post_fail(job)


def old(number: int, ending: str = ".log", mirror: str = "debian") -> str:
    return f"{mirror}_2020-01-01_00-00-{number:02d}_01{ending}"


def test_two_logs_of_one_second_are_two_files(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1577836799.5)
    for _run in range(3):
        log_keeper.pre_exec(job)
        fail(job)

    assert [name[:30] for name in logs(job)] == [
        "debian_2019-12-31_23-59-59Z_01", "debian_2020-01-01_00-00-00Z_01", "debian_2020-01-01_00-00-01Z_01",
    ]  # fmt: skip
    assert Path(job.log_dir, "latest").readlink().name == "debian_2020-01-01_00-00-01Z_01.log.fail"


def test_the_newest_logs_are_kept_compressed_or_not(job: Job) -> None:
    for number, ending in enumerate([".log", ".log.fail", ".log.gz", ".log.fail.gz"] * 2):
        put(job, old(number, ending))
    change(job, log_keep=4)

    log_keeper.pre_exec(job)

    own = Path(job.log_file).name
    assert logs(job) == [old(5, ".log.fail"), old(6, ".log.gz"), old(7, ".log.fail.gz"), own]


def test_a_log_that_exists_plain_and_compressed_counts_once(job: Job) -> None:
    for ending in (".log", ".log.gz"):
        put(job, old(1, ending))
    put(job, old(0))
    change(job, log_keep=3)

    log_keeper.pre_exec(job)

    assert len(logs(job)) == 4


def test_the_log_of_the_attempt_is_the_newest_even_if_the_clock_was_set_back(job: Job) -> None:
    put(job, old(0).replace("2020", "2999"))
    change(job, log_keep=1)

    log_keeper.pre_exec(job)

    assert logs(job) == [Path(job.log_file).name]


def test_logs_are_removed_by_age_but_never_the_newest(job: Job) -> None:
    put(job, old(0, ".log.gz"), age=3601)
    put(job, old(1, ".log.fail"), age=3500)
    change(job, log_max_age=3600)
    log_keeper.pre_exec(job)
    assert logs(job) == [old(1, ".log.fail"), Path(job.log_file).name]

    change(job, log_max_age=0)
    log_keeper._remove_old(job, log_keeper._others(job))
    assert logs(job) == [Path(job.log_file).name]


FOREIGN = [
    old(0, mirror="debian-security"), old(0, mirror="xdebian"), old(0, ".log.old"), old(0, ".log.gz.fail"), "notes.log",
    "debian_2020-01-01_00-00_01.log", "debian_2020-01-01_00-00-00_001.log", "latest.log", old(0) + "\n",
]  # fmt: skip


def test_other_files_in_the_log_folder_are_left_alone(job: Job, tmp_path: Path) -> None:
    for name in FOREIGN:
        put(job, name, age=10**6)
    Path(job.log_dir, old(1)).mkdir()
    (tmp_path / "precious").write_text("keep me")
    Path(job.log_dir, old(2)).symlink_to(tmp_path / "precious")
    change(job, log_keep=1, log_max_age=1)

    log_keeper.pre_exec(job)
    succeed(job)

    assert logs(job) == sorted([*FOREIGN, old(1), Path(job.log_file).name])
    assert Path(job.log_dir, old(2)).is_symlink()
    assert (tmp_path / "precious").read_text() == "keep me"


def test_a_dot_in_a_mirror_name_matches_only_a_dot(job: Job) -> None:
    put(job, old(0, mirror="a-b"))
    change(job, name="a.b", log_keep=1)

    log_keeper.pre_exec(job)

    assert old(0, mirror="a-b") in logs(job)


@pytest.mark.parametrize("ending", [".log", ".log.fail"])
def test_all_logs_but_the_newest_are_compressed_at_the_end_of_a_run(job: Job, ending: str) -> None:
    text = "".join(f"line {number}\n" for number in range(100_000))
    path = put(job, old(0, ending), text, age=5000)
    path.chmod(0o640)
    written = path.stat().st_mtime
    log_keeper.pre_exec(job)
    assert old(0, ending) in logs(job), "the provider waits for nothing"

    succeed(job)

    packed = Path(job.log_dir, old(0, ending) + ".gz")
    assert logs(job) == [packed.name, Path(job.log_file).name]
    assert gzip.decompress(packed.read_bytes()).decode() == text
    assert packed.stat().st_size < len(text) / 3
    assert packed.stat().st_mode & 0o777 == 0o640
    assert packed.stat().st_mtime == pytest.approx(written, abs=0.001)
    assert job.complaints == []


def test_logs_stay_plain_if_the_definition_turns_compression_off(job: Job) -> None:
    put(job, old(0))
    change(job, log_compress=False)
    log_keeper.pre_exec(job)
    succeed(job)
    assert old(0) in logs(job)


@pytest.mark.parametrize(("retry", "status", "waits"), [(2, "failed", True), (1, "interrupted", True),
                                                        (1, "failed", False), (2, "refused", False)])  # fmt: skip
def test_neither_another_attempt_nor_a_stopped_run_waits_for_compression(
    job: Job, retry: int, status: str, waits: bool
) -> None:
    put(job, old(0))
    change(job, retry=retry)
    log_keeper.pre_exec(job)
    fail(job, status)
    assert (old(0) in logs(job)) == waits
    assert job.log_file.endswith(".log.fail")


def test_an_interrupted_compression_is_done_again(job: Job) -> None:
    """Interrupted between the rename of the new file and the removal of the old one, or while it was written."""
    put(job, old(0), "whole\n")
    put(job, old(0, ".log.gz"), "whole in another form")
    put(job, ".compressed.new", "half")
    log_keeper.pre_exec(job)

    succeed(job)

    assert logs(job) == [old(0, ".log.gz"), Path(job.log_file).name]
    assert gzip.decompress(Path(job.log_dir, old(0, ".log.gz")).read_bytes()) == b"whole\n"


def test_a_failure_with_old_logs_is_reported_beside_the_run(job: Job) -> None:
    put(job, old(0))
    Path(job.log_dir, old(0, ".log.gz")).mkdir()
    log_keeper.pre_exec(job)

    succeed(job)

    assert job.complaints == [f"cannot compress or remove old logs in {job.log_dir}: Is a directory"]
    assert logs(job) == [old(0), old(0, ".log.gz"), Path(job.log_file).name]
    assert Path(job.log_file).read_text() == f"skipjack: {job.complaints[0]}\n"


def run(job: Job, stop: supervisor.Stop | None = None, provider: str = "command") -> Ending:
    """Run the job through the whole pipeline with its hooks; the default of its command is `true`."""
    job.attempt = 0
    change(job, command=job.mirror.command or "true")
    ours, stop = hooks.of(job.mirror), stop or UNSTOPPED
    means = pipeline.Means(PROVIDERS[provider], ours, (), stop, lambda _attempt: None, lambda _progress: None)
    return pipeline.run(job, means)


@pytest.fixture
def stop() -> Iterator[supervisor.Stop]:
    """Return the object that receives stop signals; this process listens during the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    listening = supervisor.Stop()
    listening.listen()
    yield listening
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def said(job: Job) -> list[str]:
    return Path(job.log_dir, "latest").read_text().splitlines()


@pytest.mark.parametrize(
    "key", ["exec_on_success", "exec_on_success_extra", "exec_on_failure", "exec_on_failure_extra"]
)
def test_the_hook_for_commands_belongs_to_runs_of_mirrors_with_commands(job: Job, key: str) -> None:
    assert not hooks.is_used(job.mirror, "exec_commands")
    change(job, exec_on_each_failure=True, exec_timeout=5)
    assert not hooks.is_used(job.mirror, "exec_commands"), "without a command they mean nothing"
    change(job, **{key: ("true",)})
    assert hooks.is_used(job.mirror, "exec_commands")
    assert "runner.hooks.exec_commands" in [hook.__name__ for hook in hooks.of(job.mirror)]


def test_commands_run_in_their_order_after_a_success_with_their_output_in_the_log(job: Job) -> None:
    change(
        job,
        command="echo provider",
        exec_on_success=("sh -c 'echo one; pwd'", "echo  'two  words' $HOME ; a"),
        exec_on_success_extra=("echo three",),
        exec_on_failure=("echo never",),
    )

    ending = run(job)

    assert said(job) == [
        "provider",
        "skipjack: running sh -c 'echo one; pwd'", "one", job.directory,
        "skipjack: running echo 'two words' $HOME ; a", "two  words $HOME ; a",
        "skipjack: running echo three", "three",
    ]  # fmt: skip
    assert (ending.status, job.complaints) == ("success", [])


@pytest.mark.parametrize(("command", "status", "ending"), [("true", "success", ".log"), ("false", "failure", ".fail")])
def test_commands_get_the_variables_that_scripts_rely_on(job: Job, command: str, status: str, ending: str) -> None:
    change(job, command=command, exec_on_success=("env",), exec_on_failure=("env",), env={"MINE": "yes"})

    run(job)

    told = dict(line.split("=", 1) for line in said(job) if "=" in line)
    log = Path(job.log_dir, "latest").resolve()
    assert log.name.endswith(ending)
    for prefix in ("TUNASYNC", "SKIPJACK"):
        assert {key: told[f"{prefix}_{key}"] for key in ("JOB_EXIT_STATUS", "MIRROR_NAME", "LOG_FILE")} == {
            "JOB_EXIT_STATUS": status, "MIRROR_NAME": "debian", "LOG_FILE": str(log),
        }  # fmt: skip
    assert told["MINE"] == "yes"


def test_the_environment_of_the_mirror_takes_precedence(job: Job) -> None:
    change(job, exec_on_success=("env",), env={"TUNASYNC_JOB_EXIT_STATUS": "mine"})
    run(job)
    assert "TUNASYNC_JOB_EXIT_STATUS=mine" in said(job)


@pytest.mark.parametrize(("each", "times"), [(False, 1), (True, 3)])
def test_commands_run_after_the_last_failure_or_after_each_one(
    job: Job, tmp_path: Path, each: bool, times: int
) -> None:
    change(
        job,
        command="false",
        retry=3,
        exec_on_each_failure=each,
        exec_on_failure_extra=(f"sh -c 'echo >> {tmp_path}/n'",),
    )

    ending = run(job)

    assert (ending.status, ending.attempts, ending.reason) == ("failed", 3, "the command exited with 1")
    assert len((tmp_path / "n").read_text()) == times


def test_a_success_after_a_failure_is_a_success(job: Job, tmp_path: Path) -> None:
    flag, count = tmp_path / "flag", tmp_path / "n"
    change(job, command=f"sh -c '[ -e {flag} ] || {{ touch {flag}; exit 1; }}'", retry=2,
           exec_on_failure=(f"touch {count}",), exec_on_success=("echo fine",))  # fmt: skip
    assert run(job).status == "success"
    assert not count.exists()
    assert said(job)[-1] == "fine"


@pytest.mark.parametrize("command", ["true", "false"])
def test_failed_commands_are_reported_beside_the_run(job: Job, command: str) -> None:
    lines = ("false", "no-such-program", "sh -c 'kill -9 $$'", "sleep 100", "echo last")
    change(job, command=command, exec_on_success=lines, exec_on_failure=lines, exec_timeout=1)

    ending = run(job)

    status = "success" if command == "true" else "failure"
    assert job.complaints == [
        f"after the {status}: `false` exited with 1",
        f"after the {status}: the program no-such-program was not found in {os.environ['PATH']}",
        f"after the {status}: `sh -c 'kill -9 $$'` was ended by signal 9",
        f"after the {status}: sleep took longer than its time-out of 1s",
    ]
    assert [line for line in said(job) if line.startswith("skipjack: after")] == [
        f"skipjack: {complaint}" for complaint in job.complaints
    ]
    assert said(job)[-1] == "last"
    reason = "" if command == "true" else "the command exited with 1"
    assert (ending.status, ending.reason, ending.attempts) == ("success" if command == "true" else "failed", reason, 1)
    assert ending.log_tail.endswith("\n".join(job.complaints))


def test_no_command_runs_after_an_interruption(job: Job, stop: supervisor.Stop) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    change(job, command="sleep 100", exec_on_failure=("echo never",), exec_on_each_failure=True)

    assert run(job, stop).status == "interrupted"

    assert "never" not in said(job)
    assert job.complaints == []


def test_a_stop_signal_during_commands_ends_them(job: Job, stop: supervisor.Stop, tmp_path: Path) -> None:
    """The first of the commands sends the signal."""
    change(job, exec_on_success=(f"sh -c 'kill -TERM {os.getpid()}'", "sleep 100", f"touch {tmp_path}/never"))

    ending = run(job, stop)

    assert ending.status == "success"
    assert job.complaints[-1] == "after the success: touch was not started, since the run received a stop signal"
    assert not (tmp_path / "never").exists()


def test_a_missing_secret_is_a_failure_with_a_reason(job: Job) -> None:
    change(job, exec_on_failure=("echo told",), password=Secret(file="/no/such/file"))

    ending = run(job, provider="rsync")

    assert ending.status == "failed" and "/no/such/file" in ending.reason
    assert said(job)[-1] == "told"
    assert f"skipjack: {ending.reason}" in said(job)


def test_a_run_is_refused_without_enough_free_space(job: Job) -> None:
    change(job, min_free_space=2**60)
    ending = run(job)
    assert (ending.status, ending.attempts) == ("refused", 0)
    assert re.fullmatch(
        re.escape(job.directory) + r" has [0-9.]+ \w+ free, less than `min_free_space` 1024 PiB; make room or lower it",
        ending.reason,
    )
    assert not Path(job.log_dir).exists(), "nothing was begun"


@pytest.mark.parametrize(
    ("least", "blocks", "files", "left", "refused"),
    [
        (4096 * 10, 10, 5, 1, False),
        (4096 * 10 + 1, 10, 5, 1, True),
        (1, 10, 5, 0, True),
        (1, 10, 0, 0, False),
        (0, 0, 5, 0, False),
    ],
)
def test_free_blocks_and_free_inodes_are_checked(
    job: Job, monkeypatch: pytest.MonkeyPatch, least: int, blocks: int, files: int, left: int, refused: bool
) -> None:
    """Only blocks for ordinary users count; a file system without a fixed number of inodes has no limit of them."""
    found = os.statvfs_result((1024, 4096, 100, 90, blocks, files, 3, left, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: found)
    change(job, min_free_space=least)
    try:
        free_space.pre_job(job)
        status = "allowed"
    except Abort as abort:
        status = abort.status
    assert status == ("refused" if refused else "allowed")


HOST = "mirrors.example.edu"
IN_PROGRESS = f"Archive-Update-in-Progress-{HOST}"


def contents(job: Job) -> list[str]:
    root = Path(job.directory)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def test_a_success_leaves_a_trace(job: Job) -> None:
    change(job, trace=HOST, command="ls")
    folder = Path(job.directory, "project/trace")
    folder.mkdir(parents=True)
    (folder / "master").write_text("Sun Feb 28 08:00:00 UTC 2016\nArchive serial: 2016022802\n")
    job.started_at = 1456652035

    assert run(job).status == "success"

    assert said(job) == [IN_PROGRESS, "project"]
    assert contents(job) == ["project/trace/master", f"project/trace/{HOST}"]
    first, *rest = (folder / HOST).read_text().splitlines()
    fields = dict(line.split(": ", 1) for line in rest)
    date = datetime.strptime(first, "%a %b %d %H:%M:%S UTC %Y").replace(tzinfo=UTC)
    assert parsedate_to_datetime(fields.pop("Date")) == date
    assert abs(date.timestamp() - time.time()) < 60
    assert fields == {
        "Date-Started": "Sun, 28 Feb 2016 09:33:55 +0000",
        "Archive serial": "2016022802",
        "Creator": f"Skipjack {VERSION}",
        "Running on host": os.uname().nodename,
        "Upstream-mirror": "rsync.example.org",
    }
    assert job.complaints == []


def test_the_first_line_of_a_trace_is_in_the_format_of_date() -> None:
    words = ["date", "-u", "-d", "@1456650029", "+%a %b %e %H:%M:%S UTC %Y"]
    printed = subprocess.run(words, env=os.environ | {"LC_ALL": "C"}, check=True, capture_output=True, text=True).stdout
    assert trace._day(1456650029) == printed.strip()
    assert trace._day(1456650029 + 4 * 86400) == "Thu Mar  3 09:00:29 UTC 2016"


@pytest.mark.parametrize(
    ("upstream", "host"),
    [
        ("rsync://me@h.example:873/m/", "h.example"), ("h.example::m/", "h.example"), ("u@h:/srv/m/", "h"),
        ("[2001:db8::1]::m/", "[2001:db8::1]"), ("https://u:p@h.example:8443/x", "h.example"), ("", ""), ("/srv/x", ""),
    ],
)  # fmt: skip
def test_a_trace_shows_only_the_host_of_the_upstream(upstream: str, host: str) -> None:
    assert trace._host(upstream) == host


def test_a_failure_writes_no_trace_and_keeps_the_previous_one(job: Job) -> None:
    change(job, trace=HOST)
    run(job)
    before = Path(job.directory, "project/trace", HOST).read_text()
    change(job, command="sh -c 'ls; exit 1'")

    assert run(job).status == "failed"

    assert IN_PROGRESS in said(job)
    assert contents(job) == [f"project/trace/{HOST}"]
    assert Path(job.directory, "project/trace", HOST).read_text() == before


def test_the_next_run_removes_the_progress_file_of_a_crashed_one(job: Job) -> None:
    change(job, trace=HOST)
    for name in (IN_PROGRESS, f".{IN_PROGRESS}.new"):
        Path(job.directory, name).write_text("left")
    run(job)
    assert contents(job) == [f"project/trace/{HOST}"]
    assert job.complaints == []


def test_without_the_key_no_trace_is_written(job: Job) -> None:
    change(job, command="ls")
    run(job)
    assert (said(job), contents(job)) == ([], [])


@pytest.mark.parametrize("link", ["project", "project/trace"])
def test_no_link_in_the_mirror_leads_a_trace_out_of_it(job: Job, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    (outside / "trace").mkdir(parents=True)
    place = Path(job.directory, link)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(outside)
    change(job, trace=HOST)

    assert run(job).status == "success"

    assert [path.name for path in outside.rglob("*")] == ["trace"]
    assert job.complaints == [
        f"cannot write the trace `project/trace/{HOST}`: the upstream has a link `{link}` in its way."
        " Remove `trace:` from the definition, or ask the upstream to remove it"
    ]


def test_a_link_in_the_place_of_the_files_is_replaced_and_not_followed(job: Job, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("Archive serial: 9\n")
    Path(job.directory, "project/trace").mkdir(parents=True)
    Path(job.directory, "project/trace", HOST).symlink_to(precious)
    Path(job.directory, IN_PROGRESS).symlink_to(precious)
    Path(job.directory, "project/trace/master").symlink_to(precious)
    change(job, trace=HOST)

    run(job)

    assert precious.read_text() == "Archive serial: 9\n"
    assert not Path(job.directory, "project/trace", HOST).is_symlink()
    assert "Archive serial" not in Path(job.directory, "project/trace", HOST).read_text()
    assert job.complaints == []


def test_a_mirrors_directory_may_be_a_link_within_the_root(job: Job, tmp_path: Path) -> None:
    real = tmp_path / "mirrors/real"
    Path(job.directory).rename(real)
    Path(job.directory).symlink_to(real)
    change(job, trace=HOST)
    run(job)
    assert (real / "project/trace" / HOST).is_file()


def test_logs_of_a_previous_name_count_by_their_time_with_the_others(job: Job) -> None:
    change(job, formerly=("zebra",), log_keep=3)
    for name in ("zebra_2026-01-01_00-00-00_01.log", "zebra_2026-01-03_00-00-00_01.log.gz", "zebra.log"):
        put(job, name)
    put(job, "debian_2026-01-02_00-00-00_01.log")
    log_keeper.pre_exec(job)
    own = Path(job.log_file).name
    assert logs(job) == sorted(
        [own, "debian_2026-01-02_00-00-00_01.log", "zebra.log", "zebra_2026-01-03_00-00-00_01.log.gz"]
    )


def test_a_wait_between_attempts_may_be_longer_than_one_poll(job: Job, stop: supervisor.Stop) -> None:
    change(job, command="false", retry=2, retry_delay=60 * 86400)
    threading.Timer(0.3, signal.raise_signal, [signal.SIGTERM]).start()

    ending = run(job, stop)

    assert (ending.status, ending.attempts) == ("interrupted", 1)


def test_a_bug_fails_the_run_and_writes_a_bug_report(job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job.machine = job.machine._replace(state_dir=str(tmp_path))
    monkeypatch.setattr(log_keeper, "pre_exec", lambda _job: int("nought"))

    ending = run(job)

    (report,) = tmp_path.glob("skipjack-bug-*.txt")
    assert ending.status == "failed"
    assert ending.reason.startswith("This is a bug: ValueError: invalid literal for int() with base 10: 'nought'")
    assert ending.reason.endswith(f"the file {report}.")
    assert "Traceback" in report.read_text()


def test_a_refusal_is_reported_for_a_name_that_is_not_valid_text(job: Job) -> None:
    Path(job.directory).rmdir()
    Path(job.directory).symlink_to(os.fsdecode(b"/nowhere/\xff\xfe"))

    ending = run(job)

    assert ending.status == "refused"
    assert f"{job.directory} is really /nowhere/??, which does not lie below" in ending.reason
