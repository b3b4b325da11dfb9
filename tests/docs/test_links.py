"""Links of the pages lead to files and headings that are there."""

import re
from pathlib import PurePosixPath

import pytest

from .pages import PAGES, ROOT, read

LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def headings(page: str) -> set[str]:
    """The headings of a page as links name them: small letters, hyphens for spaces, no other signs."""
    found = re.findall(r"^#+ (.+)$", re.sub(r"```.*?\n```$", "", read(page), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", PAGES)
def test_each_link_has_a_target(page: str) -> None:
    for path, heading in LINK.findall(read(page)):
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: there is no {path}"
        if heading:
            name = str(PurePosixPath(target.resolve().relative_to(ROOT.resolve())))
            assert heading in headings(name), f"{page}: {name} has no heading #{heading}"


def test_there_are_links() -> None:
    assert sum(len(LINK.findall(read(page))) for page in PAGES) > 50
