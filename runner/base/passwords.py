"""Whether a mirror's upstream may get its password: checked at follow, and again before each start and each probe.

In between, the file may have been replaced by a link to a password that is meant for another upstream.
"""

from collections.abc import Sequence
from typing import Any

from runner.base.file_policy import Passwords, password_file_violations, password_violations
from runner.base.pattern_files import Unsafe, of_links, opened, require_one_link
from schemas.mirror_record import Secret
from schemas.records import Bound, Mirror
from schemas.secrets import first_line, read_mirror_secret, unreadable


def require_allowed(known: Sequence[Any] | None, place: str, links: int) -> None:
    """Raise Unsafe if rsync must not read a password from a file at this real path; `known` as in `refusal`."""
    require_one_link(links)
    if known is None:
        return
    for what, _todo in password_file_violations("--password-file", place, _passwords(known)):
        raise Unsafe(f"may not be used: {what.rstrip('.')}")


def read(mirror: Mirror, known: Sequence[Any] | None) -> str:
    """Return a mirror's password, from the file that was judged when it was open; `known` as in `refusal`.

    Raises Unsafe with the reason if the policy denies the upstream the password, SkipjackError if it cannot be read.
    """
    if why := refusal(mirror, known):
        raise Unsafe(why)
    secret = mirror.password
    if secret is None or secret.file is None:
        return read_mirror_secret(secret or Secret())

    def judge(place: str, links: int) -> None:
        if known is not None and links > 1:
            raise Unsafe(f"`password` names {place}, which {of_links(links)}.")
        if why := refusal(mirror._replace(password=Secret(file=place)), known):
            raise Unsafe(why)

    try:
        with opened(secret.file, judge) as descriptor:
            return first_line(descriptor, secret.file)
    except OSError as error:
        raise unreadable(secret.file, str(error.strerror)) from error


def refusal(mirror: Mirror, known: Sequence[Any] | None) -> str:
    """Return why the machine's policy denies the upstream a password now; empty if it is allowed.

    `known` are the values of `Passwords` from the plan, None if it has none.
    """
    if known is None:
        return ""
    what, todo = next(password_violations(mirror, _passwords(known)), ("", ""))
    return f"{what} {todo}".strip()


def _passwords(known: Sequence[Any]) -> Passwords:
    readable, secrets, own = known
    entries = tuple([each if isinstance(each, str) else Bound(*each) for each in readable])
    return Passwords(entries, tuple(secrets), own)
