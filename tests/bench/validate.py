"""CPU of `skipjack validate`: everything, and a change of one file, with the processes of git; both beyond the start.

The start is the check of a folder with one mirror. Some mirrors have keys that are compared with those of others.
"""

import statistics
import subprocess
from pathlib import Path

from tests.bench.timing import cpu

COUNTS = (1000, 10_000)
ROUNDS = 7
IDENTITY = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false", "-c", "gc.auto=0")


def measure(folder: Path, python: Path) -> None:
    """Print the figures for each number of mirrors."""
    print("validate: CPU of everything against that of a change of one file, beyond the start (goal: 50 at 10,000)")
    for count in COUNTS:
        every, one = folder / str(count), folder / f"one-{count}"
        _fill(every / "mirrors", range(count))
        _fill(one, range(1))
        for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message=x"), ("gc", "--quiet")):
            subprocess.run(["git", "-C", str(every), *IDENTITY, *words], check=True)
        with (every / "mirrors/f7/m7.yml").open("a") as changed:
            changed.write("retry: 3\n")
        command = [str(python.with_name("skipjack")), "validate"]
        times = {
            "start": [*command, str(one)],
            "one file": [*command, str(every / "mirrors"), "--changed-since", "HEAD"],
            "everything": [*command, str(every / "mirrors")],
        }
        rounds = [{name: cpu(words) for name, words in times.items()} for _ in range(ROUNDS)]
        middle = {name: statistics.median(each[name] for each in rounds) * 1000 for name in times}
        ratio = statistics.median(
            (each["everything"] - each["start"]) / (each["one file"] - each["start"]) for each in rounds
        )
        listed = "  ".join(f"{name} {value:7.1f} ms" for name, value in middle.items())
        print(f"  {count:6} mirrors  {listed}  ratio {ratio:.1f}")


def _fill(folder: Path, numbers: range) -> None:
    """Write definitions in a hundred folders; one in fifty says where its files are, fewer name other mirrors."""
    texts = {
        "_site.yml": "title: Mirrors\ncategories: {os: Systems}\n",
        "_workers.yml": "workers: {" + ", ".join(f"w{number}: {{slots: 4}}" for number in range(20)) + "}\n",
        "_defaults.yml": "provider: rsync\ninterval: 6h\ncategory: os\n",
    }
    for number in numbers:
        lines = [
            f"title: Mirror {number}",
            f"worker: w{number % 20}",
            f"upstream: rsync://rsync.example.org/m{number}/",
        ]
        lines += [f"mirror_dir: /srv/mirror/other/m{number}"] * (number % 50 == 0)
        lines += [f"formerly: [old{number}]"] * (number % 70 == 1)
        lines += [f"after: [m{number - 20}]"] * (number % 300 == 22)
        texts[f"f{number % 100}/m{number}.yml"] = "".join(f"{line}\n" for line in lines)
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
