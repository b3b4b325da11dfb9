"""The comparison of a tree with the last accepted success."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from runner.base import contents
from runner.base.mirror_paths import Paths
from runner.journal.journal import Ending
from runner.journal.last_success import Past
from runner.plan.deletion_limits import Tree, limits_of
from runner.plugin_api import Abort, Job, Machine
from runner.providers import PROVIDERS
from runner.run import comparison, pipeline
from runner.run.comparison import Comparison
from runner.subprocesses import supervisor
from schemas.errors import SkipjackError
from schemas.records import Mirror
from tests.runner.syncing import UNSTOPPED

ACCEPT = ". If that is right, run `skipjack run m --max-delete 100%`"
GONE = "are gone since the last accepted success"
UNREAD = f"{GONE}, or in folders that cannot be read"


def job_in(directory: Path, past: Past | None = None, named: int | str | None = None, **fields: object) -> Job:
    mirror = Mirror("m", "w1", "command", "x", **fields)  # type: ignore[arg-type]
    job = Job(mirror, Paths(str(directory), str(directory.parent), ""))
    job.limits = limits_of(mirror, named)
    job.past = past or Past()
    comparison.prepare(job)
    return job


def compare(job: Job, told: int | None = None) -> Comparison:
    return comparison.compare(job, told, lambda: False)


def fill(directory: Path, files: int, size: int = 10) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (directory / f"file-{number}").write_bytes(b"x" * size)
    return directory


def had(files: int | None, size: int | None) -> Past:
    return Past(success_at=1.0, files_in="/srv/m", files=files, bytes=size)


@pytest.mark.parametrize(
    ("fields", "before", "left", "said"),
    [
        ({}, (10, 100), 5, ""),
        ({}, (10, 100), 4, f"6 of 10 files (60 B) {GONE}; `max_delete: 50%` allows 5"),
        ({"max_delete": "10%"}, (9, 90), 8, f"1 of 9 files (10 B) {GONE}; `max_delete: 10%` allows 0"),
        ({"max_delete": 3}, (10, 100), 7, ""),
        ({"max_delete": 3}, (10, 100), 6, f"4 of 10 files (40 B) {GONE}; `max_delete: 3` allows 3"),
        ({"max_delete": "10%", "max_delete_floor": 6}, (10, 100), 4, ""),
        ({"max_delete": "10%", "max_delete_floor": 60}, (10, 100), 0,
         f"no file is left: 10 of 10 files (100 B) {GONE}"),
        ({"max_delete": "10%", "max_delete_floor": 60}, (10, 100), 1, ""),
        ({"max_delete_bytes": 19}, (10, 100), 8, f"2 of 10 files (20 B) {GONE}; `max_delete_bytes` allows 19 B"),
        ({"max_delete": "100%"}, (10, 100), 1, ""),
        ({"max_delete": "100%"}, (10, 100), 0, f"no file is left: 10 of 10 files (100 B) {GONE}"),
        ({}, (10, 300), 10, f"200 B of 300 B {GONE}; `max_delete: 50%` allows 150 B"),
        ({}, (10, 100), 20, ""),
    ],
)  # fmt: skip
def test_a_loss_beyond_the_limits_is_refused_with_its_figures(
    tmp_path: Path, fields: dict[str, object], before: tuple[int, int], left: int, said: str
) -> None:
    job = job_in(fill(tmp_path / "m", left), had(*before), None, **fields)
    assert compare(job).reason == (said + ACCEPT if said else "")


@pytest.mark.parametrize(
    ("named", "left", "allowed"), [("100%", 0, True), ("70%", 3, True), ("70%", 2, False), (9, 0, False)]
)
def test_an_operator_can_set_another_limit_for_one_run(
    tmp_path: Path, named: int | str, left: int, allowed: bool
) -> None:
    job = job_in(fill(tmp_path / "m", left), had(10, 100), named, max_delete=0)
    assert (compare(job).reason == "") == allowed
    assert job.found == (left, left * 10)


def test_without_an_accepted_success_the_directory_is_compared_with_its_contents_before_the_run(tmp_path: Path) -> None:
    directory = fill(tmp_path / "m" / "deep", 80).parent
    job = job_in(directory)
    assert (job.past.files, job.past.bytes, job.past.first_look) == (80, 800, "x")
    for number in range(40):
        (directory / f"deep/file-{number}").unlink()
    assert compare(job).reason == ""
    (directory / "deep/file-40").unlink()
    gone = f"41 of 80 files (410 B) are gone since the first look at the directory; `max_delete: 50%` allows 40{ACCEPT}"
    assert compare(job).reason == gone
    shutil.rmtree(directory / "deep")
    assert compare(job).reason.startswith("no file is left: 80 of 80 files")
    assert compare(job_in(directory)).reason == "", "there was nothing before"
    assert compare(job_in(directory, Past(success_at=1.0, size=7))).reason != "", "an older version's success had files"


def test_the_directory_is_not_counted_before_the_run_if_it_is_not_counted_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = fill(tmp_path / "m", 80)
    with monkeypatch.context() as patch:
        patch.setattr(Job, "walk", None)
        job = job_in(directory, measure_size=False)
    shutil.rmtree(directory)
    directory.mkdir()
    assert compare(job).reason == f"no file is left, although the directory had some{ACCEPT}"


@pytest.mark.parametrize(
    ("past", "seen"),
    [
        (Past(), (3, "x")),
        (Past(success_at=1.0, files=9, bytes=9), (9, "")),
        (Past(success_at=1.0, files=0, bytes=0), (0, "")),
        (Past(files=9, bytes=9, first_look="another"), (9, "another")),
        (Past(files=0, bytes=0, first_look="x"), (0, "x")),
        (Past(files=0, bytes=0, first_look="another"), (3, "x")),
    ],
)
def test_files_are_counted_again_after_a_change_of_the_upstream_without_a_success(
    tmp_path: Path, past: Past, seen: tuple[int, str]
) -> None:
    job = job_in(fill(tmp_path / "m", 3), past)
    assert (job.past.files, job.past.first_look) == seen


def test_a_mirror_accepted_without_files_can_lose_none(tmp_path: Path) -> None:
    directory = tmp_path / "m"
    (directory / "only/folders").mkdir(parents=True)
    for fields in ({}, {"measure_size": False}):
        assert compare(job_in(directory, had(0, 0), None, **fields)).reason == ""


def test_a_success_of_an_older_version_with_an_unknown_size_lost_nothing(tmp_path: Path) -> None:
    directory = fill(tmp_path / "m", 0)
    assert compare(job_in(directory, Past(success_at=1.0))).reason == ""


@pytest.mark.parametrize("walked", [True, False])
def test_figures_are_unknown_if_folders_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, walked: bool
) -> None:
    directory = tmp_path / "m"
    (directory / "closed").mkdir(parents=True)
    forbid(monkeypatch, directory / "closed")
    fill(directory, 9)
    for past in (had(None, None), had(10, 100)):
        for _again in range(2):
            job = job_in(directory, past, measure_size=walked)
            assert compare(job).reason == ""
            assert job.found == (past.files, past.bytes), "what is unknown keeps the figures to compare with"
    job = job_in(directory, had(10, 100))
    compare(job)
    assert job.complaints == ["cannot judge a loss of files: folders that cannot be read: 1"]
    assert compare(job_in(directory, had(10, 100)._replace(refused=True))).reason.startswith("the figures are unknown")


@pytest.mark.parametrize(
    ("left", "before", "fields", "said"),
    [
        (5, (10, 100), {}, ""),
        (
            4,
            (10, 100),
            {},
            f"6 of 10 files (60 B) {UNREAD}; `max_delete: 50%` allows 5",
        ),
        (0, (10, 100), {}, f"no file is left that can be read: 10 of 10 files (100 B) {UNREAD}"),
        (9, (10, 100), {"max_delete_bytes": 9}, f"1 of 10 files (10 B) {UNREAD}; "),
        (0, (None, None), {}, ""),
        (0, (0, 0), {}, ""),
    ],
)
def test_an_unreadable_folder_hides_no_loss_beyond_the_limits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    left: int,
    before: tuple[int | None, int | None],
    fields: dict[str, object],
    said: str,
) -> None:
    """An upstream chooses the modes of its folders."""
    directory = fill(tmp_path / "m", left)
    (directory / "closed").mkdir()
    forbid(monkeypatch, directory / "closed")
    job = job_in(directory, had(*before), None, **fields)
    reason = compare(job).reason
    assert (bool(reason), job.loss_refused) == (bool(said), bool(said))
    assert reason.startswith(said)
    accepted = job_in(directory, had(*before), "100%", **fields)
    assert compare(accepted).reason == ""
    assert (accepted.found, accepted.loss_refused) == ((None, None), False)


@pytest.mark.parametrize(("listed", "left", "refused"), [(4, 4, True), (5, 4, False), (4, 5, False)])
def test_an_unreadable_folder_hides_no_loss_if_rsync_lists_too_few_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: int, left: int, *, refused: bool
) -> None:
    directory = fill(tmp_path / "m", left)
    (directory / "closed").mkdir()
    forbid(monkeypatch, directory / "closed")
    job = job_in(directory, had(10, 100), None)
    job.deletions_judged, job.contents = True, Tree(listed, 1000)
    assert compare(job).reason.startswith(f"6 of 10 files (60 B) {UNREAD}") == refused
    assert job.loss_refused == refused


def test_the_lost_and_found_of_a_file_system_hides_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = fill(tmp_path / "m", 2)
    (directory / "lost+found").mkdir()
    forbid(monkeypatch, directory / "lost+found")
    assert compare(job_in(directory, had(10, 100))).reason.startswith("8 of 10 files")


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make a folder look like one of another user."""
    real = os.scandir

    def scandir(path: str) -> object:
        if path == str(folder):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


UNKNOWN = "the figures are unknown, and the loss of the last refused run is still not accepted"


@pytest.mark.parametrize(
    ("before", "fields", "told", "said"),
    [
        ((10, 100), {"measure_size": False}, None, UNKNOWN),
        ((10, 100), {"measure_size": False}, 100, UNKNOWN),
        ((None, 100), {"measure_size": False}, None, UNKNOWN),
        ((None, 100), {"measure_size": False}, 100, ""),
        ((10, 100), {}, None, ""),
        ((10, 100), {"max_delete": "100%"}, None, ""),
    ],
)
def test_unknown_figures_do_not_end_a_refusal(
    tmp_path: Path, before: tuple[int | None, int], fields: dict[str, object], told: int | None, said: str
) -> None:
    directory, past = fill(tmp_path / "m", 10), had(*before)._replace(refused=True)
    job = job_in(directory, past, None, **fields)
    assert compare(job, told).reason == (said + ACCEPT if said else "")
    assert job.loss_refused == bool(said)
    accepted = job_in(directory, past, "100%", **fields)
    assert compare(accepted, told).reason == ""
    assert (accepted.found[0], accepted.loss_refused) == (10 if fields == {} else None, False)


def test_uncounted_files_do_not_count_as_none(tmp_path: Path) -> None:
    job = job_in(fill(tmp_path / "m", 3), had(0, 0), measure_size=False)
    assert compare(job).reason == ""
    assert job.found == (None, 0)


def test_one_walk_gives_files_bytes_and_the_size_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = fill(tmp_path / "m/a/b", 3).parent.parent
    os.link(directory / "a/b/file-0", directory / "again")
    (directory / "link").symlink_to("again")
    (directory / "a/empty").mkdir()
    scanned: list[str] = []
    real = os.scandir
    job = job_in(directory, had(5, 40))

    def scandir(path: str) -> object:
        scanned.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)

    assert compare(job) == Comparison("", 30)

    assert job.found == (5, 40)
    walked = [path for path in scanned if path != str(directory)]
    assert sorted(walked) == sorted(str(directory / path) for path in ("a", "a/b", "a/empty"))


@pytest.mark.parametrize(
    ("fields", "told", "said"),
    [
        ({"measure_size": False}, 50, ""),
        ({"measure_size": False}, 49, f"51 B of 100 B {GONE}; `max_delete: 50%` allows 50 B"),
        ({"measure_size": False, "max_delete": 3, "max_delete_bytes": 50}, 40,
         f"60 B of 100 B {GONE}; `max_delete_bytes` allows 50 B"),
        ({"measure_size": False}, None, ""),
        ({"max_delete": "100%"}, 1, ""),
    ],
)  # fmt: skip
def test_a_tree_that_is_not_counted_is_judged_by_the_size_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], told: int | None, said: str
) -> None:
    def walked(*_words: object) -> None:
        raise AssertionError("the tree was walked")

    monkeypatch.setattr(contents, "count", walked)
    directory = fill(tmp_path / "m", 3)
    job = job_in(directory, had(10, 100), None, **fields)
    assert compare(job, told).reason == (said + ACCEPT if said else "")
    kept = (10, 100 if told is None else told)
    assert job.found == ((None, told) if "max_delete" in fields and fields["max_delete"] == "100%" else kept)
    for path in directory.iterdir():
        path.unlink()
    assert compare(job, told).reason.startswith("no file is left"), "one look for a file is not too much"


def test_a_tree_is_not_compared_after_a_provider_judged_its_deletions(tmp_path: Path) -> None:
    job = job_in(fill(tmp_path / "m", 1), had(2, 20))
    job.deletions_judged, job.contents, job.counted = True, Tree(1, 10), True
    assert compare(job) == Comparison()
    assert job.found == (1, 10)


def test_listed_files_that_options_leave_out_are_not_accepted_files(tmp_path: Path) -> None:
    job = job_in(fill(tmp_path / "m", 3), had(3, 30))
    job.deletions_judged, job.contents = True, Tree(240, 2400)
    assert compare(job) == Comparison(size=30)
    assert (job.found, job.counted) == ((3, 2400), True)


def test_files_lost_without_a_deletion_are_counted(tmp_path: Path) -> None:
    job = job_in(fill(tmp_path / "m", 4), had(10, 100))
    job.deletions_judged, job.contents = True, Tree(3, 30)
    assert compare(job) == Comparison(f"6 of 10 files (60 B) {GONE}; `max_delete: 50%` allows 5{ACCEPT}", 40)
    assert job.loss_refused
    fill(tmp_path / "m", 10)
    assert compare(job) == Comparison("", 100), "what the definition no longer names may be there"
    assert (job.loss_refused, job.found) == (False, (3, 30))


def test_a_refused_loss_stays_refused_for_a_provider_that_deletes_nothing(tmp_path: Path) -> None:
    job = job_in(fill(tmp_path / "m", 4), had(10, 100)._replace(refused=True))
    job.deletions_judged = True
    assert compare(job).reason == f"6 of 10 files (60 B) {GONE}; `max_delete: 50%` allows 5{ACCEPT}"
    fill(tmp_path / "m", 9)
    assert compare(job).reason == ""


def test_files_that_skipjack_writes_do_not_count_as_files_of_the_mirror(tmp_path: Path) -> None:
    directory = tmp_path / "m"
    (directory / "project/trace").mkdir(parents=True)
    (directory / "project/trace/host").touch()
    (directory / "Archive-Update-in-Progress-host").touch()
    (directory / ".Archive-Update-in-Progress-host.new").touch()
    job = job_in(directory, had(1, 1), trace="host")
    assert compare(job).reason.startswith("no file is left")
    assert job.found == (0, 0)
    assert not job_in(directory, trace="host").had_files
    assert job_in(directory).had_files


def test_a_missing_or_unreadable_directory_after_the_run_is_not_a_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = fill(tmp_path / "m", 3)
    job = job_in(directory, had(3, 30))
    real = os.scandir

    def fail(path: str) -> object:
        if path == str(directory):
            raise OSError(5, "Input/output error", path)
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", fail)
        assert compare(job).reason == f"{directory} cannot be read after the run: Input/output error"
    directory.rename(tmp_path / "away")
    assert compare(job).reason.startswith("no file is left: 3 of 3 files")


def test_counting_ends_after_a_stop_signal(tmp_path: Path) -> None:
    job = job_in(fill(tmp_path / "m", 3))
    stops: list[Callable[[], bool]] = [lambda: True]
    with pytest.raises(contents.Stopped):
        comparison.compare(job, None, stops[0])


class Hook(ModuleType):
    """Return a hook with one function."""

    def __init__(self, stage: str, function: Callable[[Job], None]) -> None:
        super().__init__("hook")
        setattr(self, stage, function)


def run(job: Job, *hooks: ModuleType, stop: supervisor.Stop | None = None) -> Ending:
    job.log_file = f"{job.directory}.log"
    Path(job.log_file).touch()
    done = lambda _much: None  # noqa: E731 - what nobody looks at
    means = pipeline.Means(PROVIDERS["command"], hooks, (), stop or UNSTOPPED, done, done)
    return pipeline.run(job, means)


def test_a_stop_signal_while_files_are_counted_interrupts_the_run(tmp_path: Path) -> None:
    job, stop = job_in(fill(tmp_path / "m", 3), command="true"), supervisor.Stop()

    def tell(_job: Job) -> None:
        stop.signal = 15

    ending = run(job, Hook("post_exec", tell), stop=stop)
    assert (ending.status, ending.reason) == ("interrupted", "the run received a stop signal while files were counted")


@pytest.mark.parametrize(
    "error", [Abort("failed", "broken"), SkipjackError("broken", ""), OSError("broken"), KeyError()]
)
def test_a_hook_that_fails_after_a_success_changes_neither_other_hooks_nor_the_result(
    tmp_path: Path, error: Exception
) -> None:
    published: list[str] = []

    def publish(job: Job) -> None:
        published.append(job.outcome.status)

    def fail(_job: Job) -> None:
        raise error

    job = job_in(fill(tmp_path / "m", 3), command="true")
    job.machine = Machine(str(tmp_path))
    ending = run(job, Hook("post_success", publish), Hook("post_success", fail), Hook("post_success", publish))
    assert (ending.status, ending.reason, published) == ("success", "", ["success", "success"])
    [complaint] = job.complaints
    assert ("broken" in complaint, "This is a bug: KeyError" in complaint).count(True) == 1


@pytest.mark.parametrize("stage", ["post_exec", "post_success"])
def test_a_hook_that_fails_at_a_limit_of_the_machine_is_reported_with_what_to_do(tmp_path: Path, stage: str) -> None:
    def fail(_job: Job) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    job = job_in(fill(tmp_path / "m", 3), command="true")
    assert run(job, Hook(stage, fail)).status == "success"
    [complaint] = job.complaints
    assert "raise the limit (`ulimit -n`" in complaint


def test_a_refused_run_calls_only_the_hooks_for_failures(tmp_path: Path) -> None:
    called: list[str] = []
    stages = ("post_success", "post_fail")
    hooks = [Hook(stage, lambda job, stage=stage: called.append(f"{stage} {job.outcome.status}")) for stage in stages]  # type: ignore[misc]
    job = job_in(fill(tmp_path / "m", 3), command="rm -r file-0 file-1 file-2", retry=3, retry_delay=0)
    assert run(job, *hooks).status == "refused"
    assert called == ["post_fail refused"]
    assert (job.attempt, job.is_last_attempt) == (1, True)


def test_empty_folders_are_not_a_loss_if_no_file_was_accepted(tmp_path: Path) -> None:
    (tmp_path / "m" / "pool").mkdir(parents=True)
    job = job_in(tmp_path / "m", had(0, 0)._replace(files_in=str(tmp_path / "m")), None)

    assert compare(job, None).reason == ""
    assert job.found == (0, 0)
