import json
from pathlib import Path

import pytest

from schemas import states
from schemas.config.schema_set import schema

TUNASYNC = {"none", "failed", "success", "syncing", "pre-syncing", "paused", "disabled"}
CAUSES = {*schema("api")["$defs"]["mirror"]["properties"]["cause"]["enum"]} - {None}
OWN = {value for name, value in vars(states).items() if name.isupper() and isinstance(value, str)}


def test_every_status_maps_to_one_of_tunasyncs_seven() -> None:
    assert set(states.TO_TUNASYNC.values()) == TUNASYNC
    assert set(states.TO_TUNASYNC) == OWN - set(states.FRESHNESS) - CAUSES


@pytest.mark.parametrize("status", sorted(TUNASYNC))
def test_tunasyncs_own_statuses_are_unchanged(status: str) -> None:
    assert states.TO_TUNASYNC[status] == status


def test_a_run_is_active_or_ended_or_neither_but_never_both() -> None:
    assert not states.ACTIVE & states.ENDS
    assert set(states.TO_TUNASYNC) > states.ACTIVE | states.ENDS


@pytest.mark.parametrize("part", ["run", "status"])
def test_reports_may_have_every_status_and_no_other(part: str) -> None:
    assert set(schema("report")["$defs"][part]["properties"]["status"]["enum"]) == set(states.TO_TUNASYNC)


def test_schemas_are_plain_json_without_anything_unusual() -> None:
    for path in (Path(states.__file__).parent / "files").iterdir():
        json.loads(path.read_bytes(), parse_constant=pytest.fail)
