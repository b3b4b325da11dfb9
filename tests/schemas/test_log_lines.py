"""Log lines have one form in all programs, with the journal's priority where the journal reads them."""

import logging
import os
from pathlib import Path

import pytest

from runner.base import output as worker
from schemas import standard_streams
from schemas.standard_streams import ERROR, WARNING
from sitegen import output as manager


def manager_line(message: str) -> str:
    record = logging.LogRecord("x", logging.ERROR, "x", 1, message, (), None)
    return manager._LogFormatter("serve").format(record)


def test_both_programs_log_level_subject_and_message(capfd: pytest.CaptureFixture[str]) -> None:
    worker.log("failed: no route", about="debian", level=ERROR)
    worker.log("attempt 1 of 2", about="debian")
    manager.log("The database is locked.", WARNING)
    assert capfd.readouterr().err.splitlines() == [
        "ERROR debian: failed: no route",
        "INFO debian: attempt 1 of 2",
        "WARNING skipjack-manager: The database is locked.",
    ]
    assert manager_line("no answer") == "ERROR serve: no answer"


def test_each_line_of_a_message_has_its_level_and_subject(capfd: pytest.CaptureFixture[str]) -> None:
    worker.log("one\ntwo", about="follow", level=WARNING)
    assert capfd.readouterr().err == "WARNING follow: one\nWARNING follow: two\n"


def test_a_record_of_the_manager_is_one_line() -> None:
    assert manager_line("one\nINFO serve: forged") == "ERROR serve: one | INFO serve: forged"


def test_the_journal_gets_priorities(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    found = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    worker.log("failed", about="debian", level=ERROR)
    worker.log("begins", about="debian")
    worker.log("of a library's own level", about="debian", level="TRACE")
    assert capfd.readouterr().err == "<3>debian: failed\n<6>debian: begins\n<6>debian: of a library's own level\n"
    assert manager_line("no answer") == "<3>serve: no answer"


def test_a_file_gets_levels_although_the_parent_wrote_to_the_journal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path.stat()
    monkeypatch.setenv("JOURNAL_STREAM", f"{other.st_dev}:{other.st_ino}")
    assert standard_streams.log_lines(ERROR, "debian", "failed") == "ERROR debian: failed\n"
