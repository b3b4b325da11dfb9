"""Tests of tokens, commands, the audit log and tunasync's workers for every kind of database, run by each module that
has a fixture `store`."""

import json
import time
from typing import Any

import pytest

from schemas.records import History, ManagerSettings
from sitegen.messages.commands import NOT_ANSWERED, NOT_FETCHED, CommandRequest
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import AuditEntry
from sitegen.messages.tunasync_rules import message
from sitegen.retention import Retention
from sitegen.storage import audit_store, check_store, command_store, token_store, tunasync_store
from sitegen.storage.store import Store
from sitegen.storage.token_store import digest_of
from sitegen.web.token_cache import REMEMBERED, TokenCache
from tests.sitegen.kit import NOW, delivery_of, post_status, report_of, run_of, status_of

BY = AuditEntry(NOW, "alice", "token add", "", "tests", {})
WEEK = 7 * 86400.0

# Tokens


def test_a_rotated_token_expires_and_the_new_one_has_its_scope(store: Store) -> None:
    number = token_store.add(store, "alice", "operator", "old", BY)
    new = token_store.rotate(store, number, "new", 60.0, BY._replace(at=NOW + 10))
    assert new is not None and (new.id, new.name, new.scope) == (2, "alice", "operator")
    for at, valid in ((NOW + 69, {"old": 1, "new": 2}), (NOW + 70, {"new": 2})):
        found = token_store.find(store, {"old", "new"}, at)
        assert {digest: token.id for digest, token in found.items()} == valid
    assert [(token.id, token.expires_at) for token in token_store.every(store)] == [(1, NOW + 70), (2, None)]


def test_a_rotation_never_extends_a_token(store: Store) -> None:
    number = token_store.add(store, "w1", "worker", "first", BY)
    token_store.rotate(store, number, "second", 60.0, BY)
    token_store.rotate(store, number, "third", 600.0, BY._replace(at=NOW + 1))
    assert token_store.find(store, {"first"}, NOW + 60) == {}


def test_an_invalid_token_cannot_be_rotated_or_revoked(store: Store) -> None:
    number = token_store.add(store, "w1", "worker", "it", BY)
    assert token_store.revoke(store, number, BY)
    assert token_store.rotate(store, number, "other", 60.0, BY) is None
    assert not token_store.revoke(store, number, BY)
    assert token_store.find(store, {"it"}, NOW) == {}


def test_every_change_is_in_the_audit_log_without_secrets(store: Store) -> None:
    number = token_store.add(store, "w1", "worker", "first-digest", BY)
    token_store.rotate(store, number, "second-digest", 60.0, BY._replace(at=NOW + 1, action="token rotate"))
    token_store.revoke(store, number, BY._replace(at=NOW + 2, action="token revoke"))
    entries = audit_store.read(store)
    assert [entry.action for entry in entries] == ["token add", "token rotate", "token revoke"]
    assert {(entry.who, entry.subject, entry.origin) for entry in entries} == {("alice", "w1", "tests")}
    assert entries[1].details == {"token": 2, "scope": "worker", "instead_of": 1, "old_expires_at": NOW + 61}
    assert "digest" not in str(entries)
    assert audit_store.read(store, NOW + 2) == entries[2:]


def test_a_failed_change_is_not_in_the_audit_log(store: Store) -> None:
    token_store.add(store, "w1", "worker", "same", BY)
    with pytest.raises(Exception, match=r"(?i)unique"):
        token_store.add(store, "w2", "worker", "same", BY)
    assert [entry.subject for entry in audit_store.read(store)] == ["w1"]


def test_a_token_is_looked_up_again_after_a_moment(store: Store) -> None:
    now = [NOW]
    cache = TokenCache(store, lambda: now[0])
    number = token_store.add(store, "w1", "worker", digest_of("secret"), BY)
    assert cache.holder("secret") is not None
    token_store.revoke(store, number, BY)
    now[0] += REMEMBERED
    assert cache.holder("secret") is None


def test_one_query_checks_all_tokens_in_use(store: Store) -> None:
    now = [NOW]
    for name in ("w1", "w2", "w3"):
        token_store.add(store, name, "worker", digest_of(name), BY)
    cache = TokenCache(store, lambda: now[0])
    assert all(cache.holder(name) for name in ("w1", "w2"))
    assert cache.remembered("w3") is None
    token_store.revoke(store, 2, BY)
    now[0] += REMEMBERED
    assert [cache.remembered(name) for name in ("w1", "w2")] == [None, None]
    assert cache.holder("w3") is not None
    assert [token and token.name for token in map(cache.remembered, ("w1", "w2", "w3"))] == ["w1", None, "w3"]


# Commands


def give(store: Store, kind: str = "ping", at: float = NOW, **wanted: tuple[str, ...]) -> list[int]:
    order = CommandRequest(kind, (), False, None)
    return [made.number for made in command_store.add(store, order, wanted or {"w1": ()}, BY._replace(at=at))]


def states(store: Store, worker: str = "w1") -> dict[int, str]:
    return {command.number: command.state for command in command_store.page(store, worker, 2**53, 500)}


def fetched(store: Store, after: int = 0, at: float = NOW, since: float = 0.0) -> list[int]:
    return [command.number for command in command_store.fetch(store, "w1", after, at, since).commands]


def test_commands_are_numbered_for_each_worker_and_read_back(store: Store) -> None:
    assert give(store, "start", w1=("b", "a"), w2=("a",)) == [1, 1]
    assert give(store, "stop", w1=("a",)) == [2]
    found = command_store.find(store, "w1", 1)
    assert found is not None
    assert (found.kind, found.mirrors, found.force, found.issued_by, found.state) == (
        "start", ("b", "a"), False, "alice", "queued",
    )  # fmt: skip
    assert command_store.find(store, "w2", 2) is None
    assert command_store.newest(store) == {"w1": 2, "w2": 1}
    assert [command.number for command in command_store.page(store, "w1", 2, 500)] == [1]
    told = [(entry.action, entry.subject, entry.details["mirrors"]) for entry in audit_store.read(store)]
    assert sorted(told) == [
        ("command start", "w1", ["b", "a"]),
        ("command start", "w2", ["a"]),
        ("command stop", "w1", ["a"]),
    ]


def test_a_command_is_sent_until_it_has_ended_and_ends_once(store: Store) -> None:
    give(store)
    give(store)
    assert (fetched(store), fetched(store, after=1)) == ([1, 2], [2])
    assert states(store) == {1: "delivered", 2: "queued"}
    assert command_store.finish(store, "w1", [(1, "refused", "no"), (2, "done", ""), (9, "done", "")], NOW + 1) == 2
    assert command_store.finish(store, "w1", [(1, "done", "")], NOW + 2) == 0
    assert command_store.finish(store, "w2", [(1, "done", "")], NOW + 2) == 0
    found = command_store.find(store, "w1", 2)
    assert found is not None and (found.delivered_at, found.ended_at) == (NOW + 1, NOW + 1)
    assert states(store) == {1: "refused", 2: "done"}
    assert fetched(store) == []


def test_numbers_continue_after_a_workers_higher_number(store: Store) -> None:
    assert command_store.fetch(store, "w1", 41, NOW).newest == 41
    assert give(store) == [42]
    assert command_store.fetch(store, "w1", 7, NOW).newest == 42


def test_an_answer_has_no_more_mirrors_than_a_worker_reads(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_store, "MIRRORS_AT_ONCE", 3)
    for mirrors in (("a", "b"), ("c",), ("d",), ("a", "b", "c", "d"), ("e",)):
        give(store, "start", w1=mirrors)

    assert [fetched(store, after) for after in (0, 2, 3, 4, 5)] == [[1, 2], [3], [4], [5], []]


def test_a_command_is_rejected_for_all_workers_if_one_has_too_many(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_store, "MOST_OPEN", 2)
    give(store, w2=())
    give(store, w2=())
    with pytest.raises(RejectedRequest, match="worker w2 has 2 open commands"):
        give(store, w1=(), w2=())
    assert (states(store), len(audit_store.read(store))) == ({}, 2)


def test_the_last_executed_command_shows_who_paused_a_mirror(store: Store) -> None:
    give(store, "stop", w1=("a", "b"))
    give(store, "start", w1=("b",))
    give(store, "disable", w1=("c",))
    command_store.finish(store, "w1", [(1, "done", ""), (2, "done", ""), (3, "refused", "no")], NOW)
    assert {key: command.number for key, command in command_store.last_overriding(store).items()} == {("w1", "a"): 1}


def test_an_expired_command_is_not_delivered(store: Store) -> None:
    give(store, at=NOW)
    give(store, at=NOW + WEEK)
    assert fetched(store, at=NOW + WEEK + 1, since=NOW + 1) == [2], "before anything was tidied up"
    assert command_store.expire(store, NOW, NOW + WEEK) == 0, "it has a week, and not less"
    assert command_store.expire(store, NOW + 1, NOW + WEEK + 1, "w2") == 0
    assert command_store.expire(store, NOW + 1, NOW + WEEK + 1, "w1") == 1
    found = command_store.find(store, "w1", 1)
    assert found is not None
    assert (found.state, found.reason, found.ended_at) == ("expired", NOT_FETCHED, NOW + WEEK + 1)
    assert fetched(store, after=0) == [2]
    assert give(store) == [3], "its number is used up"


def test_a_workers_result_replaces_expired(store: Store) -> None:
    give(store)
    fetched(store, after=1)
    Retention(store, ManagerSettings()).clean_up(NOW + WEEK + 1)
    found = command_store.find(store, "w1", 1)
    assert found is not None and (found.state, found.reason) == ("expired", NOT_ANSWERED)
    assert fetched(store) == [], "a reinstalled worker does not get it"
    assert command_store.finish(store, "w1", [(1, "done", "")], NOW + WEEK + 2) == 1
    assert states(store) == {1: "done"}


# The audit


def test_old_lines_of_the_audit_log_are_deleted_in_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_store, "STEP", 3)
    with store.transaction(writing=True) as tx:
        for second in range(10):
            audit_store.write(tx, BY._replace(at=NOW + second, details={"second": second}))
    before = store.commits
    Retention(store, ManagerSettings(history=History(keep_audit=100))).clean_up(NOW + 107)
    assert [entry.details["second"] for entry in audit_store.read(store)] == [7, 8, 9]
    assert store.commits - before == 3


# Tunasync's workers


def tell(store: Store, status: str, mirror: str = "debian", at: float = NOW, **more: Any) -> Any:
    found = message(json.dumps({"name": mirror, "status": status, **more}).encode())
    return post_status(store, "go1", mirror, found, int(at * 1e9))


def test_a_worker_of_tunasync_and_its_jobs_are_read_back(store: Store) -> None:
    store.write(tunasync_store.register, "go1", "http://127.0.0.1:9/", int(NOW * 1e9))
    tell(store, "pre-syncing")
    told = tell(store, "success", at=NOW + 60, size="1.23G", upstream="rsync://up/debian/")
    tell(store, "failed", "arch", error_msg="why\0")
    store.write(tunasync_store.schedule, "go1", {"debian": "2030-01-01T00:00:00Z", "other": "2030-01-01T00:00:00Z"}, 1)
    assert tunasync_store.jobs(store, "go1") == [
        tunasync_store.jobs(store)[0],
        told | {"next_schedule": "2030-01-01T00:00:00Z"},
    ]
    assert list(tunasync_store.workers(store)) == ["go1"]
    statuses = store.facts().statuses
    assert {key: status.status for key, status in statuses.items()} == {
        ("go1", "debian"): "success",
        ("go1", "arch"): "failed",
    }
    assert statuses["go1", "debian"].last_success_at == NOW + 60


def test_only_a_worker_of_tunasync_can_be_changed_that_way(store: Store) -> None:
    store.apply([delivery_of(report_of(1, status_of()))])
    for worker, words in (("w1", "w1 is a worker of Skipjack"), ("w9", "invalid workerID w9")):
        with pytest.raises(RejectedRequest, match=words):
            post_status(store, worker, "a", message(b'{"name": "a", "status": "failed"}'), 1)
    with pytest.raises(RejectedRequest, match="w1 is a worker of Skipjack"):
        store.write(tunasync_store.register, "w1", "", 1)
    assert tunasync_store.workers(store) == {}


def test_a_deleted_worker_leaves_its_history_and_a_valid_database(store: Store) -> None:
    ours = delivery_of(report_of(3, status_of("mine", run=run_of(3)), kind="snapshot"))
    store.apply([ours])
    for _ in range(2):
        store.write(tunasync_store.register, "go1", "", time.time_ns())
        tell(store, "pre-syncing")
        tell(store, "success")
        store.write(tunasync_store.forget, "go1", BY)
        assert list(check_store.problems(store.database)) == []
    store.write(tunasync_store.forget, "w1", BY)
    assert list(check_store.problems(store.database)) == []
    with store.reading() as reader:
        found = reader.histories(["debian", "mine"])
    assert {mirror: len(runs) for mirror, runs in found.items()} == {"debian": 2, "mine": 1}
    (answer,) = store.apply([delivery_of(report_of(4, status_of("mine")))]).answers
    assert answer.snapshot_wanted, "a Skipjack worker that still reports is asked for a snapshot"
    (answer,) = store.apply([delivery_of(ours.envelope.reports[0]._replace(number=5))]).answers
    assert (answer.acknowledged, set(store.facts().statuses)) == (5, {("w1", "mine")})


def test_flushing_and_deleting_leave_other_workers_and_are_in_the_audit_log(store: Store) -> None:
    store.apply([delivery_of(report_of(1, status_of("mine", "disabled")))])
    store.write(tunasync_store.register, "go1", "", time.time_ns())
    tell(store, "disabled", "off")
    tell(store, "success", "on")
    before = store.facts()
    store.write(tunasync_store.flush, BY._replace(action="flush"))
    after = store.facts(before)
    assert set(after.statuses) == {("w1", "mine"), ("go1", "on")} and after == store.facts()
    store.write(tunasync_store.forget, "go1", BY._replace(at=NOW + 1))
    assert (set(store.facts(after).statuses), tunasync_store.jobs(store)) == ({("w1", "mine")}, [])
    assert [(entry.action, entry.details) for entry in audit_store.read(store)] == [
        ("flush disabled", {"jobs": ["go1/off"]}),
        ("delete worker", {}),
    ]
