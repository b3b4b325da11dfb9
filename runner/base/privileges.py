"""Giving up root's powers, for what belongs to another user, for good or for a moment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

_NOBODY = 65534
"""A user that owns nothing and is in no group, as one that is yet to be made."""


class Identity(NamedTuple):
    """The numbers of a user and of its groups, the first one its own."""

    user: int
    groups: tuple[int, ...]


def become_owner(folder: str) -> None:
    """If we are root and a folder belongs to another user, go on as that user, with its groups and its home."""
    import pwd

    try:
        owner = os.stat(folder).st_uid
        user = pwd.getpwuid(owner)
    except (OSError, KeyError):  # it is not there yet, or belongs to a user whom this machine does not know
        return
    if os.geteuid() != 0 or owner == 0:
        return
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(owner)
    for name in [key for key in os.environ if key.startswith("XDG_") or key == "DBUS_SESSION_BUS_ADDRESS"]:
        del os.environ[name]  # of root's session
    os.environ |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
    os.chdir("/")  # root's own folders are out of reach now


def identity(user: str) -> Identity:
    """The numbers of a user by name; one that is yet to be made is in no group that matters."""
    import pwd

    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return Identity(_NOBODY, (_NOBODY,))
    groups = os.getgrouplist(user, found.pw_gid)
    return Identity(found.pw_uid, (found.pw_gid, *(group for group in groups if group != found.pw_gid)))


@contextmanager
def acting_as(user: str) -> Iterator[bool]:
    """Have a user's rights to files within the block; False if we neither are that user nor may become it."""
    wanted = identity(user)
    if os.geteuid() == wanted.user:
        yield True
        return
    if os.geteuid() != 0:
        yield False
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups(wanted.groups)
    os.setegid(wanted.groups[0])
    os.seteuid(wanted.user)
    try:
        yield True
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
