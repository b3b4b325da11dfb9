"""`skipjack plan --live`: the facts of a running site, from a real manager, and from servers that are none."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.forecast import live_facts, manager_reads, words
from runner.forecast.forecast import ADDED, LiveWorker, MirrorForecast
from runner.forecast.live_facts import LiveCopy, LiveFacts, PastSize, ReportedWorker
from schemas.config.schema_set import validator
from tests.sitegen.kit import NOW, Manager, envelope_of, report_of, run_of, status_of

from .forecasting import BASE, Proposal
from .scripted_manager import Serve

GNU = BASE["gnu.yml"]
ROOT = Path(__file__).parents[2]
GIB, DAY, HOUR = 1024**3, 86400.0, 3600.0
PAST = time.time() - 30 * DAY
"""A manager leaves out runs in the future, and removes old ones."""


def grown(number: int, **fields: Any) -> Any:
    return run_of(number, ended_at=PAST + number * DAY, duration=2 * HOUR, size=(10 + number) * GIB, **fields)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a manager to which w1 reported three runs of gnu, each with more data, and one of debian.

    On w2 90 GiB are free.
    """
    manager = Manager(tmp_path_factory.mktemp("live"))
    token = manager.token("w1")
    other = manager.token("w2")
    kernel = status_of("kernel", run=run_of(2, ended_at=PAST, duration=60.0, free_space=90 * GIB))
    runs = tuple(("gnu", grown(number)) for number in range(1, 4))
    gnu, debian = status_of("gnu", run=runs[-1][1], size=13 * GIB), status_of("debian", run=run_of(9, duration=60.0))
    with manager.answering():
        manager.post(envelope_of(report_of(1, gnu, debian, kind="snapshot", runs=runs)), token)
        manager.post(envelope_of(report_of(1, kernel, kind="snapshot"), worker="w2"), other)
        yield manager.url
    manager.session.close()


def test_a_removed_mirror_shows_how_much_data_stays(proposal: Proposal, site: str) -> None:
    proposal.commit({"gnu.yml": None})
    assert "  - gnu: no more runs; its data (13.0 GiB) stays in /srv/mirror/gnu\n" in proposal.plan("--live", site)


def test_a_further_copy_has_the_size_of_the_first_and_its_growth(proposal: Proposal, site: str) -> None:
    proposal.commit({"gnu.yml": f"{GNU}worker: [w1, w2]\n", "new.yml": "upstream: rsync://h/new/\nworker: w2\n"})
    plan = proposal.plan("--live", site)
    assert "  + gnu: starts at once (13.0 GiB)\n" in plan
    live = "new data 13.0 GiB, in 90 days 103 GiB, 1 new mirror of unknown size, free 90.0 GiB, IT DOES NOT FIT"
    assert f"  live: {live}\n" in plan


def test_an_interval_shorter_than_the_last_runs_took_is_warned_of(proposal: Proposal, site: str) -> None:
    proposal.commit({"gnu.yml": f"{GNU}interval: 1h\n", "debian.yml": f"{BASE['debian.yml']}interval: 1h\n"})
    plan = proposal.plan("--live", site)
    warning = "gnu: The interval 1h is shorter than the last runs took: 2h, 2h, 2h."
    assert f"  warning: {warning} A run starts only after the last one has ended; use a longer interval.\n" in plan
    assert plan.count("warning") == 1
    assert "slots 4, of which 0.3 -> 2.0 are in use on average\n" in plan


def test_the_json_with_live_facts_is_as_its_schema_says(proposal: Proposal, site: str) -> None:
    proposal.commit({"gnu.yml": f"{GNU}worker: [w1, w2]\n"})
    found = proposal.plain("--live", site)
    validator("forecast").validate(found)
    assert found["workers"][0]["mirrors"][0]["size"] == 13 * GIB


def failed(proposal: Proposal, url: str) -> str:
    """Return the line of a plan that has no live facts; it is printed all the same."""
    proposal.commit({"gnu.yml": f"{GNU}retry: 7\n"})
    code, out, err = proposal.run("main..topic", "--live", url)
    assert (code, err) == (1, "")
    assert "      retry: 2 -> 7\n" in out and "Valid. 1 changed" in out
    (line,) = (line for line in out.splitlines() if line.startswith("NOT LIVE: "))
    markdown = proposal.run("main..topic", "--live", url, "--format", "markdown")[1]
    assert line.removeprefix("NOT LIVE: ") in markdown
    return line


def test_a_manager_that_does_not_answer_is_named_and_the_plan_is_printed(proposal: Proposal) -> None:
    line = failed(proposal, "http://127.0.0.1:1")
    assert line.startswith("NOT LIVE: cannot reach the manager at http://127.0.0.1:1: ")
    assert line.endswith(" Check `--live` and that the manager is running.")


ANSWERS = {
    "no JSON": (200, b"<html>"),
    "another JSON": (200, b"[]"),
    "no list": (200, b'{"mirrors": {}, "workers": {}}'),
    "a wrong mirror": (200, b'{"mirrors": [1], "workers": []}'),
    "a wrong size": (200, json.dumps({
        "mirrors": [{"name": "gnu", "copies": [{"worker": "w1", "size": "1", "run": None}]}], "workers": [],
    }).encode()),
    "too many values": (200, b'{"mirrors": [' + b"1," * 3_000_000 + b"1]}"),
    "another place": (302, b""),
}  # fmt: skip


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_server_that_is_not_a_manager_is_named(proposal: Proposal, serve: Serve, kind: str) -> None:
    server = serve(lambda _asked, _number: ANSWERS[kind])
    assert " is not the address of a manager: " in failed(proposal, server.url)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_manager_that_is_busy_or_broken_is_not_called_another_address(
    proposal: Proposal, serve: Serve, status: int
) -> None:
    server = serve(lambda _asked, _number: (status, b"{}"))
    line = failed(proposal, server.url)
    assert line.endswith(f"cannot answer now: HTTP status {status}. Try again later, or plan without `--live`.")


def test_a_mirror_that_is_gone_since_it_was_listed_has_no_history(proposal: Proposal, serve: Serve) -> None:
    listed = {"mirrors": [{"name": "gnu", "copies": [{"worker": "w1", "size": 1024**3, "run": None}]}], "workers": []}
    answers = [(200, json.dumps(listed).encode())] * 2
    server = serve(lambda _asked, number: answers[number] if number < len(answers) else (404, b"{}"))
    proposal.commit({"gnu.yml": None})
    assert "its data (1.00 GiB) stays" in proposal.plan("--live", server.url)


def test_the_answers_of_a_manager_have_a_time_together(
    proposal: Proposal, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_reads, "_ALL", 0.0)
    server = serve(lambda _asked, _number: (200, b"{}"))
    assert "its answers take longer than 0 s" in failed(proposal, server.url)


def test_a_plan_without_live_facts_loads_nothing_of_http(proposal: Proposal) -> None:
    words = ["plan", "main..topic", "--repo", str(proposal.repository.tree)]
    code = f"import sys; from runner.cli import main; sys.exit(main({words}) or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_protected_reads_name_the_setting(proposal: Proposal, serve: Serve) -> None:
    server = serve(lambda _asked, _number: (401, b"{}"))
    assert "Remove `api` from `protected_reads` in its settings" in failed(proposal, server.url)


@pytest.mark.parametrize("url", ["x", "ftp://h/", "https://user:pw@h/", "https://h/?a=1"])
def test_a_wrong_address_is_a_wrong_usage(proposal: Proposal, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        proposal.run("main..topic", "--live", url)
    assert ended.value.code == 2
    assert "pw" not in capsys.readouterr().err


def known(*runs: PastSize, free: int | None = None, policy: str | None = None) -> LiveWorker:
    copies = {("gnu", "w1"): LiveCopy(13 * GIB, runs), ("old", "w2"): LiveCopy(1, (PastSize(NOW, 1.0, 1, free),))}
    facts = LiveFacts(copies, {"w2": ReportedWorker(policy)})
    return live_facts.of_worker("w2", [MirrorForecast("gnu", ADDED, "/srv/mirror/gnu")], facts)


def test_new_data_fits_if_it_still_does_in_90_days() -> None:
    runs = (PastSize(NOW, None, 13 * GIB), PastSize(NOW - 5 * DAY, None, None), PastSize(NOW - 10 * DAY, 1.0, 3 * GIB))
    assert known(*runs, free=200 * GIB) == LiveWorker(None, 200 * GIB, 13 * GIB, 103 * GIB, 0, True)
    assert known(*runs, free=100 * GIB).fits is False
    assert known(runs[0], free=14 * GIB).fits is True
    assert words.live(known(*runs, free=100 * GIB)).endswith("free 100 GiB, IT DOES NOT FIT")


def test_a_mirror_that_shrinks_or_just_began_is_not_expected_to_grow() -> None:
    shrinking = (PastSize(NOW, None, 3 * GIB), PastSize(NOW - 10 * DAY, None, 13 * GIB))
    young = (PastSize(NOW, None, 13 * GIB), PastSize(NOW - HOUR, None, 3 * GIB))
    assert [known(*runs).expected for runs in (shrinking, young, ())] == [13 * GIB] * 3


def test_an_exported_policy_that_is_out_of_date_is_shown() -> None:
    assert words.live(known(policy="outdated")).endswith(", the exported policy in use is outdated")
    assert "policy" not in words.live(known(policy="current"))
