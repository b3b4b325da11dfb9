"""Create, snapshot and delete Btrfs subvolumes, by the system calls that the program `btrfs` makes (linux/btrfs.h).

All functions raise OSError with the path. None needs root: creating and snapshotting need the rights to create a file,
deleting needs the mount option `user_subvol_rm_allowed`.
"""

import os
import struct

_ROOT_INODE = 256  # BTRFS_FIRST_FREE_OBJECTID: only the top of a subvolume has it
_READ_ONLY = 1 << 1  # BTRFS_SUBVOL_RDONLY

# _IOW and _IOR of linux/ioctl.h: the direction, the size of the argument, Btrfs' letter, the number of the call.
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
    """Create an empty subvolume in an existing folder."""
    folder, name = os.path.split(path)
    _ioctl(folder, _CREATE, struct.pack("=q4088s", 0, os.fsencode(name)), path)


def snapshot(source: str, path: str) -> None:
    """Create a read-only snapshot of a subvolume at a new path of the same file system."""
    folder, name = os.path.split(path)
    descriptor = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _ioctl(folder, _SNAPSHOT, struct.pack("=qQQ32x4040s", descriptor, 0, _READ_ONLY, os.fsencode(name)), path)
    finally:
        os.close(descriptor)


def delete(path: str) -> None:
    """Delete a subvolume, also a read-only one; the kernel frees its space later, in the background."""
    _ioctl(path, _SET_FLAGS, struct.pack("=Q", 0))  # only root could delete a read-only one
    folder, name = os.path.split(path)
    _ioctl(folder, _DESTROY, struct.pack("=q4088s", 0, os.fsencode(name)), path)


def is_subvolume(path: str) -> bool:
    """Return whether a path is a subvolume itself: neither a folder in one nor a link to one."""
    return _flags(path) is not None


def is_read_only(path: str) -> bool:
    """Return whether a path is a read-only subvolume."""
    flags = _flags(path)
    return flags is not None and bool(flags & _READ_ONLY)


def _flags(path: str) -> int | None:
    """Return the flags of a subvolume; None for everything else."""
    try:
        if os.lstat(path).st_ino != _ROOT_INODE:
            return None
        flags: int = struct.unpack("=Q", _ioctl(path, _GET_FLAGS, bytes(8)))[0]
    except OSError:  # another kind of file system, or nothing there
        return None
    return flags


def rename_new(path: str, target: str) -> None:
    """Rename a path; OSError if the target exists."""
    _rename(path, target, _NO_REPLACE)


def exchange(path: str, other: str) -> None:
    """Exchange two names of one folder in one step, so that readers find a snapshot under the published name always."""
    _rename(path, other, _EXCHANGE)


def _rename(path: str, target: str, how: int) -> None:
    import ctypes  # loaded here, since only mirrors with snapshots need it

    done = ctypes.CDLL(None, use_errno=True).renameat2(_HERE, os.fsencode(path), _HERE, os.fsencode(target), how)
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def _ioctl(folder: str, call: int, data: bytes, about: str = "") -> bytes:
    """Make an ioctl call on a folder; return the argument as the kernel changed it."""
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
