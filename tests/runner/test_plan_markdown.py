"""A plan as the comment of a pull request, and as JSON."""

import html
import re
from typing import Any

import pytest

from runner.forecast import markdown
from runner.forecast.forecast import (
    ADDED,
    CHANGED,
    DENIED,
    UNCHANGED,
    DayLoad,
    Forecast,
    LiveWorker,
    MirrorForecast,
    MirrorNote,
    PolicyVerdict,
    RevisionLabel,
    SharedChange,
    ValueChange,
    WorkerForecast,
)
from runner.forge import plan_text
from schemas.config.schema_set import validator
from schemas.problems import Problem, printable

from .forecasting import BASE, Proposal

GNU = BASE["gnu.yml"]


def comment(proposal: Proposal) -> str:
    _code, out, err = proposal.run("main..topic", "--format", "markdown")
    assert err == ""
    return re.sub(r"\([0-9a-f]{12}\)", "(COMMIT)", out)


def test_a_comment_is_short_and_of_few_changes_open(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": f"{GNU}interval: 12h\n", "debian.yml": None})
    assert (
        comment(proposal)
        == """\
<!-- skipjack plan -->
**Valid.** 1 changed, 1 removed, on 1 worker.

<details open><summary><code>w1</code>: 1 changed, 1 removed</summary>

Policy: no exported policy; only the worker knows what it allows.

Load: 8 -> 2 starts a day, 0.3 -> 0.1 an hour, slots 4.

```diff
! gnu
-     interval: 6h
+     interval: 12h
- debian: no more runs; its data stays in /srv/mirror/debian
```

</details>

<p><sub>Compared: <code>main (COMMIT)</code> and <code>topic (COMMIT)</code></sub></p>
"""
    )


def test_a_comment_of_many_changes_is_folded(proposal: Proposal) -> None:
    proposal.commit({f"m{number}.yml": f"upstream: rsync://h/m{number}/\n" for number in range(4)})
    assert "\n<details><summary><code>w1</code>: 4 added</summary>\n" in comment(proposal)
    proposal.commit({"gnu.yml": "a: [\n", **{f"m{number}.yml": None for number in range(4)}})
    assert "\n<details open><summary><code>w1</code>: 1 invalid</summary>\n" in comment(proposal)


def test_many_new_mirrors_hide_no_removed_or_changed_one(proposal: Proposal) -> None:
    many = {f"m{number:03}.yml": f"upstream: rsync://h{number}/m/\ntitle: {'x' * 300}\n" for number in range(200)}
    proposal.commit({**many, "debian.yml": None, "gnu.yml": f"{GNU}interval: 12h\n"})
    text = comment(proposal)
    assert " more changes not shown here." in text and "+ m199" not in text
    assert "\n- debian: no more runs; its data stays in /srv/mirror/debian\n" in text
    assert "\n! gnu\n-     interval: 6h\n+     interval: 12h\n" in text


def test_a_renewed_comment_differs_only_where_the_plan_does(proposal: Proposal) -> None:
    proposal.commit({"gnu.yml": f"{GNU}interval: 12h\n", "new.yml": "upstream: rsync://up.example.org/new/\n"})
    first = comment(proposal).splitlines()
    proposal.commit({"README.md": "Nothing of the plan.\n"})
    assert comment(proposal).splitlines() == first
    proposal.commit({"new.yml": "upstream: rsync://up.example.org/new/\nretry: 9\n"})
    again = comment(proposal).splitlines()
    assert [line for line in again if line not in first] == ["+     retry: 9"]


HOSTILE = [
    "@everyone", "#1", "GH-1", "org/repo#2", "https://evil.example/", "www.evil.example", "![x](https://evil.example)",
    "<script>alert(1)</script>", "<img src=x onerror=y>", "</details>", "```", "`````` ", "~~~", "*b* _i_ **b**",
    "| a |",     "\u202edesrever", "\u200bx", "\x1b[31m", "x\n```\n# title\n@admin", "<!-- skipjack plan -->",
    "&lt;", ":smile:", "\\",
]  # fmt: skip
"""What people write to break out of a comment, to ping others, or to look like something else."""

_BLOCK = re.compile(r"^(`{3,})(diff|text)\n(.*?)\n\1$", re.M | re.S)


def outside(text: str) -> str:
    """Return what a forge reads as Markdown: everything outside of fenced blocks.

    `skipjack forge comment` must take the whole as a plan.
    """
    assert plan_text.is_plan(text.removeprefix(markdown.MARK).strip("\n"))
    for found in _BLOCK.finditer(text):
        longest = max(map(len, re.findall("`+", found[3])), default=0)
        assert len(found[1]) > longest, "a fence that its content could close"
    return _BLOCK.sub("BLOCK", text)


def hostile(text: str) -> Forecast:
    changes = (ValueChange(text, text, text),)
    mirror = MirrorForecast(text, CHANGED, text, changes, (text,), (text,))
    added = MirrorForecast(text, ADDED, text, changes, (), (text,), first_run=text)
    note = MirrorNote((text,), text, text)
    day = tuple(map(float, range(24)))
    worker = WorkerForecast(
        "w1", UNCHANGED, changes, (added, mirror), (SharedChange(changes[0], (text, "b"), text, (text,), (text,)),),
        DayLoad(day, day[::-1], 4, 5, None, 0.4), PolicyVerdict(DENIED, (note,)), (note,),
        LiveWorker("outdated", 10**12, 10**10, 10**13, 2, False),
    )  # fmt: skip
    label = RevisionLabel(text, "")
    problem = (Problem(text, 1, 1, text, text),)
    return Forecast(label, label, (worker,), changes, problem, problem, (text,), (note,), live_failure=text)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_others_wrote_leaves_its_block(text: str) -> None:
    harmless = outside(markdown.rendered(hostile("harmless")))
    found = outside(markdown.rendered(hostile(text)))
    escaped = html.escape(printable(text))
    assert found == harmless.replace("harmless", escaped)
    assert "harmless" not in harmless.replace("<code>harmless</code>", "")
    assert not set(found) & set("\u202e\u200b\x1b"), "characters that hide others"


def test_hostile_definitions_stay_in_their_blocks(proposal: Proposal) -> None:
    title = 'title: "@admin ``` <b> \\u202e #1 | [x](https://evil.example)"\n'
    proposal.commit({"gnu.yml": GNU + title, "@all`x`<b>.yml": "x: 1\n", "y" * 200 + ".yml": "# 300 characters\n"})
    text = comment(proposal)
    assert "````diff\n" in text
    assert "\\u202e" in text
    left = outside(text)
    assert not any(each in left for each in ("@", "evil", "#1", "<b>"))


def many(number: int, workers: int) -> Forecast:
    changes = (ValueChange("interval", "6h", "12h"), ValueChange("title", None, "A title of some length"))
    mirrors = tuple(
        MirrorForecast(f"mirror-{index:05}", CHANGED, "/srv", changes, ("rsync " * 20,), ("rsync -a " * 20,))
        for index in range(number)
    )
    names = [f"worker-{index}" for index in range(workers)]
    return Forecast(
        RevisionLabel("a", "1"), RevisionLabel("b", "2"),
        tuple(WorkerForecast(name, UNCHANGED, (), mirrors, (), warnings=(MirrorNote((), "w" * 900, ""),) * 20)
              for name in names),
        problems=tuple(Problem(f"{index}.yml", 1, 1, "`" * 1500, "y" * 200) for index in range(1000)),
    )  # fmt: skip


@pytest.mark.parametrize(("number", "workers"), [(10, 1), (500, 2), (10_000, 1), (50, 200), (1, 3000)])
def test_a_huge_plan_is_cut_and_counts_the_rest(number: int, workers: int) -> None:
    text = markdown.rendered(many(number, workers))
    assert len(text) <= 60_000
    outside(text)
    assert text.count("<details") == text.count("</details>")
    assert re.search(r"[0-9]+ more lines not shown here\.", text)
    assert ("did not fit: `skipjack plan` prints all of them" in text) == (number * workers > 10)


def test_the_json_is_as_its_schema_says(proposal: Proposal) -> None:
    more = {f"m{number}.yml": f"upstream: rsync://up.example.org/m{number}/\n" for number in range(4)}
    proposal.commit(more | {"bad.yml": "x: 1\n"})
    proposal.accept()
    proposal.commit({
        "_defaults.yml": f"{BASE['_defaults.yml']}max_delete: 100%\ninterval: 1h\n",
        "_workers.yml": "workers:\n  w1: {slots: 9}\n  w3: {}\n",
        "gnu.yml": f"{GNU}worker: w3\n", "new.yml": "upstream: rsync://up.example.org/new/\n", "m1.yml": "x: 1\n",
        "bad.yml": None, "_site.yml": BASE["_site.yml"].replace("Test", "Our"),
    })  # fmt: skip
    found: dict[str, Any] = proposal.plain()
    validator("forecast").validate(found)
    assert (found["format"], found["fine"], found["base"]["name"]) == (1, False, "main")
    assert {kind: number for kind, number in found["counts"].items() if number} == {
        "added": 1, "moved-here": 1, "moved-away": 1, "changed": 4, "quarantined": 1,
    }  # fmt: skip
    assert found["fixed"] and found["problems"] and found["site"]


def test_the_json_of_a_rejected_revision_is_as_its_schema_says(proposal: Proposal) -> None:
    proposal.commit({"_site.yml": "x: 1\n"})
    found = proposal.plain()
    validator("forecast").validate(found)
    assert (found["rejected"], found["workers"]) == (True, [])
