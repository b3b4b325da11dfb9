"""How many files rsync takes away by itself where the upstream has directories in their place."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.journal.last_success import Past
from runner.plugin_api import Command
from runner.providers.deletion_names import Names
from runner.providers.making_way import Way
from runner.subprocesses import pipes, supervisor
from runner.subprocesses.pipes import Pipe, within
from schemas.units import format_size
from tests.cases import crossed
from tests.e2e.parts import REPOSITORY, RsyncDaemon, wait_until

from .journaled_sync import recorded, sync
from .syncing import UNSTOPPED, Site, tree

FILES = 80
ACCEPT = "If that is right, run `skipjack run m --max-delete 100%`"
SHORTEST = len("delete_item(x) mode=10644 flags=16\n")
WITHOUT_DELETE = {"rsync_override": ("-a", "--delay-updates")}
KINDS: list[dict[str, Any]] = [{}, {"provider": "two-stage-rsync"}, WITHOUT_DELETE]
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A mirror of 80 files of 100 bytes, and its first success."""
    module = tmp_path / "upstream"
    for number in range(FILES):
        write(module / "below", number)
    with RsyncDaemon(tmp_path / "daemon", {"files": module}) as daemon:
        made = Site(tmp_path, daemon.url("files/below"))
        assert sync(made).status == "success"
        yield made


def write(root: Path, number: int) -> None:
    folder = root / f"folder-{number % 4}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number:02}").write_text("x" * 100)


def become_folders(site: Site, numbers: range) -> None:
    for number in numbers:
        path = site.upstream / f"folder-{number % 4}/{number:02}"
        path.unlink()
        path.mkdir()
        (path / "in").write_text("y" * 100)


def become_files(site: Site, numbers: range) -> None:
    for number in numbers:
        path = site.upstream / f"folder-{number % 4}/{number:02}"
        if path.is_dir():
            (path / "in").unlink()
            path.rmdir()
            write(site.upstream, number)


def gone(site: Site) -> int:
    there = [path for path in site.directory.glob("folder-*/*") if path.is_file()]
    return FILES - len(there)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rsync go as far ahead as it can, whenever it has printed a name, and before it is ended."""
    take, reap = Way.take, supervisor._reap

    def slowly(way: Way, names: Collection[bytes]) -> None:
        time.sleep(0.05)
        take(way, names)

    def late(*words: int) -> int:
        time.sleep(0.2)
        return reap(*words)

    monkeypatch.setattr(Way, "take", slowly)
    monkeypatch.setattr(supervisor, "_reap", late)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(("limits", "fields"), crossed([(0, 0), (1, 1), ("10%", 8), (9, 9), (40, 40)], KINDS, every=3))
def test_no_more_files_make_way_than_may_go(site: Site, limits: tuple[int | str, int], fields: dict[str, Any]) -> None:
    limit, most = limits
    become_folders(site, range(FILES))
    for _again in range(2):
        refused = sync(site, max_delete=limit, **fields)
        assert refused.status == "refused"
        size = format_size((FILES - gone(site)) * 100)  # that of the ones that are gone is unknown
        assert refused.reason.startswith(f"80 of 80 files ({size}) would make way for directories of the upstream")
        assert refused.reason.endswith(f"; `max_delete: {limit}` allows {most}. {ACCEPT}")
        assert gone(site) <= most
        assert recorded(site).deleted_files == gone(site)

    assert sync(site, "100%", **fields).status == "success"
    assert tree(site.directory).keys() == tree(site.upstream).keys()
    assert sync(site, max_delete=limit, **fields).status == "success"


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (".{:02}.sha256", {}),  # as rsync calls its temporary files
        (".{:02}.sha256", {"provider": "two-stage-rsync"}),
        (".{:02}.sha256", WITHOUT_DELETE),
        (".~tmp~/{:02}", {"rsync_override": ("-a", "--delete-after")}),  # as it calls parts of files with other options
    ],
)
def test_files_that_make_way_count_whatever_they_are_called(tmp_path: Path, name: str, fields: dict[str, Any]) -> None:
    paths = [tmp_path / "upstream/below" / name.format(number) for number in range(FILES)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    with RsyncDaemon(tmp_path / "daemon", {"files": tmp_path / "upstream"}) as daemon:
        site = Site(tmp_path, daemon.url("files/below"))
        assert sync(site, **fields).status == "success"
        for path in paths:
            path.unlink()
            path.mkdir()
        assert sync(site, max_delete="10%", **fields).status == "refused"
    assert sum((site.directory / name.format(number)).is_file() for number in range(FILES)) >= FILES - 8


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("fields", [WITHOUT_DELETE, WITHOUT_DELETE | {"provider": "two-stage-rsync"}])
def test_a_mirror_that_never_deletes_loses_no_more_either(tmp_path: Path, fields: dict[str, Any]) -> None:
    for number in range(FILES):
        write(tmp_path / "upstream/below", number)
    with RsyncDaemon(tmp_path / "daemon", {"files": tmp_path / "upstream"}) as daemon:
        site = Site(tmp_path, daemon.url("files/below"))
        for _twice in range(2):
            assert sync(site, **fields).status == "success"
        become_folders(site, range(FILES))
        assert sync(site, max_delete="10%", **fields).status == "refused"
        assert gone(site) <= 8


@pytest.mark.usefixtures("slow")
def test_files_of_runs_before_the_first_success_are_not_lost_either(tmp_path: Path) -> None:
    for number in range(FILES):
        write(tmp_path / "upstream/below", number)
    with RsyncDaemon(tmp_path / "daemon", {"files": tmp_path / "upstream"}) as daemon:
        site = Site(tmp_path, daemon.url("files/below"))
        assert sync(site, fail_on_match="folder-0").status == "failed"
        assert gone(site) == 0
        become_folders(site, range(FILES))
        for number in range(1000):
            (site.upstream / f"new-{number}").write_text("")
        for _again in range(2):
            assert sync(site, max_delete="10%").status == "refused"
            assert gone(site) <= 8
        assert sync(site, "100%").status == "success"


def test_rsync_waits_when_the_run_was_killed(tmp_path: Path) -> None:
    """A process whose reader is gone must not go on as if its lines were read."""
    lines = "import os\nfor number in range(1000): os.write(1, b'delete_item(x)\\n'); open(f'{number}', 'x').close()"
    code = (
        "import os, sys, time\nfrom runner.subprocesses import supervisor\nfrom runner.subprocesses.pipes import Pipe\n"
        "page = os.sysconf('SC_PAGE_SIZE')\n"
        "def sink(data):\n    print('read', flush=True)\n    time.sleep(1000)\n"
        f"words = [sys.executable, '-c', {lines!r}]\n"
        "pipe = Pipe(page, packets=True, urgent=b'delete_item(')\n"
        "env, stop = {'PATH': os.environ['PATH']}, supervisor.Stop()\n"
        "supervisor.run(words, env, sys.argv[1], 2, (), None, stop, [sink], pipe=pipe)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "read\n"
        writer = int(Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()[0])
        run.kill()
    try:
        wait_until(lambda: "pipe_write" in Path(f"/proc/{writer}/stack").read_text(), "it waits for room")
        assert len(list(tmp_path.iterdir())) < 10
    finally:
        os.kill(writer, signal.SIGKILL)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    ("limit", "count", "listings"),
    [
        pytest.param("10%", 0, 1, id="none"),
        pytest.param("10%", 6, 1, id="few"),
        pytest.param("10%", 8, 3, id="all that may"),
        pytest.param(2, 2, 3, id="two of two"),
        pytest.param(1, 1, 2, id="one of one"),
        pytest.param(0, 0, 2, id="none of none"),
        pytest.param("100%", 79, 1, id="without a limit"),
    ],
)
def test_files_within_the_limits_make_way(site: Site, limit: int | str, count: int, listings: int) -> None:
    become_folders(site, range(count))
    before = site.listings()
    ended = sync(site, max_delete=limit)
    assert (ended.status, ended.reason) == ("success", "")
    assert site.listings() - before == listings
    assert tree(site.directory) == tree(site.upstream)
    assert recorded(site).deleted == (0, 0)
    assert recorded(site).accepted == (80, 8000)


def test_files_that_make_way_in_several_failed_runs_add_up(site: Site) -> None:
    for numbers in (range(3), range(3, 6)):
        become_folders(site, numbers)
        assert sync(site, max_delete=8, fail_on_match="folder-0").status == "failed"
    assert recorded(site).deleted_files == 6
    become_folders(site, range(6, 9))
    refused = sync(site, max_delete=8)
    assert re.match(
        r"9 of 80 files \([123]00 B\) would make way for directories of the upstream, with ", refused.reason
    )
    assert 6 <= gone(site) <= 8


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(("fields", "most"), crossed(KINDS, ["20%", "100%"], every=2))
def test_a_limit_of_bytes_holds_for_all_but_the_two_files_that_go_first(
    site: Site, fields: dict[str, Any], most: str
) -> None:
    become_folders(site, range(8))
    for _again in range(3):
        refused = sync(site, max_delete=most, max_delete_bytes=500, **fields)
        assert refused.status == "refused"
        size = (8 - gone(site)) * 100
        assert refused.reason.startswith(f"8 of 80 files ({size} B) would make way for directories of the upstream, ")
        assert refused.reason.endswith(f"; `max_delete_bytes` allows 500 B. {ACCEPT}")
        assert gone(site) <= 2
    assert sync(site, max_delete=most, max_delete_bytes=800, **fields).status == "success"
    assert tree(site.directory).keys() == tree(site.upstream).keys()
    assert recorded(site).deleted == (0, 0)


def test_the_bytes_of_files_that_went_before_a_trial_are_what_the_upstream_lists_less(site: Site) -> None:
    become_folders(site, range(8))
    for number in range(8):
        (site.upstream / f"folder-{number % 4}/{number:02}/in").write_text("")
    refused = sync(site, max_delete="20%", max_delete_bytes=799)
    assert refused.reason.startswith("8 of 80 files (800 B) would make way for directories of the upstream, with ")
    assert gone(site) <= 2
    assert sync(site, max_delete="20%", max_delete_bytes=800).status == "success"


def test_names_of_a_file_that_keeps_one_lose_no_bytes(site: Site) -> None:
    (site.upstream / "kept").write_text("z" * 10_000)
    for number in range(4):
        os.link(site.upstream / "kept", site.upstream / f"folder-0/name-{number}")
    assert sync(site).status == "success"
    for number in range(4):
        place = site.upstream / f"folder-0/name-{number}"
        place.unlink()
        place.mkdir()
    (site.upstream / "padding").write_text("z" * 40_000)
    assert sync(site, max_delete_bytes=9_999).status == "success"


def test_no_file_of_an_unknown_size_goes_after_a_trial(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(way: Way, command: Command, names: Names) -> Iterator[Command]:
        yield from trial_run(way, command, names)
        become_folders(site, range(4, FILES))

    become_folders(site, range(4))
    trial_run = Way._trial_run
    monkeypatch.setattr(Way, "_trial_run", change)
    for _again in range(3):
        refused = sync(site, max_delete_bytes=10_000)
        assert refused.status == "refused"
        assert "most where rsync put directories in the place of files; `max_delete_bytes` allows " in refused.reason
        assert gone(site) <= 4 + 2
        become_files(site, range(4, FILES))


@pytest.mark.parametrize("may_go", [0, 1, 2, 8, 15, 16, 100, 500, 911, 912, 3000, 20_000, 60_000, 10**7])
def test_a_pipe_holds_few_of_the_files_that_may_go(site: Site, may_go: int) -> None:
    job = site.job(max_delete=may_go)
    job.past = Past(files=10**8, bytes=0)
    made = Way(job)
    assert made.pipe.lines(SHORTEST) <= max(1, may_go // 8)
    assert made._ahead == 2 * made.pipe.lines(SHORTEST)
    assert made._is_narrow == (may_go < 2)


@pytest.mark.parametrize("lines", [1, 2, 3, 64, 100, 116, 117, 3000, 10**6])
def test_no_pipe_holds_more_lines_than_reported(lines: int) -> None:
    pipe = within(lines, SHORTEST, b"")
    source, target = pipes.opened(pipe)
    pieces: list[bytes] = []
    output = pipes.Output(source, pieces.append, pipe)
    os.set_blocking(target, False)
    written = 0
    try:
        while True:
            written += os.write(target, b"x" * (SHORTEST - 1) + b"\n") // SHORTEST
    except BlockingIOError:
        assert 1 <= written <= pipe.lines(SHORTEST) <= lines
    output.read()
    output.hand_on()
    assert b"".join(pieces).count(b"\n") == written
    output.close()
    os.close(target)


def test_a_read_takes_no_more_lines_than_the_pipe_holds_however_fast_others_come() -> None:
    pipe = within(9, SHORTEST, b"x")
    source, target = pipes.opened(pipe)
    pieces: list[bytes] = []
    output = pipes.Output(source, pieces.append, pipe)
    with subprocess.Popen(["yes"], stdout=target) as writer:
        os.close(target)
        for _again in range(1000):
            select.select([source], [], [])
            output.read()
            output.hand_on()
        writer.kill()
    assert len(pieces) == 1000
    assert max(map(len, pieces)) <= 8 * PAGE  # as `yes` writes them, a packet is a full page
    output.close()


def test_a_small_pipe_is_not_read_for_each_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "PAUSE", 100_000.0)
    monkeypatch.setattr(pipes, "_PAUSE_PER_PACKET", 100_000.0)
    pieces: list[bytes] = []
    words = ["sh", "-c", "for number in 1 2 3 4 5 6 7 8; do echo line; sleep 0.01; done"]
    pipe = Pipe(8 * PAGE, packets=True, urgent=b"line")
    exited = supervisor.run(words, os.environ, str(tmp_path), -1, (), None, UNSTOPPED, [pieces.append], pipe=pipe)
    assert exited == supervisor.Exit(0)
    assert b"".join(pieces) == b"line\n" * 8
    assert len(pieces) <= 3, "the first line, the others, the end"


def test_a_pipe_that_the_kernel_did_not_enlarge_is_read_without_a_pause_when_it_is_half_full() -> None:
    pieces: list[bytes] = []
    source, target = pipes.opened(Pipe(2 * PAGE, packets=True))
    output = pipes.Output(source, pieces.append, Pipe(32 * PAGE, packets=True))
    os.write(target, b"line\n")
    output.read()
    assert output.pause == 0
    output.close()
    os.close(target)


def test_pages_are_used_up_before_lines_get_one_each() -> None:
    assert within(10**6, SHORTEST, b"") == Pipe(pipes.MOST)
    assert within(PAGE // SHORTEST, SHORTEST, b"") == Pipe(PAGE)
    assert within(9, SHORTEST, b"") == Pipe(8 * PAGE, packets=True)
    assert within(0, SHORTEST, b"") == Pipe(PAGE, packets=True)


def test_an_urgent_word_counts_that_is_read_in_two_parts() -> None:
    pieces: list[bytes] = []
    source, target = os.pipe()
    output = pipes.Output(source, pieces.append, Pipe(PAGE, packets=False, urgent=b"delete_item("))
    for part in (b"text\nmore delete_", b"it", b"em(x)"):
        assert pieces == []
        os.write(target, part)
        output.read()
    assert pieces == [b"text\nmore delete_item(x)"]
    os.close(source)
    os.close(target)


PRINTS = ["sh", "-c", "for number in 1 2 3 4 5; do echo $number; done; sleep 1000"]


@pytest.mark.parametrize("pipe", [Pipe(), Pipe(4 * PAGE, packets=True)])
def test_a_reader_that_has_enough_ends_the_process_and_gets_the_rest(tmp_path: Path, pipe: Pipe) -> None:
    pieces: list[bytes] = []

    def take(data: bytes) -> None:
        pieces.append(data)
        raise pipes.Enough

    exited = supervisor.run(PRINTS, os.environ, str(tmp_path), -1, (), None, UNSTOPPED, [take], pipe=pipe)
    assert exited == supervisor.Exit(pipes.ENOUGH)
    assert pieces[-1] == b""
    assert b"1\n2\n3\n4\n5\n".startswith(b"".join(pieces))


def test_a_process_that_ends_by_itself_has_its_own_exit_code(tmp_path: Path) -> None:
    def take(_data: bytes) -> None:
        raise pipes.Enough

    words = ["sh", "-c", "exit 3"]
    exited = supervisor.run(words, os.environ, str(tmp_path), -1, (), None, UNSTOPPED, [take])
    assert exited == supervisor.Exit(3)


def test_output_gathers_until_something_urgent_comes(tmp_path: Path) -> None:
    pieces: list[bytes] = []
    words = ["sh", "-c", "echo one; echo two; echo now; sleep 1000"]

    def take(data: bytes) -> None:
        pieces.append(data)
        if b"now" in data:
            raise pipes.Enough

    pipe = Pipe(PAGE, packets=True, urgent=b"now")
    supervisor.run(words, os.environ, str(tmp_path), -1, (), None, UNSTOPPED, [take], pipe=pipe)
    assert b"".join(pieces) == b"one\ntwo\nnow\n"
