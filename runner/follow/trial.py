"""The plan for commands that change nothing: the one in force, or a temporary one.

These commands work on a machine where nothing has run yet, for every user who can read the settings and the config
repository.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from runner.base import scratch_folder
from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.follow.follow import draft
from runner.journal import journal
from runner.journal.last_success import Past
from runner.plan import plan
from runner.plan.plan import Plan
from schemas import ownership
from schemas.errors import SkipjackError
from schemas.records import Mirror, RunnerSettings
from schemas.standard_streams import WARNING


@contextmanager
def planned(settings: RunnerSettings) -> Iterator[Plan]:
    """Open the plan in force; if it is unusable, a temporary one as a follow would write it now."""
    place = StateLayout(settings.state_dir).plan
    why = _why_unusable(place) if _exists(place) else "there is no plan yet"
    if not why:
        with plan.opened(place) as opened:
            yield opened
        return
    # Logged before the fetch, since that may fail as well.
    log(f"{why}; making a temporary one from the repository", about="follow")
    # The plan and a checkout of its own: the state directory may belong to another user, and stays as it is.
    with scratch_folder.opened() as folder:
        done = draft(settings, StateLayout(folder))
        for problem in done.problems:
            log(problem, about="follow", level=WARNING)
        log(f"this shows the plan for revision {done.revision[:12]}, which is not in force", about="follow")
        with plan.opened(StateLayout(folder).plan) as opened:
            yield opened


def past(layout: StateLayout, mirror: Mirror) -> Past:
    """Return what earlier runs left in a mirror's directory, also under a previous name.

    Empty when the journal cannot be read.
    """
    try:
        with journal.copied(layout.journal) as book:
            found = [book.past(name) for name in (mirror.name, *mirror.formerly)]
    except SkipjackError as error:
        log(f"cannot read what earlier runs left: {error}", about=mirror.name, level=WARNING)
        return Past()
    return next((each for each in found if each != Past()), Past())


def _why_unusable(path: str) -> str:
    """Return why the plan is unusable, such as damage or another release's format; empty when it is usable."""
    if not os.access(path, os.R_OK):
        return ""  # other users can read it, and it may be valid: opening it reports the denied access
    try:
        with plan.opened(path) as opened:
            opened.check()
    except SkipjackError as error:
        return error.what.rstrip(".")
    return ""


def _exists(path: str) -> bool:
    """Return whether the file exists; SkipjackError when this user may not search its folder."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        todo = ownership.remedy(path, os.path.dirname(path)) or "Check the folder and its owner."
        raise SkipjackError(f"cannot read the plan {path}: {error.strerror}.", todo) from error
    return True
