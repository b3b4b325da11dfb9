"""A field of a report has a place in the schema, its bounds, the journal and the manager's store.

A forgotten place fails here by its name, so that a new field needs no search.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner.journal.migrations import MIGRATIONS
from runner.journal.run_table import Ending
from schemas.report import RUN_BOUNDS, STATUS_BOUNDS, MirrorStatus, Run
from sitegen.storage import tables

FILES = Path(__file__).parents[2] / "schemas/files"


def properties(file: str, name: str) -> set[str]:
    return set(json.loads((FILES / file).read_text("utf-8"))["$defs"][name]["properties"])


def columns(table: str) -> set[str]:
    """Return the columns of a table of a new journal."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(";".join(MIGRATIONS))
        return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


PLACES: list[tuple[type[Any], str, set[str], set[str]]] = [
    (Run, "report.schema.json", properties("report.schema.json", "run"), set()),
    (Run, "RUN_BOUNDS", set(RUN_BOUNDS), {"id", "status", "revision"}),
    (Run, "table `run` in runner/journal/migrations.py", columns("run"), set()),
    (
        Run, "`Ending` in runner/journal/run_table.py", set(Ending._fields),
        {"id", "launched_at", "started_at", "ended_at", "duration", "revision"},
    ),
    (Run, "table `runs` in sitegen/storage/tables.py", {column.name for column in tables.runs.columns}, set()),
    (Run, "api.schema.json", properties("api.schema.json", "run"), {"log_tail"}),
    (MirrorStatus, "report.schema.json", properties("report.schema.json", "status"), set()),
    (MirrorStatus, "STATUS_BOUNDS", set(STATUS_BOUNDS), {"mirror", "is_master", "status", "run", "probe", "override"}),
    (MirrorStatus, "table `mirror` in runner/journal/migrations.py", columns("mirror"), {"mirror", "override"}),
    (
        MirrorStatus, "table `mirror_state` in sitegen/storage/tables.py",
        {column.name for column in tables.mirror_state.columns}, {"run"},
    ),
    (MirrorStatus, "api.schema.json", properties("api.schema.json", "copy"), {"mirror"}),
]  # fmt: skip
"""A record of reports, a place that has its fields, those that it has, and those that it does not need."""


def test_every_field_of_a_report_has_all_its_places() -> None:
    missing = [
        f"{place} lacks `{field}` of {record.__name__}"
        for record, place, has, exempt in PLACES
        for field in record._fields
        if field not in has | exempt
    ]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize(("record", "place", "has", "exempt"), PLACES, ids=[place for _, place, *_ in PLACES])
def test_no_place_is_exempt_without_need(record: type[Any], place: str, has: set[str], exempt: set[str]) -> None:
    assert exempt <= set(record._fields) - has, place
