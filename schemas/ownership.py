"""What can a user do who may not access a file of a worker or a manager? Cheap to import."""

import errno
import os

from schemas.errors import SkipjackError, causes

_DENIED = frozenset({3, 8, 14})
"""SQLite's result codes PERM, READONLY and CANTOPEN, for a file without permission."""


def remedy(path: str, home: str, subject: str = "This worker") -> str:
    """Return what to do about a file in `home` that this user may not access; empty if ownership is not the reason.

    `home` is the state folder of the `subject`, or the file itself; its owner decides the advice. A folder that is not
    accessible counts as owned by the owner of the innermost accessible one. Root may access everything.
    """
    import shlex  # rarely needed, and the lean programs import this module

    mine, owner = os.geteuid(), _owner(home)
    if owner is None or mine == 0:
        return ""
    if owner != mine:
        return _run_as(owner, subject)
    place = _innermost(path)
    other = os.stat(place).st_uid
    if other != mine:
        # chown takes a number without the `#` that sudo needs.
        words = shlex.join(["sudo", "chown", "-R", _name(mine).removeprefix("#"), place])
        return f"It belongs to the user {_name(other)}: change its owner with `{words}`."
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return ""
    if not os.access(place, os.R_OK | os.W_OK | (os.X_OK if os.path.isdir(place) else 0)):
        return f"Its mode denies access to its owner: allow it with `chmod u+rwX {shlex.quote(place)}`."
    return ""


def denial(error: BaseException, home: str, subject: str = "This worker") -> SkipjackError | None:
    """Return the error for a failure because this user may not access a file in `home`; None for any other failure."""
    cause = _cause(error, home)
    if cause is None:
        return None
    filename = getattr(cause, "filename", None)
    todo = remedy(os.fsdecode(filename or home), home, subject)
    if not todo:
        return None
    if isinstance(error, SkipjackError):
        return SkipjackError(error.what, todo)
    return SkipjackError(f"cannot use {filename or home}: {os.strerror(errno.EACCES)}.", todo)


def _cause(error: BaseException | None, home: str) -> BaseException | None:
    """Return the error about the denied access, among an error and its causes; None if there is none."""
    for each in causes(error):
        if isinstance(each, PermissionError) and _lies_in(each.filename, home):
            return each
        # The low byte of an extended result code is the primary one.
        if getattr(each, "sqlite_errorcode", 0) & 0xFF in _DENIED:
            return each
    return None


def _lies_in(name: object, home: str) -> bool:
    if not home or not isinstance(name, str | bytes | os.PathLike):
        return False
    return f"{os.fsdecode(name)}/".startswith(f"{home.rstrip('/')}/")


def _run_as(owner: int, subject: str) -> str:
    if owner == 0:
        return f"{subject} belongs to root: run the command as root, as with `sudo`."
    name = _name(owner)
    return (
        f"{subject} belongs to the user {name}: run the command as that user (`sudo -u {_quoted(name)} …`) or as root."
    )


def _owner(path: str) -> int | None:
    """Return the owner of a file, or of the innermost accessible folder; None if the file does not exist."""
    try:
        return os.stat(path).st_uid
    except FileNotFoundError:
        return None
    except OSError:
        return os.stat(_innermost(path)).st_uid


def _innermost(path: str) -> str:
    """Return the path, or the innermost folder above it that is accessible."""
    path = os.path.abspath(path)
    while path != "/":
        try:
            os.stat(path)
        except OSError:
            path = os.path.dirname(path)
        else:
            break
    return path


def _name(user: int) -> str:
    from schemas.user_names import for_sudo  # rarely needed

    return for_sudo(user)


def _quoted(name: str) -> str:
    return f"'{name}'" if name.startswith("#") else name
