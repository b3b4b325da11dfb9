"""The store in SQLite's file."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import SkipjackError
from schemas.records import DatabaseAddress
from sitegen.storage import tables
from sitegen.storage.store import Store, StoreError
from tests.sitegen.control_cases import *  # noqa: F403 - the tests of every store
from tests.sitegen.dump_version import dump_after
from tests.sitegen.kit import delivery_of, report_of, status_of
from tests.sitegen.store_cases import *  # noqa: F403 - the tests of every store
from tests.sitegen.store_cases import DECLARED, VERSIONS


def test_numbers_survive_a_restart(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as first:
        first.apply([delivery_of(report_of(1, status_of()))])
    with Store(str(tmp_path)) as second:
        assert second.apply([delivery_of(report_of(3, status_of()))]).answers[0] == (1, True)


def test_only_the_owner_may_read_the_database(tmp_path: Path) -> None:
    with Store(str(tmp_path / "state")) as store:
        store.apply([delivery_of(report_of(1, status_of()))])
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()}
    assert modes == dict.fromkeys(("manager.db", "manager.db-mark", "manager.db-wal", "manager.db-shm"), 0o600)


def test_a_damaged_database_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "manager.db").write_bytes(b"no database at all, but text" * 100)
    with pytest.raises(StoreError, match=r"cannot use the database `.*manager\.db`: file is not a database.*backup"):
        Store(str(tmp_path))


def test_a_directory_instead_of_the_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "manager.db").mkdir()
    with pytest.raises(StoreError, match=r"cannot use the database `.*manager\.db`"):
        Store(str(tmp_path))


def test_a_state_directory_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot create the"):
        Store(str(tmp_path / "file" / "state"))


def test_a_newer_database_is_rejected(tmp_path: Path) -> None:
    Store(str(tmp_path)).close()
    _execute(tmp_path, "UPDATE meta SET value = 99 WHERE name = 'schema_version'")
    with pytest.raises(StoreError, match="version 99, written by a newer Skipjack"):
        Store(str(tmp_path))


def test_an_older_database_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(str(tmp_path)).close()
    steps = (("ALTER TABLE runs ADD COLUMN extra TEXT",), ("UPDATE runs SET extra = 'x'", "UPDATE meta SET value = 1"))
    monkeypatch.setattr(tables, "MIGRATIONS", (*tables.MIGRATIONS, *steps))
    monkeypatch.setattr(tables, "VERSION", tables.VERSION + 2)
    for _ in range(2):
        Store(str(tmp_path)).close()
    assert _execute(tmp_path, "SELECT value FROM meta WHERE name = 'schema_version'") == [(tables.VERSION,)]


def test_there_is_a_database_of_every_older_version() -> None:
    needed = {f"version_{number}.sql" for number in range(1, tables.VERSION)}
    assert {path.name for path in VERSIONS} == needed, "see tests/sitegen/dump_version.py"


def test_a_new_dump_has_the_tables_of_its_version(tmp_path: Path) -> None:
    made, kept = tmp_path / "made", tmp_path / "kept"
    for folder, text in ((made, dump_after(7)), (kept, Path(__file__).with_name("version_7.sql").read_text("utf-8"))):
        folder.mkdir()
        with sqlite3.connect(folder / "manager.db") as connection:
            connection.executescript(text)
        connection.close()
    for query in (
        "SELECT value FROM meta",
        "SELECT * FROM runs",
        *map("PRAGMA table_info({})".format, ("runs", "clocks")),
    ):
        assert _execute(made, query) == _execute(kept, query)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_older_database_is_migrated_to_the_current_version(tmp_path: Path, version: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    connection = sqlite3.connect(old / "manager.db")
    connection.executescript(version.read_text())
    connection.close()
    for folder in (old, new):
        with Store(str(folder)) as store:
            before = store.facts()
            if folder == old:
                assert (before.declared, list(before.statuses)) == (DECLARED, [("w1", "debian")])
            store.apply([delivery_of(report_of(2, status_of("arch"), kind="snapshot"))])
            assert list(store.facts(before).statuses) == [("w1", "arch")]
    columns = "SELECT name, type, [notnull] FROM pragma_table_info(?) ORDER BY name"
    for table in tables.metadata.tables:
        assert _execute(old, columns, table) == _execute(new, columns, table)


def _execute(folder: Path, statement: str, *values: str) -> list[Any]:
    connection = sqlite3.connect(folder / "manager.db")
    with connection:
        rows = connection.execute(statement, values).fetchall()
    connection.close()
    return rows


@pytest.mark.parametrize("secret", ["%70assword=s3cret", "sslpassword=s3cret"])
def test_errors_contain_no_option_of_the_databases_address(tmp_path: Path, secret: str) -> None:
    address = DatabaseAddress(f"postgresql://me@127.0.0.1:1/x?{secret}&connect_timeout=1")
    with pytest.raises(StoreError, match=r"cannot use the database `postgresql://me@127\.0\.0\.1:1/x`") as caught:
        Store(str(tmp_path), address)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(("end", "words"), [("host:port/x", "'port'"), ("host/x?nosuch=1", '"nosuch"')])
def test_an_invalid_address_is_an_error(tmp_path: Path, end: str, words: str) -> None:
    with pytest.raises(SkipjackError, match=f"invalid `database.url` in the settings: .*{words}"):
        Store(str(tmp_path), DatabaseAddress(f"postgresql://{end}"))
