"""What timestamp files of real upstreams look like, and what must not be taken for a time."""

import pytest

from runner.courier.timestamps import read_stamp

NOON = 1709640000.0  # 2024-03-05 12:00:00 UTC


@pytest.mark.parametrize(
    "text",
    [
        "1709640000\n",
        "1709640000.0",
        "Tue Mar  5 12:00:00 UTC 2024\nDate: Tue, 05 Mar 2024 13:00:00 +0000\nArchive serial: 2024030502\n",
        "Tue Mar 05 12:00:00 GMT 2024",
        "Tue, 05 Mar 2024 12:00:00 +0000\n",
        "Tue, 05 Mar 2024 14:00:00 +0200\n",
        "Date: Tue, 05 Mar 2024 12:00:00 +0000\n",
        "2024-03-05T12:00:00Z",
        "2024-03-05 13:00:00+01:00",
        "2024-03-05 12:00:00",
        "20240305T120000Z",
        "###\n### branch state file\n\nstate=0123456789abcdef\n\ndate=2024-03-05T12:00:00Z\n",
    ],
)
def test_a_time_in_any_of_the_formats_is_read(text: str) -> None:
    assert read_stamp(text.encode()) == NOON


@pytest.mark.parametrize("unit", ["a", "a ", "1", "(", "a:", "Tue, ", '"'])
def test_a_long_line_is_not_read_and_those_after_it_are(unit: str) -> None:
    """Reading it would take hours, and the test fail by its limit."""
    assert read_stamp((unit * 1_000_000 + "\n1709640000\n").encode()) == NOON


def test_fractions_are_kept() -> None:
    assert read_stamp(b"1709640000.25") == NOON + 0.25


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"9f86d081884c7d65\n",
        b"state=0123456789abcdef",
        b"\xff\xfe\x00\x00",
        b"123",
        b"99999999999999999999",
        b"Foo Bar  5 12:00:00 UTC 2024",
        b"Tue Mar 45 12:00:00 UTC 2024",
        b"0001-01-01T00:00:00Z",
        b"9999-99-99",
        b"\n" * 50 + b"1709640000",
    ],
)
def test_a_file_without_a_time_near_its_top_has_none(data: bytes) -> None:
    assert read_stamp(data) is None
