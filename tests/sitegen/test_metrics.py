"""Metrics, parsed by Prometheus' own parser."""

import itertools
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from schemas.records import ClientLimits, ManagerSettings, Mirror, Site
from schemas.report import Override, Probe, Report, Run
from sitegen.messages.model import DeclaredConfig, Note
from sitegen.storage.store import Store
from sitegen.web.access import Access
from sitegen.web.gate import Gate
from sitegen.web.metrics import KEPT, Metrics
from sitegen.web.snapshot_cache import SnapshotCache
from tests.sitegen.kit import HOUR, NOW, REVISION, Manager, delivery_of, report_of, run_of, status_of


def read(text: bytes) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in found, "each value is exported once"
            found[key] = sample.value
    return found


@pytest.fixture
def metrics(store: Store) -> Metrics:
    return Metrics(Access(store, ManagerSettings()), SnapshotCache(store, lambda: NOW), store, Gate(ClientLimits()))


def test_a_pin_has_a_metric(store: Store, metrics: Metrics) -> None:
    store.apply([delivery_of(worker="w1", pinned_until=1_900_000_000.0), delivery_of(worker="w2")])
    name = "skipjack_worker_pinned_until_timestamp_seconds"
    found = read(metrics.text(0.0))
    assert (found[name, "w1"], (name, "w2") in found) == (1_900_000_000.0, False)


def test_rejected_revisions_have_metrics(store: Store, metrics: Metrics) -> None:
    store.apply([delivery_of(worker="w1", rejected="d" * 40), delivery_of(worker="w2")])
    found = read(metrics.text(0.0))
    assert [found["skipjack_worker_revision_rejected", name] for name in ("w1", "w2")] == [1, 0]
    assert found["skipjack_revision_rejected",] == 0
    store.keep_refused(Note("it is not signed", NOW, "d" * 40))
    store.apply([delivery_of(worker="w1")])
    found = read(metrics.text(KEPT))
    assert found["skipjack_worker_revision_rejected", "w1"] == 0
    assert found["skipjack_revision_rejected",] == 1


def test_every_copy_and_worker_has_metrics(store: Store, metrics: Metrics) -> None:
    run = run_of(1, duration=61.5, bytes=1000)
    failed = status_of("arch", "failed", run=run_of(2, "failed"), size=None)
    store.apply([delivery_of(report_of(1, status_of(run=run, size=123), failed))])
    found = read(metrics.text(0.0))
    assert found["skipjack_mirror_status", "debian", "success", "w1"] == 1
    assert found["skipjack_mirror_status", "arch", "failed", "w1"] == 1
    assert found["skipjack_mirror_last_success_timestamp_seconds", "debian", "w1"] == NOW
    assert ("skipjack_mirror_last_success_timestamp_seconds", "arch", "w1") not in found
    assert found["skipjack_mirror_size_bytes", "debian", "w1"] == 123
    assert found["skipjack_mirror_duration_seconds", "debian", "w1"] == 61.5
    assert found["skipjack_mirror_transferred_bytes", "debian", "w1"] == 1000
    assert found["skipjack_mirror_fresh", "arch", "w1"] == 0
    assert found["skipjack_worker_last_seen_timestamp_seconds", "w1"] == NOW
    assert found["skipjack_worker_slots", "total", "w1"] == 4
    assert [key[1] for key in found if key[0] == "skipjack_worker_revision"] == ["b" * 40]
    assert sum(found["skipjack_mirrors", verdict] for verdict in ("fresh", "stale", "unknown")) == 2


def test_the_upstream_comparison_and_the_cause_have_metrics(store: Store, metrics: Metrics) -> None:
    now = NOW
    behind = Probe(now, now, now - 48 * HOUR, False)
    statuses = [
        status_of("lags", at=now, probe=behind),
        status_of("even", at=now, probe=behind._replace(own_at=now, same=True)),
        status_of("opaque", at=now, probe=Probe(now, None, None, False)),
        status_of("plain", at=now),
    ]
    store.apply([delivery_of(report_of(1, *statuses), at=now)])
    found = read(metrics.text(0.0))
    lags = {key[1]: value for key, value in found.items() if key[0] == "skipjack_mirror_lag_seconds"}
    assert lags == {"lags": 48 * HOUR, "even": 0.0}
    assert found["skipjack_mirror_upstream_timestamp_seconds", "lags", "w1"] == now
    assert {key[1] for key in found if key[0] == "skipjack_mirror_compared_timestamp_seconds"} == {
        "lags",
        "even",
        "opaque",
    }
    assert [key[1:] for key in found if key[0] == "skipjack_mirror_not_fresh"] == [("lag", "lags", "w1")]


@pytest.mark.parametrize("before", ["debian", "debian-old"], ids=["same name", "previous name"])
def test_duration_and_bytes_of_the_last_run_stay_while_the_next_one_is_running(
    store: Store, metrics: Metrics, before: str
) -> None:
    """Also for a manager that was started meanwhile; the run before is not counted."""
    config = DeclaredConfig(
        REVISION, NOW, Site("Site"), {}, (Mirror("debian", "w1", "rsync", "rsync://up/", formerly=("debian-old",)),), ()
    )
    store.keep_catalogue(config, NOW)

    def took() -> tuple[float, ...]:
        found = read(metrics.text(next(times)))
        kinds = ("duration_seconds", "transferred_bytes")
        return tuple(found[f"skipjack_mirror_{kind}", "debian", "w1"] for kind in kinds)

    def begins(name: str, number: int) -> Report:
        under_way = status_of(name, "syncing", run=Run(number, "syncing", NOW, NOW))
        return report_of(next(numbers), under_way)

    def ends(name: str, number: int, duration: float) -> Report:
        run = run_of(number, duration=duration, bytes=1000 * number, ended_at=NOW + number)
        return report_of(next(numbers), status_of(name, run=run))

    times, numbers = itertools.count(0.0, KEPT), itertools.count(1)
    store.apply(
        [delivery_of(ends(before, 1, 50.0)), delivery_of(ends(before, 2, 61.5)), delivery_of(begins("debian", 3))]
    )
    assert took() == took() == (61.5, 2000)
    store.apply([delivery_of(ends("debian", 3, 7.0)), delivery_of(begins("debian", 4))])
    assert took() == (7.0, 3000), "a run that began and ended between two looks counts"
    store.apply([delivery_of(ends("debian", 4, 8.0))])
    assert took() == (8.0, 4000)


def test_paused_and_disabled_mirrors_have_the_time_since_when(store: Store, metrics: Metrics) -> None:
    off = status_of("off", "disabled")._replace(override=Override("disabled", NOW - 7, "ada"))
    store.apply([delivery_of(report_of(1, off, status_of("old", "paused"), status_of("on")))])
    found = read(metrics.text(0.0))
    key = "skipjack_mirror_off_since_timestamp_seconds"
    assert {name[1]: value for name, value in found.items() if name[0] == key} == {"off": NOW - 7, "old": 0}


def test_an_empty_site_has_metrics(metrics: Metrics) -> None:
    assert read(metrics.text(0.0))["skipjack_mirrors", "fresh"] == 0


def test_only_the_lines_of_changed_mirrors_are_made_again(
    store: Store, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    def lines(view: Any, ended: Any) -> Any:
        written.append(view.name)
        return original(view, ended)

    original = __import__("sitegen.web.metrics", fromlist=["_lines"])._lines
    monkeypatch.setattr("sitegen.web.metrics._lines", lines)
    store.apply([delivery_of(report_of(1, *(status_of(f"m{number}") for number in range(50))))])
    first = metrics.text(0.0)
    assert len(written) == 50
    assert metrics.text(KEPT - 1) is first
    assert metrics.text(KEPT) is not first
    assert len(written) == 50, "time alone changes nothing of them"


def test_metrics_are_served_and_can_be_protected(manager: Manager) -> None:
    guarded = Manager(manager.folder, protected_reads=["metrics"])
    token = guarded.token("prometheus", "read")
    with guarded.answering():
        assert guarded.session.get(f"{guarded.url}/metrics").status_code == 401
        answer = guarded.session.get(f"{guarded.url}/metrics", headers={"Authorization": f"Bearer {token}"})
        assert answer.headers["content-type"].startswith("text/plain")
        assert read(answer.content)["process_open_fds",] > 0
    guarded.session.close()
