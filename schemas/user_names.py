"""Names of this machine's users, for messages and for `sudo`."""

import pwd


def name_of(user: int) -> str:
    """Return a user's name; the number if it has none, as in a container."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def for_sudo(user: int) -> str:
    """Return a user's name, or `#` and the number if it has none, as `sudo` accepts it."""
    name = name_of(user)
    return f"#{name}" if name.isdecimal() else name
