"""The two-stage provider: first everything but the indices, deleting nothing; then the full sync.

A client that reads an index while the mirror is being synced then finds every file that the index names. Debian's
ftpsync does the same, and its filters are the profiles here.
"""

from collections.abc import Iterator

from runner.api import Command, Job
from runner.providers import deletion_guard, rsync
from schemas.records import Mirror

OPTIONS = rsync.OPTIONS | {"stage1_profile"}

PROFILES: dict[str, tuple[str, ...]] = {
    "debian": (
        "+ *.diff/", "+ by-hash/", "- *.diff/Index", "- Contents*", "- Packages*", "- Sources*", "- Release*",
        "- InRelease", "- i18n/*", "- dep11/*", "- installer-*/current", "- ls-lR*",
    ),
    "debian-oldstyle": (
        "- Packages*", "- Sources*", "- Release*", "- InRelease", "- i18n/*", "- ls-lR*", "- dep11/*",
    ),
}  # fmt: skip
"""What the first stage leaves out (`-`) and takes nevertheless (`+`), as rsync's filter rules."""

is_success = rsync.is_success
explain = rsync.explain
reader = rsync.reader


def commands(job: Job) -> Iterator[Command]:
    """Both stages. What a definition overrides or inherits holds in both, `rsync_options_extra` in the second alone."""
    rsync.check(job)
    yield rsync.invocation(job, _first_options(job.mirror))
    yield from deletion_guard.guarded(job, rsync.full(job))


def argument_lists(mirror: Mirror, directory: str) -> Iterator[tuple[str, ...]]:
    """The arguments of every rsync that a run may start; see the rsync provider."""
    yield rsync.arguments(mirror, directory, _first_options(mirror))
    yield from rsync.argument_lists(mirror, directory)


def _first_options(mirror: Mirror) -> tuple[str, ...]:
    shared = rsync.options(mirror, rsync.BUILT_IN)
    return (*(word for word in shared if not _removes(word)), *_filters(mirror))


def _removes(word: str) -> bool:
    """Whether an option belongs to the second stage: everything that deletes, or that delays what is transferred."""
    return word in ("--del", "--delay-updates") or word.startswith("--delete")


def _filters(mirror: Mirror) -> tuple[str, ...]:
    profile = mirror.stage1_profile
    rules = PROFILES[profile] if isinstance(profile, str) else profile
    return tuple(f"--filter={rule}" for rule in rules)
