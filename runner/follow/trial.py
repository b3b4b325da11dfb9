"""What commands look at that change nothing: the plan in force, or one that is made for them alone.

They work on a machine where nothing has run yet, for every user who can read the settings and the config repository.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from runner.base.output import log
from runner.base.state_dir import Places
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
    """Open the plan in force; without a usable one, what a follow would write now, in a folder that is removed."""
    place = Places(settings.state_dir).plan
    why = _why_unusable(place) if _exists(place) else "no plan is in force yet"
    if not why:
        with plan.opened(place) as opened:
            yield opened
        return
    # First, since the repository may be out of reach as well.
    log(f"{why}; planning from the repository for this command alone", about="follow")
    with tempfile.TemporaryDirectory(prefix="skipjack-") as folder:
        done = draft(settings, Places(folder))
        for problem in done.problems:
            log(problem)
        log(f"this is what revision {done.revision[:12]} would mean", about="follow")
        with plan.opened(Places(folder).plan) as opened:
            yield opened


def past(places: Places, mirror: Mirror) -> Past:
    """What earlier runs of a mirror left in its directory, under whatever name; nothing where the journal is closed."""
    try:
        with journal.copied(places.journal) as book:
            found = [book.past(name) for name in (mirror.name, *mirror.formerly)]
    except SkipjackError as error:
        log(f"what earlier runs left is not known: {error}", about=mirror.name, level=WARNING)
        return Past()
    return next((each for each in found if each != Past()), Past())


def _why_unusable(path: str) -> str:
    """What keeps the plan from being read, as another version's or a damaged one; empty when all of it can be."""
    if not os.access(path, os.R_OK):
        return ""  # it is for others to read, and may be sound
    try:
        with plan.opened(path) as opened:
            opened.check()
    except SkipjackError as error:
        return error.what.rstrip(".")
    return ""


def _exists(path: str) -> bool:
    """Whether there is a file; SkipjackError when this user may not see that."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        todo = ownership.remedy(path, os.path.dirname(path)) or "Check the folder and its owner."
        raise SkipjackError(f"cannot read the plan {path}: {error.strerror}.", todo) from error
    return True
