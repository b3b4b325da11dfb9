"""What the kernel does with subvolumes of Btrfs, by the calls that the program `btrfs` makes as well (linux/btrfs.h).

Everything raises OSError with the path that it was about. Nothing here needs root: creating and snapshotting take the
rights of a file, deleting takes the mount option `user_subvol_rm_allowed`.
"""

import os
import struct

_ROOT_INODE = 256
_READ_ONLY = 1 << 1

# _IOW and _IOR of linux/ioctl.h: the direction, the size of what is passed, Btrfs' letter, the call's number.
_WRITE, _READ = 1 << 30, 2 << 30
_CALL = 0x94 << 8
_CREATE = _WRITE | 4096 << 16 | _CALL | 14
_DESTROY = _WRITE | 4096 << 16 | _CALL | 15
_SNAPSHOT = _WRITE | 4096 << 16 | _CALL | 23
_GET_FLAGS = _READ | 8 << 16 | _CALL | 25
_SET_FLAGS = _WRITE | 8 << 16 | _CALL | 26

_HERE = -100  # AT_FDCWD
_NO_REPLACE, _EXCHANGE = 1, 2  # linux/fs.h


def create(path: str) -> None:
    """Create an empty subvolume in a folder that is there."""
    folder, name = os.path.split(path)
    _ioctl(folder, _CREATE, struct.pack("=q4088s", 0, os.fsencode(name)), path)


def snapshot(source: str, path: str) -> None:
    """Make a read-only snapshot of a subvolume at a path of the same file system where nothing is yet."""
    folder, name = os.path.split(path)
    descriptor = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _ioctl(folder, _SNAPSHOT, struct.pack("=qQQ32x4040s", descriptor, 0, _READ_ONLY, os.fsencode(name)), path)
    finally:
        os.close(descriptor)


def delete(path: str) -> None:
    """Delete a subvolume, a read-only one as well; the kernel frees its space later, by itself."""
    _ioctl(path, _SET_FLAGS, struct.pack("=Q", 0))  # only root could delete a read-only one
    folder, name = os.path.split(path)
    _ioctl(folder, _DESTROY, struct.pack("=q4088s", 0, os.fsencode(name)), path)


def is_subvolume(path: str) -> bool:
    """Whether a path is a subvolume itself: neither a folder in one nor a link to one."""
    return _flags(path) is not None


def is_read_only(path: str) -> bool:
    """Whether a path is a subvolume that nothing can be written into."""
    flags = _flags(path)
    return flags is not None and bool(flags & _READ_ONLY)


def _flags(path: str) -> int | None:
    """A subvolume's flags; None for everything else."""
    try:
        if os.lstat(path).st_ino != _ROOT_INODE:
            return None
        flags: int = struct.unpack("=Q", _ioctl(path, _GET_FLAGS, bytes(8)))[0]
    except OSError:
        return None
    return flags


def rename_new(path: str, target: str) -> None:
    """Rename, unless the target is there already."""
    _rename(path, target, _NO_REPLACE)


def exchange(path: str, other: str) -> None:
    """Let two names of one folder change places in one step: whoever looks finds something under each at any time."""
    _rename(path, other, _EXCHANGE)


def _rename(path: str, target: str, how: int) -> None:
    import ctypes  # only those who use Btrfs pay for it

    done = ctypes.CDLL(None, use_errno=True).renameat2(_HERE, os.fsencode(path), _HERE, os.fsencode(target), how)
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def _ioctl(folder: str, call: int, data: bytes, about: str = "") -> bytes:
    """Make a call about a folder; gives what the kernel made of the data."""
    import ctypes

    buffer = ctypes.create_string_buffer(data, len(data))
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        done = ctypes.CDLL(None, use_errno=True).ioctl(descriptor, ctypes.c_ulong(call), buffer)
    finally:
        os.close(descriptor)
    if done == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about or folder)
    return buffer.raw
