"""What the last follow found wrong on this machine, beside what is wrong in the configuration.

It stands in a file, so that the courier reports it and `next` shows it without asking git or looking at all
definitions. A lost file costs nothing: the next follow writes it again.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime

from runner import unenforced
from runner.places import Places
from runner.plan import Header, Shown
from schemas.errors import SkipjackError
from schemas.mirror_record import Mirror
from schemas.reading import regular
from schemas.records import RunnerSettings

REPOSITORY, MEMORY = "repository", "memory_limit"
"""What the notes are about."""

_Notes = dict[str, list[tuple[float, str, str]]]
"""Since when something is so, what, and what to do, by what it is about."""


def unfetched(places: Places, error: SkipjackError, revision: str | None, now: float) -> None:
    """Note that the repository cannot be fetched, since the first of such failures in a row."""
    notes = _read(places)
    since = notes[REPOSITORY][0][0] if notes.get(REPOSITORY) else now
    moment = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%d %H:%M UTC")
    kept = f"; revision {revision[:12]} stays in use" if revision else ""
    what = f"The repository cannot be fetched since {moment}{kept}. {error.what}"
    _write(places, notes | {REPOSITORY: [(since, what, error.todo)]})


def fetched(places: Places) -> None:
    """Note that the repository can be fetched."""
    notes = _read(places)
    if notes.pop(REPOSITORY, None):
        _write(places, notes)


def limits(settings: RunnerSettings, places: Places, mirrors: Iterable[Mirror]) -> None:
    """Note which limits of definitions nothing enforces."""
    notes = _read(places)
    found = [(0.0, what, "") for what in unenforced.told(settings, mirrors)]
    if found != notes.get(MEMORY, []):
        _write(places, notes | {MEMORY: found})


def problems(places: Places, header: Header, *, but: str = "") -> tuple[Shown, ...]:
    """What is wrong with the worker as a whole: a refused revision, and the notes `but` those of one kind."""
    return (*_refused(header), *(
        (None, about, what, todo)
        for about, found in sorted(_read(places).items())
        if about != but
        for _since, what, todo in found
    ))  # fmt: skip


def _refused(header: Header) -> Iterable[Shown]:
    if header.seen and header.revision and header.seen != header.revision:
        what = f"Revision {header.seen[:12]} is refused; revision {header.revision[:12]} stays in use."
        yield None, REPOSITORY, what, "Correct the other problems that are named here, in the repository."


def _read(places: Places) -> _Notes:
    try:
        with open(places.notes, encoding="utf-8", opener=regular) as file:
            plain = json.load(file)
        return {
            str(about): [(float(since), str(what), str(todo)) for since, what, todo in found]
            for about, found in plain.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(places: Places, notes: _Notes) -> None:
    with contextlib.suppress(OSError):
        aside = f"{places.notes}.new"
        with open(aside, "w", encoding="utf-8", opener=regular) as file:
            json.dump(notes, file)
        os.replace(aside, places.notes)
