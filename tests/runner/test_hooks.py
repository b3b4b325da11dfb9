"""What each hook does on its own, with real files and small real processes."""

import gzip
import os
import time
from pathlib import Path

import pytest

from runner.api import Job, Outcome
from runner.hooks import log_keeper
from schemas.records import Mirror

NOW = time.time()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    mirror = Mirror("debian", "w1", "rsync", "rsync://rsync.example.org/debian/", retry=1)
    (tmp_path / "mirrors/debian").mkdir(parents=True)
    made = Job(mirror, str(tmp_path / "mirrors/debian"), str(tmp_path / "mirrors"), str(tmp_path / "logs/debian"))
    made.attempt = 1
    return made


def change(job: Job, **fields: object) -> None:
    job.mirror = job.mirror._replace(**fields)  # type: ignore[arg-type]


def logs(job: Job) -> list[str]:
    """What lies in the log folder, links aside."""
    return sorted(path.name for path in Path(job.log_dir).iterdir() if not path.is_symlink())


def put(job: Job, name: str, text: str = "x\n", age: float = 0) -> Path:
    path = Path(job.log_dir, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (NOW - age, NOW - age))
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

    assert [name[:29] for name in logs(job)] == [
        "debian_2019-12-31_23-59-59_01", "debian_2020-01-01_00-00-00_01", "debian_2020-01-01_00-00-01_01",
    ]  # fmt: skip
    assert Path(job.log_dir, "latest").readlink().name == "debian_2020-01-01_00-00-01_01.log.fail"


def test_the_newest_logs_are_kept_whatever_their_form(job: Job) -> None:
    for number, ending in enumerate([".log", ".log.fail", ".log.gz", ".log.fail.gz"] * 2):
        put(job, old(number, ending))
    change(job, log_keep=4)

    log_keeper.pre_exec(job)

    own = Path(job.log_file).name
    assert logs(job) == [old(5, ".log.fail"), old(6, ".log.gz"), old(7, ".log.fail.gz"), own]


def test_a_log_that_is_there_twice_counts_once(job: Job) -> None:
    for ending in (".log", ".log.gz"):
        put(job, old(1, ending))
    put(job, old(0))
    change(job, log_keep=3)

    log_keeper.pre_exec(job)

    assert len(logs(job)) == 4


def test_the_newest_log_is_its_own_even_if_the_clock_went_back(job: Job) -> None:
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
    log_keeper._remove_old(job)
    assert logs(job) == [Path(job.log_file).name]


FOREIGN = [
    old(0, mirror="debian-security"), old(0, mirror="xdebian"), old(0, ".log.old"), old(0, ".log.gz.fail"), "notes.log",
    "debian_2020-01-01_00-00_01.log", "debian_2020-01-01_00-00-00_001.log", "latest.log", old(0) + "\n",
]  # fmt: skip


def test_what_is_no_log_of_this_mirror_is_left_alone(job: Job, tmp_path: Path) -> None:
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


def test_a_dot_in_a_mirrors_name_is_a_dot(job: Job) -> None:
    put(job, old(0, mirror="a-b"))
    change(job, name="a.b", log_keep=1)

    log_keeper.pre_exec(job)

    assert old(0, mirror="a-b") in logs(job)


@pytest.mark.parametrize("ending", [".log", ".log.fail"])
def test_all_but_the_newest_are_compressed_when_the_run_is_over(job: Job, ending: str) -> None:
    text = "".join(f"line {number}\n" for number in range(100_000))
    path = put(job, old(0, ending), text, age=5000)
    path.chmod(0o640)
    log_keeper.pre_exec(job)
    assert old(0, ending) in logs(job), "the provider waits for nothing"

    succeed(job)

    packed = Path(job.log_dir, old(0, ending) + ".gz")
    assert logs(job) == [packed.name, Path(job.log_file).name]
    assert gzip.decompress(packed.read_bytes()).decode() == text
    assert packed.stat().st_size < len(text) / 3
    assert packed.stat().st_mode & 0o777 == 0o640
    assert packed.stat().st_mtime == pytest.approx(NOW - 5000, abs=0.001)
    assert job.complaints == []


def test_logs_stay_plain_if_the_definition_says_so(job: Job) -> None:
    put(job, old(0))
    change(job, log_compress=False)
    log_keeper.pre_exec(job)
    succeed(job)
    assert old(0) in logs(job)


@pytest.mark.parametrize(("retry", "status", "waits"), [(2, "failed", True), (1, "interrupted", True),
                                                        (1, "failed", False), (2, "refused", False)])  # fmt: skip
def test_neither_another_attempt_nor_a_shutdown_waits_for_compression(
    job: Job, retry: int, status: str, waits: bool
) -> None:
    put(job, old(0))
    change(job, retry=retry)
    log_keeper.pre_exec(job)
    fail(job, status)
    assert (old(0) in logs(job)) == waits
    assert job.log_file.endswith(".log.fail")


def test_what_a_crash_left_is_compressed_again(job: Job) -> None:
    """Cut short between the new file's name and the removal of the old, or in the midst of writing it."""
    put(job, old(0), "whole\n")
    put(job, old(0, ".log.gz"), "whole in another form")
    put(job, ".compressed.new", "half")
    log_keeper.pre_exec(job)

    succeed(job)

    assert logs(job) == [old(0, ".log.gz"), Path(job.log_file).name]
    assert gzip.decompress(Path(job.log_dir, old(0, ".log.gz")).read_bytes()) == b"whole\n"


def test_trouble_with_old_logs_is_told_and_changes_nothing(job: Job) -> None:
    put(job, old(0))
    Path(job.log_dir, old(0, ".log.gz")).mkdir()
    log_keeper.pre_exec(job)

    succeed(job)

    assert job.complaints == [f"the old logs in {job.log_dir} could not be tidied up: Is a directory"]
    assert logs(job) == [old(0), old(0, ".log.gz"), Path(job.log_file).name]
    assert Path(job.log_file).read_text() == f"skipjack: {job.complaints[0]}\n"
