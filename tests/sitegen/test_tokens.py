"""Tokens: scopes, rotation, and the warning for an undeclared worker."""

import sqlite3
from pathlib import Path

import pytest

from schemas.records import Site, Worker
from sitegen import cli
from sitegen.messages.model import DeclaredConfig, Token
from sitegen.storage import token_store
from sitegen.storage.store import Store
from tests.sitegen.kit import NOW, Manager, envelope_of


def test_a_token_of_an_older_database_has_scope_worker(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "manager.db")
    connection.executescript(Path(__file__).with_name("version_1.sql").read_text())
    connection.execute("INSERT INTO tokens VALUES (7, 'w1', 'kept', 1.0, NULL)")
    connection.commit()
    connection.close()
    with Store(str(tmp_path)) as store:
        assert token_store.find(store, {"kept"}, NOW)["kept"] == Token(7, "w1", "worker", 1.0, None, None)


@pytest.mark.parametrize("scope", ["operator", "read"])
def test_only_a_worker_may_report(manager: Manager, scope: str) -> None:
    secret = manager.token("w1", scope)
    with manager.answering():
        answer = manager.post(envelope_of(), secret)
        assert answer.status_code == 403
        assert f"the token has scope {scope}" in answer.json()["error"]


def test_rotation_at_the_command_line(manager: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(["token", *words, "--settings", str(manager.settings_file)])
        return code, *capsys.readouterr()

    assert run("add", "ops", "--scope", "operator")[0] == 0
    code, secret, note = run("rotate", "1", "--keep", "2h")
    assert (code, len(secret)) == (0, 44)
    assert "Token 2 for operator ops. Token 1 is valid until" in note
    table = run("list")[1].splitlines()
    assert [line.split()[:3] for line in table[1:]] == [["1", "ops", "operator"], ["2", "ops", "operator"]]
    assert [line.count("Z") for line in table[1:]] == [2, 1], "the old one has a time at which it ends"
    assert run("rotate", "7")[0] == 1


def test_a_token_for_an_undeclared_worker_is_created_with_a_warning(
    manager: Manager, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> str:
        assert cli.main(["token", "add", *words, "--settings", str(manager.settings_file)]) == 0
        return capsys.readouterr().err

    assert "Cannot check that `_workers.yml` has a worker `w3`: `publish` has not read it yet." in said("w3")
    assert "not known" not in said("ada", "--scope", "operator")
    with manager.store() as store:
        workers = {"w1": Worker("w1"), "w2": Worker("w2")}
        store.keep_catalogue(DeclaredConfig("a" * 40, NOW, Site("Site"), workers, (), ()), NOW)
    assert "WARNING skipjack-manager: `_workers.yml` has no worker `w3` (it has: `w1`, `w2`)" in said("w3")
    assert "warning" not in said("w1") + said("ada", "--scope", "operator")
