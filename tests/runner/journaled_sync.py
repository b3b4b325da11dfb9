"""A sync with a journal, which may be killed: `python -m tests.runner.journaled_sync FOLDER URL STEP PROVIDER [LIMIT]`.

Steps are the calls that change the mirror's directory or the record of what is deleted, each before and after it is
made, and the starts of processes. The step `take` is the first count of files that rsync has taken away by itself. Ends
with 0 when there are fewer.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.journal import journal
from runner.journal.journal import Ending, Journal, Subject
from runner.journal.last_success import Past, identity_of, left_in
from runner.plan.deletion_limits import as_limit
from runner.providers import deletion_record
from runner.providers.making_way import Way
from runner.subprocesses import supervisor
from tests.runner.syncing import Site

SUBJECT = Subject("m", "x", True, "a" * 40)
LIMITS: dict[str, Any] = {"max_delete": "50%"}


def book_of(site: Site) -> str:
    """The journal's path."""
    return str(site.state / "journal.db")


def sync(site: Site, named: int | str | None = None, **fields: Any) -> Ending:
    """Sync once as a run does, with the journal; `named` is what an operator let it delete."""
    with journal.opened(book_of(site)) as book:
        number = book.begin(None, SUBJECT, time.time())
        assert number is not None
        job = site.job(named, **(LIMITS | fields))
        job.past = book.past("m")
        job.deleting = lambda *counted: book.deleting("m", *counted)
        job.deleted_less = lambda *counted: book.deleted_less("m", *counted)
        job.first_look = lambda *seen: book.first_look("m", *seen)
        ending = site.run(job)
        left = left_in(
            str(site.directory),
            identity_of(str(site.directory)),
            *job.found,
            refused=job.loss_refused,
            counted=job.counted,
            on_disk=job.on_disk,
        )
        book.end(number, "m", ending._replace(left=left), time.time())
        return ending


def recorded(site: Site) -> Past:
    """What the journal has about earlier runs."""
    with journal.opened(book_of(site)) as book:
        return book.past("m")


def past(site: Site) -> Past:
    """What the next run will know, once it has looked which files are still there; the journal stays as it is."""
    job = site.job()
    job.past = recorded(site)
    deletion_record.correct(job)
    return job.past


def main() -> int:
    """Sync until that step."""
    folder, url, step, provider, *limit = sys.argv[1:]
    left = 0 if step == "take" else int(step)

    def counts() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **named: Any) -> Any:
            counts()
            result = original(*words, **named)
            counts()
            return result

        return call

    if step == "take":
        setattr(Way, "take", dying(Way.take))  # noqa: B010 - as the others below
    else:
        for name in ("unlink", "rmdir", "replace"):
            setattr(os, name, dying(getattr(os, name)))
        for name in ("deleting", "deleted_less"):
            setattr(Journal, name, dying(getattr(Journal, name)))
        supervisor.run = dying(supervisor.run)
    limits = {"max_delete": as_limit(limit[0])} if limit else {}
    return 0 if sync(Site(Path(folder), url), provider=provider, **limits).status == "success" else 1


if __name__ == "__main__":
    sys.exit(main())
