"""Other installations on this machine: the settings files that their units and cron lines name.

Unit and cron files have fixed names, so installing for a second settings file would replace the first worker's.
"""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from runner.install.setup import MANAGER, Setup
from schemas.config.settings import load_manager, load_runner
from schemas.errors import SkipjackError
from schemas.regular_files import read_regular

CRON_FILE = "/etc/cron.d/skipjack"
"""The file for the cron lines of a worker."""

SYSTEM_UNITS = "/etc/systemd/system"
_WORKER = "skipjack-follow.service"

_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')


class Other(NamedTuple):
    """An installation: the file that starts its programs, and its settings file."""

    file: str
    settings: str


def check_file(setup: Setup, file: str) -> None:
    """Raise SkipjackError if `file`, a unit or cron file, is for another settings file."""
    for other in _installed(setup):
        if other.file == file:
            what = f"{file} belongs to the {setup.kind} with the settings {other.settings}."
            raise SkipjackError(what, _remedy(setup, other))


def check_folders(setup: Setup) -> None:
    """Raise SkipjackError if another installation has the same `state_dir` or `run_dir`."""
    for other in _installed(setup):
        for key, path in _shared(setup, other).items():
            what = f"the {setup.kind} with the settings {other.settings} ({other.file}) has the same `{key}`, {path}."
            raise SkipjackError(what, f"Set another `{key}` in {setup.settings}.")


def of_workers() -> list[str]:
    """Return the settings files of the workers whose units or cron lines are visible on this machine."""
    own = os.path.expanduser("~/.config/systemd/user")
    units = [os.path.join(folder, _WORKER) for folder in (SYSTEM_UNITS, own)]
    found = [*(each for path in units for each in _of_unit(path)), *_of_cron()]
    return list(dict.fromkeys(each.settings for each in found))


def unit_file(setup: Setup) -> str:
    """Return the path of the unit that names the settings file."""
    return os.path.join(setup.units, _unit(setup))


def _unit(setup: Setup) -> str:
    return "skipjack-manager.service" if setup.kind == MANAGER else _WORKER


def _remedy(setup: Setup, other: Other) -> str:
    if other.file == CRON_FILE:
        own = shlex.join(["skipjack", "install", "--cron", "--user", "--settings", setup.settings])
        return f"Remove that file first, or put the lines that `{own}` prints into the crontab of the other user."
    words = ["skipjack", "uninstall", *["--manager"] * (setup.kind == MANAGER), *["--user"] * setup.own]
    remove = shlex.join([*words, "--settings", other.settings])
    return f"A machine can have units for one {setup.kind}, and for one of each user (`--user`). First run `{remove}`."


def _installed(setup: Setup) -> Iterator[Other]:
    """Yield the visible installations of this kind, except one whose settings file is gone: the file was moved."""
    for found in _found(setup):
        if not _is_same(found.settings, setup.settings) and os.path.exists(found.settings):
            yield found


def _found(setup: Setup) -> Iterator[Other]:
    # Also those of the system: a user's own units would share the folders of a worker of the system.
    for folder in dict.fromkeys((setup.units, SYSTEM_UNITS)):
        yield from _of_unit(os.path.join(folder, _unit(setup)))
    if setup.kind != MANAGER:
        yield from _of_cron()


def _of_unit(path: str) -> Iterator[Other]:
    for line in _lines(path):
        yield from _named(path, _unit_words(line) if line.startswith("ExecStart=") else [])


def _of_cron() -> Iterator[Other]:
    for line in _lines(CRON_FILE):
        yield from _named(CRON_FILE, _cron_words(line))


def _named(file: str, words: list[str]) -> Iterator[Other]:
    if "--settings" in words[:-1]:
        yield Other(file, words[words.index("--settings") + 1])


def _lines(path: str) -> list[str]:
    try:
        return read_regular(path).decode().splitlines()
    except (OSError, UnicodeDecodeError):  # there is no such file
        return []


def _unit_words(line: str) -> list[str]:
    """Return the words of a command line as `render` writes it."""
    words = [re.sub(r"\\(.)", r"\1", word[1:-1]) if word[0] == '"' else word for word in _WORD.findall(line)]
    return [word.replace("$$", "$").replace("%%", "%") for word in words]


def _cron_words(line: str) -> list[str]:
    try:
        return shlex.split(line.replace(r"\%", "%"), comments=True)
    except ValueError:  # an open quote, which `install` never prints
        return []


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _shared(setup: Setup, other: Other) -> dict[str, str]:
    """Return the folders that both use, by key; none if the other settings cannot be read."""
    try:
        path = Path(other.settings)
        settings = load_manager(path) if setup.kind == MANAGER else load_runner(path)
    except (SkipjackError, OSError):
        return {}
    pairs = (
        ("state_dir", setup.state_dir, settings.state_dir),
        ("run_dir", setup.run_dir, settings.run_dir),
    )
    return {key: ours for key, ours, theirs in pairs if _is_same(ours, theirs)}
