"""CPU of `skipjack plan` for 1,000 mirrors, of which none, one or all change, against Python's own start."""

import subprocess
from functools import partial
from pathlib import Path

from tests.bench.timing import cpu, pairs
from tests.e2e.parts import ConfigRepository

COUNT = 1000
ROUNDS = 7
DEFAULTS = "provider: rsync\nworker: [w1, w2]\ninterval: {}\n"


def measure(folder: Path, python: Path) -> None:
    """Print the figures for each change and form."""
    repository = ConfigRepository(folder)
    repository.commit(
        {
            "_site.yml": "title: Bench\n",
            "_workers.yml": "workers: {w1: {}, w2: {}}\n",
            "_defaults.yml": DEFAULTS.format("6h"),
            **{f"m{number}.yml": f"upstream: rsync://up.example.org/m{number}/\n" for number in range(COUNT)},
        },
        "Begin",
    )
    changes = {
        "nothing": {"README.md": "Nothing of the plan.\n"},
        "one mirror": {"m7.yml": "upstream: rsync://up.example.org/other/\n"},
        "one line for all": {"_defaults.yml": DEFAULTS.format("12h")},
        "all files": {f"m{number}.yml": f"upstream: rsync://up.example.org/x{number}/\n" for number in range(COUNT)},
    }
    print(f"plan of {COUNT} mirrors on two workers: CPU against `python -I -c pass` (goal: 3000 ms)")
    for what, files in changes.items():
        repository.commit(files, what)
        for form in ("text", "markdown"):
            words = [str(python.parent / "skipjack"), "plan", "HEAD~1..HEAD", "--repo", str(repository.tree)]
            words += ["--format", form]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            ours, base, ratio = pairs(partial(cpu, words), partial(cpu, [str(python), "-I", "-c", "pass"]), ROUNDS)
            print(f"  {what:18} {form:9} {ours * 1000:6.0f} ms  baseline {base * 1000:4.0f} ms  ratio {ratio:.0f}")
