"""Read the progress of a run from the provider's output, keep it out of the log, and publish it.

rsync's `--info=progress2` overwrites one line with carriage returns; for a command its `progress_pattern` finds the
progress. It is written to a small file in the run directory, which the courier reads, and to a bar on a terminal.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from runner.base.output import bar
from runner.run.logs import SIMPLER, Stuck, Watchdog
from schemas.regular_files import read_regular, replace_regular

EVERY = 1.0
"""Seconds between two updates."""

_LARGEST, _VALUES = 64 * 1024, 100
"""Largest number of bytes and of values in a progress file: other programs could write into the run directory."""

_HELD = 64 * 1024
"""Bytes of a line without an end after which it is written as it is, so that memory stays limited."""

_ENDING = 32 * 1024
"""Bytes at its end that are kept for a reader of whole lines: rsync's own line can follow text that a server sent."""

_RSYNC = (
    rb"\s*([0-9]{1,18}|[0-9]{1,3}(?:,[0-9]{3}){1,5})\s+([0-9]{1,3})%\s+([0-9]{1,6}(?:\.[0-9]+)?)([kMGT]?)B/s"
    rb"\s+[0-9?]{1,18}:[0-9?]{2}:[0-9?]{2}"
    rb"(?:\s+\(xfr#([0-9]{1,18}), (?:ir|to)-chk=[0-9/]+\))?\s*"
)
"""A progress line of rsync. Only figures that fit into a report match. Compiled at its first use, not at import."""

_UNITS = {b"": 1, b"k": 1024, b"M": 1024**2, b"G": 1024**3, b"T": 1024**4}


class Progress(NamedTuple):
    """The progress of a run: percent, bytes, bytes per second, transferred files; None for unknown figures.

    `at` is the time of these figures, in seconds since 1970 UTC.
    """

    at: float
    percent: float | None = None
    bytes: int | None = None
    speed: int | None = None
    files: int | None = None


def _all(lines: bytes) -> bytes:
    return lines


class Watcher:
    """A sink that separates a process's output: progress is published, the rest goes into the log.

    `keep` gets whole lines without progress, and returns those that belong into the log.
    """

    def __init__(
        self, log: int, pattern: str, publish: Callable[[Progress], None], keep: Callable[[bytes], bytes] | None = None
    ) -> None:
        self._log = log
        self._keep = keep or _all
        self._whole_lines = keep is not None
        self._pattern = re.compile(pattern.encode()) if pattern else None
        self._publish = publish
        self._held = b""
        self._current = Progress(0.0)
        self._published = 0.0

    def __call__(self, data: bytes) -> None:
        """Take more output; empty data is its end. Raises OSError if the log cannot be written."""
        if not data:
            self._write(self._keep(_without_progress(self._held)))
            self._held = b""
            return
        lines = (self._held + data).split(b"\n")
        self._held = lines.pop()
        self._write(self._keep(_text_of(lines)))
        self._look([line for line in (*lines, self._held) if self._pattern or b"\r" in line])
        # Other unfinished lines are written at once, so that a prompt or a dot without a line end appears in the log.
        is_needed_whole = self._whole_lines or self._pattern is not None or b"\r" in self._held
        if not is_needed_whole or len(self._held) > _HELD:
            kept = _ENDING if self._whole_lines else 0  # a whole line of rsync, which can follow endless text
            written = len(self._held) - kept
            self._write(self._held[:written])
            self._held = self._held[written:]

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._log, data) :]

    def _look(self, lines: list[bytes]) -> None:
        """Find the newest progress in some lines, and publish it if the last update is old enough."""
        try:
            with Watchdog() if self._pattern else contextlib.nullcontext():
                self._find(lines)
        except Stuck:  # otherwise the run would see neither its time-out nor a stop signal during each match
            self._pattern = None
            self._write(f"skipjack: `progress_pattern` takes too long and is no longer used; {SIMPLER}\n".encode())
        if self._current.at > self._published + EVERY:
            self._published = self._current.at
            self._publish(self._current)

    def _find(self, lines: list[bytes]) -> None:
        for part in reversed(b"\r".join(lines).split(b"\r")):
            if found := self._read(part):
                self._current = found
                break

    def _read(self, part: bytes) -> Progress | None:
        if match := re.fullmatch(_RSYNC, part):
            count, percent, speed, unit, files = match.groups()
            done, rate = int(count.replace(b",", b"")), round(float(speed) * _UNITS[unit])
            known = int(files) if files else self._current.files
            return Progress(time.time(), float(percent), done, rate, known)
        if self._pattern is not None and (match := self._pattern.search(part)):
            return _of_command(match)
        return None


def _of_command(match: re.Match[bytes]) -> Progress | None:
    try:
        return Progress(time.time(), min(100.0, max(0.0, float(match.group(1)))))
    except (IndexError, TypeError, ValueError):
        return None


def _text_of(lines: list[bytes]) -> bytes:
    """Return whole lines without the progress that rsync overwrote."""
    text = b"\n".join([*lines, b""])
    if b"\r" not in text:
        return text
    return b"".join([_without_progress(line + b"\n") if b"\r" in line else line + b"\n" for line in lines])


def _without_progress(line: bytes) -> bytes:
    """Return a line of output without progress; empty if it held nothing else."""
    if b"\r" not in line:
        return line
    parts = line.rstrip(b"\n").split(b"\r")
    kept = b"\r".join([rest for part in parts if part and (rest := _rest(part))])
    return kept + b"\n" if kept.strip() else b""


def _rest(part: bytes) -> bytes:
    """Return the text after the progress in a part of a line: two processes of rsync write into the same line."""
    match = re.match(_RSYNC, part)
    return part[match.end() :] if match else part


class Place:
    """Publishes the progress of one mirror: in a file, and as a bar if standard error is a terminal."""

    def __init__(self, run_dir: str, name: str) -> None:
        self._folder = folder(run_dir)
        self._path = os.path.join(self._folder, name)
        self._name = name
        self._watched = os.isatty(2)

    def publish(self, progress: Progress) -> None:
        """Publish the progress. On a full disk or without the folder the run continues and shows none."""
        if self._watched:
            bar(f"{self._name}: {_words(progress)}")
        try:
            os.makedirs(self._folder, exist_ok=True)
            aside = os.path.join(self._folder, f".{self._name}.new")  # which cannot be the name of a mirror
            replace_regular(self._path, json.dumps(progress._asdict()), aside)
        except OSError:
            return

    def clear(self) -> None:
        """Remove the progress of an ended run. A read-only disk must not keep the run from recording its end."""
        if self._watched:
            bar("")
        with contextlib.suppress(OSError):
            os.unlink(self._path)


def folder(run_dir: str) -> str:
    """Return the folder with the progress files of all mirrors."""
    return os.path.join(run_dir, "progress")


def read_all(run_dir: str) -> dict[str, dict[str, Any]]:
    """Return the progress of all active runs, by mirror."""
    from schemas import json_text  # loaded here, since no run needs it

    found: dict[str, dict[str, Any]] = {}
    path = folder(run_dir)
    names = os.listdir(path) if os.path.isdir(path) else ()
    for name in sorted(name for name in names if not name.startswith(".")):
        try:
            plain = json_text.parse(read_regular(os.path.join(path, name), _LARGEST), _VALUES)
            if isinstance(plain, dict):
                found[name] = {key: value for key, value in plain.items() if _is_accepted(key, value)}
        except (OSError, ValueError):  # the run has just ended, or another program wrote the file
            continue
    return found


def _is_accepted(key: str, value: object) -> bool:
    """Return whether a manager accepts a figure: it rejects a whole delivery for a wrong one."""
    if value is None:
        return key != "at"
    if isinstance(value, bool) or not isinstance(value, (int, float) if key in ("at", "percent") else int):
        return False
    return 0 <= value <= (10**11 if key == "at" else 10**18)


def _words(progress: Progress) -> str:
    from schemas.units import format_size  # loaded here, since only runs on a terminal need it

    words = [] if progress.percent is None else [f"{'#' * round(progress.percent / 5):<20} {progress.percent:3.0f} %"]
    if progress.bytes is not None:
        words.append(format_size(progress.bytes))
    if progress.speed is not None:
        words.append(f"{format_size(progress.speed)}/s")
    if progress.files is not None:
        words.append(f"{progress.files} files")
    return "  ".join(words)
