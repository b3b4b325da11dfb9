"""A named pipe in the place of a file stops no program, which would wait for its other end for ever."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.base import next_wake, start_requests
from runner.base.state_dir import StateLayout
from runner.hooks import container_end
from runner.importing import toml_source, writing
from runner.plugin_api import Findings
from runner.run import logs, progress
from runner.subprocesses import spawn, unit_health, units
from schemas.errors import SkipjackError
from schemas.git.checkout import is_shallow
from schemas.regular_files import regular
from sitegen.storage.lost_database import _SERVER_MARK, ServerMark

DETACHED = [sys.executable, "-c", "import sys; sys.stderr.write('said')"]


def test_programs_are_started_and_their_messages_are_kept_in_a_new_file(tmp_path: Path) -> None:
    log = tmp_path / "messages.log"
    os.mkfifo(log)

    spawn.detach(DETACHED, str(log))
    for pid in tuple(spawn._detached):
        os.waitpid(pid, 0)

    assert log.read_text() == "said"
    assert (tmp_path / "messages.log.old").is_fifo(), "put aside, not removed"


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC])
def test_only_a_regular_file_is_opened(tmp_path: Path, flags: int) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, why in ((pipe, "named pipe"), (Path("/dev/null"), "device")):
        with pytest.raises(OSError, match=why):
            regular(path, flags)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError, match="it is a named pipe"):
        regular(pipe, flags)
    os.close(reader)


def write_by_import(folder: Path) -> None:
    writing._write(str(folder / "m.yml"), "x", 0o644)


CASES: list[tuple[str, Callable[[Path], object], type[Exception] | None]] = [
    ("next", lambda folder: next_wake.read(str(folder / "next"), "", 0.0), None),
    ("next.new", lambda folder: next_wake.write(str(folder / "next"), "", 0.0, 1.0, []), None),
    ("wishes/tick", lambda folder: start_requests.leave(StateLayout(str(folder)), "tick"), OSError),
    ("run/progress/debian", lambda folder: progress.read_all(str(folder / "run")), None),
    ("marker", lambda folder: container_end.read_marker(str(folder / "marker")), OSError),
    ("x.log", lambda folder: logs.digest(str(folder / "x.log"), NoReader(), ""), OSError),
    ("worker.conf", lambda folder: toml_source.read(str(folder / "worker.conf")), SkipjackError),
    (".m.yml.new", write_by_import, OSError),
    ("shallow", is_shallow, None),
    ("units", lambda folder: unit_health.remembered(StateLayout(str(folder))), None),
    (_SERVER_MARK, lambda folder: ServerMark(str(folder), "x").require_new(), None),
    (_SERVER_MARK, lambda folder: ServerMark(str(folder), "x").leave(), None),
    ("unit", lambda folder: units._content(str(folder / "unit")), OSError),
]


class NoReader:
    """Finds nothing."""

    def line(self, text: str) -> None:
        raise AssertionError(text)

    def findings(self) -> Findings:
        return Findings()


@pytest.mark.parametrize(("name", "use", "error"), CASES, ids=[name for name, _use, _error in CASES])
def test_no_program_waits_for_the_other_end_of_a_pipe(
    tmp_path: Path, name: str, use: Callable[[Path], object], error: type[Exception] | None
) -> None:
    place = tmp_path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(place)
    if error is None:
        use(tmp_path)
    else:
        with pytest.raises(error):
            use(tmp_path)
