"""The plan: what this worker must do, from the newest valid configuration, as one read-only SQLite file.

`follow` writes a new file and renames it. `tick` reads a few columns, `run` a single row; neither parses YAML.
"""

import _sqlite3 as sqlite3  # without dates and times, which each run and tick would load
import errno
import functools
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from runner.base.output import log
from schemas import sqlite_database
from schemas.errors import SkipjackError
from schemas.standard_streams import WARNING

if TYPE_CHECKING:  # most ticks decode no definition
    from runner.base.mirror_paths import Paths
    from schemas.mirror_record import Mirror, SyncWindows
    from schemas.plugins import Plugin

FORMAT = 8

FORMER = (7,)
"""Formats of earlier releases that differ in nothing but missing facts of the header."""

Stamp = tuple[int, int, int]
"""Identifies the file of a plan: its device, its inode and its modification time."""

PlanProblem = tuple[str | None, str, str, str]
"""A problem in the plan: its mirror or None, the place, what is wrong, what to do."""

# The columns before `due_sum` are for ticks, which decode no definitions. Every tick asks for renamed mirrors, and few
# are: hence the index.
_SCHEMA = """
CREATE TABLE header (content TEXT NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE mirror (
    name TEXT PRIMARY KEY,
    interval INTEGER NOT NULL,
    cron TEXT NOT NULL,
    since REAL NOT NULL,
    jitter INTEGER NOT NULL,
    after TEXT NOT NULL,
    sync_windows TEXT NOT NULL,
    backoff_limit INTEGER,
    retry_after_failure INTEGER NOT NULL,
    due_sum INTEGER NOT NULL,
    formerly TEXT NOT NULL,
    revision TEXT NOT NULL,
    paths TEXT NOT NULL,
    definition TEXT NOT NULL,
    sum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX renamed ON mirror (name, formerly) WHERE formerly <> '';
"""


_NEVER: Mapping[str, float] = {}


class Pin(NamedTuple):
    """An operator's order to keep an earlier revision in force; times are in seconds since 1970 UTC."""

    commit: str
    until: float
    made_at: float
    made_by: str
    reason: str = ""


class Header(NamedTuple):
    """The facts about the worker as a whole.

    - `revision`: the commit in force; `seen`: the newest one that was fetched, which differs if it was rejected, or if
      the worker is pinned.
    - `pin`: the pin, None if there is none. `base`: the newest commit that was in force, which the history must
      contain; empty if it is `revision`.
    - `fingerprint`: everything else that the plan depends on.
    - `problems`: (mirror or None, place, what, todo).
    - `volumes`, `pattern_files`, `home`, `roots`, `env`, `judged`, `passwords`: facts from the policy for runs; see
      `Machine`.
    - `unmoved`: mirrors whose files must still be moved from the directory of a previous name.
    - `held`: the settings keep runs from starting; see `runner/overrides/hold.py`.
    - `programs`: the programs that the policy allows, None if it allows any.
    - `policy`: the digest of the exported policy, see `schemas/config/exported_policy.py`; empty in an earlier plan.
    - `plugins`: the plug-ins that the mirrors use. `broken`: those that their mirrors cannot use because their trial
      failed, with the reason.
    - `signer`, `signing_key`: who signed the revision in force, and the key's fingerprint; empty if nobody verified it.
    """

    worker: str
    slots: int
    revision: str | None
    seen: str | None
    fingerprint: str
    run_dir: str
    container_program: str = "docker"
    cgroup: str | None = None
    time_zone: str = "UTC"
    sync_windows: "SyncWindows | None" = None
    volumes: tuple[str, ...] = ()
    pattern_files: tuple[str, ...] = ()
    home: str = ""
    roots: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    problems: tuple[PlanProblem, ...] = ()
    unmoved: tuple[str, ...] = ()
    held: bool = False
    judged: bool = False
    passwords: tuple[Any, ...] | None = None
    programs: tuple[str, ...] | None = None
    plugins: tuple["Plugin", ...] = ()
    broken: tuple[tuple["Plugin", str], ...] = ()
    policy: str = ""
    signer: str = ""
    signing_key: str = ""
    pin: Pin | None = None
    base: str = ""


class Planned(NamedTuple):
    """One mirror of the plan; `revision` is the commit of its definition."""

    mirror: "Mirror"
    paths: "Paths"
    revision: str


class Due(NamedTuple):
    """The columns of a mirror for a tick, named after its keys; durations are in seconds.

    `since` is when this worker first had its current `cron`, in seconds since 1970 UTC.
    """

    name: str
    interval: int
    cron: str = ""
    jitter: int = 0
    after: tuple[str, ...] = ()
    sync_windows: "SyncWindows | None" = None
    backoff_limit: int | None = None
    retry_after_failure: int = 0
    since: float = 0.0


def due(mirror: "Mirror") -> Due:
    """Return the part of a definition that a tick needs."""
    return Due(**{key: getattr(mirror, key) for key in Due._fields if key != "since"})


def write(path: str, header: Header, mirrors: list[Planned], since: Mapping[str, float] = _NEVER) -> None:
    """Replace the plan; a reader sees the old one or the new one, never a part.

    `since` is by mirror when it got its current `cron`.
    """
    aside = f"{path}.new"
    for place in (aside, path):
        _require_place(place)
    try:
        _write(aside, header, [_row(each, since.get(each.mirror.name, 0.0)) for each in mirrors])
    except sqlite3.DatabaseError as error:
        what = f"cannot write the plan {path}: {error}."
        raise SkipjackError(what, "Check whether the disk is full or read-only; the plan was not changed.") from error
    sqlite_database.replace(aside, path)


def _require_place(path: str) -> None:
    """Move away a directory that is in the place of a file."""
    if os.path.isdir(path) and not os.path.islink(path):
        instead = f"{path}.directory-{time.time_ns()}"
        os.rename(path, instead)
        log(f"the directory {path} was in the place of a file; it is now {instead}", about="follow", level=WARNING)


def _write(aside: str, header: Header, rows: list[tuple[object, ...]]) -> None:
    if os.path.lexists(aside):
        os.unlink(aside)  # left by a follow that was killed
    connection = sqlite_database.connect(aside, "mode=rwc")
    try:
        connection.execute("PRAGMA journal_mode=OFF")  # no reader sees the file before it is renamed
        connection.execute("PRAGMA synchronous=OFF")  # it is synced once, when it is complete
        connection.execute(f"PRAGMA user_version={FORMAT:d}")
        connection.executescript("BEGIN;" + _SCHEMA)
        connection.execute("INSERT INTO header VALUES (?, ?)", _summed((json.dumps(header._asdict()),)))
        connection.executemany("INSERT INTO mirror VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    finally:
        connection.close()


def _row(planned: Planned, since: float) -> tuple[object, ...]:
    from schemas.serialization import encode_mirror

    mirror = planned.mirror
    windows = json.dumps(mirror.sync_windows) if mirror.sync_windows else ""
    for_tick = (
        # A float, as SQLite returns it: the checksum is one of its text.
        mirror.name, mirror.interval, mirror.cron, float(since), mirror.jitter,
        " ".join(mirror.after), windows, mirror.backoff_limit,
        mirror.retry_after_failure,
    )  # fmt: skip
    for_run = (planned.revision, json.dumps(planned.paths), encode_mirror(mirror))
    formerly = " ".join(mirror.formerly)
    return (*for_tick, _sum(for_tick), formerly, *for_run, _sum((mirror.name, formerly, *for_run)))


def _sum(values: tuple[object, ...]) -> int:
    """Return a checksum of values: SQLite has none, and one changed letter could lead into another directory."""
    return crc32(repr(values).encode())


def _summed(values: tuple[object, ...]) -> tuple[object, ...]:
    return (*values, _sum(values))


def _sound(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values of a row without the checksum at its end; DatabaseError if that does not match."""
    if _sum(values[:-1]) != values[-1]:
        raise sqlite3.DatabaseError(f"a row of it was altered ({str(values[0])[:40]!r})")
    return values[:-1]


# Thousands of mirrors share a few windows, and each tick reads them all.
@functools.lru_cache(maxsize=1024)
def _windows(text: str) -> "SyncWindows | None":
    return _as_windows(json.loads(text)) if text else None


def _as_windows(plain: list[Any] | None) -> "SyncWindows | None":
    if not plain:
        return None
    from schemas.mirror_record import SyncWindows

    return SyncWindows(tuple(plain[0]), tuple(plain[1]), plain[2])


_DUE = (
    "name", "interval", "cron", "since", "jitter", "after", "sync_windows", "backoff_limit", "retry_after_failure",
)  # fmt: skip
_PLANNED = "SELECT name, formerly, revision, paths, definition, sum FROM mirror"


def _planned(row: tuple[Any, ...]) -> Planned:
    from runner.base.mirror_paths import Paths
    from schemas.serialization import decode_mirror

    name, _formerly, revision, paths, definition = _sound(row)
    with _decoding(f"the definition of {name}"):
        return Planned(decode_mirror(definition), Paths(*json.loads(paths)), revision)


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """Report a value that cannot be decoded as damage, even if its checksum matches."""
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"{what} is damaged ({type(error).__name__})") from error


class Plan:
    """An open plan. `stamp` identifies its file, see `stamp_of`."""

    def __init__(self, connection: sqlite3.Connection, stamp: Stamp) -> None:
        self._connection = connection
        self.stamp = stamp
        row = connection.execute("SELECT content, sum FROM header").fetchone()
        if row is None:
            raise sqlite3.DatabaseError("it has no header")
        with _decoding("its header"):
            self.header = _decode_header(_sound(row)[0])

    def due(self) -> list[Due]:
        """Return all mirrors, with the columns for a tick."""
        query = f"SELECT {', '.join(_DUE)}, due_sum FROM mirror"  # noqa: S608 - own columns
        rows = map(_sound, self._connection.execute(query))
        with _decoding("a schedule"):
            return [
                Due(name, interval, cron, jitter, tuple(after.split()), _windows(windows), limit, retry_after, since)
                for name, interval, cron, since, jitter, after, windows, limit, retry_after in rows
            ]

    def mirror(self, name: str) -> Planned | None:
        """Return a mirror; None if this worker does not have it."""
        row = self._connection.execute(f"{_PLANNED} WHERE name = ?", (name,)).fetchone()
        return _planned(row) if row else None

    def has(self, name: str) -> bool:
        """Return whether this worker has a mirror of that name."""
        return self._connection.execute("SELECT 1 FROM mirror WHERE name = ?", (name,)).fetchone() is not None

    def missing(self, name: str) -> SkipjackError:
        """Return the error that this worker does not have a mirror, with the reason if follow found its problem."""
        what = f"this worker ({self.header.worker}) has no mirror `{name}`"
        for mirror, place, why, todo in self.header.problems:
            if mirror == name:
                return SkipjackError(f"{what}: {place}: {why}", todo)
        return SkipjackError(f"{what}.", "`skipjack next` lists its mirrors.")

    def renamed(self) -> list[Planned]:
        """Return the mirrors with previous names, without those names that another mirror has now."""
        query = "SELECT name, formerly FROM mirror WHERE formerly <> ''"
        found = [(self.mirror(name), names.split()) for name, names in self._connection.execute(query).fetchall()]
        return [
            planned._replace(mirror=planned.mirror._replace(formerly=tuple(free)))
            for planned, formerly in found
            if planned is not None and (free := [name for name in formerly if self.mirror(name) is None])
        ]

    def limited(self) -> list[Planned]:
        """Return the mirrors with a `memory_limit`, sorted by name."""
        chosen = "WHERE json_extract(definition, '$.memory_limit') IS NOT NULL"
        return [_planned(row) for row in self._connection.execute(f"{_PLANNED} {chosen} ORDER BY name")]

    def check(self) -> None:
        """Read all rows without decoding them; DatabaseError if one was altered."""
        for query in (f"SELECT {', '.join(_DUE)}, due_sum FROM mirror", _PLANNED):  # noqa: S608 - own columns
            for row in self._connection.execute(query):
                _sound(row)

    def mirrors(self) -> list[Planned]:
        """Return all mirrors with their whole definitions, sorted by name."""
        return [_planned(row) for row in self._connection.execute(f"{_PLANNED} ORDER BY name")]


def _decode_header(text: str) -> Header:
    plain: dict[str, Any] = json.loads(text)
    plain["sync_windows"] = _as_windows(plain.get("sync_windows"))
    plain["unmoved"] = tuple(plain.get("unmoved", ()))
    plain |= {key: tuple(plain.get(key, ())) for key in ("volumes", "pattern_files", "roots", "env")}
    plain["problems"] = tuple(tuple(each) for each in plain["problems"])
    plain["pin"] = Pin(*plain["pin"]) if plain.get("pin") else None
    if plain.get("programs") is not None:
        plain["programs"] = tuple(plain["programs"])
    if plain.get("plugins") or plain.get("broken"):
        from schemas.plugins import Plugin  # most workers have none

        plain["plugins"] = tuple(Plugin(*each) for each in plain["plugins"])
        plain["broken"] = tuple((Plugin(*each), why) for each, why in plain["broken"])
    else:
        plain["plugins"] = plain["broken"] = ()
    return Header(**{key: plain[key] for key in Header._fields if key in plain})


def stamp_of(path: str) -> Stamp | None:
    """Return the stamp of the plan at a path, which changes when follow replaces it; None if it cannot be reached."""
    try:
        return _stamp(os.stat(path))
    except OSError:
        return None


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_dev, found.st_ino, found.st_mtime_ns


@contextmanager
def opened(path: str, *, former: bool = False) -> Iterator[Plan]:
    """Open the plan for reading; SkipjackError if it is missing, damaged or of another version.

    `former` also opens one of an earlier release, from which the next plan can be made, but no run.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError as error:
        raise SkipjackError(f"there is no plan at {path} yet.", "Run `skipjack follow` first.") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise SkipjackError(f"cannot read the plan {path}: it is not a file.", _AGAIN)
    if not found.st_size:  # SQLite would take it for a database without tables
        raise SkipjackError(f"the plan {path} is damaged: it is empty (0 bytes).", _AGAIN)
    if not os.access(path, os.R_OK):
        raise _unreadable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES), path))
    # Taken before it is opened: a plan that replaces it meanwhile only seems to be newer than the one that is read.
    stamp = _stamp(found)
    try:
        # A plan is replaced and never changed. So SQLite needs no locks, and no folder that it may write to.
        connection = sqlite_database.connect(path, "mode=ro&immutable=1")
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (FORMAT, *(FORMER if former else ())):
                raise SkipjackError(f"the plan {path} was written by another version.", "Run `skipjack follow`.")
            read = Plan(connection, stamp)
            if version != FORMAT:
                read.header = read.header._replace(fingerprint="")  # a follow makes a new plan
            yield read
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise SkipjackError(f"cannot read the plan {path}: {error}.", _AGAIN) from error
    except UnicodeDecodeError as error:  # from SQLite's own message, which contains a damaged name
        raise SkipjackError(f"cannot read the plan {path}: names in it are damaged.", _AGAIN) from error


_AGAIN = "Run `skipjack follow --again`."


def _unreadable(path: str, error: OSError) -> SkipjackError:
    from schemas import ownership  # only when something is wrong

    todo = ownership.remedy(path, os.path.dirname(path)) or "Check its folder and the disk."
    return SkipjackError(f"cannot read the plan {path}: {error.strerror}.", todo)
