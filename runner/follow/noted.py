"""Problems of this machine that the last follow found, apart from those of the configuration.

They are kept in a file, so that the courier reports them and `next` shows them without git or the definitions. If it
is lost, the next follow writes it again.

The reason why the manager accepts no reports has a file of its own, since the courier may write it during a follow.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from runner.base.state_dir import StateLayout
from runner.follow import unenforced_limits
from runner.plan.plan import Header, PlanProblem
from schemas import json_text
from schemas.errors import SkipjackError
from schemas.mirror_record import Mirror
from schemas.records import RunnerSettings
from schemas.regular_files import read_regular, replace_regular

REPOSITORY, MEMORY, MANAGER = "repository", "memory_limit", "manager"
"""Subjects of notes."""

LONG = 3600.0
"""Seconds without a delivered report until the failure is shown, if it may pass by itself."""

_MOST_VALUES = 10_000
"""Most values in the file: one with more was not written by a follow."""

_DIGITS = 10
"""Bytes of the file with the number of leftovers at most."""

_Notes = dict[str, list[tuple[float, str, str]]]
"""For each subject: since when, what, and what to do."""


def unfetched(layout: StateLayout, error: SkipjackError, revision: str | None, now: float) -> None:
    """Note that fetching the repository fails, since the first failure in a row."""
    notes = _read(layout)
    since = notes[REPOSITORY][0][0] if notes.get(REPOSITORY) else now
    kept = f"; revision {revision[:12]} stays in use" if revision else ""
    what = f"Fetching the repository has failed since {_moment(since)}{kept}: {error.what}"
    _write(layout, notes | {REPOSITORY: [(since, what, error.todo)]})


def fetched(layout: StateLayout) -> None:
    """Remove the note about failed fetches."""
    notes = _read(layout)
    if notes.pop(REPOSITORY, None):
        _write(layout, notes)


def limits(settings: RunnerSettings, layout: StateLayout, mirrors: Iterable[Mirror]) -> None:
    """Note which limits of definitions are not enforced."""
    notes = _read(layout)
    found = [(0.0, what, "") for what in unenforced_limits.warnings(settings, mirrors)]
    # Only if it differs: a follow that finds nothing new writes nothing.
    if found != notes.get(MEMORY, []):
        _write(layout, notes | {MEMORY: found})


def unreported(layout: StateLayout, error: SkipjackError, now: float, *, lasting: bool) -> None:
    """Note that the manager accepts no reports, since the first failure in a row.

    `lasting` means that it does not pass until a person changes something.
    """
    noted = _read_unreported(layout)
    # A time in the future comes from a clock that was set back.
    since = min(noted.since, now) if noted else now
    found = _Unreported(since, error.what, error.todo, lasting)
    if found != noted:
        _replace(layout.unreported, found)


def reported(layout: StateLayout) -> None:
    """Remove the note about failed reports."""
    with contextlib.suppress(OSError):  # mostly there is no note; otherwise the next delivery tries again
        os.unlink(layout.unreported)


def of_manager(layout: StateLayout, now: float) -> Iterable[PlanProblem]:
    """Yield that the manager accepts no reports, if that has lasted for `LONG` or does not pass by itself."""
    noted = _read_unreported(layout)
    if noted and (noted.lasting or now - noted.since >= LONG):
        yield None, MANAGER, f"It has accepted no reports since {_moment(noted.since)}: {noted.what}", noted.todo


def leftovers(layout: StateLayout) -> int | None:
    """Return how many things were without a definition at the last count; None if they were not counted."""
    try:
        text = read_regular(layout.leftovers, _DIGITS).strip()
        return int(text) if text.isdigit() else None
    except OSError:
        return None


class _Unreported(NamedTuple):
    since: float
    what: str
    todo: str
    lasting: bool


def problems(layout: StateLayout, header: Header, *, but: str = "") -> tuple[PlanProblem, ...]:
    """Return the problems of the worker as a whole: a refused revision, and all notes except those about `but`."""
    return (*_refused(header), *(
        (None, about, what, todo)
        for about, found in sorted(_read(layout).items())
        if about != but
        for _since, what, todo in found
    ))  # fmt: skip


def _refused(header: Header) -> Iterable[PlanProblem]:
    if header.seen and header.revision and header.seen != header.revision and not header.pin:
        what = f"Revision {header.seen[:12]} is rejected; revision {header.revision[:12]} stays in use."
        yield None, REPOSITORY, what, "Fix the other problems that are listed here in the repository."


def _read(layout: StateLayout) -> _Notes:
    """Return the notes; none when the file is missing or damaged."""
    try:
        plain = json_text.parse(read_regular(layout.notes), _MOST_VALUES)
        return {json_text.text(about): [_note(*each) for each in found] for about, found in plain.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _read_unreported(layout: StateLayout) -> _Unreported | None:
    try:
        since, what, todo, lasting = json_text.parse(read_regular(layout.unreported), _MOST_VALUES)
        return _Unreported(*_note(since, what, todo), bool(lasting))
    except (OSError, ValueError, TypeError):
        return None


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _note(since: object, what: object, todo: object) -> tuple[float, str, str]:
    return json_text.moment(since), json_text.text(what), json_text.text(todo)


def _write(layout: StateLayout, notes: _Notes) -> None:
    _replace(layout.notes, notes)


def _replace(path: str, plain: _Notes | _Unreported) -> None:
    """Replace a file, without fsync: it can be lost. A full disk must not fail the follow."""
    with contextlib.suppress(OSError):
        replace_regular(path, json.dumps(plain))
