"""Whether a mirror's upstream may get its password: checked at follow, and again before each start and each probe.

In between, the file may have been replaced by a link to a password that is meant for another upstream.
"""

from collections.abc import Sequence
from typing import Any

from runner.base.file_policy import Passwords, password_violations
from schemas.records import Bound, Mirror


def refusal(mirror: Mirror, known: Sequence[Any] | None) -> str:
    """Return why the machine's policy denies the upstream a password now; empty if it is allowed.

    `known` are the values of `Passwords` from the plan, None if it has none.
    """
    if known is None:
        return ""
    readable, secrets, own = known
    entries = tuple([each if isinstance(each, str) else Bound(*each) for each in readable])
    what, todo = next(password_violations(mirror, Passwords(entries, tuple(secrets), own)), ("", ""))
    return f"{what} {todo}".strip()
