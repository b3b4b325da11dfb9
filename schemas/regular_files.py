"""Open a file that settings, definitions or other programs name, only if it is a regular one; replace such a file.

Opening a named pipe waits for a writer, and reading a device may never end. Links are followed: certificates and
credentials often are links. Cheap to import: every run of a mirror with a password does.
"""

import errno
import os
import stat

_MOST = 1024**2

LARGEST_PEM = 16 * 1024**2
"""Bytes of certificates or a key at most; all public authorities together need less than one megabyte. OpenSSL reads
whatever it gets, which can take minutes."""

_KINDS = {
    stat.S_IFDIR: "it is a directory",
    stat.S_IFIFO: "it is a named pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}


def read_regular(path: str | os.PathLike[str], most: int = _MOST) -> bytes:
    """Return the content of a regular file. Never waits.

    Raises OSError, with the reason in `strerror`, if the file is unreadable, not regular, or larger than `most` bytes.
    """
    descriptor = regular(path, os.O_RDONLY)
    try:
        return read_open(descriptor, path, most)
    finally:
        os.close(descriptor)


def read_open(descriptor: int, path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of a file that is open, by its path for errors. Raises OSError like `read_regular`."""
    with open(descriptor, "rb", closefd=False) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise too_large(path, most)
    return data


def too_large(path: str | os.PathLike[str], most: int) -> OSError:
    """Return the error for a file of more than `most` bytes."""
    return OSError(errno.EFBIG, f"it is larger than {most} bytes", os.fspath(path))


def read_beginning(path: str | os.PathLike[str], most: int) -> bytes:
    """Return at most the first `most` bytes of a regular file. Raises OSError like `read_regular`."""
    descriptor = regular(path, os.O_RDONLY)
    with open(descriptor, "rb") as file:
        return file.read(most)


def require_regular(path: str | os.PathLike[str], most: int | None = None) -> None:
    """Check a file that another program or a library will read; `most` bytes at most, None for any size.

    Raises OSError like `read_regular`.
    """
    descriptor = regular(path, os.O_RDONLY)
    size = os.fstat(descriptor).st_size
    os.close(descriptor)
    if most is not None and size > most:
        raise too_large(path, most)


def regular(path: str | os.PathLike[str], flags: int, mode: int = 0o666) -> int:
    """Open a regular file, or create it with O_CREAT; also for `open(…, opener=regular)`. Raises OSError."""
    try:
        # A named pipe must not block, and a terminal must not become the controlling one.
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:  # opened for writing, without a reader
            raise OSError(errno.ENXIO, "it is a named pipe or a socket", os.fspath(path)) from error
        if error.errno == errno.ELOOP and flags & os.O_NOFOLLOW and os.path.islink(path):
            raise OSError(errno.ELOOP, "it is a symbolic link", os.fspath(path)) from error
        raise
    # The open file is judged, not the path: that could lead to another file by now.
    return _checked(descriptor, path)


def located(path: str | os.PathLike[str]) -> int:
    """Return a descriptor of a regular file that cannot read it (O_PATH); `reopened` returns one that can.

    So the file can be judged before it is opened: some devices act when they are opened. Raises OSError.
    """
    return _checked(os.open(path, os.O_PATH | os.O_CLOEXEC), path)


def place_of(descriptor: int) -> str:
    """Return where an open file is now, with all links followed; ` (deleted)` is appended if that name is gone."""
    return os.readlink(f"/proc/self/fd/{descriptor}")


def reopened(descriptor: int) -> int:
    """Return a descriptor for reading the same file, whatever is at its path by now. Raises OSError."""
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)


def _checked(descriptor: int, path: str | os.PathLike[str]) -> int:
    """Return the descriptor of a regular file; OSError for any other one, after it is closed."""
    found = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(found):
        os.close(descriptor)
        raise OSError(errno.EINVAL, _KINDS.get(stat.S_IFMT(found), "it is not a regular file"), os.fspath(path))
    return descriptor


def regular_itself(path: str | os.PathLike[str], flags: int, mode: int = 0o666) -> int:
    """Do the same without following a link: other programs could replace the file by a link to any other one."""
    return regular(path, flags | os.O_NOFOLLOW, mode)


def replace_regular(path: str | os.PathLike[str], content: str | bytes, aside: str = "") -> None:
    """Replace a file by a rename, so that readers see the old one or the whole new one. Raises OSError.

    Not synced: after a power cut it can be lost. `aside` is the path of the new file until then, by default with `.new`
    appended.
    """
    aside = aside or f"{os.fspath(path)}.new"
    with open(aside, "wb", opener=regular) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    os.replace(aside, path)
