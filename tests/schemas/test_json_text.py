"""Untrusted JSON: its values are counted before they are created."""

import json
import tracemalloc

import pytest

from schemas import json_text

FINE = [
    "1",
    '"a"',
    "[]",
    "{}",
    "[1, 2]",
    '{"a": [1, {"b": null}]}',
    '"[[[[,,,,{{{{"',
    r'"\"[,\\"',
    r'["\\", "\"", "]"]',
]


@pytest.mark.parametrize("text", FINE)
def test_it_parses_valid_json(text: str) -> None:
    assert json_text.parse(text.encode(), 10) == json.loads(text)


@pytest.mark.parametrize("text", ["[1,2,3]", '{"a": [1, 2]}', "[[],0]", '["[,[", "\\"", 3]', r'["\\",[],2]'])
def test_values_are_counted_outside_of_strings(text: str) -> None:
    assert json_text.parse(text.encode(), 4) == json.loads(text)
    with pytest.raises(json_text.TooManyValues, match="more than 1 values"):
        json_text.parse(text.encode(), 1)


@pytest.mark.parametrize("data", [b"", b"\xff", "[]".encode("utf-16"), b"[NaN]", b"[Infinity]", b"[" * 10**6, b'"\\'])
def test_anything_else_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        json_text.parse(data, 10**7)


HOSTILE = {
    "lists": '[],"x",' * 10**6,
    "strings": '"[,"' * 10**6,
    "quotes": '"' + r"\"[," * 10**6,
    "backslashes": '"[,' + "\\" * 10**6,
    "many strings, then nothing": 'ab"a"' * 10**6 + ",,",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_counting_ends_and_takes_no_more_memory_than_the_text(text: str) -> None:
    data = text.encode()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"."):
            json_text.parse(data, 1)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data)
    finally:
        tracemalloc.stop()
