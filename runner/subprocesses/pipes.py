"""Pipes for the output of processes, whose size limits how far a process can be ahead of its reader.

A process that writes into a full pipe waits until we have read from it.
"""

import contextlib
import fcntl
import os
import sys
import termios
from collections.abc import Callable
from typing import NamedTuple

MOST = 256 * 1024
"""Largest size of a pipe in bytes; the kernel grants less to a user who has too many pipes."""


class Enough(Exception):  # noqa: N818 - no error
    """Raised by a reader of output to end the process, whose exit code is then reported as `ENOUGH`."""


ENOUGH = -1000
"""The exit code reported for a process that its reader has ended; no real exit code or signal has this number."""


Sink = Callable[[bytes], None]
"""Called with a process's output as it arrives; empty data is its end."""

_HELD = 64 * 1024
"""Bytes of output at which what was collected is passed on."""

PAUSE = 0.005
"""Longest time in seconds to let output collect after a read that found less than half a pipe of it. Otherwise each
line would wake us, which costs more than to write the line."""

_PAUSE_PER_PACKET = 0.00005
"""Seconds of that pause for each packet that a pipe holds: about what rsync needs to write one."""


class Pipe(NamedTuple):
    """The size of a pipe in bytes; with `packets` each page of it holds the data of one write, however short.

    Data that contains `urgent` is passed to the reader at once, everything else in larger pieces.
    """

    size: int = MOST
    packets: bool = False
    urgent: bytes = b""

    def lines(self, shortest: int) -> int:
        """Return how many lines of at least `shortest` bytes it holds if each is written by a separate call."""
        return self.size // (_page() if self.packets else shortest)


def within(lines: int, shortest: int, urgent: bytes) -> Pipe:
    """Return the largest pipe that holds at most `lines` lines of at least `shortest` bytes, but at least one."""
    sizes = [_page() << power for power in range(7) if _page() << power <= MOST]
    plain = [size for size in sizes if size // shortest <= lines]
    if plain:
        return Pipe(plain[-1], urgent=urgent)
    # Even one page holds too many lines, so give each line a page of its own.
    return Pipe(max(size for size in sizes if size // _page() <= max(1, lines)), packets=True, urgent=urgent)


def opened(pipe: Pipe) -> tuple[int, int]:
    """Open a pipe and return its reading and its writing end. Shrinking a pipe needs no privilege."""
    source, target = os.pipe2(os.O_CLOEXEC | (os.O_DIRECT if pipe.packets else 0))
    with contextlib.suppress(OSError):  # the kernel may refuse only to enlarge it, which costs speed
        fcntl.fcntl(source, fcntl.F_SETPIPE_SZ, pipe.size)
    return source, target


def packets_in(source: int, spool: int) -> bytes:
    """Return the packets that a pipe holds, joined, without waiting for any; `spool` is a file for them.

    A read would return only one of them. Packets that come meanwhile are left in the pipe: a process that writes as
    fast as we read must not keep us here, uncounted.
    """
    there = int.from_bytes(fcntl.ioctl(source, termios.FIONREAD, bytes(4)), sys.byteorder)
    return os.pread(spool, os.splice(source, spool, there, offset_dst=0), 0) if there else b""


class Output:
    """The reading end of a process's output."""

    def __init__(self, descriptor: int, sink: Sink, pipe: Pipe) -> None:
        self.descriptor: int = descriptor
        self._sink = sink
        self._pipe = pipe
        self._held: list[bytes] = []
        self._size = 0
        self._recent = b""
        self._spool = os.memfd_create("packets", os.MFD_CLOEXEC) if pipe.packets else None
        size = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)  # the kernel may have refused to enlarge it
        self._room = size // _page() if pipe.packets else size
        self._pause = min(PAUSE, self._room * _PAUSE_PER_PACKET) if pipe.packets else PAUSE
        self.pause = 0.0
        """Seconds for which the next read should wait, so that more output collects."""

    def read(self) -> int:
        """Read what is there, pass it on if it is urgent or enough, and return the number of bytes, 0 at the end."""
        if self._spool is None:
            data = os.read(self.descriptor, self._pipe.size)
            found = len(data)
        else:
            data = packets_in(self.descriptor, self._spool)
            found = data.count(b"\n") + data.count(b"\r")  # rsync writes each line and each progress separately
        self.pause = self._pause if 0 < found < self._room // 2 else 0.0
        self._held.append(data)
        self._size += len(data)
        # A read can end within the word, where a server has printed the start of the line.
        recent = self._recent + data
        if self._pipe.urgent in recent or self._size > _HELD:
            self.hand_on()
        self._recent = recent[1 - len(self._pipe.urgent) :] if len(self._pipe.urgent) > 1 else b""
        return len(data)

    @property
    def holds(self) -> bool:
        """Return whether there is collected output, which must be passed on if no more comes."""
        return self._size > 0

    def hand_on(self) -> None:
        """Pass collected output to the sink."""
        data = b"".join(self._held)
        self._held, self._size = [], 0
        if data:
            self._sink(data)

    def close(self) -> None:
        """Collect the rest of the output and close the pipe, after all processes that we may kill have ended."""
        # Not to its end: a process of another user, as by sudo, may be left and keep the writing end open.
        os.set_blocking(self.descriptor, False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.descriptor, self._pipe.size):
                self._held.append(data)
        os.close(self.descriptor)
        if self._spool is not None:
            os.close(self._spool)

    def end(self) -> None:
        """Pass on the rest and the end of the output; a sink's Enough has no process left to end."""
        with contextlib.suppress(Enough):
            self.hand_on()
        with contextlib.suppress(Enough):
            self._sink(b"")


def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE")
