"""The lists have the shapes that a real tunasync manager answered."""

import json
from typing import Any

import pytest

from schemas.states import TO_TUNASYNC
from sitegen.messages.model import Facts, WorkerState
from sitegen.site import tunasync
from sitegen.site.evaluate import Evaluator
from sitegen.site.fragments import Fragments
from sitegen.site.snapshot import Snapshot
from tests.sitegen.kit import JOURNAL, status_of
from tests.sitegen.test_evaluate import declared, evaluated, mirror

RECORDED_JOBS = json.loads(
    '[{"name":"debian","is_master":true,"status":"success","last_update":"2026-11-22 11:48:37 +0000",'
    '"last_update_ts":1795348117,"last_started":"2026-11-22 11:48:34 +0000","last_started_ts":1795348114,'
    '"last_ended":"2026-11-22 11:48:37 +0000","last_ended_ts":1795348117,'
    '"next_schedule":"0001-01-01 00:00:00 +0000","next_schedule_ts":-62135596800,'
    '"upstream":"rsync://ftp.example.org/debian/","size":"1.23T"}]'
)
RECORDED_STATUS = json.loads(
    '[{"name":"debian","worker":"w1","is_master":true,"status":"success",'
    '"last_update":"2026-11-22T11:48:37.307893Z","last_started":"2026-11-22T11:48:34.960162Z",'
    '"last_ended":"2026-11-22T11:48:37.307893Z","next_schedule":"0001-01-01T00:00:00Z",'
    '"upstream":"rsync://ftp.example.org/debian/","size":"1.23T","error_msg":""}]'
)
RECORDED_WORKERS = json.loads(
    '[{"id":"w1","url":"","token":"REDACTED","last_online":"2026-11-22T11:48:34.915826Z",'
    '"last_register":"2026-11-22T11:48:34.5Z"}]'
)
ENDED = 1795348117.307893
DEBIAN = status_of(
    at=ENDED,
    upstream="rsync://ftp.example.org/debian/",
    last_started_at=1795348114.960162,
    last_ended_at=ENDED + 0.9,
    next_run_at=None,
    size=1_230_000_000_000,
)


def jobs_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The answer to `GET /jobs`."""
    jobs: list[dict[str, Any]] = json.loads(b"".join(Fragments(tunasync.job).listed(snapshot)))
    return jobs


def test_the_list_of_jobs_equals_tunasyncs() -> None:
    jobs = jobs_of(evaluated(("w1", DEBIAN)))
    assert jobs[0].pop("skipjack")["status"] == "success"
    assert jobs == RECORDED_JOBS
    assert list(jobs[0]) == list(RECORDED_JOBS[0])


def test_the_jobs_of_a_worker_equal_tunasyncs() -> None:
    found = evaluated(("w1", DEBIAN), ("w2", status_of("other")))
    jobs = tunasync.worker_jobs(found, "w1")
    del jobs[0]["skipjack"]
    assert jobs == RECORDED_STATUS
    assert list(jobs[0]) == list(RECORDED_STATUS[0])


def test_the_list_of_workers_equals_tunasyncs() -> None:
    state = WorkerState("w1", 1795348114.5, 1795348114.915826, 0.0, JOURNAL, "0.1.0", None, 1, 0, ())
    assert tunasync.workers([state]) == RECORDED_WORKERS


def test_empty_lists_are_not_null() -> None:
    assert jobs_of(evaluated()) == tunasync.workers([]) == tunasync.worker_jobs(evaluated(), "w1") == []


def test_a_mirror_that_never_ran_has_go_zero_times() -> None:
    job = jobs_of(evaluated(config=declared(mirror())))[0]
    assert (job["status"], job["size"]) == ("none", "unknown")
    assert {job[key] for key in job if key.endswith("_ts")} == {-62135596800}
    assert {job[key] for key in ("last_update", "next_schedule")} == {"0001-01-01 00:00:00 +0000"}


@pytest.mark.parametrize("status", TO_TUNASYNC)
def test_only_tunasyncs_statuses_are_listed(status: str) -> None:
    job = jobs_of(evaluated(("w1", status_of(status=status))))[0]
    assert job["status"] in {"none", "failed", "success", "syncing", "pre-syncing", "paused", "disabled"}
    assert job["skipjack"]["status"] == status


def test_only_after_a_success_the_end_equals_the_last_update() -> None:
    success = jobs_of(evaluated(("w1", DEBIAN)))[0]
    failed = jobs_of(evaluated(("w1", DEBIAN._replace(status="failed", last_ended_at=ENDED + 60))))[0]
    assert success["last_ended_ts"] == success["last_update_ts"]
    assert failed["last_ended_ts"] == failed["last_update_ts"] + 60


def test_a_mirror_of_two_workers_is_listed_once_as_its_master() -> None:
    config = declared(mirror(), mirror(on="w2", role="slave"))
    told = (("w1", status_of(at=ENDED - 1000)), ("w2", status_of(at=ENDED, is_master=False)))
    assert [job["skipjack"]["worker"] for job in jobs_of(evaluated(*told, config=config))] == ["w1"]


def test_without_a_master_the_most_recent_success_is_listed() -> None:
    told = tuple((name, status_of(at=at, is_master=False)) for name, at in (("w1", ENDED), ("w2", ENDED + 9)))
    assert [job["skipjack"]["worker"] for job in jobs_of(evaluated(*told))] == ["w2"]


def test_times_are_in_the_sites_zone() -> None:
    config = declared(mirror())
    config = config._replace(site=config.site._replace(time_zone="Asia/Shanghai"))
    statuses = {("w1", "debian"): DEBIAN}
    job = jobs_of(Evaluator().evaluate(Facts(1, (), statuses, config, None, frozenset()), ENDED))[0]
    assert (job["last_update"], job["last_update_ts"]) == ("2026-11-22 19:48:37 +0800", 1795348117)
