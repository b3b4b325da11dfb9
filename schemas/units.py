"""Parse and format durations and sizes.

In YAML both are strings with a unit: a bare `90` may be read as seconds, minutes or megabytes. Inside the program
durations are whole seconds and sizes whole bytes.
"""

import re

# The number of digits is limited, because Python converts no number of thousands of digits.
DURATION_PATTERN = r"^[0-9]{1,9}(s|m|h|d|w)([0-9]{1,9}(s|m|h|d|w))*$"
SIZE_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,9})?(B|kB|MB|GB|TB|PB|KiB|MiB|GiB|TiB|PiB)$"
"""The JSON Schemas contain both patterns as well; a test keeps them equal."""

CENTURY = 100 * 365 * 86400
"""The longest duration: a time that is computed with it stays within the calendar."""

LARGEST = 2**62
"""The largest number of bytes; more would fit neither into a database nor into a report."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def parse_duration(text: str) -> int:
    """Return `6h`, `90m` or `1d12h` in seconds, a century at most. Raises ValueError for anything else."""
    # Not `match`: `$` alone would accept a line break at the end.
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is not a valid duration")
    parts = re.findall(r"([0-9]+)([smhdw])", text)
    return min(CENTURY, sum(int(number) * _SECONDS[unit] for number, unit in parts))


def format_duration(seconds: float) -> str:
    """Return seconds in the two largest units: `1d 4h`, `3m 20s`, `0.4s`."""
    if seconds < 10:
        return f"{seconds:.1f}".rstrip("0").rstrip(".") + "s"
    left = round(seconds)
    parts: list[str] = []
    for unit, size in reversed(_SECONDS.items()):
        if unit != "w" and left >= size and len(parts) < 2:
            parts.append(f"{left // size}{unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts)


def setting_duration(seconds: int) -> str:
    """Return whole seconds as the value of a setting, in the largest unit that divides them: `90s`, `6h`."""
    unit = next((unit for unit in "dhm" if seconds and seconds % _SECONDS[unit] == 0), "s")
    return f"{seconds // _SECONDS[unit]}{unit}"


def parse_size(text: str) -> int:
    """Return `256MiB` (powers of 1024) or `1.5TB` (powers of 1000) in bytes. Raises ValueError for anything else."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]+)", text)
    if not match or not re.fullmatch(SIZE_PATTERN, text):
        raise ValueError(f"{text!r} is not a valid size")
    number, unit = match.groups()
    if unit in _DECIMAL:
        return round(float(number) * 1000.0 ** _DECIMAL.index(unit))
    return round(float(number) * 1024.0 ** _BINARY.index(unit))


def format_size(count: int) -> str:
    """Return bytes in powers of 1024 with three digits: `1.21 GiB`."""
    value = float(count)
    for unit in _BINARY:
        if value < 1000 or unit == _BINARY[-1]:
            break
        value /= 1024
    if unit == "B":
        return f"{count} B"
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"


_TUNASYNC_UNITS = ("", "K", "M", "G", "T", "P")


def tunasync_size(count: int | None) -> str:
    """Return bytes as tunasync's clients show them, `1.23T` in powers of 1000; `unknown` for None."""
    if count is None:
        return "unknown"
    value = float(count)
    for unit in _TUNASYNC_UNITS:
        if value < 1000 or unit == _TUNASYNC_UNITS[-1]:
            break
        value /= 1000
    return f"{value:.2f}{unit}" if unit else str(count)


def parse_tool_size(text: str, base: int = 1024) -> int | None:
    """Return a size as scripts print it, `1,234,567`, `1.23G` or `1.2GiB`, in bytes; None if it is not a size.

    `K`, `M`, `G`, `T` and `P`, with or without `B`, are powers of `base`: `du -h` and nearly all mirror scripts use
    powers of 1024. An explicit `i` always means 1024.
    """
    match = re.fullmatch(r"([0-9][0-9,]*(?:\.[0-9]+)?)\s*([KkMGTP]?)(i?)B?", text.strip())
    if not match:
        return None
    number, unit, binary = match.groups()
    step = 1024.0 if binary else float(base)
    size = float(number.replace(",", "")) * step ** _TUNASYNC_UNITS.index(unit.upper())
    return round(size) if size <= LARGEST else None
