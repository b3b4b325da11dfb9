"""Other forms of a report for a manager that rejects it, each with less content than the one before."""

from collections.abc import Mapping
from typing import Any

from schemas.report import REPORT_BOUNDS, RUN_BOUNDS, bounded, bounded_status


def bounded_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report within the bounds of this release, which one of an earlier release may exceed."""
    statuses = [bounded_status(_copied(status)) for status in report["statuses"]]
    runs = [bounded(dict(run), RUN_BOUNDS) for run in report.get("runs", ())]
    return bounded({**report, "statuses": statuses, "runs": runs}, REPORT_BOUNDS)


def _copied(status: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dict(value) if isinstance(value, dict) else value for key, value in status.items()}


LEFT_OUT = "the manager rejected this report as it was, so its details were left out"
"""The reason of a run whose own reason is left out."""

_KEPT_OF_STATUS = frozenset({
    "mirror", "is_master", "status", "last_started_at", "last_ended_at", "last_success_at", "next_run_at",
})  # fmt: skip
_KEPT_OF_RUN = frozenset({"mirror", "id", "status", "launched_at", "started_at", "ended_at", "attempts", "duration"})


def without_details(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report that has only statuses and times."""
    statuses = [_bare_status(status) for status in bounded_report(report)["statuses"]]
    return {**emptied(report), "statuses": statuses, "runs": [_bare_run(run) for run in report.get("runs", ())]}


def _bare_status(status: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in status.items() if key in _KEPT_OF_STATUS}
    return kept | {"upstream": "", "run": _bare_run(status["run"]) if status.get("run") else None}


def _bare_run(run: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in run.items() if key in _KEPT_OF_RUN}
    return bounded(kept, RUN_BOUNDS) | {"reason": LEFT_OUT if run.get("reason") else "", "log_tail": ""}


def emptied(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report with the same number and without content."""
    head = {key: report[key] for key in ("number", "made_at", "kind")}
    return bounded({**head, "statuses": [], "runs": []}, REPORT_BOUNDS)


def parts(report: Mapping[str, Any]) -> int:
    """Return the number of states and runs in a report."""
    return len(report["statuses"]) + len(report.get("runs", ()))
