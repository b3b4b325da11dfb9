"""Failures of the machine and bugs have different messages."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.error_boundary import guarded
from schemas import ownership
from schemas.errors import SkipjackError
from schemas.failures import in_words, of_the_machine


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many files are open: raise the limit"),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "No more processes or threads can be started"),
        (RuntimeError("can't start new thread"), "cannot start a thread. No more processes or threads"),
        (MemoryError(), "out of memory. There is no memory left"),
        (ImportError("libssl.so.3: cannot open shared object file: Too many open files"), "cannot load a module"),
        (ImportError("Failed to initialize: [Errno 11] Resource temporarily unavailable"), "No more processes"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/x/y"), "/x/y: Not a directory. Check the path"),
        (OSError(errno.ENOSPC, "No space left on device", b"/x\xff"), r"/x\xff: No space left on device. Free some"),
    ],
)  # fmt: skip
def test_failures_of_the_machine_are_described(error: Exception, words: str) -> None:
    assert words in (of_the_machine(error) or "")


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EBADF, "Bad file descriptor"), RuntimeError("x"), KeyError("x"), ImportError("No module named x")],
)
def test_anything_else_is_a_bug(error: Exception) -> None:
    assert of_the_machine(error) is None


def failed(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SkipjackError("cannot read the secret /x: y.", "Check the owner."), "cannot read the secret /x: y. Too many"),
        (ValueError("cannot write the log /x: y"), "cannot write the log /x: y. Too many files are open: raise the l"),
        (SkipjackError("No git.", "Too many files are open: raise the limit (`ulimit -n`, or `LimitNOFILE=` of the"
                       " unit). The plan stays in use."), "The plan stays in use."),
    ],
)  # fmt: skip
def test_advice_about_a_limit_replaces_any_other(error: Exception, words: str) -> None:
    text = in_words(failed(error, OSError(errno.EMFILE, "y", "/x")))
    assert words in text
    assert text.count("raise the limit") == 1
    assert "owner" not in text


def test_other_causes_do_not_change_the_advice() -> None:
    other = OSError(errno.EACCES, "Permission denied", "/x")
    assert in_words(failed(SkipjackError("It failed.", "Do that."), other)) == "It failed. Do that."
    assert in_words(failed(ValueError("It failed"), other)) == "It failed"
    assert in_words(other) == "/x: Permission denied. Check the path, its owner and the free space."


def test_a_file_that_sqlite_cannot_open_is_a_limit_only_at_the_limit(tmp_path: Path) -> None:
    code = f"""
import _sqlite3, os, resource
from schemas.failures import of_the_machine
def advice():
    try:
        _sqlite3.connect({str(tmp_path / "no" / "x")!r}).execute("SELECT 1")
    except _sqlite3.Error as error:
        return of_the_machine(error)
print(advice())
resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
print(advice())
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=env)
    other, at_limit = done.stdout.splitlines()
    assert other == "None"
    assert at_limit.startswith("unable to open database file. Too many files are open: raise the limit")


@pytest.mark.parametrize(("module", "guard"), [("runner.error_boundary", "guarded"), ("sitegen.boundary", "run")])
@pytest.mark.parametrize("limit", ["RLIMIT_NOFILE, (10, 10)", "RLIMIT_NPROC, (0, 0)"])
def test_both_programs_end_with_one_line(module: str, guard: str, limit: str) -> None:
    """Limits on processes do not apply to root, so there the failure is that of a thread."""
    code = f"""
import os, resource, sys, threading
from {module} import {guard}
def work():
    resource.setrlimit(resource.{limit})
    if os.geteuid() == 0:
        os.setgroups([]); os.setgid(12345); os.setuid(12345)
    kept = [os.open("/dev/null", os.O_RDONLY) for _ in range(12)]
    threading.Thread(target=print).start()
    return 0
sys.exit({guard}(work))
"""
    # Under `make coverage` the process would also be measured, and write about the files that it cannot open.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 1, done.stderr
    assert "raise the limit" in done.stderr and done.stderr.count("\n") == 1


def test_too_many_open_files_are_reported_where_the_advice_about_an_owner_fails_by_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SQLite reports a file that it cannot open alike, whether its owner or a limit is the reason."""

    def no_advice(*_words: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "shlex.py")

    def program() -> int:
        raise SkipjackError("cannot read the plan.", "Run `skipjack follow --again`.")

    monkeypatch.setattr(ownership, "denial", no_advice)

    assert guarded(program, "/") == 1
    assert "Too many files are open: raise the limit (`ulimit -n`" in capsys.readouterr().err
