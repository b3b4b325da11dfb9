"""`skipjack follow`: from the config repository to the plan.

The way of a definition: this module fetches the newest revision and compares it with the plan in force; `planning`
makes a new plan of the revision's files, within the machine's policy; this module writes it aside and renames it.
All that is heavy (git, YAML, JSON Schema) runs here, so that ticks and runs can start without. Running syncs go on,
whatever a follow finds.
"""

import hashlib
import os
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runner.base import file_policy, file_view, pattern_copies, runtime_dir
from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.base.turns import turn
from runner.follow import noted, pinned, planning, rename_detection, stored_patterns
from runner.follow.planning import InForce, LocalConfig
from runner.follow.plugins_in_use import PluginsInUse, is_healed
from runner.journal import journal, leftover_runs, sqlite_file
from runner.journal.journal import Subject
from runner.plan import plan
from runner.plan.plan import Due, Header, Pin, Planned, PlanProblem
from runner.policy import policy_lists, policy_names
from schemas.config import hints, plugin_search
from schemas.config.settings import load_policy
from schemas.errors import SkipjackError
from schemas.git import repository, slow_remote
from schemas.git.repository import Revision
from schemas.records import RunnerSettings
from schemas.release import version
from schemas.standard_streams import WARNING
from schemas.states import REFUSED

_NO_PLAN = "Until then no mirror runs: there is no usable plan, and the checkout has no revision to make one from."
_NO_PLAN_YET = "Until then no mirror runs: this worker has no usable plan."


class Followed(NamedTuple):
    """The result of a follow: the revision in force, whether the plan changed, and the problems of the newest revision.

    `moves` are renamed mirrors whose files an operator has to move; they are not problems of the revision.
    `fetched` is False when the fetch failed and the plan was rebuilt from the checkout. `pin` describes the pin to an
    earlier revision; empty if there is none.
    """

    revision: str
    changed: bool
    mirrors: int
    problems: tuple[str, ...]
    refused: bool
    fetched: bool = True
    moves: tuple[str, ...] = ()
    pin: str = ""


def follow(
    settings: RunnerSettings, *, again: bool = False, accept_rewrite: bool = False, offline: bool = False
) -> Followed:
    """Bring the plan to the newest revision; SkipjackError when it cannot be fetched or does not list this worker.

    When the fetch fails, the plan is rebuilt from the revision that was fetched last if it is unusable, was made with
    other settings, another policy or other plug-ins, or is older than the move of a renamed mirror's files.
    `again` writes the plan even if nothing changed; `accept_rewrite` accepts a history that does not contain the
    revision in force. While the worker is pinned to an earlier revision, the newest one is only checked and shown;
    `offline` applies a pin from the checkout and does nothing else.
    """
    layout = StateLayout(settings.state_dir)
    missing = _make_folders(settings)
    sqlite_file.check(layout.journal)
    # A second follow waits for as long as the first one may fetch.
    with turn(layout.lock("program", "follow"), "follow", max(settings.repository.timeout, slow_remote.MOST)):
        local = _local(settings)
        old = _held_at_once(settings, layout, _in_force(layout))
        done = _pinned(local, layout, old)
        if done is None or not offline:
            old = _in_force(layout) if done else old
            done = _follow(local, layout, old, again=again, accept_rewrite=accept_rewrite)
    return done._replace(problems=(*missing, *done.problems))


def draft(settings: RunnerSettings, layout: StateLayout) -> Followed:
    """Write the plan that a new machine would get to `layout`, which is not the worker's own; change nothing else.

    SkipjackError as for `follow`.
    """
    revision = repository.fetch(settings.repository, Path(layout.checkout))
    header, mirrors = planning.make(_local(settings), "", revision, None)
    header, mirrors = stored_patterns.stored(layout, revision.files, header, mirrors)
    plan.write(layout.plan, header, mirrors, _since(mirrors, {}, time.time()))
    return _result(header, changed=True, mirrors=len(mirrors))


def _local(settings: RunnerSettings) -> LocalConfig:
    installed, policy = plugin_search.installed(), load_policy(Path(settings.policy))
    folders = {folder: file_view.trusted_path(folder) for folder in policy.pattern_files}
    return LocalConfig(settings, policy, installed, PluginsInUse(installed), folders)


def _pinned(local: LocalConfig, layout: StateLayout, old: InForce | None) -> Followed | None:
    """Apply a new pin before anything is fetched: that may fail or take long. None if there is no new pin.

    If the checkout cannot be read, the fetch that comes next repairs it.
    """
    header = old.header if old else None
    pin = pinned.current(layout, header, time.time())
    if pin is None or (header and header.pin == pin):
        return None
    try:
        revision, lost = pinned.read(local.settings, layout, pin, header)
    except repository.Unfetched as error:
        log(str(error), about="follow", level=WARNING)
        return None
    return _applied(local, layout, old, revision, lost, pin=pin)


def _follow(
    local: LocalConfig, layout: StateLayout, old: InForce | None, *, again: bool, accept_rewrite: bool
) -> Followed:
    settings = local.settings
    pin = pinned.current(layout, old.header if old else None, time.time())
    known = old.header if old and not accept_rewrite else None
    is_current = not again and old is not None and old.header.pin == pin and _is_current(old, _fingerprint(local))
    is_current &= not (accept_rewrite and pin)
    revision, failure, refusal = _fetched(settings, layout, old, known, rebuild=not is_current)
    if failure:
        log(failure, about="follow", level=WARNING)
    if old and is_current and (old.header.seen, planning.refusal(old.header)) == (revision.commit, refusal):
        noted.limits(settings, layout, (each.mirror for each in old.mirrors.values()))
        _forget_patterns(layout, old.mirrors.values(), ())
        return _result(old.header, changed=False, mirrors=len(old.mirrors))
    accepts = accept_rewrite and pin is not None and not refusal
    if pin:
        newest = revision.commit
        revision, lost = pinned.read(settings, layout, pin, old.header if old else None)
        revision, refusal = revision._replace(newest=newest), (*refusal, *lost)
    done = _applied(local, layout, old, revision, refusal, pin=pin, accepts=accepts)
    return done._replace(fetched=not failure)


def _fingerprint(local: LocalConfig) -> str:
    """Return a digest of the release, settings, policy and plug-ins: an address in them may hold a password."""
    settings, policy, installed, _in_use, folders = local
    places = (folders, file_policy.passwords(policy, settings).readable)
    known = f"{version()} {settings!r} {policy!r} {installed!r} {places!r}"
    return hashlib.sha256(known.encode()).hexdigest()


def _applied(
    local: LocalConfig,
    layout: StateLayout,
    old: InForce | None,
    revision: Revision,
    refusal: planning.Problems,
    *,
    pin: Pin | None = None,
    accepts: bool = False,
) -> Followed:
    """Replace the plan by that of a revision, and do what follows from it."""
    settings, policy, installed = local.settings, local.policy, local.installed
    of_policy = (f"{what} {todo}" for what, todo in policy_lists.warnings(policy))
    for line in (*installed.problems, *of_policy, *policy_names.warnings(policy, installed)):
        log(line, about="follow", level=WARNING)
    revision = pinned.with_signer(layout, revision)
    header, mirrors = planning.make(local, _fingerprint(local), revision, old, refusal)
    header = header._replace(pin=pin, base=pinned.base(header, old.header if old else None, accepts=accepts))
    header, mirrors = stored_patterns.stored(layout, revision.files, header, mirrors)
    for line in hints.of_mirrors(each.mirror for each in mirrors):
        log(line, about="follow", level=WARNING)
    # The plan before the rest: queued mirrors must be in it when a tick launches them.
    plan.write(layout.plan, header, mirrors, _since(mirrors, old.due if old else {}, time.time()))
    pinned.remember(layout, header)
    noted.limits(settings, layout, (each.mirror for each in mirrors))
    # On a held worker the states of mirrors stay as they were.
    if old and not header.held:
        _queue_moved(layout, mirrors, set(old.header.unmoved) - set(header.unmoved))
    kept = {name for each in mirrors for name in (each.mirror.name, *each.mirror.formerly)}
    kept_files = kept.union(_leftovers(layout, mirrors, kept))
    layout.forget_deletions(kept_files)
    pattern_copies.forget(layout.patterns, kept_files)
    _forget_patterns(layout, mirrors, old.mirrors.values() if old else ())
    return _result(header, changed=True, mirrors=len(mirrors))


def _is_current(old: InForce, fingerprint: str) -> bool:
    """Return whether nothing on this machine has changed since the plan was made; tries broken plug-ins again."""
    unmoved = rename_detection.unmoved(list(old.mirrors.values()))
    is_same = (old.header.fingerprint, old.header.unmoved) == (fingerprint, unmoved)
    patterns = stored_patterns.named_by(old.mirrors.values())
    return is_same and not is_healed(old.header.broken) and all(map(stored_patterns.is_intact, patterns))


def _forget_patterns(layout: StateLayout, mirrors: Iterable[Planned], before: Iterable[Planned]) -> None:
    """Remove the stored pattern files of the repository that neither the plan nor a run uses."""

    def oldest_run() -> float:
        if not os.path.exists(layout.journal):
            return time.time()
        with journal.opened(layout.journal) as book:
            return min([each.launched_at for each in book.active()], default=time.time())

    named, named_before = stored_patterns.named_by(mirrors), stored_patterns.named_by(before)
    stored_patterns.forget(layout, named, named_before, oldest_run)


def _queue_moved(layout: StateLayout, mirrors: list[Planned], moved: set[str]) -> None:
    """Queue the mirrors whose runs were refused until an operator moved their files, which is now done.

    Otherwise the refusals could put off the next run by a day.
    """
    planned = [each for each in mirrors if each.mirror.name in moved]
    if not planned or not os.path.exists(layout.journal):
        return
    with journal.opened(layout.journal) as book:
        refused = {name for name, state in book.states().items() if state.status == REFUSED}
        book.launch([], [Subject.of(each) for each in planned if each.mirror.name in refused], time.time())


def _leftovers(layout: StateLayout, mirrors: list[Planned], kept: Collection[str]) -> list[str]:
    """Return the mirrors that left this worker's plan and are still being synced, after a warning for each.

    The journal then has no next run of a mirror whose name is not `kept`.
    """
    if not os.path.exists(layout.journal):
        return []
    with journal.opened(layout.journal) as book:
        left = leftover_runs.among(mirrors, [each.mirror for each in book.active()])
        book.unschedule(kept, time.time())
    for name in left:
        log(" ".join(leftover_runs.problem(name)), about="follow", level=WARNING)
    return left


def _held_at_once(settings: RunnerSettings, layout: StateLayout, old: InForce | None) -> InForce | None:
    """Write `start: held` into the plan in force before the fetch, which may fail; return that plan as it is now."""
    if old is None or old.header.held or not settings.held:
        return old
    held = old._replace(header=old.header._replace(held=True))
    plan.write(layout.plan, held.header, list(old.mirrors.values()), {name: due.since for name, due in old.due.items()})
    return held


def _fetched(
    settings: RunnerSettings, layout: StateLayout, old: InForce | None, known: Header | None, *, rebuild: bool
) -> tuple[Revision, str, planning.Problems]:
    """Return the newest revision; when the fetch fails and `rebuild` is set, the last fetched one and the failure.

    If the newest one is not signed as it must be, it has no files, and the third value is the reason. `known` is the
    header of the plan that the history must continue.
    """
    checkout = Path(layout.checkout)
    applied, contained = (known.revision, known.base) if known else (None, None)
    refusal: planning.Problems = ()
    try:
        found = repository.fetch(settings.repository, checkout, applied, contained)
    except repository.Unverified as error:
        if old is None:
            raise SkipjackError(error.what, f"{error.todo} {_NO_PLAN_YET}") from error
        found, refusal = Revision(error.commit, error.committed_at, ()), planning.unverified(error)
    except repository.Unfetched as error:
        noted.unfetched(layout, error, old.header.revision if old else None, time.time())
        if rebuild:
            with suppress(SkipjackError):
                last = repository.fetched_last(settings.repository, checkout, applied, contained)
                return last, str(error), ()
        state = "The plan in force stays in use." if old else _NO_PLAN
        raise SkipjackError(error.what, f"{error.todo} {state}") from error
    noted.fetched(layout)
    return found, "", refusal


def _since(mirrors: list[Planned], before: Mapping[str, Due], now: float) -> dict[str, float]:
    """Return since when each mirror has its cron schedule, also under a previous name: earlier moments do not count."""
    found: dict[str, float] = {}
    for mirror, _paths, _revision in mirrors:
        known = [before[name] for name in (mirror.name, *mirror.formerly) if name in before]
        found[mirror.name] = next((each.since for each in known[:1] if each.cron == mirror.cron), now)
    return found


def _in_force(layout: StateLayout) -> InForce | None:
    """Read the plan in force; None when there is none or it is unreadable: the next one is then made from nothing."""
    if not os.path.exists(layout.plan):
        return None
    try:
        with plan.opened(layout.plan, former=True) as opened:
            mirrors = {planned.mirror.name: planned for planned in opened.mirrors()}
            return InForce(opened.header, mirrors, {due.name: due for due in opened.due()})
    except SkipjackError:
        return None


def _result(header: Header, *, changed: bool, mirrors: int) -> Followed:
    moves = tuple(_line(each) for each in header.problems if rename_detection.is_move(each[2]))
    problems = tuple(_line(each) for each in header.problems if not rename_detection.is_move(each[2]))
    revision = header.revision or ""
    refused = revision != (header.pin.commit if header.pin else header.seen)
    return Followed(revision, changed, mirrors, problems, refused, moves=moves, pin=pinned.described(header))


def _line(shown: PlanProblem) -> str:
    _mirror, place, what, todo = shown
    return f"{place}: {what} {todo}"


def _make_folders(settings: RunnerSettings) -> tuple[str, ...]:
    """Create missing folders; return the problem of the run folder, since a follow can do without that one."""
    for folder in (settings.state_dir, settings.log_dir, StateLayout(settings.state_dir).home):
        try:
            os.makedirs(folder, mode=0o755, exist_ok=True)
        except OSError as error:
            raise SkipjackError(
                f"cannot create the folder {folder}: {error.strerror}.", "Create it, owned by the worker's user."
            ) from error
    missing = runtime_dir.make(settings.run_dir)
    return () if missing is None else (f"{missing.what} {missing.todo}",)
