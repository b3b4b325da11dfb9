"""`skipjack prune`: list what has no definition, and remove exactly that list when it is confirmed."""

import os
from collections.abc import Sequence

from runner.base.output import bar, confirmed, log, say
from runner.drift import counting, report, search
from runner.drift.items import DATA, Leftover, digest, removable
from runner.drift.known import Defined
from runner.drift.removal import Remover
from runner.drift.tree import NotAsListed
from schemas import wakeup
from schemas.errors import SkipjackError
from schemas.problems import printable
from schemas.records import RunnerSettings
from schemas.standard_streams import ERROR

_EVERY = 1000
"""Removed files between two updates of the progress."""


def prune(settings: RunnerSettings, *, data: bool, yes: bool, confirm: str) -> int:
    """List the items, and remove them with `yes`, the digest of the list, or a person's yes; return the exit code.

    `data` includes directories of mirrors. SkipjackError if `confirm` is the digest of another list.
    """
    drift, known = search.look(settings)
    items = removable(drift.items, data=data)
    left = [each for each in drift.items if each.kind == DATA and not data and not each.kept]
    if known.unsure and drift.items:
        raise SkipjackError("nothing is removed, since the plan may not be complete.", known.unsure)
    if confirm and confirm != digest(items):
        what = f"the list has changed: it is {digest(items)} now, and not {confirm}. Nothing was removed."
        raise SkipjackError(what, "Run `skipjack prune` with the same options to see it.")
    if not items:
        say("nothing to remove" + _unlisted(left))
        return 0
    report.say_list(items, report.measured(items))
    if left:
        say(_unlisted(left).removeprefix("; "))
    if not (yes or confirm or confirmed("Remove all of these? Type yes: ")):
        command = "skipjack prune --data" if data else "skipjack prune"
        say(f"nothing was removed; `{command} --confirm {digest(items)}` removes this list")
        return 0
    return _removed(settings, known, items)


def _unlisted(left: Sequence[Leftover]) -> str:
    if not left:
        return ""
    what = "1 directory" if len(left) == 1 else f"{len(left)} directories"
    return f"; {what} without a definition: `skipjack drift` shows them, `skipjack prune --data` lists them"


def _removed(settings: RunnerSettings, known: Defined, items: Sequence[Leftover]) -> int:
    """Remove items; return the exit code, 1 if one could not be removed."""
    remover, failed = Remover(settings, known, _RemovalProgress().count), 0
    for item in items:
        place = printable(item.path or item.name)
        try:
            remover.remove(item)
        except NotAsListed as why:
            log(f"{place} {why}. It was not removed; run `skipjack prune` again.", about="prune", level=ERROR)
        except (OSError, SkipjackError) as error:
            reason = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
            log(f"cannot remove {place}: {reason}. Check its owner.", about="prune", level=ERROR)
        else:
            say(f"removed {item.kind} {place}")
            continue
        failed += 1
    counting.count(settings, again=True)
    wakeup.send(settings.run_dir, wakeup.COURIER)  # the manager forgets the mirrors
    return 1 if failed else 0


class _RemovalProgress:
    """Counts removed files on a terminal."""

    def __init__(self) -> None:
        self._files, self._is_shown = 0, os.isatty(2)

    def count(self) -> None:
        """Count one file."""
        self._files += 1
        if self._is_shown and self._files % _EVERY == 0:
            bar(f"removed {self._files} files")
