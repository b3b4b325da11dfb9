"""Two versions of Skipjack that run beside each other: an old commit in a folder of its own, and the work tree."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.bench.timing import lean
from tests.e2e.parts import REPOSITORY, ConfigRepository


class Side(NamedTuple):
    """One version: what it is called, the Python that imports its code, and the folder for its data."""

    label: str
    python: Path
    data: Path

    def words(self, program: str, *words: str) -> list[str]:
        """The command line of `skipjack` or `skipjack-manager` of this version."""
        module = {"skipjack": "runner.cli", "skipjack-manager": "sitegen.cli"}[program]
        code = f"import sys; from {module} import main; sys.exit(main())"
        return [str(self.python), "-I", "-c", code, *words]

    def do(self, *words: str) -> str:
        """Run a command of this version, and return what it prints."""
        done = subprocess.run(words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f"{self.label}: {' '.join(words)} exited with {done.returncode}:\n{done.stderr}")
        return done.stdout


def prepare(folder: Path, old: str, new: Path = REPOSITORY) -> tuple[Side, Side]:
    """Check out the commit `old` of the work tree `new` below `folder`, and return both as two sides."""
    commit = _git(new, "rev-parse", "--verify", f"{old}^{{commit}}")
    tree = folder / "trees" / commit
    if not tree.exists():
        _check_out(new, commit, tree)
    shutil.rmtree(folder / "data", ignore_errors=True)
    return _side(folder, commit[:12], tree), _side(folder, "new", new)


def default_old() -> str:
    """The commit that the work tree is compared with when none is named: the newest one without these changes."""
    return "HEAD" if _git(REPOSITORY, "status", "--porcelain", "--untracked-files=no") else "HEAD^"


def _git(tree: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", tree, *words], check=True, capture_output=True, text=True).stdout.strip()


def _check_out(repository: Path, commit: str, tree: Path) -> None:
    aside = tree.with_suffix(".new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    archive = subprocess.run(["git", "-C", repository, "archive", commit], check=True, capture_output=True).stdout
    subprocess.run(["tar", "--extract", "--directory", aside], input=archive, check=True)
    aside.rename(tree)


def _side(folder: Path, label: str, tree: Path) -> Side:
    """Give a tree an environment: its own code, and the packages of the environment that we run in."""
    venv, data = folder / "venvs" / label, folder / "data" / label
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", venv], check=True)
    (site_packages,) = venv.glob("lib/python*/site-packages")
    (site_packages / "side.pth").write_text(f"{tree}\n{sysconfig.get_path('purelib')}\n")
    data.mkdir(parents=True)
    return Side(label, venv / "bin/python", data)


class SideWorker:
    """A worker of one side: its config repository, its settings, and the command lines of its programs."""

    def __init__(self, side: Side, name: str, files: Mapping[str, str]) -> None:
        self.side, folder = side, side.data / name
        self.repository = ConfigRepository(folder)
        self.repository.commit(files, "Begin")
        self.settings, self._state = folder / "runner.yml", folder / "state"
        (folder / "mirrors").mkdir()
        (folder / "policy.yml").write_text("programs: [/bin/true]\n")
        self.settings.write_text(
            f"worker: w1\nrepository: {{url: '{self.repository.url}'}}\nmirror_root: {folder}/mirrors\n"
            f"state_dir: {self._state}\nrun_dir: {folder}/run\nlog_dir: {folder}/logs\npolicy: {folder}/policy.yml\n"
        )

    @property
    def plan(self) -> Path:
        """The file of the plan."""
        return self._state / "plan.db"

    def words(self, command: str, *words: str) -> list[str]:
        """The command line of one of the worker's commands."""
        return self.side.words("skipjack", command, *words, "--settings", str(self.settings))

    def follow(self) -> list[str]:
        """The command line that units start: a follow that starts what is due."""
        can_hold = "--start" in self.side.do(*self.side.words("skipjack", "follow", "--help"))
        return self.words("follow", *(["--start"] if can_hold else []))

    def lean(self, program: str, *words: str) -> list[str]:
        """The command line of a lean program of this side."""
        return lean(self.side.python, program, str(self._state), *words)
