"""What processes use, by the kernel's accounting: CPU time, memory and bytes, and with strace the system calls.

A tree of processes is measured as a whole, with what the command leaves behind when it ends.
"""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CPU, MEMORY, WRITTEN = "CPU ms", "peak memory MB", "bytes written"
SYSCALLS, FSYNCS, PROGRAMS = "system calls", "fsyncs", "programs started"

Figures = Mapping[str, float]
"""Name of a figure → its value."""

_ADOPT = (sys.executable, "-I", "-S", str(Path(__file__).with_name("adopt.py")))
_SYNCS = frozenset({"fsync", "fdatasync", "sync", "syncfs", "sync_file_range"})
_STRACE = ("strace", "-f", "-c", "-U", "name,calls", "-o")


def of_tree(words: Sequence[str]) -> Figures:
    """Run a command and return what it and all its descendants used, also those that outlive it."""
    done = subprocess.run([*_ADOPT, *words], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"failed: {' '.join(words)}\n{done.stderr}")
    seconds, kilobytes, written = map(float, done.stdout.split())
    return {CPU: seconds * 1000, MEMORY: kilobytes / 1024, WRITTEN: written}


def counts(words: Sequence[str]) -> Figures:
    """Run a command under strace and return what it and all its descendants asked of the kernel."""
    with tempfile.NamedTemporaryFile() as summary:
        subprocess.run([*_STRACE, summary.name, *words], check=True, capture_output=True, stdin=subprocess.DEVNULL)
        return _summary(Path(summary.name).read_text())


@contextmanager
def counting(process: int, found: dict[str, float]) -> Iterator[None]:
    """Watch a process with strace for the length of a block; what it asked of the kernel is added to `found`."""
    with tempfile.NamedTemporaryFile() as summary:
        words = [*_STRACE, summary.name, "-p", str(process)]
        with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as strace:
            try:
                assert strace.stderr is not None
                if "attached" not in strace.stderr.readline():
                    raise RuntimeError(f"strace cannot watch process {process}; are you root?")
                yield
            finally:
                strace.send_signal(signal.SIGINT)
                strace.wait()
        found.update(_summary(Path(summary.name).read_text()))


def can_count() -> bool:
    """Whether system calls can be counted here."""
    return shutil.which(_STRACE[0]) is not None


def _summary(text: str) -> Figures:
    """The figures in a table of `strace -c`: the name and the calls of each system call."""
    calls = {name: int(number) for name, number in re.findall(r"^\s*(\w+)\s+(\d+)\s*$", text, re.MULTILINE)}
    total = calls.pop("total", 0)
    syncs = sum(number for name, number in calls.items() if name in _SYNCS)
    return {SYSCALLS: total, FSYNCS: syncs, PROGRAMS: calls.get("execve", 0)}


def cpu(process: int) -> float:
    """CPU seconds that a process has used so far, all threads together."""
    return time.clock_gettime((~process << 3) | 2)  # the kernel's id of another process's CPU clock


def written(process: int) -> int:
    """Bytes that a process and the children it waited for have written so far, to files, pipes and sockets."""
    lines = Path(f"/proc/{process}/io").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("wchar:"))
    return int(line.split()[1])
