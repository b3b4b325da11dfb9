"""What tests of plug-ins put together: an environment of its own in which plug-ins are installed, and a git server."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.parts import REPOSITORY, Server, Worker, accepts, free_port

EXAMPLE = REPOSITORY / "tests/plugins/skipjack-git"

_SCRIPTS = {
    "skipjack": "#!{python}\nimport sys\nfrom runner.cli import main\nsys.exit(main())\n",
    "skipjack-manager": "#!{python}\nimport sys\nfrom sitegen.cli import main\nsys.exit(main())\n",
    "pip": '#!/bin/sh\nexec {python} -m pip "$@"\n',
}
QUIET_PIP = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_CONFIG_FILE": os.devnull}


class Environment:
    """A virtual environment with Skipjack, its dependencies and pip, which takes them from ours."""

    def __init__(self, folder: Path) -> None:
        """Make it, unless it is there already."""
        if not folder.exists():
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.bin = folder / "bin"
        (self.site_packages,) = folder.glob("lib/python*/site-packages")
        (self.site_packages / "skipjack.pth").write_text(f"{REPOSITORY}\n{sysconfig.get_path('purelib')}\n")
        for name, text in _SCRIPTS.items():
            script = self.bin / name
            script.write_text(text.format(python=self.bin / "python"))
            script.chmod(0o755)

    def install(self, source: Path, *options: str) -> None:
        """Install a distribution from its source, without the network: what builds it is in our environment."""
        pip = [str(self.bin / "pip"), "install", "--quiet", "--no-index", "--no-build-isolation", "--no-deps", *options]
        subprocess.run([*pip, source], check=True, env=os.environ | QUIET_PIP)

    def write(self, name: str, entry_points: Mapping[str, str], files: Mapping[str, str], version: str = "1.0") -> None:
        """Write a distribution as an installer leaves it: entry points by group and name, files by path."""
        info = self.site_packages / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = []
        for place, module in entry_points.items():
            group, _, entry = place.partition(" ")
            lines += [f"[skipjack.{group}.v1]", f"{entry} = {module}"]
        (info / "entry_points.txt").write_text("\n".join([*lines, ""]))
        for path, text in files.items():
            (self.site_packages / path).parent.mkdir(exist_ok=True)
            (self.site_packages / path).write_text(text)

    def run(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Give a command of this environment, and wait for its end."""
        command = [str(self.bin / words[0]), *words[1:]]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=600)


class PluginWorker(Worker):
    """A worker whose commands are those of an environment with plug-ins."""

    environment: Environment

    def words(self, command: str, *more: str) -> list[str]:
        """The command line of one of the worker's commands."""
        return [str(self.environment.bin / "skipjack"), *super().words(command, *more)[1:]]

    def allow(self, line: str) -> None:
        """Add a line to the policy."""
        with (self.folder / "policy.yml").open("a") as policy:
            policy.write(f"{line}\n")


class GitDaemon(Server):
    """A git server for the bare repositories in a folder."""

    def __init__(self, folder: Path) -> None:
        self.port, self.root = free_port(), folder / "git"
        self.root.mkdir(parents=True)
        where = ["--listen=127.0.0.1", f"--port={self.port}", f"--base-path={self.root}"]
        super().__init__(["git", "daemon", "--reuseaddr", "--export-all", *where, str(self.root)], folder / "git.log")

    def ready(self) -> bool:
        """Whether it listens."""
        return accepts(self.port)

    def url(self, name: str) -> str:
        """The address of a repository."""
        return f"git://127.0.0.1:{self.port}/{name}"

    def create(self, name: str, branch: str = "trunk") -> None:
        """Create a repository without commits."""
        git(self.root, "init", "-q", "--bare", "--template=", "-b", branch, name)


def push(daemon: GitDaemon, name: str, file: str, branch: str = "trunk", tag: str = "") -> None:
    """Push a commit with a new file to a branch of a repository, and perhaps a tag."""
    tree = daemon.root.parent / f"{name}-{branch}"
    if not tree.exists():
        git(daemon.root.parent, "init", "-q", "--template=", "-b", branch, tree.name)
    (tree / file).write_bytes(os.urandom(5000))
    git(tree, "add", "--all")
    git(tree, "-c", "user.name=Ada", "-c", "user.email=ada@mirrors.example", "commit", "-q", "-m", file)
    names = [branch, *([tag] if tag else [])]
    if tag:
        git(tree, "tag", tag)
    git(tree, "push", "-q", str(daemon.root / name), *names)


def git(folder: Path, *words: str) -> str:
    """Run git in a folder, and return what it prints."""
    done = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def copied_example(folder: Path) -> Path:
    """Copy the example, since a build writes beside its source."""
    return Path(shutil.copytree(EXAMPLE, folder / "skipjack-git", ignore=shutil.ignore_patterns("build", "*.egg-info")))
