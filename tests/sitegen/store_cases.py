"""Tests of the store for every kind of database, run by each module that has a fixture `store`."""

from pathlib import Path

import pytest

from schemas.records import FreshnessFile, History, ManagerSettings, Mirror, Site, Worker
from schemas.report import Override, Probe, ReportedProblem, RunProgress
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import AuditEntry, DeclaredConfig, Note, PastRun
from sitegen.messages.tunasync_rules import Message
from sitegen.retention import Retention
from sitegen.site.evaluate import Evaluator
from sitegen.site.worker_views import CLOCK_SHOWN
from sitegen.storage import history_store, past_runs, run_store, tunasync_posts, tunasync_store
from sitegen.storage.store import Store
from sitegen.storage.tunasync_posts import Post
from tests.sitegen.kit import HOUR, NOW, REVISION, delivery_of, report_of, run_of, status_of

DECLARED = DeclaredConfig(
    REVISION,
    NOW,
    Site("Mirrors", "https://m.example.org", categories={"os": "Systems"}),
    {"w1": Worker("w1", silent_after=60)},
    (Mirror("debian", "w1", "rsync", "rsync://up/", stale_after=7),),
    ("debian.yml:1:1: wrong. Do right.",),
)

VERSIONS = sorted(Path(__file__).parent.glob("version_*.sql"))
"""Databases of older releases."""


def test_a_workers_state_is_read_back(store: Store) -> None:
    problem = ReportedProblem("debian", "debian.yml:1:1", "wrong", "do right")
    status = status_of(status="failed", run=run_of(3, "failed", log_tail="disk full", reason="full"), size=5)
    probe = Probe(NOW, NOW - HOUR, None, False, "it cannot be read")
    status = status._replace(probe=probe, override=Override("paused", NOW, "ada", "new disk"))
    store.apply([delivery_of(report_of(1, status), problems=(problem,))])
    facts = store.facts()
    assert facts.statuses == {("w1", "debian"): status}
    assert facts.workers[0].problems == (problem,)
    assert facts.workers[0].first_seen == facts.workers[0].last_seen == NOW


def test_a_wrong_clock_is_shown_after_it_was_corrected(store: Store) -> None:
    store.apply([delivery_of(report_of(1, status_of(at=NOW + 7200)), sent_at=NOW + 7200)])
    store.apply([delivery_of(report_of(2, status_of(at=NOW + 60)), at=NOW + 60, sent_at=NOW + 60)])
    store.apply([delivery_of(at=NOW + 90, sent_at=NOW + 91), delivery_of(at=NOW + 95, sent_at=NOW + 95, worker="w2")])
    told = {state.name: (state.clock_ahead, state.clock_at) for state in store.facts().workers}
    assert told == {"w1": (7200.0, NOW), "w2": (None, None)}
    for later, clock in ((NOW + 100, (7200.0, NOW)), (NOW + CLOCK_SHOWN, None)):
        assert Evaluator().evaluate(store.facts(), later).workers[0].clock == clock
    store.apply([delivery_of(at=NOW + 200, sent_at=NOW - 3400)])
    assert [state.clock_ahead for state in store.facts().workers] == [-3600.0, None]
    store.write(tunasync_store.forget, "w1", AuditEntry(NOW, "alice", "", "", "tests", {}))
    store.apply([delivery_of(at=NOW + 300, sent_at=NOW + 300)])
    assert [state.clock_at for state in store.facts().workers] == [None, None]


def test_a_success_in_the_future_does_not_move_with_every_report(store: Store) -> None:
    """The worker's clock was corrected, but its journal still has the time: the mirror turns stale like any other."""
    ahead = NOW + 1e7
    run = run_of(1, launched_at=ahead, started_at=ahead, ended_at=ahead)
    status = status_of(at=ahead, run=run, override=Override("paused", ahead), probe=Probe(ahead, even_at=ahead))
    for number, later in ((1, 0.0), (2, HOUR), (3, 30 * HOUR)):
        kind = "snapshot" if number == 3 else "change"
        report = report_of(number, status, runs=(("debian", run),), kind=kind)._replace(made_at=NOW + later)
        store.apply([delivery_of(report, at=NOW + later, sent_at=NOW + later)])
        facts = store.facts()
        kept = facts.statuses["w1", "debian"]
        assert (kept.last_started_at, kept.last_ended_at, kept.last_success_at) == (NOW, NOW, NOW), number
        assert (kept.run, kept.override, kept.probe) == (
            run._replace(launched_at=NOW, started_at=NOW, ended_at=NOW),
            Override("paused", NOW),
            Probe(NOW, even_at=NOW),
        )
    assert Evaluator().evaluate(facts, NOW + 30 * HOUR).mirrors[0].verdict == "stale"
    assert (facts.workers[0].clock_ahead, facts.workers[0].clock_at) == (1e7, NOW)
    newer = status._replace(last_success_at=ahead + 60)
    store.apply([delivery_of(report_of(4, newer), at=NOW + 31 * HOUR)])
    assert store.facts().statuses["w1", "debian"].last_success_at == NOW + 31 * HOUR
    store.apply([delivery_of(report_of(5, status_of(at=NOW + 32 * HOUR)), at=NOW + 32 * HOUR)])
    assert store.facts().statuses["w1", "debian"].last_success_at == NOW + 32 * HOUR


def test_the_log_of_a_success_is_not_stored(store: Store) -> None:
    store.apply([delivery_of(report_of(1, status_of(run=run_of(1, log_tail="long"))))])
    run = store.facts().statuses["w1", "debian"].run
    assert run is not None
    assert run.log_tail == ""


def test_a_later_report_of_a_run_updates_it(store: Store) -> None:
    syncing = status_of(status="syncing", run=run_of(1, "syncing", ended_at=None))
    store.apply([delivery_of(report_of(1, syncing))])
    with store.reading() as reader:
        assert reader.histories(["debian"]) == {"debian": ()}
    store.apply([delivery_of(report_of(2, status_of()))])
    with store.reading() as reader:
        assert reader.histories(["debian", "none"]) == {"debian": (PastRun("w1", run_of(1)),), "none": ()}


def test_a_snapshot_removes_mirrors_that_it_does_not_contain(store: Store) -> None:
    store.apply([delivery_of(report_of(1, status_of("old"), status_of("kept")))])
    store.apply([delivery_of(report_of(9, status_of("kept"), kind="snapshot"))])
    assert list(store.facts().statuses) == [("w1", "kept")]


def test_history_is_the_newest_of_all_workers(store: Store) -> None:
    for worker in ("w1", "w2"):
        runs = tuple(("debian", run_of(number, ended_at=NOW + number)) for number in range(1, 30))
        store.apply([delivery_of(report_of(1, kind="snapshot", runs=runs), worker=worker)])
    with store.reading() as reader:
        found = reader.histories(["debian"])["debian"]
    assert [item.run.id for item in found[:4]] == [29, 29, 28, 28]
    assert len(found) == past_runs.HISTORY


def forgetful(store: Store, now: float, **limits: int) -> None:
    Retention(store, ManagerSettings(history=History(**limits))).clean_up(now)


def test_the_oldest_runs_above_the_limit_are_deleted(store: Store) -> None:
    runs = tuple((name, run_of(number, ended_at=NOW + number)) for number, name in enumerate("aaaabb", 1))
    store.apply([delivery_of(report_of(1, kind="snapshot", runs=runs))])
    forgetful(store, NOW, runs_per_mirror=2)
    with store.reading() as reader:
        found = reader.histories(["a", "b"])
    assert [item.run.id for item in found["a"]] == [4, 3]
    assert [item.run.id for item in found["b"]] == [6, 5]


def test_only_groups_with_runs_to_delete_are_found(store: Store) -> None:
    runs = tuple(("a", run_of(number, ended_at=NOW + number)) for number in (0, 1))
    store.apply([delivery_of(report_of(1, kind="snapshot", runs=runs))])
    for most, now, found in ((2, NOW + 100, []), (1, NOW + 100, [("w1", "a")]), (2, NOW + 101, [("w1", "a")])):
        assert history_store.crowded(store, History(runs_per_mirror=most, keep_runs=100), now) == found


def test_old_runs_are_deleted_in_steps_except_a_mirrors_last_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_store, "STEP", 3)
    runs = tuple(("debian", run_of(number, ended_at=NOW + number)) for number in range(1, 21))
    last = status_of("idle", "failed", run=run_of(50, "failed", ended_at=NOW - HOUR, log_tail="why"))
    store.apply([delivery_of(report_of(1, last, kind="snapshot", runs=runs))])
    before = store.commits
    forgetful(store, NOW + 110, keep_runs=100, keep_logs=50)
    assert store.commits - before == 3
    with store.reading() as reader:
        found = reader.histories(["debian"])["debian"]
    assert [item.run.id for item in found] == list(range(20, 9, -1))
    assert store.facts().statuses["w1", "idle"] == last


def test_logs_are_deleted_before_their_runs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_store, "STEP", 2)
    for number in range(1, 8):
        run = run_of(number, "failed", ended_at=NOW + number // 2, log_tail=f"log {number}")
        store.apply([delivery_of(report_of(number, status_of("debian", "failed", run=run)))])
    forgetful(store, NOW + 2 + HOUR, keep_logs=int(HOUR))
    told = run_store.page(store, "", ["debian"], "", 20)[0]
    assert [(item.run.id, item.run.log_tail) for item in told if item.run.log_tail] == [
        (number, f"log {number}") for number in (7, 6, 5, 4)
    ]
    assert len(told) == 7


def test_the_change_number_rises_only_with_news(store: Store) -> None:
    store.apply([delivery_of(report_of(1, status_of()))])
    before = store.changes()
    store.apply([delivery_of(at=NOW + 1)])
    assert store.changes() == before
    store.apply([delivery_of(report_of(2, status_of()))])
    assert store.changes() == before + 1


def test_the_catalogue_is_read_back(store: Store) -> None:
    store.keep_refused(Note("it is wrong", NOW, REVISION))
    for later in (1, 2):
        store.keep_unreachable(f"it failed {later} times", NOW + later)
    told = Note("it is wrong", NOW, REVISION), Note("it failed 2 times", NOW + 1)
    assert (store.facts().refused, store.facts().unreachable) == store.notes() == told
    probed = Mirror("gnu", "w1", "rsync", "rsync://up/", freshness=FreshnessFile("stamp.txt", 60, 120))
    declared = DECLARED._replace(mirrors=(*DECLARED.mirrors, probed))
    store.keep_catalogue(declared, NOW)
    facts = store.facts()
    assert facts.declared == declared
    assert (facts.refused, facts.unreachable, facts.revisions) == (None, None, frozenset({REVISION}))


def test_a_failed_transaction_is_rolled_back(store: Store) -> None:
    good, bad = status_of("good"), status_of("bad", upstream=object())
    with pytest.raises(Exception, match="type 'object'"):
        store.apply([delivery_of(report_of(1, good)), delivery_of(report_of(2, bad))])
    assert store.facts().statuses == {}


def test_progress_needs_no_extra_commit_and_is_from_the_last_envelope(store: Store) -> None:
    progress = (RunProgress("debian", NOW, 57.5, 10, 5, None), RunProgress("arch", NOW))
    commits = store.commits
    assert store.apply([delivery_of(progress=progress)]).news
    assert store.commits == commits + 1, "the commit of the heartbeat"
    assert store.facts().workers[0].progress == progress
    assert not store.apply([delivery_of(progress=progress)]).news
    assert store.apply([delivery_of()]).news
    assert store.facts().workers[0].progress == ()


def test_only_changes_are_read_again(store: Store) -> None:
    store.keep_catalogue(DECLARED, NOW)
    store.apply([delivery_of(report_of(1, status_of("a"), status_of("b")))])
    before = store.facts()
    store.apply([delivery_of(report_of(2, status_of("b", "failed"), status_of("c")))])
    after = store.facts(before)
    assert after == store.facts()
    assert after.declared is before.declared
    assert after.statuses["w1", "a"] is before.statuses["w1", "a"]
    store.keep_catalogue(DECLARED._replace(problems=()), NOW)
    assert store.facts(after).declared == DECLARED._replace(problems=())


def test_mirrors_that_a_snapshot_removed_are_not_kept_from_before(store: Store) -> None:
    store.apply(
        [
            delivery_of(report_of(1, status_of("a"), status_of("b"))),
            delivery_of(report_of(1, status_of("x")), worker="w2"),
        ]
    )
    before = store.facts()
    store.apply([delivery_of(report_of(2, status_of("b"), kind="snapshot"))])
    after = store.facts(before)
    assert set(after.statuses) == {("w1", "b"), ("w2", "x")}
    assert after.statuses["w2", "x"] is before.statuses["w2", "x"]
    store.apply([delivery_of(report_of(3, kind="snapshot"))])
    assert set(store.facts(after).statuses) == {("w2", "x")}


def test_a_restored_backup_is_read_in_full(store: Store) -> None:
    store.apply([delivery_of(report_of(1, status_of()))])
    ahead = store.facts()._replace(changes=99, statuses={("w1", "lost"): status_of("lost")})
    assert store.facts(ahead) == store.facts()


def test_runs_under_previous_names_are_merged_into_a_mirrors_history(store: Store) -> None:
    for worker, shift in (("w1", 0), ("w2", 100)):
        runs = tuple(
            (name, run_of(number, ended_at=NOW + shift + number))
            for number, name in enumerate(("older", "old", "new", "other", "old"), 1)
        )
        store.apply([delivery_of(report_of(1, kind="snapshot", runs=runs), worker=worker)])
    with store.reading() as reader:
        found = reader.histories(["new", "other"], {"new": ("old", "older")})
        assert [(item.worker, item.run.id) for item in found["new"]] == [
            ("w2", 5), ("w2", 3), ("w2", 2), ("w2", 1), ("w1", 5), ("w1", 3), ("w1", 2), ("w1", 1),
        ]  # fmt: skip
        assert [(item.worker, item.run.id) for item in found["other"]] == [("w2", 4), ("w1", 4)]
        assert [item.run.id for item in reader.histories(["new"])["new"]] == [3, 3]
    many = tuple((name, run_of(9 + number, ended_at=NOW + number)) for number in range(30) for name in ("old",))
    store.apply([delivery_of(report_of(2, kind="snapshot", runs=many))])
    with store.reading() as reader:
        assert len(reader.histories(["new"], {"new": ("old",)})["new"]) == past_runs.HISTORY


def test_a_page_of_the_history_has_the_runs_of_several_names(store: Store) -> None:
    runs = tuple((name, run_of(number, ended_at=NOW + number)) for number, name in enumerate("abcab", 1))
    store.apply([delivery_of(report_of(1, kind="snapshot", runs=runs))])
    first, cursor = run_store.page(store, "w1", ["a", "b"], "", 3)
    second, end = run_store.page(store, "w1", ["a", "b"], cursor or "", 3)
    assert [(item.mirror, item.run.id) for item in [*first, *second]] == [("b", 5), ("a", 4), ("b", 2), ("a", 1)]
    assert end is None


def test_a_previous_name_is_read_back_with_the_catalogue(store: Store) -> None:
    mirrors = tuple(mirror._replace(formerly=("old", "older")) for mirror in DECLARED.mirrors)
    store.keep_catalogue(DECLARED._replace(mirrors=mirrors), NOW)
    assert store.declared() == DECLARED._replace(mirrors=mirrors)


def test_a_run_reported_again_under_a_new_name_has_only_that_name(store: Store) -> None:
    store.apply([delivery_of(report_of(1, status_of("old", run=run_of(7))))])
    store.apply([delivery_of(report_of(2, status_of("new", run=run_of(7)), kind="snapshot"))])
    assert list(store.facts().statuses) == [("w1", "new")]
    with store.reading() as reader:
        found = reader.histories(["new", "old"], {"new": ("old",)})
    assert [[item.run.id for item in found[name]] for name in ("new", "old")] == [[7], []]


def _posts() -> list[Post]:
    """Two runs of each of two mirrors of two Go workers, with rejected posts among them."""
    found: list[Post] = []
    for size, status in enumerate(("pre-syncing", "syncing", "failed", "pre-syncing", "syncing", "success", "odd")):
        for worker, mirror in (("go1", "a"), ("go2", "a"), ("go1", "b"), ("w1", "a"), ("nobody", "a")):
            content = {"name": mirror, "status": status, "size": f"{size}G", "error_msg": status, "is_master": True}
            found.append(Post(worker, mirror, Message(content), int(NOW + len(found)) * 10**9))
    return found


def test_statuses_of_tunasync_in_one_batch_give_the_same_as_one_by_one(store: Store) -> None:
    for worker in ("go1", "go2", "single1", "single2"):
        store.write(tunasync_store.register, worker, f"http://{worker}/", int(NOW) * 10**9)
    store.apply([delivery_of(report_of(1, status_of("a")))])
    before = store.commits
    report = delivery_of(report_of(2, status_of("a", run=run_of(2))))
    kept, together = store.write(tunasync_posts.apply_in, [report], _posts())
    assert (store.commits - before, [answer.acknowledged for answer in kept.answers], kept.news) == (1, [2], True)
    renamed = [post._replace(worker=post.worker.replace("go", "single")) for post in _posts()]
    alone = [store.write(tunasync_posts.apply_in, [], [post]).results[0] for post in renamed]
    assert [_plain(told) for told in together] == [_plain(told) for told in alone]
    for mine, other in (("go1", "single1"), ("go2", "single2")):
        jobs = [tunasync_store.jobs(store, worker) for worker in (mine, other)]
        assert [_plain(job) for job in jobs[0]] == [_plain(job) for job in jobs[1]]
        assert tunasync_store.workers(store)[mine]["last_online"] == tunasync_store.workers(store)[other]["last_online"]
        statuses = store.facts().statuses
        assert statuses[mine, "a"] == statuses[other, "a"]
    with store.reading() as reader:
        runs = reader.histories(["b"])["b"]
    ended, others = ([each.run for each in runs if each.worker == worker] for worker in ("go1", "single1"))
    assert [run.status for run in ended] == ["success", "failed"]
    assert ended == others
    assert store.facts().statuses["w1", "a"].run == run_of(2)


def test_a_rejected_status_of_tunasync_does_not_affect_others(store: Store) -> None:
    store.write(tunasync_store.register, "go1", "http://go1/", int(NOW) * 10**9)
    store.apply([delivery_of(report_of(1, status_of("a")))])
    told = store.write(tunasync_posts.apply_in, [], _posts()[:5]).results
    assert [isinstance(each, RejectedRequest) for each in told] == [False, True, False, True, True]
    assert [(job["name"], job["status"]) for job in tunasync_store.jobs(store)] == [
        ("a", "pre-syncing"),
        ("b", "pre-syncing"),
    ]


def _plain(told: object) -> object:
    """Return an answer without the name of its worker."""
    if isinstance(told, RejectedRequest):
        return told.status, told.why.replace("single", "go")
    return {**told, "worker": ""} if isinstance(told, dict) else told
