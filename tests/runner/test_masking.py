"""Texts that the worker stores or shows contain no secrets of addresses."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.base import output
from runner.courier import client
from runner.journal import journal
from runner.journal.command_table import CommandTable
from runner.journal.journal import Ending, Journal, Subject
from runner.overrides import operator_commands, override_store
from runner.plan.plan import Header
from runner.plan.schedule import Rules
from runner.plugin_api import Findings
from runner.run import logs
from runner.tick import next_runs
from schemas.records import Repository, RunnerSettings
from schemas.report import Probe

AT = 1_800_000_000.0
WORDS = "see https://bob:hunter2@wiki.example/x?token=hunter2 and rsync://bob:hunter2@up.example/x/, password=hunter2"
SHOWN = "see https://wiki.example/x?*** and rsync://up.example/x/, password=***"
MIRROR = Subject("debian", "rsync://up.example/x/", True, "a" * 40)


def begun(book: Journal) -> int:
    run = book.begin(None, MIRROR, AT)
    assert run is not None
    return run


def _restart(book: Journal) -> None:
    run = begun(book)
    override_store.request(book, [MIRROR], WORDS, AT, again=True)
    book.end(run, "debian", Ending("interrupted"), AT)


def _wait(book: Journal) -> None:
    book.wait_between_attempts(begun(book), "debian", AT + 9, WORDS, AT)


def _command(book: Journal) -> None:
    text = {"number": 1, "kind": "stop", "mirrors": ["debian"], "note": WORDS, "issued_by": WORDS}
    CommandTable(book).take(client._commands({"commands": [text], "newest": 1}))


STORED: dict[str, Callable[[Journal], object]] = {
    "pause": lambda book: override_store.override(book, [MIRROR], "paused", WORDS, AT, reason=WORDS),
    "disable": lambda book: (begun(book), override_store.override(book, [MIRROR], "disabled", WORDS, AT, reason=WORDS)),
    "start": lambda book: override_store.request(book, [MIRROR], WORDS, AT),
    "restart": _restart,
    "release": lambda book: override_store.release(book, WORDS, AT),
    "end": lambda book: book.end(begun(book), "debian", Ending("failed", WORDS), AT),
    "attempt": _wait,
    "stop": lambda book: book.give_reason_to_stop([MIRROR.name], WORDS) if begun(book) else None,
    "probe": lambda book: book.probed("debian", Probe(AT, problem=WORDS), AT),
    "command": _command,
}


@pytest.mark.parametrize("write", STORED.values(), ids=STORED.keys())
def test_the_journal_keeps_no_secret_of_an_address(tmp_path: Path, write: Callable[[Journal], object]) -> None:
    with journal.opened(str(tmp_path / "journal.db")) as book:
        book.end(begun(book), "debian", Ending("success"), AT)
        write(book)
        told = json.dumps(book.outbox.oldest(100, 10**9)) + repr(book.statuses())
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"hunter2" not in kept and "hunter2" not in told
    assert b"wiki.example" in kept, "the words are there, but for the secrets"


def test_a_reason_that_an_earlier_release_kept_is_shown_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = RunnerSettings("w1", Repository("file:///x"), state_dir=str(tmp_path), run_dir=str(tmp_path / "run"))
    row = next_runs.Row("debian", "paused", "held", AT, f"paused by bob: {WORDS}")
    rules = Rules()
    header = Header("w1", 1, "0123abcd", "0123abcd", "", settings.run_dir)
    monkeypatch.setattr(next_runs, "_look", lambda *_words: ([row], rules, [WORDS], header))

    next_runs.upcoming(settings, as_json=False)
    assert f"paused by bob: {SHOWN}" in capsys.readouterr().out
    next_runs.upcoming(settings, as_json=True)
    shown: Any = json.loads(capsys.readouterr().out)

    assert (shown["mirrors"][0]["why"], shown["problems"]) == (f"paused by bob: {SHOWN}", [SHOWN])


def test_output_has_no_secrets_except_in_texts_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(WORDS)
    output.log(WORDS, about="debian")
    output.say("ExecStart=x https://a.example/#part", has_addresses=False)
    said = capsys.readouterr()
    assert said.out == f"{SHOWN}\nExecStart=x https://a.example/#part\n"
    assert said.err == f"INFO debian: {SHOWN}\n"


def test_a_text_without_addresses_does_not_load_the_module_that_masks() -> None:
    sys.modules.pop("schemas.addresses", None)
    assert output.head("rsync exited with 23: partial transfer", 5) == "rsync"
    assert "schemas.addresses" not in sys.modules


@pytest.mark.parametrize("most", range(1, len(WORDS)))
def test_a_text_is_cut_after_its_secrets_were_found(most: int) -> None:
    assert "hunter" not in output.head(WORDS, most)


def test_a_name_from_the_environment_is_cut_after_its_secrets_were_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "x" * 40 + " https://bob:hunter2@wiki.example/")
    assert "hunter" not in operator_commands.operator_name()


def test_a_log_is_cut_where_no_part_of_an_address_is_left(tmp_path: Path) -> None:
    path = tmp_path / "log"
    line = "x" * 985 + " https://bob:hunter2@up.example/"
    path.write_text("".join(f"{line}\nfetching rsync://bob:hunter2@up.example:{number}/x/\n" for number in range(20)))

    tail = logs.digest(str(path), _Reader(), "").tail

    assert len(tail) <= logs.TAIL_CHARACTERS
    assert tail.splitlines()[0].startswith(("x" * 985, "fetching rsync://"))
    assert not any(each.endswith(("https://bob:hunte", "hunter2")) for each in tail.splitlines())


class _Reader:
    def line(self, _text: str) -> None:
        """Look at nothing."""

    def findings(self) -> Findings:
        return Findings()
