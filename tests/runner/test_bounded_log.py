"""The size of an attempt's log is limited: its beginning and its end stay, and a line marks the cut."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.hooks import log_keeper
from runner.providers import rsync
from runner.run.bounded_log import LEAST, BoundedLog
from runner.subprocesses import supervisor
from schemas.regular_files import regular_itself
from tests.e2e.parts import RsyncDaemon

from .syncing import Site

MARK = re.compile(r"\nskipjack: the log was larger than (\d+) bytes; (\d{20}) bytes were cut here\n")


def test_head_tail_and_the_number_of_cut_bytes_stay(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    bounded, written, largest = BoundedLog(str(path), 2 * LEAST), 0, 0
    for number in range(50_000):
        written += os.write(log, f"line {number}\n".encode())
        bounded.trim(log)
        largest = max(largest, path.stat().st_size)
    os.close(log)
    text = path.read_text()
    (mark,) = MARK.finditer(text)
    assert largest <= 2 * LEAST
    assert text.startswith("line 0\nline 1\n") and text.endswith("\nline 49998\nline 49999\n")
    assert mark.start() == LEAST and text[mark.end() :].startswith("line ")
    assert (int(mark[1]), int(mark[2])) == (2 * LEAST, written - len(text) + len(mark[0]))
    tail = [int(line.split()[1]) for line in text[mark.end() :].splitlines()]
    assert tail == list(range(tail[0], 50_000))


def test_a_small_log_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("ab") as file:
        file.write(b"x" * LEAST)
        file.flush()
        BoundedLog(str(path), 1).trim(file.fileno())
    assert path.read_bytes() == b"x" * LEAST


@pytest.mark.parametrize("pattern", ["", "([0-9]+)%"], ids=["plain", "with progress"])
def test_a_command_with_much_output_leaves_a_bounded_log(tmp_path: Path, pattern: str) -> None:
    site = Site(tmp_path, "")
    command = "sh -c 'echo first; yes | head -c 3000000; echo fatal: last; exit 4'"
    ending = site.sync(provider="command", command=command, log_max_size=100_000, progress_pattern=pattern)
    text = site.log.read_text()
    assert len(text) < 110_000 and len(MARK.findall(text)) == 1
    assert text.startswith("first\ny\n") and "\ny\nfatal: last\n" in text
    assert ending.reason == "the command exited with 4. The log says: fatal: last"


def test_a_log_is_bounded_while_its_command_writes_to_it_directly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "CHORES_EVERY", 0.05)
    script = tmp_path / "sync"
    script.write_text(
        "#!/bin/sh\nexec >>$SKIPJACK_LOG_FILE 2>&1\necho first; yes | head -c 3000000\n"
        "for i in $(seq 1200); do [ $(stat -c %s $SKIPJACK_LOG_FILE) -lt 110000 ] && exec echo last; sleep 0.1; done\n"
        "exit 1\n"
    )
    script.chmod(0o755)
    site = Site(tmp_path, "")
    assert site.sync(provider="command", command=str(script), log_max_size=100_000).status == "success"
    text = site.log.read_text()
    assert text.startswith("first\ny\n") and text.endswith("\ny\nlast\n") and len(MARK.findall(text)) == 1


@pytest.mark.parametrize("code", [0, 4])
@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("ln -s {victim} $SKIPJACK_LOG_FILE", "it is a symbolic link"),
        ("mkfifo $SKIPJACK_LOG_FILE", "it is a named pipe"),
        ("mkdir $SKIPJACK_LOG_FILE", "it is a directory"),
        (":", "No such file or directory"),
    ],
)
def test_a_log_that_its_command_replaces_makes_the_attempt_fail_and_no_other_file_is_touched(
    tmp_path: Path, does: str, why: str, code: int
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("ERROR: private\n")
    script = f"rm $SKIPJACK_LOG_FILE; {does.format(victim=victim)}; exit {code}"
    site = Site(tmp_path, "")
    job = site.job(provider="command", command=f"sh -c '{script}'", retry=2, retry_delay=0)
    ending = site.run(job, hooks=(log_keeper,))

    log = job.log_file.removesuffix(".fail")
    todo = "Let the command write to the log, and not replace it."
    assert ending.reason == f"cannot read the attempt's log {log}: {why}. {todo}"
    assert (ending.status, ending.attempts, ending.exit_code) == ("failed", 2, code)
    assert victim.read_text() == "ERROR: private\n"
    assert "private" not in f"{ending}"


def test_a_log_is_never_written_through_a_link(tmp_path: Path) -> None:
    site = Site(tmp_path, "")
    victim = tmp_path / "victim"
    victim.write_text("")
    site.log.symlink_to(victim)
    job = site.job()
    job.note("a line")
    assert victim.read_text() == ""
    with pytest.raises(OSError, match="it is a symbolic link"):
        regular_itself(site.log, os.O_RDONLY)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Site]:
    """Sync a mirror whose upstream then loses `old` and has a folder that its daemon cannot read."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as at_end:  # a tmp_path lets only its owner in
        upstream = Path(folder)
        upstream.chmod(0o755)
        for path in ("old", "kept", "closed/file"):
            (upstream / path).parent.mkdir(exist_ok=True)
            (upstream / path).write_text(path)
        with RsyncDaemon(tmp_path / "daemon", {"files": upstream}, uid=65534) as daemon:
            site = Site(tmp_path, daemon.url("files"))
            assert site.sync().status == "success"
            (upstream / "old").unlink()
            (upstream / "closed").chmod(0)
            at_end.callback((upstream / "closed").chmod, 0o755)
            yield site


@pytest.mark.parametrize("provider", ["rsync", "two-stage-rsync"])
@pytest.mark.parametrize("limit", ["50%", "100%"])
def test_rsync_itself_exits_with_23_and_the_success_says_that_deletions_were_skipped(
    closed: Site, provider: str, limit: str
) -> None:
    ending = closed.sync(provider=provider, rsync_success_exit_codes=(23,), max_delete=limit)
    assert (ending.status, ending.reason, ending.exit_code) == ("success", "", 23)
    assert "deletions were skipped: rsync could not read or write everything" in ending.log_tail
    assert {path.name for path in closed.directory.iterdir()} == {"old", "kept", "closed"}


def test_rsync_itself_exits_with_23_which_fails_a_run_that_does_not_accept_it(closed: Site) -> None:
    ending = closed.sync()
    assert (ending.status, ending.exit_code) == ("failed", 23)
    assert "Permission denied" in ending.reason


def test_a_success_says_that_deletions_were_skipped(tmp_path: Path) -> None:
    """rsync deletes nothing if the upstream cannot read a folder; here a program prints that message."""
    site = Site(tmp_path, "")
    program = tmp_path / "rsync"
    program.write_text("#!/bin/sh\necho 'IO error encountered -- skipping file deletion'\nexit 23\n")
    program.chmod(0o755)
    ending = site.sync(command=str(program), rsync_success_exit_codes=(23,), max_delete="100%")
    assert (ending.status, ending.reason) == ("success", "")
    assert "deletions were skipped: rsync could not read or write everything" in ending.log_tail
    assert rsync.reader(site.job()).findings().remark == ""
