"""Convert times as programs in Go have them: cron expressions with words such as `@daily`, and durations."""

import re

from schemas.units import setting_duration

_WORDS = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|ms|us|µs|ns|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def duration(text: str) -> int | None:
    """Return a duration such as `1h30m` in whole seconds; None if it is not valid."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return round(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def schedule(text: str) -> dict[str, str] | None:
    """Return a schedule as the key `cron` or `interval`; None if it is invalid or has a time zone of its own."""
    words = text.split()
    if words[:1] == ["@every"] and len(words) == 2:
        seconds = duration(words[1])
        return {"interval": setting_duration(seconds)} if seconds else None
    expression = _WORDS.get(text.strip(), " ".join(words))
    # `?` is the same as `*` there.
    return {"cron": expression.replace("?", "*")} if len(expression.split()) == 5 else None
