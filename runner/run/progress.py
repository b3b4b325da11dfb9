"""Live progress of a run: read from the provider's output, kept out of the log, shown beside it.

rsync's `--info=progress2` overwrites one line again and again with carriage returns; a command's progress is what its
`progress_pattern` finds. What is known goes to a small file under the run folder, for the courier and whoever looks,
and to a bar when a person is watching.
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
from schemas.regular_files import read_regular, regular

EVERY = 1.0
"""Seconds between two updates."""

_LARGEST, _VALUES = 64 * 1024, 100
"""Bytes and values of a file with the progress of a run at most."""

_HELD = 64 * 1024
"""Bytes of a line without an end that are held back at most."""

_RSYNC = (
    rb"\s*([0-9]{1,18}|[0-9]{1,3}(?:,[0-9]{3}){1,5})\s+([0-9]{1,3})%\s+([0-9]{1,6}(?:\.[0-9]+)?)([kMGT]?)B/s"
    rb"\s+[0-9?]{1,18}:[0-9?]{2}:[0-9?]{2}"
    rb"(?:\s+\(xfr#([0-9]{1,18}), (?:ir|to)-chk=[0-9/]+\))?\s*"
)
"""No figures but those that every reader of a report can take. It is compiled when it is first needed."""

_UNITS = {b"": 1, b"k": 1024, b"M": 1024**2, b"G": 1024**3, b"T": 1024**4}


class Progress(NamedTuple):
    """How far a run is: percent, bytes, bytes a second, files transferred; None for what is not known.

    `at` is when that was so, in seconds since 1970 UTC.
    """

    at: float
    percent: float | None = None
    bytes: int | None = None
    speed: int | None = None
    files: int | None = None


def _all(lines: bytes) -> bytes:
    return lines


class Watcher:
    """Takes a process's output as it comes, writes what belongs into the log there, and publishes the rest.

    `keep` takes whole lines, without progress, and returns those of them that belong into the log.
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
        """Take more output; empty data is its end. Raises OSError when the log cannot be written."""
        if not data:
            self._write(self._keep(_without_progress(self._held)))
            self._held = b""
            return
        lines = (self._held + data).split(b"\n")
        self._held = lines.pop()
        self._write(self._keep(_text_of(lines)))
        self._look([line for line in (*lines, self._held) if self._pattern or b"\r" in line])
        may_tell = self._whole_lines or self._pattern is not None or b"\r" in self._held
        if not may_tell or len(self._held) > _HELD:
            self._write(self._held)
            self._held = b""

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._log, data) :]

    def _look(self, lines: list[bytes]) -> None:
        """Find the newest progress in some lines, and publish it if it is time."""
        try:
            with Watchdog() if self._pattern else contextlib.nullcontext():
                self._find(lines)
        except Stuck:  # on and on, while neither a time-out nor a stop was looked at
            self._pattern = None
            self._write(f"skipjack: `progress_pattern` takes too long and is not used any more; {SIMPLER}\n".encode())
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
    """Whole lines without what rsync overwrote."""
    text = b"\n".join([*lines, b""])
    return text if b"\r" not in text else b"".join(_without_progress(line + b"\n") for line in lines)


def _without_progress(line: bytes) -> bytes:
    """A line of output without the parts that rsync overwrote; empty when nothing else was in it."""
    if b"\r" not in line:
        return line
    parts = line.rstrip(b"\n").split(b"\r")
    kept = b"\r".join(rest for part in parts if (rest := _rest(part)))
    return kept + b"\n" if kept.strip() else b""


def _rest(part: bytes) -> bytes:
    """What stands behind the progress in a part of a line: rsync's two processes take turns within a line."""
    match = re.match(_RSYNC, part)
    return part[match.end() :] if match else part


class Place:
    """Where a mirror's progress is published while it runs: a file, and a bar if a person looks at standard error."""

    def __init__(self, run_dir: str, name: str) -> None:
        self._folder = folder(run_dir)
        self._path = os.path.join(self._folder, name)
        self._name = name
        self._watched = os.isatty(2)

    def publish(self, progress: Progress) -> None:
        """Show it. A full disk or a missing folder hides the progress and stops nothing."""
        if self._watched:
            bar(f"{self._name}: {_words(progress)}")
        try:
            os.makedirs(self._folder, exist_ok=True)
            aside = os.path.join(self._folder, f".{self._name}.new")
            with open(aside, "w", encoding="utf-8", opener=regular) as file:
                json.dump(progress._asdict(), file)
            os.replace(aside, self._path)
        except OSError:
            return

    def clear(self) -> None:
        """Take it away when the run has ended; a disk that takes no change must not hide how."""
        if self._watched:
            bar("")
        with contextlib.suppress(OSError):
            os.unlink(self._path)


def folder(run_dir: str) -> str:
    """Where the progress of all mirrors is published."""
    return os.path.join(run_dir, "progress")


def read_all(run_dir: str) -> dict[str, dict[str, Any]]:
    """The progress of every run under way, by mirror."""
    from schemas import json_text  # which no run needs

    found: dict[str, dict[str, Any]] = {}
    path = folder(run_dir)
    names = os.listdir(path) if os.path.isdir(path) else ()
    for name in sorted(name for name in names if not name.startswith(".")):
        try:
            plain = json_text.parse(read_regular(os.path.join(path, name), _LARGEST), _VALUES)
            if isinstance(plain, dict):
                found[name] = {key: value for key, value in plain.items() if _is_told(key, value)}
        except (OSError, ValueError):  # it has just ended, or something else wrote it
            continue
    return found


def _is_told(key: str, value: object) -> bool:
    """Whether a figure is one that a manager takes: it refuses a whole delivery for a wrong one."""
    if value is None:
        return key != "at"
    if isinstance(value, bool) or not isinstance(value, (int, float) if key in ("at", "percent") else int):
        return False
    return 0 <= value <= (10**11 if key == "at" else 10**18)


def _words(progress: Progress) -> str:
    from schemas.units import format_size

    words = [] if progress.percent is None else [f"{'#' * round(progress.percent / 5):<20} {progress.percent:3.0f} %"]
    if progress.bytes is not None:
        words.append(format_size(progress.bytes))
    if progress.speed is not None:
        words.append(f"{format_size(progress.speed)}/s")
    if progress.files is not None:
        words.append(f"{progress.files} files")
    return "  ".join(words)
