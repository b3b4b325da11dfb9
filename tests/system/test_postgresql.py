"""All that the tests of the store prove on SQLite holds on a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.records import Secret
from sitegen.storage.store import Store, StoreError
from tests.sitegen.control_cases import *  # noqa: F403 - their tests are ours, on another store
from tests.sitegen.kit import delivery_of, report_of, status_of
from tests.sitegen.store_cases import *  # noqa: F403 - their tests are ours, on another store
from tests.sitegen.store_cases import DECLARED, VERSIONS
from tests.system.postgresql import Server


@pytest.fixture
def store(server: Server, tmp_path: Path) -> Iterator[Store]:
    with Store(str(tmp_path), server.database("skipjack")) as opened:
        yield opened


def test_a_newer_database_is_rejected(server: Server, tmp_path: Path) -> None:
    address = server.database("newer")
    Store(str(tmp_path), address).close()
    server.execute("UPDATE meta SET value = 99 WHERE name = 'schema_version'", database="newer")
    with pytest.raises(StoreError, match="version 99, written by a newer Skipjack"):
        Store(str(tmp_path), address)


def test_a_database_that_is_empty_where_state_was_is_refused_until_its_mark_is_removed(
    server: Server, tmp_path: Path
) -> None:
    address = server.database("lost")
    Store(str(tmp_path), address).close()
    address = server.database("lost")

    with pytest.raises(StoreError, match=r"lost` is empty, but it was in use before .*`rm .*/postgresql-mark`"):
        Store(str(tmp_path), address)
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    assert server.execute(tables, database="lost") == [(0,)]

    (tmp_path / "postgresql-mark").unlink()
    Store(str(tmp_path), address).close()
    Store(str(tmp_path), address).close()


def test_a_wrong_password_is_reported_but_not_shown(server: Server, tmp_path: Path) -> None:
    address = server.database("skipjack")
    (tmp_path / "password").write_text("wrong\n")
    wrong = address._replace(password=Secret(file=str(tmp_path / "password")))
    with pytest.raises(StoreError, match=r"skipjack@127\.0\.0\.1.* password authentication failed") as caught:
        Store(str(tmp_path), wrong)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_older_database_is_migrated_to_the_current_version(server: Server, tmp_path: Path, version: Path) -> None:
    address = server.database("older")
    for statement in for_postgresql(version.read_text()):
        server.execute(f"SET ROLE skipjack; {statement}", database="older")
    with Store(str(tmp_path), address) as store:
        facts = store.facts()
        assert (facts.declared, list(facts.statuses)) == (DECLARED, [("w1", "debian")])
        store.apply([delivery_of(report_of(2, status_of("arch"), kind="snapshot"))])
        assert list(store.facts(facts).statuses) == [("w1", "arch")]
    Store(str(tmp_path), server.database("new")).close()
    columns = (
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    assert server.execute(columns, database="older") == server.execute(columns, database="new")


def for_postgresql(dump: str) -> Iterator[str]:
    """What an SQLite dump says, as the same release would have made it on PostgreSQL."""
    for line in dump.splitlines():
        if line.startswith(("CREATE", "INSERT")):
            line = line.replace("INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "SERIAL PRIMARY KEY")
            yield line.replace("'rsync://up.example.org/debian/',1,", "'rsync://up.example.org/debian/',true,")
