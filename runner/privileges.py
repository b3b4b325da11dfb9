"""Giving up root's powers, for what belongs to another user."""

import os


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
    os.environ |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
    os.chdir("/")  # root's own folders are out of reach now
