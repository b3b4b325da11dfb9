"""What does the exported policy of a worker say to the mirrors that a change affects?"""

from collections.abc import Iterable, Sequence

from runner.forecast.forecast import ALLOWED, DENIED, PolicyVerdict
from runner.forecast.notes import grouped
from runner.policy import exported
from schemas.config.exported_policy import ExportedPolicy
from schemas.records import Mirror

_NOT_JUDGED = PolicyVerdict()


def of(policy: ExportedPolicy | None, affected: Iterable[Mirror], all_mirrors: Sequence[Mirror]) -> PolicyVerdict:
    """Return the verdict about the affected mirrors of a worker, of which `all_mirrors` are those of the head."""
    if policy is None:
        return _NOT_JUDGED
    judge = exported.judge(policy, all_mirrors)
    denied = grouped((mirror.name, what, todo) for mirror in affected for what, todo in judge(mirror))
    return PolicyVerdict(DENIED if denied else ALLOWED, denied)
