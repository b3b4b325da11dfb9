"""Whether a mirror's upstream may have its password: asked at follow, and again before each start and each probe.

Between the two somebody may have put a link in the place of the file, to a password that is for another upstream.
"""

from collections.abc import Sequence
from typing import Any

from runner.base.file_policy import Passwords, password_violations
from schemas.records import Bound, Mirror


def refusal(mirror: Mirror, known: Sequence[Any] | None) -> str:
    """Return why the machine's policy keeps a password from its upstream now; empty when it does not.

    `known` are the values of `Passwords` as the plan has them, None where it has none.
    """
    if known is None:
        return ""
    readable, secrets, own = known
    entries = tuple([each if isinstance(each, str) else Bound(*each) for each in readable])
    what, todo = next(password_violations(mirror, Passwords(entries, tuple(secrets), own)), ("", ""))
    return f"{what} {todo}".strip()
