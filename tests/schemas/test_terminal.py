"""Untrusted text reaches a terminal without control characters."""

import logging

import pytest

from runner.base import output as worker
from schemas.terminal import plain
from sitegen import output as manager

BAD = "\x1b[2Jred\x1b[0m \x07 \x9b31m \u202egnp \ud800 \r50%"
SHOWN = r"\x1b[2Jred\x1b[0m \x07 \x9b31m \u202egnp \ud800 \r50%"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (BAD, SHOWN),
        ("a\nb\tc", "a\nb\tc"),
        ("镜像　站\u00a0é 🐧", "镜像　站\u00a0é 🐧"),
        ("one\x0btwo\x0cthree\u2028four", r"one\x0btwo\x0cthree\u2028four"),
        ("", ""),
    ],
)
def test_control_characters_are_escaped_and_the_rest_is_unchanged(text: str, shown: str) -> None:
    assert plain(text) == shown


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.ERROR, "x", 1, message, (), None)


def test_nothing_else_is_printed_by_either_program(capfd: pytest.CaptureFixture[str]) -> None:
    worker.say(BAD)
    worker.log(f"why: {BAD}", about="m")
    manager.result(BAD)
    manager.note(BAD)
    line = manager._LogFormatter("serve").format(record(BAD))
    found = capfd.readouterr()
    assert found.out == f"{SHOWN}\n{SHOWN}\n"
    assert found.err.startswith("INFO m: why: ") and found.err.endswith(f"\n{SHOWN}\n")
    assert "\x1b" not in found.err and "\x1b" not in line
