"""Opening a file that settings, definitions or other programs name: a regular file, and nothing that could hang.

Opening a named pipe waits for a writer, and a device has no end. Links are followed: certificates and credentials often
are links. Cheap to import: every run of a mirror with a password does it.
"""

import errno
import os
import stat

_MOST = 1024**2

_KINDS = {
    stat.S_IFDIR: "it is a directory",
    stat.S_IFIFO: "it is a named pipe",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFCHR: "it is a device",
    stat.S_IFBLK: "it is a device",
}


def read_regular(path: str | os.PathLike[str], most: int = _MOST) -> bytes:
    """Return the content of a regular file.

    OSError, with the reason in `strerror`, when it cannot be read, is not a regular file, or is larger than `most`
    bytes. Never waits.
    """
    data = read_beginning(path, most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most} bytes", os.fspath(path))
    return data


def read_beginning(path: str | os.PathLike[str], most: int) -> bytes:
    """Return at most the first `most` bytes of a regular file; OSError as `read_regular`."""
    descriptor = regular(path, os.O_RDONLY)
    with open(descriptor, "rb") as file:
        return file.read(most)


def require_regular(path: str | os.PathLike[str]) -> None:
    """Check a file that another program is about to read; OSError as `read_regular`."""
    os.close(regular(path, os.O_RDONLY))


def regular(path: str | os.PathLike[str], flags: int, mode: int = 0o666) -> int:
    """Open a regular file, or make it as the flags say; for `open(…, opener=regular)` as well. OSError as above."""
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:  # to be written to, with nothing at the other end
            raise OSError(errno.ENXIO, "it is a named pipe or a socket", os.fspath(path)) from error
        if error.errno == errno.ELOOP and flags & os.O_NOFOLLOW and os.path.islink(path):
            raise OSError(errno.ELOOP, "it is a symbolic link", os.fspath(path)) from error
        raise
    found = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(found):
        os.close(descriptor)
        raise OSError(errno.EINVAL, _KINDS.get(stat.S_IFMT(found), "it is not a regular file"), os.fspath(path))
    return descriptor


def regular_itself(path: str | os.PathLike[str], flags: int, mode: int = 0o666) -> int:
    """The same, but with no link followed: for files that other programs could replace by a link to any file."""
    return regular(path, flags | os.O_NOFOLLOW, mode)
