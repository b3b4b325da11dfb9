"""Print findings as a SARIF 2.1.0 log, which code scanning and editors read."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from runner.base.output import masked, say
from runner.checking.ci_commands import inert_json
from runner.checking.findings import ERROR, NOTICE, RULES, WARNING, CheckResult, message
from runner.checking.placed_paths import CheckedFolder
from schemas.problems import Problem
from schemas.release import version

_LEVELS: Mapping[str, str] = {ERROR: "error", WARNING: "warning", NOTICE: "note"}
_LINK = re.compile(r"\[(?=[^\]]*\]\()")
"""The beginning of a link in a message, which nobody means who writes it into a value."""


def show(result: CheckResult, folder: CheckedFolder) -> None:
    """Print the log, with one run."""
    say(inert_json(_log(result, folder)), has_addresses=False)


def _log(result: CheckResult, folder: CheckedFolder) -> dict[str, Any]:
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver()},
                "columnKind": "unicodeCodePoints",
                "results": [_result(level, problem, folder) for level, problem in result.by_level()],
            }
        ],
    }


def _driver() -> dict[str, Any]:
    rules = [{"id": rule, "shortDescription": {"text": text}} for rule, text in RULES.items()]
    return {"name": "skipjack", "version": version(), "rules": rules}


def _result(level: str, problem: Problem, folder: CheckedFolder) -> dict[str, Any]:
    path = folder.repository_path(problem.file)
    place = {
        "artifactLocation": {"uri": quote(path, errors="surrogateescape"), "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": problem.line, "startColumn": problem.column},
    }
    return {
        "ruleId": problem.rule,
        "ruleIndex": list(RULES).index(problem.rule),
        "level": _LEVELS[level],
        "message": {"text": _LINK.sub(r"\\[", masked(message(problem)))},
        "locations": [{"physicalLocation": place}],
    }
