"""Can only trusted users change a file? Root is one, and the owner of the settings that name the file.

A folder on the way in which another user may create files counts as well, and so does each link.
"""

import os
import stat
from pathlib import Path

from schemas.errors import SkipjackError
from schemas.regular_files import read_regular
from schemas.user_names import name_of

_MOST_LINKS = 40
"""Links in one path at most, as in the kernel."""


_UNKNOWN_USER = 65534
"""The owner of all files whose owner does not exist here, as in a unit with `PrivateUsers=`."""


def read_trusted(path: str, owner: int, most: int) -> bytes:
    """Return the content of a regular file, `most` bytes at most, that only root and the user `owner` can change.

    Raises SkipjackError.
    """
    _require_trusted(path, owner)
    try:
        return read_regular(path, most)
    except OSError as error:
        raise _unreadable(path, error) from error


def names_in_trusted(folder: str, owner: int) -> list[str]:
    """Return the names in a folder that only root and the user `owner` can change, sorted. Raises SkipjackError."""
    _require_trusted(folder, owner)
    try:
        return sorted(each.name for each in Path(folder).iterdir())
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(path: str, error: OSError) -> SkipjackError:
    todo = f"The user `{name_of(os.geteuid())}` needs to read it: check its path, owner and mode."
    return SkipjackError(f"cannot read {path}: {error.strerror}.", todo)


def _require_trusted(path: str, owner: int) -> None:
    """Check each part of a path, and of the links on the way. Raises SkipjackError for the first untrusted one."""
    left, place, links = path.split("/")[::-1], Path("/"), 0
    _require_part(place, path, owner)
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            place = place.parent
            continue
        part = place / name
        if not stat.S_ISLNK(_require_part(part, path, owner)):
            place = part
            continue
        links += 1
        if links > _MOST_LINKS:
            raise SkipjackError(f"cannot read {path}: it leads through too many links.", "Name the file itself.")
        target = os.fspath(part.readlink())
        place = Path("/") if target.startswith("/") else place
        left += target.split("/")[::-1]


def _require_part(part: Path, path: str, owner: int) -> int:
    """Return the mode of a part of a path that only trusted users can replace or change."""
    try:
        found = part.lstat()
    except OSError as error:
        raise _unreadable(path, error) from error
    what = f"{path} can be changed by other users, so it proves nothing: {part}"
    if found.st_uid not in (0, owner) or found.st_uid == _UNKNOWN_USER:
        todo = f"Make root the owner: `chown root {part}`."
        raise SkipjackError(f"{what} belongs to the user `{name_of(found.st_uid)}`.", todo)
    # The mode of a link means nothing. In a folder such as /tmp a user can replace only files of his own.
    is_sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if found.st_mode & 0o022 and not stat.S_ISLNK(found.st_mode) and not is_sticky:
        raise SkipjackError(f"{what} is writable for others.", f"Remove their permission: `chmod go-w {part}`.")
    return found.st_mode
