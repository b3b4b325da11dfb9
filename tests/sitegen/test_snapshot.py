from schemas.records import Mirror, Site, Worker
from schemas.report import MirrorStatus
from sitegen.model import Declared, Facts, MirrorState, WorkerState
from sitegen.snapshot import Snapshot, judge
from tests.sitegen.kit import HOUR, JOURNAL, NOW, OLD_REVISION, REVISION, status_of

DAY = 24 * HOUR


def worker(name: str = "w1", last_seen: float = NOW, revision: str | None = REVISION) -> WorkerState:
    return WorkerState(name, NOW - DAY, last_seen, last_seen, JOURNAL, "0.1.0", revision, 4, 0, ())


def mirror(name: str = "debian", on: str = "w1", role: str = "master") -> Mirror:
    return Mirror(name, on, "rsync", "rsync://up/", role=role, interval=int(HOUR), stale_after=int(2 * HOUR))


def declared(*mirrors: Mirror) -> Declared:
    workers = {name: Worker(name, silent_after=int(HOUR)) for name in ("w1", "w2")}
    return Declared(REVISION, NOW, Site("Site"), workers, mirrors, ())


def judged(
    *told: tuple[str, MirrorStatus],
    config: Declared | None = None,
    workers: tuple[WorkerState, ...] = (worker(), worker("w2")),
    now: float = NOW,
) -> Snapshot:
    states = tuple(MirrorState(name, status) for name, status in told)
    return judge(Facts(1, workers, states, config, "", frozenset({OLD_REVISION, REVISION})), now)


def test_without_a_configuration_the_site_shows_what_workers_tell() -> None:
    found = judged(("w1", status_of("b")), ("w1", status_of("a")))
    assert [view.name for view in found.mirrors] == ["a", "b"]
    assert found.mirrors[0].definition.upstream == "rsync://up.example.org/a/"
    assert found.site.title == "Mirrors"


def test_with_a_configuration_its_mirrors_are_the_sites() -> None:
    found = judged(("w1", status_of("gone")), config=declared(mirror("new")))
    assert [(view.name, view.best.status.status, view.verdict) for view in found.mirrors] == [
        ("new", "none", "unknown")
    ]


def test_a_mirror_turns_stale_and_then_unknown_by_time_alone() -> None:
    told, config = ("w1", status_of(at=NOW)), declared(mirror())
    seen = (worker(last_seen=NOW + 3 * HOUR),)
    at = {now: judged(told, config=config, workers=seen, now=now) for now in (NOW, NOW + 2 * HOUR, NOW + 4 * HOUR)}
    assert [found.mirrors[0].verdict for found in at.values()] == ["fresh", "stale", "unknown"]
    assert [found.changes_at for found in at.values()] == [NOW + 2 * HOUR, NOW + 4 * HOUR, None]
    view = at[NOW].mirrors[0]
    assert (view.stale_at, view.unknown_at) == (NOW + 2 * HOUR, NOW + 4 * HOUR)


def test_a_mirror_that_never_succeeded_has_no_moments() -> None:
    view = judged(("w1", status_of(status="failed")), config=declared(mirror())).mirrors[0]
    assert (view.verdict, view.stale_at, view.unknown_at) == ("unknown", None, None)


def test_the_freshest_copy_speaks_for_the_mirror() -> None:
    config = declared(mirror(), mirror(on="w2", role="slave"))
    old, recent = ("w1", status_of(at=NOW - DAY)), ("w2", status_of(at=NOW - 60, is_master=False))
    view = judged(old, recent, config=config).mirrors[0]
    assert [copy.worker for copy in view.copies] == ["w2", "w1"]
    assert (view.verdict, view.stale_at) == ("fresh", NOW - 60 + 2 * HOUR)


def test_the_moments_of_several_copies_agree_with_judging_again() -> None:
    config = declared(mirror(), mirror(on="w2", role="slave"))
    told = (("w1", status_of(at=NOW)), ("w2", status_of(at=NOW - HOUR, is_master=False)))
    for first, second in ((0.0, 0.0), (0.0, HOUR), (HOUR, 0.0), (2 * HOUR, HOUR / 2)):
        seen = (worker(last_seen=NOW + first), worker("w2", last_seen=NOW + second))
        view = judged(*told, config=config, workers=seen).mirrors[0]
        assert view.stale_at is not None
        assert view.unknown_at is not None
        for step in range(40):
            now = NOW + step * HOUR / 8
            said = "unknown" if now >= view.unknown_at else "stale" if now >= view.stale_at else "fresh"
            assert said == judged(*told, config=config, workers=seen, now=now).mirrors[0].verdict, (first, second, step)


def test_a_worker_is_current_behind_or_on_a_revision_unknown_here() -> None:
    seen = (worker("a"), worker("b", revision=OLD_REVISION), worker("c", revision="c" * 40), worker("d", revision=None))
    found = judged(config=declared(), workers=seen)
    assert {view.name: view.standing for view in found.workers if view.state} == {
        "a": "current",
        "b": "behind",
        "c": "other",
        "d": None,
    }
    assert [view.name for view in found.workers if view.state is None] == ["w1", "w2"]


def test_a_silent_worker() -> None:
    found = judged(config=declared(), workers=(worker(last_seen=NOW - HOUR), worker("w2")))
    assert {view.name: view.silent for view in found.workers} == {"w1": True, "w2": False}


def test_credentials_in_an_upstream_are_not_shown() -> None:
    view = judged(("w1", status_of(upstream="https://user:secret@up.example.org/x/"))).mirrors[0]
    assert view.best.status.upstream == "https://up.example.org/x/"
