"""What the deletion guard costs: CPU of the client beside plain rsync with the same options, in a tree of many files.

    python -m tests.bench.deletion_guard [FILES [MAX_DELETE]]

Prints the medians of interleaved rounds in seconds, and how they relate. In each round some files change, as many are
new, and those that were new in the round before go.
Where few files may go, rsync waits for us more often.

Let TMPDIR be a file system in memory: on a disk the kernel's time for the same files can double from round to round.
"""

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from runner.journal.last_success import Past
from runner.plan.deletion_limits import as_limit
from tests.e2e.parts import RsyncDaemon
from tests.runner.syncing import PLAIN, Site

ROUNDS = 7
PER_FOLDER = 25


def main(words: list[str]) -> int:
    """Measure and print."""
    count = int(words[0]) if words else 50_000
    limit = as_limit(words[1] if len(words) > 1 else "50%")
    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder, "upstream")
        below = module / "below"
        for number in range(count):
            _write(below, number, "x")
        with RsyncDaemon(Path(folder, "daemon"), {"files": module}) as daemon:
            site = Site(Path(folder), daemon.url("files/below"))
            for what, changed in (
                ("nothing changed", 0),
                ("1 in 50 changed, 1 in 50 new, 1 in 50 deleted", count // 50),
            ):
                _compare(what, changed, count, site, limit)
    return 0


def _compare(what: str, changed: int, count: int, site: Site, limit: int | str | None) -> None:
    copy = site.directory.with_name("plain")
    _change(site.upstream, changed, count, -1)
    words = ["rsync", *PLAIN, site.url, f"{copy}/"]
    _spent(lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL))
    past = _sync(site, Past(), limit)
    plain, guarded = [], []
    for round_number in range(ROUNDS):
        _change(site.upstream, changed, count, round_number)
        with Path(site.logs, "plain.log").open("wb") as log:
            plain.append(_spent(lambda: subprocess.run(words, check=True, stdout=log)))
        before = past

        def sync() -> None:
            nonlocal past
            past = _sync(site, before, limit)  # noqa: B023 - called at once

        guarded.append(_spent(sync))
    one, other = statistics.median(plain), statistics.median(guarded)
    print(f"{what}: plain {one:.2f} s, guarded {other:.2f} s, {other / one:.2f} times")


def _change(root: Path, changed: int, count: int, round_number: int) -> None:
    for gone in root.glob(f"extra-{(round_number - 1) % 2}-*"):
        shutil.rmtree(gone)
    for number in range(changed):
        _write(root, number * 7 % count, f"round {round_number}")
        new = root / f"extra-{round_number % 2}-{number % 200}"
        new.mkdir(exist_ok=True)
        (new / str(number)).write_text("x")


def _write(root: Path, number: int, text: str) -> None:
    folder = root / f"folder-{number // PER_FOLDER}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"package-{number}_1.0_all.deb").write_text(text)


def _sync(site: Site, past: Past, limit: int | str | None) -> Past:
    """Sync as a run does that follows a success, and return what the journal then has."""
    job = site.job(max_delete=limit)
    job.past = past
    assert site.run(job).status == "success", site.log.read_text()[-2000:]
    files_in = str(site.directory)
    return Past(success_at=0.0, files_in=files_in, files=job.found[0], bytes=job.found[1], counted=job.counted)


def _spent(work: Callable[[], object]) -> float:
    """Seconds of CPU that this process and its children took."""
    before = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    children = after.ru_utime + after.ru_stime - before[1].ru_utime - before[1].ru_stime
    return time.process_time() - before[0] + children


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
