"""The progress of a run is kept out of the log and published in a file."""

import json
import os
from pathlib import Path

import pytest

from runner.courier import delivery
from runner.run import logs, progress
from runner.run.progress import Place, Progress, Watcher
from schemas import report

OUTPUT = (
    b"receiving incremental file list\nf1\n\r         32,768   0%    0.00kB/s    0:00:00  "
    b"\r      3,000,000  25%    4.50MB/s    0:00:00 (xfr#1, to-chk=3/5)\nf2\n"
    b"\r      4310720  35%    3.91MB/s    0:00:01  \r     12000000 100%    3.99MB/s    0:00:02 (xfr#4, ir-chk=0/5)\n"
    b"\nTotal file size: 12000000 bytes\n"
)
LOG = b"receiving incremental file list\nf1\nf2\n\nTotal file size: 12000000 bytes\n"


def watched(tmp_path: Path, chunks: list[bytes], pattern: str = "") -> tuple[bytes, list[Progress]]:
    """Return the log and the progress that result from some output."""
    published: list[Progress] = []
    log = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    watcher = Watcher(log, pattern, published.append)
    for chunk in [*chunks, b""]:
        watcher(chunk)
    os.close(log)
    return (tmp_path / "log").read_bytes(), published


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_the_log_is_the_output_without_progress_however_it_is_cut(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", -1.0)

    log, published = watched(tmp_path, [OUTPUT[at : at + size] for at in range(0, len(OUTPUT), size)])

    assert log == LOG
    assert published[-1]._replace(at=0.0) == Progress(0.0, 100.0, 12_000_000, round(3.99 * 1024**2), 4)


def test_a_line_that_ends_endless_text_reaches_its_reader_wherever_a_read_ends(tmp_path: Path) -> None:
    lines: list[bytes] = []

    def keep(found: bytes) -> bytes:
        lines.append(found)
        return b""

    with (tmp_path / "log").open("wb") as log:
        watcher = Watcher(log.fileno(), "", lambda _progress: None, keep)
        for part in (*[b"x" * 4096] * 40, b"dele", b"te_item(a)\n"):
            watcher(part)
    assert lines[-1].endswith(b"xdelete_item(a)\n")
    assert len(b"".join(lines)) < 64 * 1024


def test_carriage_returns_of_other_programs_stay_in_the_log(tmp_path: Path) -> None:
    text = b"one\rtwo\r\nloading 5%\r"

    assert watched(tmp_path, [text])[0] == b"one\rtwo\nloading 5%\n"


def test_the_progress_of_a_command_is_found_by_its_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", -1.0)

    log, published = watched(tmp_path, [b"at 10% done\n", b"at 55% do", b"ne\nat x% done\n"], "at (\\S+)% done")

    assert log == b"at 10% done\nat 55% done\nat x% done\n"
    assert [each.percent for each in published][-1] == 55.0


def test_progress_is_published_at_intervals_and_not_for_each_line(tmp_path: Path) -> None:
    many = b"".join(b"\r  %d  1%%  1.00kB/s  0:00:01" % number for number in range(1000))

    assert len(watched(tmp_path, [many[at : at + 50] for at in range(0, len(many), 50)])[1]) <= 2


def test_progress_is_in_a_file_while_the_run_is_active(tmp_path: Path) -> None:
    place = Place(str(tmp_path), "debian")
    place.publish(Progress(5.0, 50.0, 10, 2, 1))
    assert progress.read_all(str(tmp_path)) == {
        "debian": {"at": 5.0, "percent": 50.0, "bytes": 10, "speed": 2, "files": 1}
    }
    (tmp_path / "progress" / "torn").write_text("{")
    (tmp_path / "progress" / "deep").write_text("[" * 60_000)
    (tmp_path / "progress" / "wide").write_text(json.dumps({"at": [[]] * 1000}))
    (tmp_path / "progress" / "large").write_text(json.dumps({"at": "x" * 10**6}))
    assert list(progress.read_all(str(tmp_path))) == ["debian"]

    wrong = {"at": 7, "percent": "50", "bytes": -1, "speed": 2**70, "files": 1.5, "more": []}
    (tmp_path / "progress" / "debian").write_text(json.dumps(wrong))
    assert progress.read_all(str(tmp_path)) == {"debian": {"at": 7}}

    place.clear()

    assert progress.read_all(str(tmp_path)) == {}
    assert progress.read_all(str(tmp_path / "none")) == {}


def test_a_run_continues_if_its_progress_cannot_be_published(tmp_path: Path) -> None:
    (tmp_path / "progress").write_text("in the way")

    Place(str(tmp_path), "debian").publish(Progress(5.0))

    assert json.dumps(progress.read_all(str(tmp_path))) == "{}"


def test_the_courier_reports_valid_progress_of_active_runs_only(tmp_path: Path) -> None:
    for name in ("debian", "killed"):
        Place(str(tmp_path), name).publish(Progress(5.0, 50.0))
    path = tmp_path / "progress" / "debian"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"of_a_newer_version": 1}))
    (tmp_path / "progress" / "odd").write_text("[]")

    assert delivery._progress(str(tmp_path), {"debian", "odd", "other"}) == (report.RunProgress("debian", 5.0, 50.0),)


@pytest.mark.parametrize(
    "figures",
    ["1 1% 1.2.3kB/s", ",,, 1% 1kB/s", f"{'9' * 5000} 1% 1kB/s", f"1 1% {'9' * 400}TB/s", f"{'9' * 19} 1% 1kB/s"],
)
def test_figures_that_do_not_fit_into_a_report_are_not_progress(
    tmp_path: Path, figures: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", -1.0)
    text = f"{figures} 0:00:00\n".encode()

    assert watched(tmp_path, [b"\r" + text, text], "(never)") == (text * 2, [Progress(0.0)] * 2)


def test_a_pattern_that_never_ends_is_dropped_and_the_run_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LINE_SECONDS", 0.1)
    stuck = b"a" * 29 + b"!"

    log, published = watched(tmp_path, [stuck, b"\nat 5%\n"], "^(a+)+$|at (5)%")

    assert log.startswith(b"skipjack: `progress_pattern` takes too long")
    assert log.endswith(b"\n" + stuck + b"\nat 5%\n")
    assert not published


def test_mirrors_whose_names_end_alike_have_separate_files(tmp_path: Path) -> None:
    for name in ("a", "a.new"):
        Place(str(tmp_path), name).publish(Progress(1.0, percent=5.0))

    assert sorted(progress.read_all(str(tmp_path))) == ["a", "a.new"]


def test_a_run_ends_if_its_progress_cannot_be_removed(tmp_path: Path) -> None:
    (tmp_path / "progress/a").mkdir(parents=True)

    Place(str(tmp_path), "a").clear()
