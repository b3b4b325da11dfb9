"""`skipjack follow`: from the config repository to the plan.

Fetch, validate, quarantine, check against this machine, write the plan aside and rename. All that is heavy (git, YAML,
JSON Schema) lives behind this module; nothing that was running stops because of what it finds.
"""

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runner.base import environment, file_policy, private_paths, runtime_dir
from runner.base.mirror_paths import paths_of
from runner.base.output import log
from runner.base.state_dir import Places
from runner.base.turns import turn
from runner.follow import noted, rename_detection
from runner.journal import journal, leftover_runs, sqlite_file
from runner.journal.journal import Subject
from runner.plan import plan
from runner.plan.plan import Due, Header, Planned, Shown
from runner.policy import policy_lists
from runner.policy.policy import violations
from schemas import VERSION
from schemas.config import catalogue, hints
from schemas.config.catalogue import Catalogue
from schemas.config.settings import load_policy
from schemas.config.timing import circular
from schemas.errors import SkipjackError
from schemas.git import repository, slow_remote
from schemas.git.repository import Revision
from schemas.problems import InvalidConfigError, Problem
from schemas.records import RunnerSettings
from schemas.standard_streams import WARNING
from schemas.states import REFUSED

Problems = tuple[Shown, ...]


class Followed(NamedTuple):
    """What a follow did: the revision in force, whether the plan changed, and everything wrong with the newest one.

    `moves` are renamed mirrors whose files wait for somebody to move them, which is no problem of the revision.
    Without `fetched`, the remote repository failed and the plan was rebuilt from the checkout.
    """

    revision: str
    changed: bool
    mirrors: int
    problems: tuple[str, ...]
    refused: bool
    fetched: bool = True
    moves: tuple[str, ...] = ()


def follow(settings: RunnerSettings, *, again: bool = False, accept_rewrite: bool = False) -> Followed:
    """Bring the plan to the newest revision; SkipjackError when it cannot be had or this worker is not in it.

    When the fetch fails, a plan that cannot be used, or that was made with other settings or another policy, or before
    files of a renamed mirror were moved, is rebuilt from the revision that was fetched last.
    `again` writes the plan even if nothing changed; `accept_rewrite` takes a history without the revision in force.
    """
    places = Places(settings.state_dir)
    missing = _make_folders(settings)
    sqlite_file.check(places.journal)
    with turn(places.lock("program", "follow"), "follow", max(settings.repository.timeout, slow_remote.MOST)):
        done = _follow(settings, places, again=again, accept_rewrite=accept_rewrite)
    return done._replace(problems=(*missing, *done.problems))


def draft(settings: RunnerSettings, places: Places) -> Followed:
    """Write the plan that a machine without one would get, to other places than the worker's own; nothing else changes.

    SkipjackError as for `follow`.
    """
    revision = repository.fetch(settings.repository, Path(places.checkout))
    header, mirrors = _judge(settings, "", revision, None)
    plan.write(places.plan, header, mirrors, _since(mirrors, {}, time.time()))
    return _answer(header, changed=True, mirrors=len(mirrors))


def _follow(settings: RunnerSettings, places: Places, *, again: bool, accept_rewrite: bool) -> Followed:
    old = _held_at_once(settings, places, _former(places))
    applied = old.header.revision if old and not accept_rewrite else None
    known = f"{VERSION} {settings!r} {load_policy(Path(settings.policy))!r}"
    fingerprint = hashlib.sha256(known.encode()).hexdigest()  # the repository's address may hold a password
    is_current = not again and old is not None and _is_current(old, fingerprint)
    revision, failure = _fetched(settings, places, old, applied, rebuild=not is_current)
    if failure:
        log(failure, about="follow", level=WARNING)
    if old and is_current and old.header.seen == revision.commit:
        noted.limits(settings, places, (each.mirror for each in old.mirrors.values()))
        return _answer(old.header, changed=False, mirrors=len(old.mirrors))
    for what, todo in policy_lists.warnings(load_policy(Path(settings.policy))):
        log(f"{what} {todo}", about="follow", level=WARNING)
    header, mirrors = _judge(settings, fingerprint, revision, old)
    for line in hints.of_mirrors(each.mirror for each in mirrors):
        log(line, about="follow", level=WARNING)
    plan.write(places.plan, header, mirrors, _since(mirrors, old.due if old else {}, time.time()))
    noted.limits(settings, places, (each.mirror for each in mirrors))
    if old and not header.held:
        _try_again(places, mirrors, set(old.header.unmoved) - set(header.unmoved))
    kept = {name for each in mirrors for name in (each.mirror.name, *each.mirror.formerly)}
    places.forget_deletions(kept.union(_left_at_work(places, mirrors)))
    return _answer(header, changed=True, mirrors=len(mirrors))._replace(fetched=not failure)


def _is_current(old: "_Former", fingerprint: str) -> bool:
    """Whether nothing on this machine has changed since the plan was made."""
    unmoved = rename_detection.unmoved(list(old.mirrors.values()))
    return (old.header.fingerprint, old.header.unmoved) == (fingerprint, unmoved)


def _try_again(places: Places, mirrors: list[Planned], moved: set[str]) -> None:
    """Let those wait for a slot whose runs were refused until somebody moved their files: that is done now, and the
    refusals may have put off the next run by a day."""
    planned = [each for each in mirrors if each.mirror.name in moved]
    if not planned or not os.path.exists(places.journal):
        return
    with journal.opened(places.journal) as book:
        refused = {name for name, state in book.states().items() if state.status == REFUSED}
        book.launch([], [Subject.of(each) for each in planned if each.mirror.name in refused], time.time())


def _left_at_work(places: Places, mirrors: list[Planned]) -> list[str]:
    """The mirrors that this worker no longer has and that are still being synced, after a warning for each."""
    if not os.path.exists(places.journal):
        return []
    with journal.opened(places.journal) as book:
        left = leftover_runs.among(mirrors, [each.mirror for each in book.active()])
    for name in left:
        log(" ".join(leftover_runs.problem(name)), about="follow", level=WARNING)
    return left


def _held_at_once(settings: RunnerSettings, places: Places, old: "_Former | None") -> "_Former | None":
    """Let `start: held` into the plan in force, which needs no network; gives that plan as it is now."""
    if old is None or old.header.held or not settings.held:
        return old
    held = old._replace(header=old.header._replace(held=True))
    plan.write(places.plan, held.header, list(old.mirrors.values()), {name: due.since for name, due in old.due.items()})
    return held


def _fetched(
    settings: RunnerSettings, places: Places, old: "_Former | None", applied: str | None, *, rebuild: bool
) -> tuple[Revision, str]:
    """The newest revision; or the one that was fetched last and why, to `rebuild` the plan when the fetch fails."""
    checkout = Path(places.checkout)
    try:
        found = repository.fetch(settings.repository, checkout, applied)
    except repository.Unfetched as error:
        noted.unfetched(places, error, old.header.revision if old else None, time.time())
        if rebuild:
            with suppress(SkipjackError):
                return repository.fetched_last(settings.repository, checkout, applied), str(error)
        state = "What was applied before stays in force." if old else _NO_PLAN
        raise SkipjackError(error.what, f"{error.todo} {state}") from error
    noted.fetched(places)
    return found, ""


_NO_PLAN = "No mirror runs until then: there is no usable plan, and the checkout has no revision to make one from."


def _since(mirrors: list[Planned], before: Mapping[str, Due], now: float) -> dict[str, float]:
    """Since when each mirror has the fixed times that it has, under whatever name: those before do not count."""
    found: dict[str, float] = {}
    for mirror, _paths, _revision in mirrors:
        known = [before[name] for name in (mirror.name, *mirror.formerly) if name in before]
        found[mirror.name] = next((each.since for each in known[:1] if each.cron == mirror.cron), now)
    return found


class _Former(NamedTuple):
    header: Header
    mirrors: dict[str, Planned]
    due: dict[str, Due]


def _former(places: Places) -> _Former | None:
    """The plan in force; None when there is none that can be read (a new one is then made from nothing)."""
    if not os.path.exists(places.plan):
        return None
    try:
        with plan.opened(places.plan) as opened:
            mirrors = {planned.mirror.name: planned for planned in opened.mirrors()}
            return _Former(opened.header, mirrors, {due.name: due for due in opened.due()})
    except SkipjackError:
        return None


def _judge(
    settings: RunnerSettings, fingerprint: str, revision: Revision, old: _Former | None
) -> tuple[Header, list[Planned]]:
    header = _of_machine(settings, Header(
        settings.worker, 0, revision.commit, revision.commit, fingerprint,
        settings.run_dir, settings.container_program, settings.cgroup,
        held=settings.held,
    ))  # fmt: skip
    header, mirrors = _as_declared(settings, header, revision, old)
    header = header._replace(unmoved=rename_detection.unmoved(mirrors))
    return header._replace(problems=(*header.problems, *rename_detection.moves(mirrors))), mirrors


def _of_machine(settings: RunnerSettings, header: Header) -> Header:
    """The header with what a run must know of the machine's policy."""
    policy = load_policy(Path(settings.policy))
    roots = private_paths.shared_folders(settings, policy)
    home = environment.safe_home(private_paths.account_home(), Places(settings.state_dir).home, roots)
    names = tuple([entry.name for entry in policy_lists.env_entries(policy)])
    return header._replace(
        volumes=policy.volumes,
        pattern_files=policy.pattern_files,
        roots=roots,
        home=home,
        env=names,
        judged=policy.programs is not None,
        passwords=tuple(file_policy.passwords(policy, settings)),
    )


def _as_declared(
    settings: RunnerSettings, header: Header, revision: Revision, old: _Former | None
) -> tuple[Header, list[Planned]]:
    try:
        declared = catalogue.load(revision.files)
        for line in hints.of_files(declared.passed_over):
            log(line, about="follow", level=WARNING)
        worker = declared.workers.get(settings.worker)
        if worker is None and old is None:
            raise _unknown_worker(settings, declared)
    except InvalidConfigError as refused:
        if old is None:
            raise
        kept = old.header
        mirrors, forbidden = _allowed(settings, list(old.mirrors.values()))
        problems = (*_shown(refused.problems, {}), *forbidden)
        header = header._replace(slots=kept.slots, time_zone=kept.time_zone, sync_windows=kept.sync_windows)
        return header._replace(revision=kept.revision, problems=problems), mirrors
    if worker is None:  # taken off the list on purpose: what it goes on to sync, nobody wants from it any more
        shown = _shown(tuple(_unknown_worker(settings, declared).problems), {})
        kept = old.header if old else header
        header = header._replace(slots=kept.slots, time_zone=declared.site.time_zone)
        return header._replace(problems=shown), []
    mirrors, problems = _planned(settings, declared, revision.commit, old.mirrors if old else {})
    header = header._replace(slots=worker.slots, sync_windows=worker.sync_windows, time_zone=declared.site.time_zone)
    return header._replace(problems=problems), mirrors


def _planned(
    settings: RunnerSettings, declared: Catalogue, commit: str, before: Mapping[str, Planned]
) -> tuple[list[Planned], Problems]:
    """The mirrors of this worker: as declared where that is sound and allowed, else as they last were."""
    problems = list(_shown(declared.problems, {name: name for name in declared.quarantined}))
    own = [mirror for mirror in declared.mirrors if mirror.worker == settings.worker]
    policy = load_policy(Path(settings.policy))
    placed = [Planned(mirror, paths_of(mirror, settings, policy), commit) for mirror in own]
    allowed, forbidden = _allowed(settings, placed)
    names = declared.quarantined | {each.mirror.name for each in placed if each not in allowed}
    kept, no_more = _allowed(settings, [before[name] for name in sorted(names & before.keys())])
    apart, clashes = _apart([*_without_circles(kept, allowed), *allowed])
    own_logs, shared = _with_own_logs(apart)
    all_names = declared.quarantined | {mirror.name for mirror in declared.mirrors}
    mirrors, back = rename_detection.traced(own_logs, all_names, before)
    return mirrors, tuple(dict.fromkeys([*problems, *forbidden, *no_more, *clashes, *shared, *back]))


def _without_circles(kept: list[Planned], others: list[Planned]) -> list[Planned]:
    """The kept definitions, of which none waits for another one that by now comes after it."""
    circles = circular([each.mirror for each in (*kept, *others)])
    names = {name for _worker, name in circles}
    return [
        each._replace(mirror=each.mirror._replace(after=())) if each.mirror.name in names else each for each in kept
    ]


def _allowed(settings: RunnerSettings, mirrors: list[Planned]) -> tuple[list[Planned], list[Shown]]:
    """Those that this machine's policy allows, and what it forbids about the others."""
    policy = load_policy(Path(settings.policy))
    private = private_paths.private(settings, [each.mirror for each in mirrors])
    allowed: list[Planned] = []
    problems: list[Shown] = []
    for each in mirrors:
        found = list(violations(each.mirror, each.paths, settings, policy, private))
        problems += [(each.mirror.name, f"{each.mirror.name}.yml", what, _how(todo)) for what, todo in found]
        if not found:
            allowed.append(each)
    return allowed, problems


def _how(todo: str) -> str:
    """What to do, with how an administrator finds out what a policy lacks."""
    asks = "administrator" in todo or "policy" in todo
    return f"{todo} There `skipjack policy suggest` prints what the policy lacks." if asks else todo


def _apart(mirrors: list[Planned]) -> tuple[list[Planned], list[Shown]]:
    """Drop mirrors whose real directory is another's or lies in it; only the machine knows where links lead."""
    owners: dict[str, str] = {}
    apart: list[Planned] = []
    problems: list[Shown] = []
    for each in sorted(mirrors, key=lambda each: len(os.path.realpath(each.paths.directory))):
        name, real = each.mirror.name, os.path.realpath(each.paths.directory)
        outer = next((owners[folder] for folder in _upwards(real) if folder in owners), None)
        if outer is None:
            owners[real] = name
            apart.append(each)
        else:
            what = f"The directory {each.paths.directory} lies in that of `{outer}`, whose sync would delete its files."
            problems.append((name, f"{name}.yml", what, "Set another `mirror_subdir` or `mirror_dir`."))
    return apart, problems


def _with_own_logs(mirrors: list[Planned]) -> tuple[list[Planned], list[Shown]]:
    """Drop mirrors whose `log_dir` is really the folder of another one's logs, be it by that one's name alone."""
    owners: dict[str, str] = {}
    problems: list[Shown] = []
    for each in sorted(mirrors, key=lambda each: each.mirror.log_dir is not None):
        name, folder = each.mirror.name, each.paths.log_dir
        owner = owners.setdefault(os.path.realpath(folder), name)
        if owner != name:
            todo = "Set another one, or leave it out: each mirror's logs need a folder of their own."
            problems.append((name, f"{name}.yml", f"`log_dir` {folder} is where the logs of `{owner}` are.", todo))
    problems += _with_strange_logs(mirrors)
    names = {name for name, *_words in problems}
    return [each for each in mirrors if each.mirror.name not in names], problems


def _with_strange_logs(mirrors: list[Planned]) -> Iterator[Shown]:
    """Mirrors whose `log_dir` lies where an upstream or a container of another mirror could put a link."""
    if all(each.mirror.log_dir is None for each in mirrors):
        return
    held = {os.path.realpath(each.paths.directory): each.mirror.name for each in mirrors}
    held |= {os.path.realpath(each.paths.log_dir): each.mirror.name for each in mirrors if each.mirror.docker_image}
    for each in mirrors:
        name, folder = each.mirror.name, os.path.realpath(each.paths.log_dir)
        owner = next((held[above] for above in _upwards(folder) if held.get(above, name) != name), None)
        if owner is None:
            continue
        # Of two, the one goes that has chosen its place.
        loser, other = (name, owner) if each.mirror.log_dir is not None else (owner, name)
        what = f"The logs of `{name}` in {each.paths.log_dir} would lie in a folder that `{owner}` writes to."
        yield loser, f"{loser}.yml", what, f"Set another `log_dir`, apart from that of `{other}`, or leave it out."


def _upwards(path: str) -> Iterator[str]:
    while path != "/":
        yield path
        path = os.path.dirname(path)


def _unknown_worker(settings: RunnerSettings, declared: Catalogue) -> InvalidConfigError:
    known = ", ".join(f"`{name}`" for name in declared.workers)
    todo = f"Known: {known}. Add it there, or mend `worker:` in this machine's settings."
    what = f"This machine is the worker `{settings.worker}`, which is not here, so it syncs nothing."
    problem = Problem("_workers.yml", 1, 1, what, todo)
    return InvalidConfigError("The configuration cannot be used on this machine:", [problem])


def _shown(problems: tuple[Problem, ...], names: Mapping[str, str]) -> Problems:
    return tuple((names.get(_stem(each.file)), each.place, each.what, each.todo) for each in problems)


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".yml").removesuffix(".yaml")


def _answer(header: Header, *, changed: bool, mirrors: int) -> Followed:
    moves = tuple(_line(each) for each in header.problems if rename_detection.is_move(each[2]))
    problems = tuple(_line(each) for each in header.problems if not rename_detection.is_move(each[2]))
    revision = header.revision or ""
    return Followed(revision, changed, mirrors, problems, refused=header.seen != revision, moves=moves)


def _line(shown: Shown) -> str:
    _mirror, place, what, todo = shown
    return f"{place}: {what} {todo}"


def _make_folders(settings: RunnerSettings) -> tuple[str, ...]:
    """Make the folders that are missing; returns what is wrong with the run folder, without which work goes on."""
    for folder in (settings.state_dir, settings.log_dir, Places(settings.state_dir).home):
        try:
            os.makedirs(folder, mode=0o755, exist_ok=True)
        except OSError as error:
            raise SkipjackError(
                f"The folder {folder} cannot be created: {error.strerror}.", "Create it, owned by the worker's user."
            ) from error
    missing = runtime_dir.make(settings.run_dir)
    return () if missing is None else (f"{missing.what} {missing.todo}",)
