import random

import pytest

from schemas.records import FreshnessFile, Mirror, Site, Worker
from schemas.report import MirrorStatus, Probe, RunProgress
from sitegen.messages.model import TUNASYNC, DeclaredConfig, Facts, WorkerState
from sitegen.site.evaluate import Evaluator
from sitegen.site.snapshot import Snapshot
from sitegen.site.worker_views import LIVE, STEPS
from sitegen.storage.store import Store
from tests.cases import some
from tests.sitegen.kit import HOUR, JOURNAL, NOW, OLD_REVISION, REVISION, delivery_of, report_of, run_of, status_of

DAY = 24 * HOUR


def worker(
    name: str = "w1", last_seen: float = NOW, revision: str | None = REVISION, progress: tuple[RunProgress, ...] = ()
) -> WorkerState:
    return WorkerState(name, NOW - DAY, last_seen, last_seen, JOURNAL, "0.1.0", revision, 4, 0, (), progress)


def mirror(name: str = "debian", on: str = "w1", role: str = "master") -> Mirror:
    return Mirror(name, on, "rsync", "rsync://up/", role=role, interval=int(HOUR), stale_after=int(2 * HOUR))


def declared(*mirrors: Mirror, silent_after: tuple[float, float] = (HOUR, HOUR)) -> DeclaredConfig:
    workers = {
        name: Worker(name, silent_after=int(after)) for name, after in zip(("w1", "w2"), silent_after, strict=True)
    }
    return DeclaredConfig(REVISION, NOW, Site("Site"), workers, mirrors, ())


def evaluated(
    *told: tuple[str, MirrorStatus],
    config: DeclaredConfig | None = None,
    workers: tuple[WorkerState, ...] = (worker(), worker("w2")),
    now: float = NOW,
    evaluator: Evaluator | None = None,
) -> Snapshot:
    statuses = {(name, status.mirror): status for name, status in told}
    facts = Facts(1, workers, statuses, config, None, frozenset({OLD_REVISION, REVISION}))
    return (evaluator or Evaluator()).evaluate(facts, now)


def test_without_a_configuration_the_site_shows_the_mirrors_that_workers_report() -> None:
    found = evaluated(("w1", status_of("b")), ("w1", status_of("a")))
    assert [view.name for view in found.mirrors] == ["a", "b"]
    assert found.mirrors[0].definition.upstream == "rsync://up.example.org/a/"
    assert found.site.title == "Mirrors"


def test_with_a_configuration_the_site_shows_the_mirrors_it_declares() -> None:
    found = evaluated(("w1", status_of("gone")), config=declared(mirror("new")))
    assert [(view.name, view.best.status.status, view.verdict) for view in found.mirrors] == [
        ("new", "none", "unknown")
    ]


def test_a_mirror_turns_stale_and_then_unknown_by_time_alone() -> None:
    told, config = ("w1", status_of(next_run_at=None)), declared(mirror(), silent_after=(4 * HOUR, HOUR))
    seen = (worker(),)
    at = {now: evaluated(told, config=config, workers=seen, now=now) for now in (NOW, NOW + 2 * HOUR, NOW + 4 * HOUR)}
    assert [found.mirrors[0].verdict for found in at.values()] == ["fresh", "stale", "unknown"]
    assert [found.changes_at for found in at.values()] == [NOW + 2 * HOUR, NOW + 4 * HOUR, None]
    view = at[NOW].mirrors[0]
    assert (view.stale_at, view.unknown_at) == (NOW + 2 * HOUR, NOW + 4 * HOUR)


@pytest.mark.parametrize("status", ["paused", "disabled"])
def test_a_paused_or_disabled_mirror_is_not_fresh_for_that_reason(status: str) -> None:
    told, config = status_of(status=status, last_success_at=NOW), declared(mirror(), silent_after=(4 * HOUR, HOUR))
    causes = [
        evaluated(("w1", told), config=config, workers=(worker(),), now=now).mirrors[0].cause
        for now in (NOW, NOW + 2 * HOUR, NOW + 4 * HOUR)
    ]
    assert causes == [None, "switched-off", "silence"]
    never = evaluated(("w1", told._replace(last_success_at=None)), config=declared(mirror())).mirrors[0]
    assert (never.verdict, never.cause) == ("unknown", "switched-off")


def test_a_mirror_that_never_succeeded_does_not_turn_by_time() -> None:
    view = evaluated(("w1", status_of(status="failed")), config=declared(mirror())).mirrors[0]
    assert (view.verdict, view.stale_at, view.unknown_at) == ("unknown", None, None)


def test_a_mirror_is_as_fresh_as_its_freshest_copy() -> None:
    config = declared(mirror(), mirror(on="w2", role="slave"))
    old, recent = ("w1", status_of(at=NOW - DAY)), ("w2", status_of(at=NOW - 60, is_master=False))
    view = evaluated(old, recent, config=config).mirrors[0]
    assert [copy.worker for copy in view.copies] == ["w2", "w1"]
    assert (view.verdict, view.stale_at) == ("fresh", NOW - 60 + 2 * HOUR)


@pytest.mark.parametrize(
    ("masters", "ages", "order"),
    [
        ({"w2"}, (60.0, HOUR), ["w2", "w1"]),
        ({"w1"}, (HOUR, 60.0), ["w1", "w2"]),
        (set(), (HOUR, 60.0), ["w2", "w1"]),
        ({"w1", "w2"}, (HOUR, 60.0), ["w2", "w1"]),
        (set(), (60.0, 60.0), ["w1", "w2"]),
    ],
)
def test_of_equally_fresh_copies_the_master_comes_first_and_then_the_most_recent_success(
    masters: set[str], ages: tuple[float, float], order: list[str]
) -> None:
    told = [
        (name, status_of(last_success_at=NOW - age, is_master=name in masters))
        for name, age in zip(("w1", "w2"), ages, strict=True)
    ]
    for mirrors in ((mirror(), mirror(on="w2")), (mirror(on="w2"), mirror())):
        (view,) = evaluated(*told, config=declared(*mirrors)).mirrors
        assert ([copy.worker for copy in view.copies], view.best.worker) == (order, order[0])


def test_the_moments_of_several_copies_agree_with_evaluating_again() -> None:
    told = (("w1", status_of(at=NOW)), ("w2", status_of(at=NOW - HOUR, is_master=False)))
    for first, second in ((0.0, 0.0), (0.0, HOUR), (HOUR, 0.0), (2 * HOUR, HOUR / 2)):
        config = declared(mirror(), mirror(on="w2", role="slave"), silent_after=(HOUR + first, HOUR + second))
        seen = worker(), worker("w2")
        view = evaluated(*told, config=config, workers=seen).mirrors[0]
        assert view.stale_at is not None
        assert view.unknown_at is not None
        for step in range(40):
            now = NOW + step * HOUR / 8
            said = "unknown" if now >= view.unknown_at else "stale" if now >= view.stale_at else "fresh"
            assert said == evaluated(*told, config=config, workers=seen, now=now).mirrors[0].verdict, (
                first,
                second,
                step,
            )


def test_a_worker_is_current_behind_or_on_a_revision_unknown_here() -> None:
    seen = (worker("a"), worker("b", revision=OLD_REVISION), worker("c", revision="c" * 40), worker("d", revision=None))
    found = evaluated(config=declared(), workers=seen)
    assert {view.name: view.standing for view in found.workers if view.state} == {
        "a": "current",
        "b": "behind",
        "c": "other",
        "d": None,
    }
    assert [view.name for view in found.workers if view.state is None] == ["w1", "w2"]


def test_an_offline_worker() -> None:
    found = evaluated(config=declared(), workers=(worker(last_seen=NOW - HOUR), worker("w2")))
    assert {view.name: view.silent for view in found.workers} == {"w1": True, "w2": False}


def test_credentials_in_an_upstream_are_not_shown() -> None:
    view = evaluated(("w1", status_of(upstream="https://user:secret@up.example.org/x/"))).mirrors[0]
    assert view.best.status.upstream == "https://up.example.org/x/"


def test_only_a_changed_mirror_gets_another_view() -> None:
    evaluator, config = Evaluator(), declared(mirror("a"), mirror("b"))
    told = ("w1", status_of("a"))
    first = evaluated(told, ("w1", status_of("b")), config=config, evaluator=evaluator).mirrors
    second = evaluated(told, ("w1", status_of("b", "failed")), config=config, evaluator=evaluator, now=NOW + 5).mirrors
    assert second[0] is first[0]
    assert second[1].best.status.status == "failed"
    again = declared(mirror("a"), mirror("b")._replace(title="B"))
    third = evaluated(told, ("w1", status_of("b", "failed")), config=again, evaluator=evaluator, now=NOW + 6).mirrors
    assert third[0] is first[0], "the same definition in a new revision"
    assert third[1].definition.title == "B"


def test_heartbeats_alone_rarely_make_another_view() -> None:
    evaluator, config, told = Evaluator(), declared(mirror()), ("w1", status_of())
    step = HOUR / STEPS
    start = NOW - NOW % step

    def view(last_seen: float) -> object:
        return evaluated(told, config=config, workers=(worker(last_seen=last_seen),), evaluator=evaluator).mirrors[0]

    first = view(start)
    assert view(start + step / 2) is first
    assert view(start + step) is not first


def test_evaluating_with_a_cache_returns_the_same_as_without() -> None:
    evaluator, config = Evaluator(), declared(mirror(), mirror(on="w2", role="slave"))
    told = (("w1", status_of(at=NOW)), ("w2", status_of(at=NOW - HOUR, is_master=False)))
    for minute in (*range(0, 400, 7), 3):  # the clock is put back in the end
        now = NOW + minute * 60
        seen = (worker(last_seen=NOW + minute // 100 * 3000), worker("w2", last_seen=min(now, NOW + HOUR)))
        again = evaluated(*told, config=config, workers=seen, now=now, evaluator=evaluator)
        once = evaluated(*told, config=config, workers=seen, now=now)
        assert [copy.verdict for copy in again.mirrors[0].copies] == [copy.verdict for copy in once.mirrors[0].copies]
        assert again.counts == once.counts


PROBE = Probe(NOW - 60, NOW - 2 * HOUR, NOW - 2 * HOUR, True, even_at=NOW - 60)
RULE = FreshnessFile("lastupdate", int(HOUR), int(DAY))


def test_a_probe_moves_the_moment_at_which_a_mirror_turns_stale() -> None:
    told, rule = ("w1", status_of(probe=PROBE, next_run_at=None)), mirror()._replace(stale_after=9**9, freshness=RULE)
    config, seen = declared(rule, silent_after=(2 * DAY, HOUR)), (worker(),)
    found = evaluated(told, config=config, workers=seen)
    copy = found.mirrors[0].best
    assert (copy.verdict, copy.cause, copy.probe) == ("fresh", None, PROBE)
    assert found.changes_at == found.mirrors[0].stale_at == NOW + 22 * HOUR
    (later,) = evaluated(told, config=config, workers=seen, now=NOW + 22 * HOUR).mirrors
    assert (later.verdict, later.cause) == ("stale", "upstream")


def test_another_probe_is_another_view_and_another_rule_as_well() -> None:
    evaluator, config = Evaluator(), declared(mirror()._replace(freshness=RULE), mirror("other"))
    lags = PROBE._replace(upstream_at=NOW, same=False, even_at=NOW - DAY)

    def view(probe: Probe | None, config: DeclaredConfig = config) -> object:
        found = evaluated(
            ("w1", status_of(probe=probe)), ("w1", status_of("other")), config=config, evaluator=evaluator
        )
        others.append(found.mirrors[1])
        return found.mirrors[0].verdict, found.mirrors[0].cause

    others: list[object] = []
    assert view(None) == ("fresh", None)
    assert view(PROBE) == ("fresh", None)
    assert view(lags) == ("stale", "lag")
    patient = declared(mirror()._replace(freshness=RULE._replace(max_lag=int(DAY))), mirror("other"))
    assert view(lags, patient) == ("fresh", None)
    assert all(other is others[0] for other in others)


def test_a_probe_counts_only_if_configured_and_without_a_configuration_by_the_default_limits() -> None:
    told = ("w1", status_of(probe=PROBE._replace(upstream_at=NOW - 8 * DAY)))
    (unwanted,) = evaluated(told, config=declared(mirror())).mirrors
    assert (unwanted.verdict, unwanted.best.probe) == ("fresh", None)
    assert [view.cause for view in evaluated(told).mirrors] == ["upstream"]


def test_the_cause_is_that_of_the_freshest_copy() -> None:
    probed = [mirror(on=name, role=role)._replace(freshness=RULE) for name, role in (("w1", "master"), ("w2", "slave"))]
    stands, ended = PROBE._replace(upstream_at=NOW - 8 * DAY), status_of(at=NOW - DAY, probe=PROBE)
    (view,) = evaluated(("w1", status_of(probe=stands)), ("w2", ended), config=declared(*probed)).mirrors
    assert (view.verdict, view.cause, [copy.cause for copy in view.copies]) == (
        "stale",
        "upstream",
        ["upstream", "age"],
    )


def test_credentials_in_a_probes_problem_are_not_shown() -> None:
    failed = PROBE._replace(problem="https://user:secret@up.example.org/x answered 500")
    view = evaluated(("w1", status_of(probe=failed))).mirrors[0]
    assert view.best.probe is not None
    assert view.best.probe.problem == "https://up.example.org/x answered 500"
    assert "secret" not in str(view)


PROGRESS = RunProgress("debian", NOW - 5, 57.0, 2048, 10, 3)
SYNCING = status_of(status="syncing", run=run_of(1, "syncing", ended_at=None, launched_at=NOW - 60))


def test_the_progress_of_an_active_run_is_shown_for_a_while() -> None:
    seen, evaluator = (worker(progress=(PROGRESS,)),), Evaluator()
    live = evaluated(("w1", SYNCING), config=declared(mirror()), workers=seen, evaluator=evaluator)
    assert live.mirrors[0].best.progress == PROGRESS
    assert live.changes_at == live.mirrors[0].best.progress_until == NOW + LIVE
    later = evaluated(("w1", SYNCING), config=declared(mirror()), workers=seen, now=NOW + LIVE, evaluator=evaluator)
    assert later.mirrors[0].best.progress is None


def test_progress_of_an_ended_or_an_earlier_run_is_not_shown() -> None:
    seen = (worker(progress=(PROGRESS,)),)
    newer = SYNCING._replace(run=run_of(2, "syncing", ended_at=None, launched_at=NOW - 1))
    for status in (status_of(), status_of(status="failed"), newer, SYNCING._replace(run=None)):
        assert evaluated(("w1", status), config=declared(mirror()), workers=seen).mirrors[0].best.progress is None


def test_a_copy_on_a_worker_that_was_never_seen_does_not_change_when_the_mirror_turns() -> None:
    config = declared(mirror(), mirror(on="gone", role="slave"))
    (view,) = evaluated(("w1", status_of(at=NOW)), ("gone", status_of(at=NOW + 60)), config=config).mirrors
    assert (view.best.worker, view.stale_at, view.unknown_at) == ("w1", NOW + 2 * HOUR, NOW + HOUR)


def test_progress_from_the_moment_of_the_launch_is_shown() -> None:
    seen = (worker(progress=(PROGRESS,)),)
    launched = SYNCING._replace(run=run_of(1, "syncing", ended_at=None, launched_at=PROGRESS.at))
    (view,) = evaluated(("w1", launched), config=declared(mirror()), workers=seen).mirrors
    assert view.best.progress == PROGRESS


def test_progress_is_that_of_its_own_worker() -> None:
    config = declared(mirror(), mirror(on="w2", role="slave"))
    seen = (worker(progress=(PROGRESS, PROGRESS._replace(mirror="unknown"))), worker("w2"))
    (view,) = evaluated(("w1", SYNCING), ("w2", SYNCING), config=config, workers=seen).mirrors
    assert {copy.worker: copy.progress for copy in view.copies} == {"w1": PROGRESS, "w2": None}


def test_a_mirror_of_a_removed_worker_is_still_shown() -> None:
    found = evaluated(config=declared(mirror(on="gone")))
    assert [(view.name, view.verdict) for view in found.mirrors] == [("debian", "unknown")]
    assert "gone" not in [view.name for view in found.workers]


@pytest.mark.parametrize("seed", some(range(8), every=3))
def test_reading_and_evaluating_only_changes_gives_the_same_as_everything(store: Store, seed: int) -> None:
    chance, evaluator, facts = random.Random(seed), Evaluator(), store.facts()
    numbers = {"w1": 0, "w2": 0}
    for step in range(60):
        now, on = NOW + step * 120, chance.choice(["w1", "w2"])
        names = chance.sample("abcd", chance.randint(0, 3))
        statuses = [_any_status(chance, name, 10 * step + place, now) for place, name in enumerate(names, 1)]
        numbers[on] += 1
        report = report_of(numbers[on], *statuses, kind=chance.choice(["change", "change", "snapshot"]))
        progress = tuple(RunProgress(name, now, chance.random() * 100) for name in names if chance.random() < 0.5)
        if chance.random() < 0.1:
            copies = [mirror(name, on) for name in chance.sample("abcd", 3) for on in ("w1", "w2")]
            store.keep_catalogue(declared(*copies), now)
        if chance.random() < 0.8:
            store.apply([delivery_of(report, worker=on, at=now, progress=progress)])
        else:
            numbers[on] -= 1
        facts = store.facts(facts)
        assert facts == store.facts()
        again, once = evaluator.evaluate(facts, now), Evaluator().evaluate(facts, now)
        assert _without_moments(again) == _without_moments(once)


def _any_status(chance: random.Random, name: str, number: int, now: float) -> MirrorStatus:
    word = chance.choice(["success", "failed", "syncing", "syncing"])
    ended_at = None if word == "syncing" else now
    return status_of(name, word, at=now, run=run_of(number, word, ended_at=ended_at, launched_at=now - 60))


def _without_moments(snapshot: Snapshot) -> object:
    """Return everything except the moments that views move in coarse steps."""
    views = [[copy._replace(unknown_at=None, progress_until=None) for copy in view.copies] for view in snapshot.mirrors]
    return views, snapshot.counts, snapshot.workers


def renamed(on: str = "w1") -> Mirror:
    return mirror("new", on)._replace(formerly=("old", "older"))


def test_a_previous_names_state_counts_until_the_worker_reports_the_new_one() -> None:
    running = status_of("old", "syncing", run=run_of(5, "syncing", ended_at=None), last_success_at=NOW - HOUR)
    progress = (RunProgress("old", NOW, 40, None, None, None),)
    found = evaluated(("w1", running), config=declared(renamed()), workers=(worker(progress=progress),))
    (view,) = found.mirrors
    assert (view.name, view.best.status.mirror, view.verdict, view.best.status.status) == (
        "new", "new", "fresh", "syncing",
    )  # fmt: skip
    assert view.best.progress is not None

    told = ("w1", running), ("w1", status_of("new", at=NOW - 10))
    (view,) = evaluated(*told, config=declared(renamed())).mirrors
    assert (view.best.status.status, view.best.status.last_success_at) == ("success", NOW - 10)


def test_a_new_name_without_a_success_has_that_of_the_latest_previous_one() -> None:
    failed = status_of("new", "failed", last_success_at=None, size=None)
    told = [("w1", status_of(name, at=NOW - age, size=9)) for name, age in (("older", 500), ("old", 100))]
    (view,) = evaluated(("w1", failed), *told, config=declared(renamed())).mirrors
    status = view.best.status
    assert (status.status, status.last_success_at, status.size) == ("failed", NOW - 100, 9)


def test_a_moved_mirror_is_shown_only_on_its_new_worker() -> None:
    told = ("w1", status_of()), ("w1", status_of("old"))
    views = evaluated(*told, config=declared(mirror(on="w2"), renamed("w2"))).mirrors
    assert [(view.name, [copy.worker for copy in view.copies], view.verdict) for view in views] == [
        ("debian", ["w2"], "unknown"), ("new", ["w2"], "unknown"),
    ]  # fmt: skip
    (view,) = evaluated(*told, ("w2", status_of(at=NOW - 5)), config=declared(mirror(on="w2"))).mirrors
    assert (view.verdict, view.best.status.last_success_at) == ("fresh", NOW - 5)


def test_a_previous_name_that_a_worker_of_tunasync_still_reports_is_not_a_mirror() -> None:
    foreign = worker()._replace(journal=TUNASYNC)
    found = evaluated(("w1", status_of("old")), ("w1", status_of("x")), config=declared(renamed()), workers=(foreign,))
    assert [view.name for view in found.mirrors] == ["new", "x"]


def test_a_run_on_a_worker_that_had_the_mirror_makes_another_view() -> None:
    evaluator, config = Evaluator(), declared(mirror(on="w2"), renamed("w2"), mirror("other"))

    def views(run: int) -> dict[str, object]:
        told = [("w1", status_of(name, run=run_of(run))) for name in ("debian", "old")]
        return {view.name: view for view in evaluated(*told, config=config, evaluator=evaluator).mirrors}

    first, same, later = views(1), views(1), views(2)
    assert [first[name] is same[name] for name in first] == [True] * 3
    assert {name for name in first if same[name] is not later[name]} == {"debian", "new"}
