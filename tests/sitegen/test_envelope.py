import copy
import json
import tracemalloc
from typing import Any

import pytest

from schemas.report import ReportedProblem
from sitegen.messages import envelope
from sitegen.messages.envelope import RejectedRequest
from tests.sitegen.kit import envelope_of, plain, report_of, run_of, status_of

PROBLEM = ReportedProblem("debian", "debian.yml:1:1", "wrong", "do right")
GOOD = plain(
    envelope_of(
        report_of(1, status_of(), status_of("arch", run=None), runs=(("debian", run_of(4)),)), problems=(PROBLEM,)
    )
)


def refusal(body: Any) -> RejectedRequest:
    with pytest.raises(RejectedRequest) as caught:
        envelope.read(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


def test_a_valid_envelope_is_read() -> None:
    read = envelope.read(json.dumps(GOOD).encode())
    assert read.reports[0].statuses[0] == status_of()
    assert read.reports[0].runs == (("debian", run_of(4)),)
    assert read.problems == (PROBLEM,)


def test_unknown_keys_of_a_newer_worker_are_ignored() -> None:
    newer = copy.deepcopy(GOOD) | {"protocol": 2, "colour": "blue"}
    newer["reports"][0]["statuses"][0]["mood"] = "good"
    assert envelope.read(json.dumps(newer).encode()).worker == "w1"


def test_a_body_of_many_tiny_values_is_rejected_before_it_takes_memory() -> None:
    body = b"[" + b"[]," * 2_000_000 + b"0]"
    tracemalloc.start()
    try:
        assert "more than 751000 values" in refusal(body).why
        assert tracemalloc.get_traced_memory()[1] < 2 * len(body)
    finally:
        tracemalloc.stop()


def test_texts_may_contain_json_punctuation() -> None:
    said = copy.deepcopy(GOOD)
    said["reports"][0]["statuses"][0]["run"]["log_tail"] = '[[],{"a": [,,' * 500
    body = json.dumps(said, separators=(",", ":")).encode()
    run = envelope.read(body).reports[0].statuses[0].run
    assert run is not None and run.log_tail == '[[],{"a": [,,' * 500


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b"[" * 200_000,
        b'{"a": 1' + b"0" * 5000 + b"}",
    ],
    ids=["empty", "text", "no UTF-8", "NaN", "infinity", "deep", "huge number"],
)
def test_invalid_json_is_a_400(body: bytes) -> None:
    assert refusal(body).status == 400


@pytest.mark.parametrize("protocol", [3, 99, -1])
def test_another_protocol_is_a_400(protocol: int) -> None:
    assert refusal(GOOD | {"protocol": protocol}).status == 400


def test_a_violation_names_its_place() -> None:
    bad = copy.deepcopy(GOOD)
    bad["reports"][0]["statuses"][1]["upstream"] = 7
    found = refusal(bad)
    assert found.status == 422
    assert found.why.startswith("$.reports[0].statuses[1].upstream: 7 is not of type")


def test_the_text_of_a_violation_is_short() -> None:
    assert len(refusal(GOOD | {"worker": "x" * 100_000}).why) < 1000


@pytest.mark.parametrize("name", ["../../etc", "a/b", ".hidden", "", "x" * 65, "debian\n", "a\u0000b"])
def test_invalid_names_are_a_422(name: str) -> None:
    bad = copy.deepcopy(GOOD)
    bad["reports"][0]["statuses"][0]["mirror"] = name
    assert refusal(bad).status == 422
    bad = copy.deepcopy(GOOD)
    bad["reports"][0]["runs"][0]["mirror"] = name
    assert refusal(bad).status == 422


@pytest.mark.parametrize("value", [4.0, True, "4"])
def test_only_integers_count_slots(value: object) -> None:
    assert refusal(GOOD | {"slots_total": value}).status == 422


def test_lone_surrogates_become_text_that_can_be_stored() -> None:
    bad = copy.deepcopy(GOOD)
    bad["reports"][0]["statuses"][0]["run"]["reason"] = "caf\udce9"
    run = envelope.read(json.dumps(bad).encode()).reports[0].statuses[0].run
    assert run is not None
    assert run.reason == "caf?"
