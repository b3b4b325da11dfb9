"""The forms of the output, each with the function that prints it."""

from collections.abc import Callable, Mapping

from runner.checking import github_format, gitlab_format, json_format, sarif_format, text_format
from runner.checking.findings import CheckResult
from runner.checking.placed_paths import CheckedFolder

SHOW: Mapping[str, Callable[[CheckResult, CheckedFolder], None]] = {
    "text": text_format.show,
    "json": json_format.show,
    "github": github_format.show,
    "gitlab": gitlab_format.show,
    "sarif": sarif_format.show,
}
