"""A forecast as JSON for programs; `schemas/files/forecast.schema.json` describes it."""

import json
from typing import Any

from runner.forecast import words
from runner.forecast.forecast import CHANGED, KINDS, Forecast, count, count_changed

FORMAT = 1
"""Number of the form; it changes when a program that reads it must change."""


def rendered(forecast: Forecast) -> str:
    """Return the forecast as JSON."""
    counts = {kind: count(forecast, kind) for kind in KINDS} | {CHANGED: count_changed(forecast)}
    head = {"format": FORMAT, "fine": forecast.is_fine, "verdict": words.verdict(forecast), "counts": counts}
    return json.dumps(head | _plain(forecast), indent=2)


def _plain(value: Any) -> Any:
    """Return records as mappings of their fields, and tuples as lists."""
    if isinstance(value, tuple):
        if hasattr(value, "_asdict"):
            return {key: _plain(below) for key, below in value._asdict().items()}
        return [_plain(below) for below in value]
    return value
