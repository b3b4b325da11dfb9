"""What one run costs beside its provider: resident memory in the steady state, CPU, and reading a 1 GB log."""

import os
import statistics
import subprocess
import time
from pathlib import Path

from runner.base import locks
from tests.bench.timing import cpu, lean
from tests.e2e.parts import ConfigRepository, Worker, wait_until

LOG_BYTES = 1024**3


def measure(folder: Path, python: Path) -> None:
    """Print the figures."""
    repository = ConfigRepository(folder)
    gate = folder / "gate"
    script = folder / "script"
    script.write_text(f"#!/bin/sh\nwhile [ ! -e {gate} ]; do sleep 0.02; done\n")
    script.chmod(0o755)
    mirror = f"worker: w1\nprovider: command\nupstream: https://x.example/\ncommand: {script}\nfail_on_match: ^ERROR\n"
    workers = {"_site.yml": "title: Bench\n", "_workers.yml": "workers: {w1: {}}\n"}
    repository.commit({**workers, "m.yml": mirror}, "Begin")
    worker = Worker(folder / "worker", "w1", repository.url)
    gate.touch()
    worker.command("once")
    words = lean(python, "run", str(worker.state), "m")
    run_cpu = statistics.median(cpu(words) for _ in range(15))
    base = statistics.median(cpu([str(python), "-I", "-c", "pass"]) for _ in range(15))
    gate.unlink()
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as run:
        wait_until(lambda: worker.states()["m"] == "syncing", "the run is under way")
        time.sleep(0.5)
        memory = _resident(locks.holders(worker.lock("supervisor", "m"))[0])
        gate.touch()
        run.wait()
    print("one run of a command that does nothing")
    print(
        f"  resident {memory / 1024:.1f} MB (goal: 15)  CPU {run_cpu * 1000:.0f} ms, {run_cpu / base:.1f} times `pass`"
    )
    _read_log(folder, python)


def _resident(pid: int) -> int:
    """Resident kilobytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def _read_log(folder: Path, python: Path) -> None:
    """Search a log of LOG_BYTES in a process of its own, beside `grep` on the same file."""
    path = folder / "log"
    block = b"".join(b"pool/main/p/package-%06d/package_%06d.deb\n" % (number, number) for number in range(20_000))
    with path.open("wb") as log:
        while log.tell() < LOG_BYTES:
            log.write(block)
    code = (
        "import sys, resource\nfrom runner.run import logs\nfrom runner.providers import rsync\n"
        "logs.digest(sys.argv[1], rsync.reader(None), '^ERROR')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    began = time.perf_counter()
    done = subprocess.run([python, "-c", code, path], capture_output=True, text=True, check=True, cwd="/")
    ours = time.perf_counter() - began
    began = time.perf_counter()
    subprocess.run(["grep", "-c", "^ERROR", path], check=False, capture_output=True, env=os.environ | {"LC_ALL": "C"})
    grep = time.perf_counter() - began
    size, lines = path.stat().st_size, path.stat().st_size // len(block) * 20_000
    print(f"searching a log of {size / 1e9:.2f} GB, {lines / 1e6:.0f} million lines")
    print(f"  {ours:.1f} s with at most {int(done.stdout) / 1024:.0f} MB of memory; grep takes {grep:.1f} s")
    path.unlink()
