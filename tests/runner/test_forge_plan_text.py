"""A plan that anyone may have written becomes a comment that mentions, links, embeds and hides nothing."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from runner.forecast import markdown
from runner.forecast.forecast import ADDED, ALLOWED, DENIED, REMOVED, DayLoad, LiveWorker, PolicyVerdict
from runner.forecast.markdown import MARK, MOST
from runner.forge import plan_text
from schemas.errors import SkipjackError

from .forecasting import Proposal
from .test_plan_markdown import HOSTILE, hostile, many

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

TAGS = {"p", "sub", "details", "summary", "strong", "em", "pre", "code", "hr"}

DANGER = re.compile(r"[@#\[\]!|~&<$\\`_]|www\.|://|GH-[0-9]|\w+\.\w+/")
"""What a forge turns into something else in text that is not code."""


class Read(HTMLParser):
    """Reads a comment as a browser does: its tags with their attributes, and the text that is not code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.text, self._code, self.depth, self.deepest = "", 0, 0, 0
        self.feed(MARKDOWN.render(text.removeprefix(MARK)))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(attrs)
        self._code += tag == "code"
        self.depth += tag == "details"

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag == "code"
        self.depth -= tag == "details"

    def handle_data(self, data: str) -> None:
        self.text += data if not self._code else ""

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"hidden: {data}")


def assert_harmless(text: str) -> None:
    assert text.startswith(f"{MARK}\n") and text.count(MARK) == 1 + text[1:].count(MARK)
    read = Read(text)
    assert read.tags <= TAGS, text
    assert read.attributes <= {("class", "language-diff"), ("class", "language-text"), ("open", None)}, text
    assert not DANGER.search(read.text.replace("->", "")), text
    assert read.depth == 0, text


FRAGMENTS = [
    *HOSTILE, MARK, "\n", "\n\n", " ", "    ", "<details>", "<details><summary>", "</summary>", "</details>\n", "<p>",
    "<p><sub>", "</sub></p>", "<code>", "</code>", "`", "``", "```diff\n", "\n```\n", "````text\n", "\n````", "~~~\n",
    "@user", "[a]: https://evil.example", "[a][b]", "**Valid.** 1 changed", "> ", "- ", "1. ", "+ ", "===", "---", "a",
    "<pre>", "</pre>", "<!--", "-->", "<a href=x>", "<![CDATA[", "&commat;", "&#64;", "skipjack-plan", "GH-1", "\t",
    "<code>a</code>", "<details><summary><code>w1</code>: 1 changed</summary>\n\n", "x@example.org", "\r", "\\`",
    "****",
]  # fmt: skip


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
def test_no_text_acts_as_markdown(text: str) -> None:
    assert_harmless(plan_text.safe(text))


@pytest.mark.parametrize(
    "text", [*sorted({*HOSTILE} - {MARK, ":smile:"}), "@x `@x` <details>", "```diff\n@x", "`" * 500, "@" * MOST]
)
def test_another_text_is_shown_as_it_is(text: str) -> None:
    shown = plan_text.safe(text)
    assert "not in the form of a plan" in shown
    assert_harmless(shown)
    assert len(shown) < 65_000


@pytest.mark.parametrize(
    "text",
    [
        "<details><summary>`@everyone`</summary>\n\n</details>",
        "<details><summary>x</summary>\n```diff\n@everyone\n```\n\n</details>",
        "a\n```diff\n@everyone\n```",
        "```diff\na\n ```\n@everyone\n```",
        "<code>[here](https://evil.example)</code>",
        "**Valid.** See www.evil.example",
        "<details><summary>x</summary>",
        "<details open>",
        "<details open onclick=x><summary>x</summary>\n\n</details>",
        "<details open='y'><summary>x</summary>\n\n</details>",
        "</details>",
        "```diff\nnever closed",
        "<p><sub><code>a</code><img src=x></sub></p>",
        "1. a list",
        "x &commat;everyone",
        "a\u202eb",
        "```diff\n\x1b[31m\n```",
        "a\x0b@everyone",
    ],
)
def test_texts_that_resemble_a_plan(text: str) -> None:
    assert not plan_text.is_plan(text)
    assert_harmless(plan_text.safe(text))


@pytest.mark.parametrize("text", HOSTILE)
def test_plans_stay_as_they_are_whatever_the_definitions_say(text: str) -> None:
    plan = markdown.rendered(hostile(text))
    assert plan_text.safe(plan) == plan
    assert_harmless(plan)


@pytest.mark.parametrize(("number", "workers"), [(500, 2), (1, 3000)])
def test_a_huge_plan_stays_as_it_is(number: int, workers: int) -> None:
    plan = markdown.rendered(many(number, workers))
    assert plan_text.safe(plan) == plan


@pytest.mark.parametrize("fits", [True, False, None])
@pytest.mark.parametrize("exported", ["current", "outdated", "missing"])
def test_a_plan_with_facts_of_the_site_stays_as_it_is(fits: bool | None, exported: str) -> None:
    live = LiveWorker(exported, None if fits is None else 1, 1, 2, 3, fits)
    load = DayLoad((1.0,) * 24, (2.0, *(1.0,) * 23), 2, 4, 0.5, None)
    made = hostile("@x `y` <z>")
    workers = tuple(each._replace(load=load, live=live, kind=kind, policy=PolicyVerdict(state, each.warnings))
                    for each in made.workers for kind in (ADDED, REMOVED) for state in (ALLOWED, DENIED))  # fmt: skip
    plan = markdown.rendered(made._replace(workers=workers, live_failure="@x"))
    assert "Live: " in plan and plan_text.safe(plan) == plan


@pytest.mark.parametrize("change", [{"rejected": True}, {"unknown_base": True}, {"problems": ()}, {"workers": ()}])
def test_each_verdict_stays_as_it_is(change: dict[str, Any]) -> None:
    plan = markdown.rendered(hostile("x")._replace(**change))
    assert plan_text.safe(plan) == plan


def test_the_plan_of_a_repository_stays_as_it_is(proposal: Proposal, tmp_path: Path) -> None:
    proposal.commit({"new.yml": "upstream: rsync://up.example.org/new/\n", "bad.yml": "@x: 1\n", "debian.yml": None})
    _code, out, _err = proposal.run("main..topic", "--format", "markdown")
    (tmp_path / "plan.md").write_text(out)
    assert plan_text.read(tmp_path / "plan.md") == out
    assert_harmless(out)


def test_files_that_are_not_a_plan_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    cases = {"link": "it is a symbolic link", "folder": "it is a directory", "pipe": "it is a named pipe",
             "latin": "it is not in UTF-8", "long": "it has more than 60000 characters",
             "huge": "it is larger than 240000 bytes", "none": "No such file", "empty": "it is empty"}  # fmt: skip
    (tmp_path / "empty").write_text(f"{MARK}\n\n")
    (tmp_path / "link").symlink_to(secret)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin").write_bytes(b"\xe9")
    (tmp_path / "long").write_text("x" * (MOST + 1))
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    for name, why in cases.items():
        with pytest.raises(SkipjackError, match=re.escape(why)) as refused:
            plan_text.read(tmp_path / name)
        assert "canary" not in str(refused.value) and "Nothing was written" in str(refused.value)
