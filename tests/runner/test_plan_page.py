"""The plan on docs/pull-requests.md is what `skipjack plan` prints."""

import re

from tests.docs.pages import blocks

from .forecasting import Proposal

UPSTREAM = "upstream: rsync://up.example.org/all/\n"
FILES = {
    "_site.yml": "title: Test Mirrors\ncategories: {software: Software}\n",
    "_workers.yml": "workers:\n  alpha: {}\n  beta: {slots: 2}\n",
    "_defaults.yml": "provider: rsync\nworker: alpha\nrsync_timeout: 5m\n",
    **{f"{name}.yml": UPSTREAM for name in ("CTAN", "alpine", "debian", "kernel", "old")},
}
GNU = "upstream: rsync://ftp.example.org/gnu/\ninterval: 12h\ncategory: software\nrsync_timeout: 2m\n"


def test_the_plan_of_the_page_is_printed_like_that(proposal: Proposal) -> None:
    proposal.commit(FILES | {"gnu.yml": None})
    proposal.accept()
    proposal.commit({
        "gnu.yml": GNU,
        "old.yml": None,
        "_defaults.yml": FILES["_defaults.yml"].replace("5m", "10m"),
        "_workers.yml": FILES["_workers.yml"].replace("slots: 2", "slots: 1"),
    })  # fmt: skip
    _code, out, _err = proposal.run("main..topic")
    (page,) = (block for block in blocks("docs/pull-requests.md", "console") if "skipjack plan" in block.first)
    out = re.sub(r"^( +[+-] rsync) .* (rsync://.*)$", r"\1 … \2", out, flags=re.MULTILINE)
    assert page.text.partition("\n")[2] + "\n" == re.sub(r"\([0-9a-f]{12}\)", "(…)", out)
