"""`skipjack policy suggest`: the entries that a machine's policy lacks for the definitions of its worker."""

from collections.abc import Iterator
from pathlib import Path

from runner.base import scratch_folder
from runner.base.output import log, say
from runner.base.repository_patterns import without_repository_patterns
from runner.base.state_dir import StateLayout
from runner.importing.allowance import PolicyExtension, as_plain, decide
from runner.importing.yaml_text import item
from runner.plan import plan
from runner.policy import policy_lists, policy_names
from schemas.config import catalogue, plugin_search
from schemas.config.settings import load_policy
from schemas.errors import SkipjackError
from schemas.git import repository
from schemas.problems import printable
from schemas.records import DEFAULT, Bound, Mirror, Policy, RunnerSettings
from schemas.standard_streams import WARNING

_NAMED = 5
"""Most mirrors that a comment names."""


def suggest(settings: RunnerSettings) -> int:
    """Print, as YAML, the keys of a policy that allows the newest definitions and those in force.

    Changes nothing. SkipjackError when the policy or the repository cannot be read.
    """
    policy = load_policy(Path(settings.policy))
    for line in policy_names.warnings(policy, plugin_search.installed()):
        log(line, about="policy", level=WARNING)
    for line in _lines(_decided(_definitions(settings), settings, policy), policy, settings):
        say(line, has_addresses=False)
    return 0


def _decided(mirrors: list[Mirror], settings: RunnerSettings, policy: Policy) -> PolicyExtension:
    """Return what the definitions need of a policy without the `forbidden_…` keys of earlier releases.

    What those keys deny stays denied; what they allow is listed only if a definition needs it.
    """
    decision = decide(mirrors, settings, policy)
    refused = {name for name, _violation in decision.refused}
    needing = [each for each in mirrors if each.name not in refused]
    found = decide(needing, settings, policy_lists.without_old_keys(policy))
    return found._replace(refused=(*decision.refused, *found.refused))


def _definitions(settings: RunnerSettings) -> list[Mirror]:
    """Return the worker's definitions in the repository; where the newest is invalid, the one in force."""
    # Not the worker's checkout: this command changes nothing, and may run as another user.
    with scratch_folder.opened() as folder:
        revision = repository.fetch(settings.repository, Path(folder) / "checkout")
    declared = catalogue.load(revision.files, plugin_search.installed().schemas)
    found = {mirror.name: mirror for mirror in declared.mirrors if mirror.worker == settings.worker}
    missing = declared.quarantined - found.keys()
    return [*found.values(), *(each for each in _in_force(settings) if each.name in missing)]


def _in_force(settings: RunnerSettings) -> list[Mirror]:
    layout = StateLayout(settings.state_dir)
    try:
        with plan.opened(layout.plan) as opened:
            return [without_repository_patterns(planned.mirror, layout) for planned in opened.mirrors()]
    except SkipjackError:
        return []  # no plan, or one of another release


def _lines(decision: PolicyExtension, policy: Policy, settings: RunnerSettings) -> Iterator[str]:
    base = policy_lists.without_old_keys(policy)
    causes: dict[str, dict[str | Bound, list[str]]] = {}
    for made, names in decision.causes:
        causes.setdefault(made.key, {})[made.entry] = names
    old = [key for key in ("forbidden_env", "forbidden_rsync_options") if getattr(policy, key) is not None]
    for key in old:
        causes.setdefault(key.replace("forbidden", "allowed"), {})
    if causes:
        yield f"# For {settings.policy}: each list replaces the one there."
        yield "# Everyone who can merge to the config repository can then do the same with any mirror."
    else:
        yield f"# {settings.policy} already allows all definitions of the worker {settings.worker}."
    for key in old:
        yield f"# Remove `{key}`; `{key.replace('forbidden', 'allowed')}` replaces it."
    for key, entries in causes.items():
        yield f"{key}:"
        for entry in [*_entries(key, base), *entries]:
            yield f"  - {item(as_plain(entry))}" + (f"  # {_named(entries[entry])}" if entry in entries else "")
    for name, (what, todo) in decision.refused:
        yield f"# {name}: no entry of the policy can allow this. {printable(what)} {printable(todo)}"


def _entries(key: str, policy: Policy) -> list[str | Bound]:
    """Return the entries of a list, with the word `default` for those of its default."""
    entries = list(getattr(policy, key) or ())
    default = getattr(Policy(), key) if key.startswith("allowed") else ()
    if not default or not set(default) <= set(entries):
        return entries
    return [DEFAULT, *(each for each in entries if each not in default)]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
