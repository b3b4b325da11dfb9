import pytest

from schemas import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("6h", 21600), ("1d12h", 129600), ("2w", 1209600), ("0s", 0), ("1h1h", 7200)],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "h", "6 h", "6H", "-6h", "1.5h", "6h\n", "٦h", "1d 12h", "9" * 10 + "s", "9" * 5000 + "h"]
)
def test_anything_else_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid duration"):
        units.parse_duration(text)


def test_a_duration_ends_at_a_century() -> None:
    assert units.parse_duration("999999999w") == units.parse_duration("36500d") == units.CENTURY


@pytest.mark.parametrize("seconds", [0, 1, 59, 60, 61, 3599, 3600, 86399, 86400, 36_500 * 86400])
def test_a_formatted_duration_reads_back_within_its_smaller_unit(seconds: int) -> None:
    read = units.parse_duration(units.format_duration(seconds).replace(" ", ""))
    assert 0 <= seconds - read < (3600 if seconds >= 86400 else 60)
    if seconds < 3600:
        assert read == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4s"), (3, "3s"), (9.96, "10s"), (59.6, "1m"), (200, "3m 20s"), (100_800, "1d 4h"), (86_430, "1d")],
)
def test_durations_are_written_in_two_units(seconds: float, text: str) -> None:
    assert units.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (3, "3s"), (60, "1m"), (90, "90s"), (3600, "1h"), (5400, "90m"), (172_800, "2d")]
)
def test_a_duration_for_a_setting_is_exact_and_can_be_copied_there(seconds: int, text: str) -> None:
    assert units.setting_duration(seconds) == text
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"), [("256MiB", 256 * 2**20), ("1.5TB", 1_500_000_000_000), ("10kB", 10_000), ("0B", 0)]
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert units.parse_size(text) == count


@pytest.mark.parametrize("text", ["", "256", "MiB", "1.MiB", ".5MiB", "1..5MB", "1 MiB", "1KB", "1mib", "1MB\n", "-1B"])
def test_anything_else_is_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid size"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (1024, "1.00 KiB"),
        (1_300_000_000, "1.21 GiB"),
        (2**62, "4096 PiB"),
    ],
)
def test_sizes_are_written_in_powers_of_1024(count: int, text: str) -> None:
    assert units.format_size(count) == text


@pytest.mark.parametrize("text", ["1B", "1KiB", "1.5MiB", "12.3GiB", "123TiB", "999PiB"])
def test_a_size_survives_writing_and_reading(text: str) -> None:
    count = units.parse_size(text)
    assert units.parse_size(units.format_size(count).replace(" ", "")) == pytest.approx(count, rel=0.005)


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "unknown"), (0, "0"), (999, "999"), (1000, "1.00K"), (1_234_567_890_123, "1.23T"), (2**62, "4611.69P")],
)
def test_sizes_for_tunasync_have_its_format(count: int | None, text: str) -> None:
    assert units.tunasync_size(count) == text


@pytest.mark.parametrize("count", [7, 1500, 2_500_000, 1_230_000_000_000])
def test_tunasyncs_form_reads_back(count: int) -> None:
    assert units.parse_tool_size(units.tunasync_size(count), 1000) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1,234,567", 1_234_567),
        ("1.23G", round(1.23 * 2**30)),
        ("1.2GiB", round(1.2 * 2**30)),
        ("2Ki", 2048),
        ("  12 kB ", 12 * 1024),
        ("0", 0),
    ],
)
def test_sizes_that_tools_print_are_powers_of_1024(text: str, count: int) -> None:
    assert units.parse_tool_size(text) == count


@pytest.mark.parametrize(
    ("text", "count"), [("1.23G", 1_230_000_000), ("12 kB", 12_000), ("2KiB", 2048), ("1,234", 1234)]
)
def test_sizes_in_powers_of_1000_are_read_when_asked_for(text: str, count: int) -> None:
    assert units.parse_tool_size(text, 1000) == count


@pytest.mark.parametrize(
    "text", ["", "unknown", "-5", "1.2.3G", "1.5X", "G", ",1", "٣", "9" * 400, "9" * 5000, "9999999P"]
)
def test_invalid_and_huge_sizes_are_none(text: str) -> None:
    assert units.parse_tool_size(text) is None
