"""The page for authors of plug-ins names everything that the API has, and nothing else of a job."""

import re

from runner import plugin_api
from tests.docs.pages import ROOT, inline

PAGE = "docs/plugins.md"
RECORDED = (ROOT / "tests/runner/plugin_api_v1.txt").read_text("utf-8")


def named() -> set[str]:
    """Each name in the page's code, without the arguments of functions."""
    return {name for code in inline(PAGE) for name in re.findall(r"[A-Za-z_]+", code)}


def test_the_page_has_each_name_of_the_api() -> None:
    assert {*plugin_api.__all__} - named() == set()


def test_the_page_has_each_field_of_a_job_a_command_and_a_finding() -> None:
    fields = re.findall(r"^(?:Job\.|(?:Command|Findings|Outcome)\[\d+\] )(\w+)", RECORDED, re.MULTILINE)
    assert len(fields) > 25
    assert {*fields} - named() == set()


def test_the_page_names_no_field_of_a_job_that_is_not_in_the_api() -> None:
    of_jobs = {name for code in inline(PAGE) for name in re.findall(r"\bjob\.(\w+)", code)}
    recorded = set(re.findall(r"^Job\.(\w+)", RECORDED, re.MULTILINE))
    assert of_jobs and of_jobs <= recorded
