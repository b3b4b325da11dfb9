"""Wall time of a no-change sync of 20,000 files through `skipjack run`, against the same rsync by hand."""

from pathlib import Path

from tests.bench.timing import lean, pairs, wall
from tests.e2e.parts import ConfigRepository, RsyncDaemon, Worker

FILES = 20_000


def measure(folder: Path, python: Path) -> None:
    """Print the figures."""
    tree = folder / "tree"
    for number in range(FILES):
        path = tree / f"{number // 200:03}" / f"file-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (number % 500))
    with RsyncDaemon(folder / "upstream", {"tree": tree}) as daemon:
        repository = ConfigRepository(folder)
        repository.commit(
            {
                "_site.yml": "title: Bench\n",
                "_workers.yml": "workers: {w1: {}}\n",
                "tree.yml": f"worker: w1\nprovider: rsync\nupstream: {daemon.url('tree')}\n",
            },
            "Begin",
        )
        worker = Worker(folder / "worker", "w1", repository.url)
        worker.command("once")
        ours = lean(python, "run", str(worker.state), "tree")
        options = (
            "-aHvh --no-o --no-g --stats --exclude .~tmp~/ --delete --delete-after --delay-updates --safe-links --no-h"
        )
        by_hand = ["rsync", *options.split(), "--filter", "risk .~tmp~/", "--timeout=120", daemon.url("tree")]
        by_hand.append(f"{worker.root}/tree/")
        run, raw, ratio = pairs(lambda: wall(ours), lambda: wall(by_hand), 15)
    print(f"no-change sync of {FILES} files: wall time against the same rsync by hand")
    print(f"  {run * 1000:6.0f} ms  by hand {raw * 1000:6.0f} ms  added {(run - raw) * 1000:.0f} ms  ratio {ratio:.2f}")
