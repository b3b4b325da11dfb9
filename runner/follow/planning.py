"""From the files of a revision to the mirrors of the plan, within what this machine allows.

`make` loads the catalogue (schemas/config), gives each mirror of this worker its paths (runner/base/mirror_paths.py),
checks it against the policy (runner/policy/policy.py) and the other mirrors' folders (`separate_folders`), puts the
last valid definition in the place of a quarantined one, and detects renames. It writes nothing, and starts nothing but
the trial of plug-ins (`plugins_in_use`).
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from runner.base import environment, file_policy, private_paths
from runner.base.mirror_paths import paths_of
from runner.base.output import log
from runner.base.repository_patterns import without_repository_patterns
from runner.base.state_dir import StateLayout
from runner.follow import rename_detection, separate_folders
from runner.follow.plugins_in_use import PluginsInUse
from runner.plan.plan import Due, Header, Planned, PlanProblem
from runner.policy import policy_lists
from runner.policy.policy import violations
from schemas.config import catalogue, exported_policy, hints
from schemas.config.catalogue import Catalogue
from schemas.config.plugin_search import Installed
from schemas.config.timing import circular
from schemas.git.repository import Revision, Unverified
from schemas.problems import InvalidConfigError, Problem
from schemas.records import Policy, RunnerSettings
from schemas.release import version
from schemas.standard_streams import WARNING

Problems = tuple[PlanProblem, ...]


class LocalConfig(NamedTuple):
    """The settings of this machine, its policy and its plug-ins.

    Each is read once per follow and stays the same until its end. `in_use` tries each plug-in that a mirror uses once.
    `pattern_files` are the real paths of the policy's folders of that name. Runs get these, so a user who may write
    above such a folder gains nothing by putting a link to another one in its place.
    """

    settings: RunnerSettings
    policy: Policy
    installed: Installed
    in_use: PluginsInUse
    pattern_files: Mapping[str, str]


class InForce(NamedTuple):
    """The plan in force: its header, and its mirrors and their times by name."""

    header: Header
    mirrors: dict[str, Planned]
    due: dict[str, Due]


def make(
    local: LocalConfig, fingerprint: str, revision: Revision, old: InForce | None, refusal: Problems = ()
) -> tuple[Header, list[Planned]]:
    """Return the plan for a revision; InvalidConfigError when it is unusable and there is no `old` plan to keep.

    `fingerprint` identifies the release, settings and policy that the plan is made with. `refusal` is why the newest
    revision, or a lost one, is not used: a revision without files keeps `old`.
    """
    header = _header(local, fingerprint, revision)
    if old and old.header.revision == revision.commit and not revision.signer:  # verified when it came into force
        header = _with_signer(header, old.header)
    if refusal and old and not revision.files:
        header, mirrors = _kept(local, header, refusal, old)
    else:
        header, mirrors = _judged(local, header, revision, old)
        header = header._replace(problems=(*refusal, *header.problems))
    plugins, broken = local.in_use.of(each.mirror for each in mirrors), local.in_use.broken
    header = header._replace(unmoved=rename_detection.unmoved(mirrors), plugins=plugins, broken=broken)
    return header._replace(problems=(*header.problems, *rename_detection.moves(mirrors))), mirrors


SIGNATURES = "verify_signatures"
"""The place of a problem with signatures: the setting that requires them."""


def unverified(error: Unverified) -> Problems:
    """Return why a revision that is not signed as it must be is rejected."""
    return ((None, SIGNATURES, f"{error.what[0].upper()}{error.what[1:]}", error.todo),)


def refusal(header: Header) -> Problems:
    """Return why the revision that the plan's follow saw was not signed as it must be; empty if it was."""
    return tuple(each for each in header.problems if each[:2] == (None, SIGNATURES))


def _with_signer(header: Header, other: Header) -> Header:
    return header._replace(signer=other.signer, signing_key=other.signing_key)


def _header(local: LocalConfig, fingerprint: str, revision: Revision) -> Header:
    """Return a header with all that runs must know of the machine's settings and policy."""
    settings, policy = local.settings, local.policy
    roots = private_paths.shared_folders(settings, policy)
    return Header(
        # The slots come from the revision, in `_judged`.
        settings.worker, 0, revision.commit, revision.newest or revision.commit, fingerprint,
        settings.run_dir, settings.container_program, settings.cgroup,
        held=settings.held,
        volumes=policy.volumes,
        pattern_files=tuple(local.pattern_files.values()),
        roots=roots,
        # In the plan, so that a run need not read the settings and the policy.
        home=environment.safe_home(private_paths.account_home(), StateLayout(settings.state_dir).home, roots),
        env=tuple([entry.name for entry in policy_lists.env_entries(policy)]),
        judged=policy.programs is not None,
        programs=policy.programs,
        passwords=tuple(file_policy.passwords(policy, settings)),
        policy=exported_policy.exported(settings, policy, version()).digest,
        signer=revision.signer,
        signing_key=revision.signing_key,
    )  # fmt: skip


def _judged(
    local: LocalConfig, header: Header, revision: Revision, old: InForce | None
) -> tuple[Header, list[Planned]]:
    """Return the header and mirrors of the revision; those in force when its site or workers file is broken."""
    settings = local.settings
    try:
        declared = catalogue.load(revision.files, local.installed.schemas)
        for line in (*declared.warnings, *hints.of_files(declared.passed_over)):
            log(line, about="follow", level=WARNING)
        worker = declared.workers.get(settings.worker)
        if worker is None and old is None:
            raise _unknown_worker(settings, declared)
    except InvalidConfigError as refused:
        if old is None:
            raise
        return _kept(local, header, _shown(refused.problems, {}), old)
    if worker is None:  # removed from the list on purpose, so its old definitions are not kept
        kept = old.header if old else header
        header = header._replace(slots=kept.slots, time_zone=declared.site.time_zone)
        return header._replace(problems=_shown(tuple(_unknown_worker(settings, declared).problems), {})), []
    mirrors, problems = _planned(local, declared, revision.commit, old.mirrors if old else {})
    header = header._replace(slots=worker.slots, sync_windows=worker.sync_windows, time_zone=declared.site.time_zone)
    return header._replace(problems=problems), mirrors


def _kept(local: LocalConfig, header: Header, refused: Problems, old: InForce) -> tuple[Header, list[Planned]]:
    """Keep the revision in force; the policy is applied all the same, since it may have changed."""
    kept = old.header
    mirrors, denied = _allowed(local, list(old.mirrors.values()), StateLayout(local.settings.state_dir))
    header = header._replace(slots=kept.slots, time_zone=kept.time_zone, sync_windows=kept.sync_windows)
    header = _with_signer(header, kept)
    return header._replace(revision=kept.revision, problems=(*refused, *denied)), mirrors


def _planned(
    local: LocalConfig, declared: Catalogue, commit: str, before: Mapping[str, Planned]
) -> tuple[list[Planned], Problems]:
    """Return the mirrors of this worker: as declared where that is valid and allowed, else as they were `before`."""
    settings, policy = local.settings, local.policy
    # The definition in force of a mirror that is moved to another worker stays here until the new one is valid.
    shown = [
        each
        for each in declared.problems
        if _stem(each.file) in before or not declared.is_elsewhere(each.file, settings.worker)
    ]
    problems = list(_shown(shown, {name: name for name in declared.quarantined}))
    own = [mirror for mirror in declared.mirrors if mirror.worker == settings.worker]
    placed = [Planned(mirror, paths_of(mirror, settings, policy), commit) for mirror in own]
    allowed, denied = _allowed(local, placed)
    names = declared.quarantined | {each.mirror.name for each in placed if each not in allowed}
    # The policy may have changed since these were in force.
    in_force = [before[name] for name in sorted(names & before.keys())]
    kept, denied_by_now = _allowed(local, in_force, StateLayout(settings.state_dir))
    # An unusable plug-in is a problem of the new definition and of the one in force.
    reported = {(name, what) for name, _place, what, _todo in problems}
    denied_by_now = [each for each in denied_by_now if (each[0], each[2]) not in reported]
    apart, clashes = separate_folders.directories([*_without_circles(kept, allowed), *allowed])
    own_logs, shared = separate_folders.logs(apart)
    all_names = declared.quarantined | {mirror.name for mirror in declared.mirrors}
    mirrors, back = rename_detection.with_previous_names(own_logs, all_names, before)
    return mirrors, tuple(dict.fromkeys([*problems, *denied, *denied_by_now, *clashes, *shared, *back]))


def _without_circles(kept: list[Planned], others: list[Planned]) -> list[Planned]:
    """Return the kept definitions, without an `after` that names a mirror which by now waits for them."""
    circles = circular([each.mirror for each in (*kept, *others)])
    names = {name for _worker, name in circles}
    return [
        each._replace(mirror=each.mirror._replace(after=())) if each.mirror.name in names else each for each in kept
    ]


def _allowed(
    local: LocalConfig, mirrors: list[Planned], in_force: StateLayout | None = None
) -> tuple[list[Planned], list[PlanProblem]]:
    """Return the mirrors that the policy allows and whose plug-ins can be used, and what prevents the others.

    `in_force` is the worker's state directory if the mirrors are in force: they name pattern files as stored there.
    """
    settings, policy = local.settings, local.policy
    # A definition can name any file as its password. One that it may not read must not deny other mirrors anything.
    reading = [each.mirror for each in mirrors if file_policy.may_read_its_password(each.mirror, policy)]
    private = private_paths.private(settings, reading, local.pattern_files)
    allowed: list[Planned] = []
    problems: list[PlanProblem] = []
    for each in mirrors:
        judged = without_repository_patterns(each.mirror, in_force)
        found = list(violations(judged, each.paths, settings, policy, private))
        found = found or list(local.in_use.violations(each.mirror))
        problems += [(each.mirror.name, f"{each.mirror.name}.yml", what, _remedy(todo)) for what, todo in found]
        if not found:
            allowed.append(each)
    return allowed, problems


def _remedy(todo: str) -> str:
    """Return what to do; where the policy is concerned, with the command that shows an administrator what it lacks."""
    asks = "administrator" in todo or "policy" in todo
    return f"{todo} `skipjack policy suggest` on that machine prints the missing entries." if asks else todo


def _unknown_worker(settings: RunnerSettings, declared: Catalogue) -> InvalidConfigError:
    known = ", ".join(f"`{name}`" for name in declared.workers)
    todo = f"Known workers: {known}. Add it there, or correct `worker:` in this machine's settings."
    what = f"The worker `{settings.worker}` of this machine is not listed, so it syncs nothing."
    problem = Problem("_workers.yml", 1, 1, what, todo)
    return InvalidConfigError("the configuration cannot be used on this machine:", [problem])


def _shown(problems: Iterable[Problem], names: Mapping[str, str]) -> Problems:
    return tuple((names.get(_stem(each.file)), each.place, each.what, each.todo) for each in problems)


def _stem(path: str) -> str:
    # Files in `.skipjack` are named after workers and plug-ins.
    return "" if path.startswith(".") else path.rpartition("/")[2].removesuffix(".yml").removesuffix(".yaml")
