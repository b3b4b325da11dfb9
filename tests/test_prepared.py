"""A fork of a prepared process behaves like the program itself."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import prepared

SKIPJACK = str(Path(sys.executable).parent / "skipjack")
MANAGER = [sys.executable, "-m", "sitegen"]
SHOWN = [sys.executable, "-m", "tests.test_prepared"]


def main() -> int:
    """What a test starts: end in a way, or print what was given."""
    way = sys.argv[1]
    if way == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif way == "failed":
        raise ValueError("as a bug does")
    elif way == "left":
        sys.exit("with words")
    umask = os.umask(0)
    print(json.dumps([sys.argv[1:], str(Path.cwd()), os.environ["MARK"], umask, sys.stdin.read()]))  # noqa: T201
    return 7


@pytest.fixture(scope="module", autouse=True)
def in_use() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, prepared.in_use():
        patch.setitem(prepared.MODULES, SHOWN[2], SHOWN[2])
        yield


@pytest.mark.parametrize(
    "words",
    [
        [SKIPJACK, "--version"], [SKIPJACK], [SKIPJACK, "next", "--settings", "missing.yml"],
        [SKIPJACK, "validate", "."], [*MANAGER, "--version"], [*MANAGER, "token", "list", "--settings", "missing.yml"],
    ],
    ids=["version", "no words", "no settings", "validate", "version of the manager", "no settings of the manager"],
)  # fmt: skip
def test_our_commands_print_and_end_as_they_do_by_themselves(words: list[str], tmp_path: Path) -> None:
    itself = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    fork = prepared.run(words, timeout=300, cwd=tmp_path)
    assert (fork.returncode, fork.stdout, fork.stderr) == (itself.returncode, itself.stdout, itself.stderr)


def test_it_has_the_words_folder_environment_umask_and_input_that_it_is_given(tmp_path: Path) -> None:
    given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": tmp_path}
    before = os.umask(0o027)
    try:
        with prepared.popen([*SHOWN, "it", "ü"], env={"MARK": "here"}, **given) as process:
            out, _ = process.communicate("typed", timeout=300)
    finally:
        os.umask(before)
    assert (process.returncode, json.loads(out)) == (7, [["it", "ü"], str(tmp_path), "here", 0o027, "typed"])


@pytest.mark.parametrize(("way", "code", "said"), [("killed", -9, ""), ("failed", 1, "bug"), ("left", 1, "with words")])
def test_ends_of_every_kind_are_reported(way: str, code: int, said: str) -> None:
    done = prepared.run([*SHOWN, way], timeout=300)
    assert (done.returncode, said in done.stderr) == (code, True)


def test_many_at_once_end_in_any_order_and_by_signals(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    many = [
        prepared.popen([*SHOWN, str(number)], stdin=pipe, stdout=pipe, text=True, env={"MARK": ""}, cwd=tmp_path)
        for number in range(6)
    ]
    assert [each.poll() for each in many] == [None] * 6
    assert len({each.pid for each in many}) == 6
    many[2].terminate()
    for number in (5, 0, 3, 1, 4):
        out, _ = many[number].communicate("", timeout=300)
        assert (many[number].returncode, json.loads(out)[0]) == (7, [str(number)])
    many[2].communicate(timeout=300)
    assert many[2].returncode == -signal.SIGTERM
