"""Tokens with scopes: what they are good for, and how one takes another's place."""

import sqlite3
from pathlib import Path

import pytest

from sitegen import audit_store, cli, token_store
from sitegen.model import Entry, Token
from sitegen.store import Store
from sitegen.tokens import REMEMBERED, TokenCache, digest
from tests.sitegen.kit import NOW, Manager, envelope_of

BY = Entry(NOW, "alice", "token add", "", "tests", {})


def test_the_old_token_ends_when_it_was_said_and_the_new_one_has_its_scope(store: Store) -> None:
    number = token_store.add(store, "alice", "operator", "old", BY)
    new = token_store.rotate(store, number, "new", 60.0, BY._replace(at=NOW + 10))
    assert new is not None and (new.id, new.name, new.scope) == (2, "alice", "operator")
    for at, old_one in ((NOW + 69, 1), (NOW + 70, None)):
        found = token_store.find(store, "old", at), token_store.find(store, "new", at)
        assert [token and token.id for token in found] == [old_one, 2]


def test_a_rotation_never_lets_a_token_live_longer(store: Store) -> None:
    number = token_store.add(store, "w1", "worker", "first", BY)
    token_store.rotate(store, number, "second", 60.0, BY)
    token_store.rotate(store, number, "third", 600.0, BY._replace(at=NOW + 1))
    assert token_store.find(store, "first", NOW + 60) is None


def test_a_token_of_an_older_database_is_a_workers(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "manager.db")
    connection.executescript(Path(__file__).with_name("version_1.sql").read_text())
    connection.execute("INSERT INTO tokens VALUES (7, 'w1', 'kept', 1.0, NULL)")
    connection.commit()
    connection.close()
    with Store(str(tmp_path)) as store:
        assert token_store.find(store, "kept", NOW) == Token(7, "w1", "worker", 1.0, None, None)


def test_what_is_worthless_cannot_be_rotated_or_revoked_again(store: Store) -> None:
    number = token_store.add(store, "w1", "worker", "it", BY)
    assert token_store.revoke(store, number, BY)
    assert token_store.rotate(store, number, "other", 60.0, BY) is None
    assert not token_store.revoke(store, number, BY)
    assert token_store.find(store, "it", NOW) is None


def test_each_change_is_in_the_audit_and_no_secret_is(store: Store) -> None:
    number = token_store.add(store, "w1", "worker", "first-digest", BY)
    token_store.rotate(store, number, "second-digest", 60.0, BY._replace(at=NOW + 1, action="token rotate"))
    token_store.revoke(store, number, BY._replace(at=NOW + 2, action="token revoke"))
    entries = audit_store.read(store)
    assert [entry.action for entry in entries] == ["token add", "token rotate", "token revoke"]
    assert {(entry.who, entry.subject, entry.origin) for entry in entries} == {("alice", "w1", "tests")}
    assert entries[1].details == {"token": 2, "scope": "worker", "instead_of": 1, "old_expires_at": NOW + 61}
    assert "digest" not in str(entries)
    assert audit_store.read(store, NOW + 2) == entries[2:]


def test_a_token_is_looked_up_again_after_a_moment(store: Store) -> None:
    now = [NOW]
    cache = TokenCache(store, lambda: now[0])
    number = token_store.add(store, "w1", "worker", digest("secret"), BY)
    assert cache.holder("secret") is not None
    token_store.revoke(store, number, BY)
    now[0] += REMEMBERED
    assert cache.holder("secret") is None


@pytest.mark.parametrize("scope", ["operator", "read"])
def test_only_a_worker_may_report(manager: Manager, scope: str) -> None:
    secret = manager.token("w1", scope)
    with manager.serving():
        answer = manager.post(envelope_of(), secret)
        assert answer.status_code == 403
        assert f"scope is {scope}" in answer.json()["error"]


def test_rotation_at_the_command_line(manager: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(["token", *words, "--settings", str(manager.settings_file)])
        return code, *capsys.readouterr()

    assert run("add", "ops", "--scope", "operator")[0] == 0
    code, secret, note = run("rotate", "1", "--keep", "2h")
    assert (code, len(secret)) == (0, 44)
    assert "Token 2 for operator ops. Token 1 ends" in note
    table = run("list")[1].splitlines()
    assert [line.split()[:3] for line in table[1:]] == [["1", "ops", "operator"], ["2", "ops", "operator"]]
    assert [line.count("Z") for line in table[1:]] == [2, 1], "the old one has a time at which it ends"
    assert run("rotate", "7")[0] == 1
