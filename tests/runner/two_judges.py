"""The judge of a worker and the one of exported policies, which must find the same violations without files."""

import functools
import re
import tempfile
from collections.abc import Iterable, Iterator

from runner.base import file_view, private_paths
from runner.base.file_policy import Violation
from runner.base.mirror_paths import Paths
from runner.policy import policy as judge
from schemas.config import exported_policy
from schemas.config.exported_policy import ExportedPolicy
from schemas.records import Mirror, Policy, RunnerSettings

exported = functools.lru_cache(exported_policy.exported)

_RESOLVED = re.compile(r", which resolves to [^ ,]+,?")


def violations(mirror: Mirror, paths: Paths, settings: RunnerSettings, policy: Policy) -> Iterator[Violation]:
    """Return the worker's violations; AssertionError if the judge of exported policies finds others.

    It may if the case is about files of the test, which it does not see.
    """
    found = list(judge.violations(mirror, paths, settings, policy))
    if not has_own_files(mirror, paths, settings, policy):
        assert comparable(by_exported(mirror, paths, exported(settings, policy, "1"))) == comparable(found)
    return iter(found)


def has_own_files(*records: object) -> bool:
    """Return whether a record names a path below the folder of temporary files."""
    return f"{tempfile.gettempdir()}/" in repr(records)


def by_exported(mirror: Mirror, paths: Paths, exported: ExportedPolicy) -> list[Violation]:
    """Return the violations that the judge of exported policies finds."""
    private = private_paths.private(exported.settings, [mirror], files=file_view.ELSEWHERE)
    return list(judge.violations(mirror, paths, exported.settings, exported.policy, private))


def comparable(found: Iterable[Violation]) -> list[Violation]:
    """Return violations without the home of this user and where links of this machine lead."""
    homes = list(private_paths.credentials())[1:]
    return [(_RESOLVED.sub("", what), todo) for what, todo in found if not any(home in what for home in homes)]
