"""The two-stage provider: first sync everything except the indices, without deletions; then sync everything.

So clients that read an index during a sync find every file that it names. Debian's ftpsync does the same, and the
profiles here are its filters.
"""

from collections.abc import Iterator, Sequence

from runner.plugin_api import Command, Job
from runner.providers import deletion_guard, rsync, rsync_words, stage_filters
from runner.providers.deletion_names import Errors
from schemas.mirror_record import Mirror

OPTIONS = rsync.OPTIONS | {"stage1_profile"}
UNREACHED = rsync.UNREACHED

PROFILES: dict[str, tuple[str, ...]] = {
    "debian": (
        "+ *.diff/", "+ by-hash/", "- *.diff/Index", "- Contents*", "- Packages*", "- Sources*", "- Release*",
        "- InRelease", "- i18n/*", "- dep11/*", "- installer-*/current", "- ls-lR*",
    ),
    "debian-oldstyle": (
        "- Packages*", "- Sources*", "- Release*", "- InRelease", "- i18n/*", "- ls-lR*", "- dep11/*",
    ),
}  # fmt: skip
"""Files that the first stage leaves out (`-`) or takes nevertheless (`+`), as rsync's filter rules."""

is_success = rsync.is_success
explain = rsync.explain
reader = rsync.reader


_PARTIAL = 23
"""rsync's exit code for an incomplete transfer, see rsync(1)."""


def commands(job: Job) -> Iterator[Command]:
    """Yield both stages. A mirror's options apply to both, except that the first stage deletes nothing.

    The order of filters is tunasync's: the profile, the mirror's options, its pattern file. So that the mirror's
    filters hold in both stages, an include of the profile that would hide one is left out (`stage_filters`).
    """
    deletion_guard.begin(job)
    first = rsync.invocation(job, _first_options(job.mirror))
    full = rsync.invocation(job, _full_options(job.mirror))
    errors = Errors()
    # A directory in the place of a file makes the first stage incomplete; only the second one can remove it.
    goes_on = frozenset({_PARTIAL})
    listed = yield from deletion_guard.without_deletions(job, first._replace(goes_on=goes_on, errors=errors.take))
    if job.exit_code == rsync_words.USAGE:
        yield from rsync_words.falling_back(job, first, deletion_guard.GUARD)
        if job.exit_code:
            return
        yield rsync_words.without_ours(full)
    elif job.exit_code == _PARTIAL and not errors.only_obstacles and not rsync.is_success(job, _PARTIAL):
        job.write(errors.held())
    else:
        yield from deletion_guard.guarded(job, full, listed.new if listed else 0)


def argument_lists(mirror: Mirror, directory: str) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of every rsync that a run may start; see the rsync provider."""
    yield from deletion_guard.argument_lists(rsync_words.arguments(mirror, directory, _first_options(mirror)))
    yield from deletion_guard.argument_lists(rsync_words.arguments(mirror, directory, _full_options(mirror)))


def _first_options(mirror: Mirror) -> tuple[str, ...]:
    base, own = rsync.begin(mirror), rsync.own(mirror)
    begin = (*rsync_words.for_first_stage(base), *rsync_words.resuming((*base, *own)))
    ends = (*rsync.connection(mirror), *rsync.exclusions(mirror))
    return (*begin, *_filters(mirror, (*own, *ends)), *rsync_words.for_first_stage(own), *ends)


def _full_options(mirror: Mirror) -> tuple[str, ...]:
    return (*rsync.begin(mirror), *rsync.own(mirror), *rsync.connection(mirror), *rsync.exclusions(mirror))


def _filters(mirror: Mirror, own: Sequence[str]) -> tuple[str, ...]:
    """Return the rules of the profile, without includes that would hide an exclude of the mirror's own options."""
    profile = mirror.stage1_profile
    rules = PROFILES[profile] if isinstance(profile, str) else profile
    return tuple(f"--filter={rule}" for rule in stage_filters.without_hiding(rules, own))
