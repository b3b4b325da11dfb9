"""A renamed mirror continues its history: state, overrides, runs, logs, directory."""

import sqlite3
from pathlib import Path

import pytest

from runner.base.mirror_paths import Paths
from runner.follow import rename_detection
from runner.hooks import previous_name
from runner.journal import rename_migration
from runner.journal.journal import Ending, Journal, Subject
from runner.journal.last_success import Left, Past
from runner.journal.outbox import Outbox
from runner.overrides import override_store
from runner.plan import plan
from runner.plan.plan import Header, Planned
from runner.plan.schedule import OperatorRequest
from runner.plugin_api import Abort, Job
from schemas.records import Mirror

OLD = Subject("old", "rsync://up.example.org/old/", True, "a" * 40)
NEW = OLD._replace(name="new")
MANY = 10_000_000


def planned(tmp_path: Path, name: str = "new", formerly: tuple[str, ...] = ("old",), **fields: str) -> Planned:
    mirror = Mirror(name, "w1", "rsync", "rsync://up.example.org/new/", role="slave", formerly=formerly, **fields)  # type: ignore[arg-type]
    root = str(tmp_path / "mirrors")
    return Planned(mirror, Paths(f"{root}/{name}", root, str(tmp_path / f"logs/{name}")), "b" * 40)


def one_run(book: Journal, subject: Subject, now: float, status: str = "success") -> int:
    run = book.begin(None, subject, now)
    assert run is not None
    book.end(run, subject.name, Ending(status, size=7, next_run_at=now + 100, log_tail=f"of {run}"), now + 5)
    return run


def told(book: Journal) -> list[dict[str, object]]:
    """Return the newest reported statuses of all mirrors."""
    return [status for report in book.outbox.oldest(100, MANY) for status in report["statuses"]]


def test_state_and_history_go_on_under_the_new_name_and_the_manager_forgets_the_old_one(
    book: Journal, tmp_path: Path
) -> None:
    runs = [one_run(book, OLD, 100.0), one_run(book, OLD, 200.0, "failed")]
    before = book.states()["old"]

    assert rename_migration.continue_history(book, [planned(tmp_path)], 300.0) == {}

    assert book.states() == {"new": before}
    [snapshot, ends] = book.outbox.oldest(100, MANY)
    assert snapshot["kind"] == "snapshot"
    (status,) = snapshot["statuses"]
    assert (status["mirror"], status["last_success_at"], status["next_run_at"]) == ("new", 105.0, 300.0)
    assert (status["upstream"], status["is_master"]) == ("rsync://up.example.org/new/", False)
    assert [(run["mirror"], run["id"]) for run in ends["runs"]] == [("new", run) for run in runs]


def test_it_is_done_once_and_costs_nothing_afterwards(book: Journal, tmp_path: Path) -> None:
    one_run(book, OLD, 100.0)
    rename_migration.continue_history(book, [planned(tmp_path)], 300.0)
    newest = book.outbox.newest()
    assert rename_migration.continue_history(book, [planned(tmp_path)], 301.0) == {}
    assert book.outbox.newest() == newest


@pytest.mark.parametrize("kind", ["paused", "disabled"])
def test_a_paused_or_disabled_mirror_stays_so_under_its_new_name(book: Journal, tmp_path: Path, kind: str) -> None:
    one_run(book, OLD, 100.0)
    override_store.override(book, [OLD], kind, "alice", 200.0)
    rename_migration.continue_history(book, [planned(tmp_path)], 300.0)
    assert book.operator_requests() == {"new": OperatorRequest(kind, made_at=200.0, made_by="alice")}
    assert book.states()["new"].status == kind


def test_a_mirror_that_was_disabled_before_it_ever_ran_stays_so(book: Journal, tmp_path: Path) -> None:
    override_store.override(book, [OLD], "disabled", "alice", 200.0)
    rename_migration.continue_history(book, [planned(tmp_path)], 300.0)
    assert book.operator_requests()["new"].override == "disabled"
    assert book.states()["new"].status == "disabled"


def test_a_requested_start_is_kept_after_a_rename(book: Journal, tmp_path: Path) -> None:
    one_run(book, OLD, 100.0)
    override_store.request(book, [OLD], "alice", 200.0, force=True)
    rename_migration.continue_history(book, [planned(tmp_path)], 300.0)
    assert book.operator_requests() == {
        "new": OperatorRequest(requested=True, force=True, made_at=200.0, made_by="alice")
    }


def test_commands_for_the_new_name_win(book: Journal, tmp_path: Path) -> None:
    one_run(book, OLD, 100.0)
    override_store.override(book, [OLD], "disabled", "alice", 200.0)
    override_store.request(book, [NEW], "bob", 250.0)
    rename_migration.continue_history(book, [planned(tmp_path)], 300.0)
    assert book.operator_requests() == {"new": OperatorRequest(requested=True, made_at=250.0, made_by="bob")}


def test_a_new_name_that_waits_for_a_slot_gets_the_old_state(book: Journal, tmp_path: Path) -> None:
    one_run(book, OLD, 100.0)
    book.queue(None, NEW, 200.0)
    rename_migration.continue_history(book, [planned(tmp_path)], 300.0)
    assert book.states()["new"].last_success_at == 105.0


def test_a_new_name_that_has_run_keeps_its_own_state_and_gets_the_history(book: Journal, tmp_path: Path) -> None:
    first = one_run(book, OLD, 100.0)
    override_store.override(book, [OLD], "disabled", "alice", 150.0)
    own = one_run(book, NEW, 200.0)
    rename_migration.continue_history(book, [planned(tmp_path)], 300.0)
    assert (book.states()["new"].last_success_at, book.operator_requests()) == (205.0, {})
    assert [run["id"] for run in book.outbox.oldest(100, MANY)[1]["runs"]] == [first, own]


def test_of_several_previous_names_the_first_known_one_gives_the_state(book: Journal, tmp_path: Path) -> None:
    one_run(book, OLD._replace(name="older"), 100.0)
    one_run(book, OLD, 200.0)
    rename_migration.continue_history(book, [planned(tmp_path, formerly=("never", "old", "older"))], 300.0)
    assert {name: state.last_success_at for name, state in book.states().items()} == {"new": 205.0}


def test_an_active_run_keeps_the_previous_name_until_it_ends(book: Journal, tmp_path: Path) -> None:
    run = book.begin(None, OLD, 100.0)
    assert run is not None

    assert rename_migration.continue_history(book, [planned(tmp_path)], 110.0) == {"new": "old"}

    assert list(book.states()) == ["old"]
    shown = rename_migration.under_current_names(book.states(), {"new": "old"})
    assert {name: state.status for name, state in shown.items()} == {"new": "pre-syncing"}
    book.end(run, "old", Ending("success"), 120.0)
    assert rename_migration.continue_history(book, [planned(tmp_path)], 130.0) == {}
    assert list(book.states()) == ["new"]


def test_other_mirrors_stay_as_they_are_and_a_shown_log_is_reported_again(book: Journal, tmp_path: Path) -> None:
    failed = one_run(book, OLD._replace(name="other"), 50.0, "failed")
    one_run(book, OLD, 100.0)
    book.outbox.acknowledge(book.outbox.newest())
    rename_migration.continue_history(book, [planned(tmp_path)], 300.0)
    assert {status["mirror"] for status in told(book)} == {"new", "other"}
    (ends,) = book.outbox.oldest(100, MANY)[1:]
    assert [(run["id"], run["log_tail"]) for run in ends["runs"]] == [(failed, f"of {failed}")]


def test_a_rename_that_fails_half_way_changes_nothing(
    book: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_run(book, OLD, 100.0)

    def fail(*_words: object) -> None:
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(Outbox, "snapshot", fail)
    with pytest.raises(sqlite3.OperationalError):
        rename_migration.continue_history(book, [planned(tmp_path)], 300.0)
    assert list(book.states()) == ["old"]


def test_logs_follow_only_when_their_folder_is_named_after_the_mirror(book: Journal, tmp_path: Path) -> None:
    for name in ("old", "elsewhere"):
        (tmp_path / "logs" / name).mkdir(parents=True)
        (tmp_path / "logs" / name / "x.log").touch()
        one_run(book, OLD._replace(name=name), 100.0)
    other = planned(tmp_path, "kept", ("elsewhere",), log_dir=str(tmp_path / "logs/kept"))

    rename_migration.continue_history(book, [planned(tmp_path), other], 300.0)

    found = sorted(str(path.relative_to(tmp_path / "logs")) for path in (tmp_path / "logs").rglob("*.log"))
    assert found == ["elsewhere/x.log", "new/x.log"]


def test_the_plan_has_previous_names_but_not_those_that_a_mirror_has_again(tmp_path: Path) -> None:
    path = str(tmp_path / "plan.db")
    mirrors = [planned(tmp_path, formerly=("old", "older")), planned(tmp_path, "old", ()), planned(tmp_path, "x", ())]
    plan.write(path, Header("w1", 1, None, None, "", "", unmoved=("new",)), mirrors)
    with plan.opened(path) as opened:
        assert [(each.mirror.name, each.mirror.formerly) for each in opened.renamed()] == [("new", ("older",))]
        assert opened.header.unmoved == ("new",)


def job_of(found: Planned) -> Job:
    return Job(found.mirror, found.paths)


def files_in(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "file").touch()


def test_the_directory_of_a_previous_name_is_the_first_one_with_files(tmp_path: Path) -> None:
    names = ("oldest", "older", "old")
    previous = {name: planned(tmp_path, name, ()) for name in names}

    def found(*others: Planned) -> str:
        mirrors = [planned(tmp_path, formerly=names), *others]
        return rename_detection.with_previous_names(mirrors, {"new"}, previous)[0][0].paths.previous

    assert found() == previous["oldest"].paths.directory, "none has files: the first one"
    for name in ("old", "older"):
        (tmp_path / "mirrors" / name / "pool").mkdir(parents=True)
    assert found() == previous["older"].paths.directory
    assert found(previous["older"]) == previous["old"].paths.directory, "another mirror has that directory now"
    assert found(*previous.values()) == ""


def test_a_run_fails_early_while_the_files_are_in_the_previous_names_directory(tmp_path: Path) -> None:
    files_in(tmp_path / "mirrors/old")
    found = planned(tmp_path)
    old, new = tmp_path / "mirrors/old", tmp_path / "mirrors/new"

    with pytest.raises(Abort) as refused:
        previous_name.pre_job(job_of(found))

    assert refused.value.status == "refused"
    assert refused.value.reason == (
        f"the files of new are still in {old}, under its previous name;"
        f" move them with `mv -T {old} {new}`, or set `mirror_dir: {old}`"
    )
    new.mkdir()
    with pytest.raises(Abort):
        previous_name.pre_job(job_of(found))
    new.rmdir()
    old.rename(new)
    previous_name.pre_job(job_of(found))


def test_a_run_is_not_refused_when_there_is_nothing_to_move(tmp_path: Path) -> None:
    previous_name.pre_job(job_of(planned(tmp_path)))
    files_in(tmp_path / "mirrors/old")
    previous_name.pre_job(job_of(planned(tmp_path, mirror_dir=str(tmp_path / "mirrors/new"))))
    files_in(tmp_path / "mirrors/new")
    previous_name.pre_job(job_of(planned(tmp_path)))


def test_a_dataset_is_renamed_and_not_moved(tmp_path: Path) -> None:
    files_in(tmp_path / "mirrors/old")
    with pytest.raises(Abort, match="`zfs rename tank/m/old tank/m/new`"):
        previous_name.pre_job(job_of(planned(tmp_path, zpool="tank/m")))


def test_facts_about_the_directory_continue_under_the_new_name(book: Journal, tmp_path: Path) -> None:
    run = book.begin(None, OLD, 100.0)
    assert run is not None
    left = Left(files_in="/srv/old", files=40, bytes=4000)
    book.end(run, "old", Ending("success", size=7, left=left), 105.0)

    rename_migration.continue_history(book, [planned(tmp_path)], 300.0)

    assert book.past("new") == Past(105.0, "/srv/old", 7, None, 40, 4000)
    assert book.past("old") == Past()
