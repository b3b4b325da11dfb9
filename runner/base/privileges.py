"""Drop root's privileges, permanently or for a block, to work on files of another user."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

_NOBODY = 65534
"""The id of `nobody`, which stands for a user that does not exist yet: it owns nothing and is in no group."""


class Identity(NamedTuple):
    """The id of a user and of its groups, the primary one first."""

    user: int
    groups: tuple[int, ...]


def become_owner(folder: str) -> None:
    """If we are root and a folder belongs to another user, become that user, with its groups and its home."""
    import pwd

    try:
        owner = os.stat(folder).st_uid
        user = pwd.getpwuid(owner)
    except (OSError, KeyError):  # it does not exist yet, or its owner has no account here
        return
    if os.geteuid() != 0 or owner == 0:
        return
    # The groups first: after setuid we have no right to change them.
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(owner)
    for name in [key for key in os.environ if key.startswith("XDG_") or key == "DBUS_SESSION_BUS_ADDRESS"]:
        del os.environ[name]  # of root's session
    os.environ |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
    os.chdir("/")  # the current folder may be one that only root can enter


def identity(user: str) -> Identity:
    """Return the ids of a user by name; those of `nobody` if it does not exist yet."""
    import pwd

    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return Identity(_NOBODY, (_NOBODY,))
    groups = os.getgrouplist(user, found.pw_gid)
    return Identity(found.pw_uid, (found.pw_gid, *(group for group in groups if group != found.pw_gid)))


@contextmanager
def acting_as(user: str) -> Iterator[bool]:
    """Access files with a user's rights within the block; yields False if we are neither that user nor root."""
    wanted = identity(user)
    if os.geteuid() == wanted.user:
        yield True
        return
    if os.geteuid() != 0:
        yield False
        return
    groups, group = os.getgroups(), os.getegid()
    # The effective user last, and back first: only root may change groups.
    os.setgroups(wanted.groups)
    os.setegid(wanted.groups[0])
    os.seteuid(wanted.user)
    try:
        yield True
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
