"""Print findings as a Code Quality report of GitLab."""

from collections import Counter
from typing import Any

from runner.base.output import masked, say
from runner.checking.ci_commands import inert_json
from runner.checking.findings import ERROR, WARNING, CheckResult, message
from runner.checking.placed_paths import CheckedFolder
from schemas.problems import Problem

_SEVERITIES = {ERROR: "critical", WARNING: "minor"}


def show(result: CheckResult, folder: CheckedFolder) -> None:
    """Print the report."""
    alike: Counter[tuple[str, ...]] = Counter()
    report = []
    for level, problem in result.by_level():
        same = (problem.rule, folder.repository_path(problem.file), problem.what)
        alike[same] += 1
        report.append(_entry(level, problem, same[1], fingerprint(*same, str(alike[same]))))
    say(inert_json(report), has_addresses=False)


def fingerprint(*parts: str) -> str:
    """Return the same digits for the same parts; no line is among them, so a problem keeps them when its line moves."""
    import hashlib  # the other forms do not need it

    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _entry(level: str, problem: Problem, path: str, digits: str) -> dict[str, Any]:
    return {
        "description": masked(message(problem)),
        "check_name": problem.rule,
        "fingerprint": digits,
        "severity": _SEVERITIES.get(level, "info"),
        "location": {"path": path, "lines": {"begin": problem.line}},
    }
