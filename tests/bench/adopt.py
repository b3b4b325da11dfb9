"""Run a command, adopt what it leaves behind, wait for the end of all, and print what they used together.

A program of its own, started as `python -I -S adopt.py WORDS…`: it must be small, since what it has in memory when it
starts the command counts as the command's.
"""

import ctypes
import os
import resource
import sys

_PR_SET_CHILD_SUBREAPER = 36


def main(words: list[str]) -> int:
    """Print CPU seconds, the peak memory of one process in kilobytes, and bytes written; returns the exit code."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = _written()
    null = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 0, 1)]
    command = os.posix_spawnp(words[0], words, os.environ, file_actions=null)
    failed = False
    while True:
        try:
            process, status = os.wait()
        except ChildProcessError:
            break
        failed |= process == command and status != 0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss, _written() - before)
    return int(failed)


def _written() -> int:
    """Bytes that this process and the ones it waited for have written."""
    with open("/proc/self/io") as file:  # noqa: PTH123 - pathlib is large
        (line,) = (line for line in file if line.startswith("wchar:"))
    return int(line.split()[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
