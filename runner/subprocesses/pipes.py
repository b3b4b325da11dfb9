"""Pipes through which the output of processes comes: how much of it they hold bounds how far a process is ahead of us.

A process that writes into a full pipe waits until we have read from it.
"""

import contextlib
import fcntl
import os
from typing import NamedTuple

MOST = 256 * 1024
"""Bytes that a pipe holds at most; where a user's pipes are too many already, the kernel grants fewer."""


class Enough(Exception):  # noqa: N818 - no error
    """A reader of output raises it to end the process: that is then reported with the code `ENOUGH`."""


ENOUGH = -1000
"""Stands in the place of the exit code of a process that its reader has ended."""


class Pipe(NamedTuple):
    """The size of a pipe in bytes; with `packets` each page of it holds what one call has written, however short.

    Its reader is given at once what holds the text `urgent`, and the rest when some has gathered.
    """

    size: int = MOST
    packets: bool = False
    urgent: bytes = b""

    def lines(self, shortest: int) -> int:
        """How many lines of at least this many bytes it can hold, each of which is written by a call of its own."""
        return self.size // (_page() if self.packets else shortest)


def within(lines: int, shortest: int, urgent: bytes) -> Pipe:
    """Return the largest pipe that holds no more than so many lines of at least `shortest` bytes, but at least one."""
    sizes = [_page() << power for power in range(7) if _page() << power <= MOST]
    plain = [size for size in sizes if size // shortest <= lines]
    if plain:
        return Pipe(plain[-1], urgent=urgent)
    # A page is too much already, so let each line have one of its own.
    return Pipe(max(size for size in sizes if size // _page() <= max(1, lines)), packets=True, urgent=urgent)


def opened(pipe: Pipe) -> tuple[int, int]:
    """Open a pipe: where to read, and where to write. To make one smaller is always allowed."""
    source, target = os.pipe2(os.O_CLOEXEC | (os.O_DIRECT if pipe.packets else 0))
    with contextlib.suppress(OSError):
        fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, pipe.size)
    os.set_blocking(source, not pipe.packets)
    return source, target


def read(source: int, pipe: Pipe) -> bytes:
    """Read what is there, once that is anything; empty at the end."""
    if not pipe.packets:
        return os.read(source, pipe.size)
    packets: list[bytes] = []
    with contextlib.suppress(BlockingIOError):
        while len(packets) < pipe.size // _page() and (packet := os.read(source, _page())):
            packets.append(packet)
    return b"".join(packets)


def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE")
