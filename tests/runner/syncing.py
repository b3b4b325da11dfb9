"""One attempt of an rsync mirror within the test's own process, against a real daemon."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from runner.base.mirror_paths import Paths
from runner.journal.journal import Ending
from runner.plan.deletion_limits import limits_of
from runner.plugin_api import Job, Machine
from runner.providers import PROVIDERS
from runner.run import pipeline
from runner.subprocesses import supervisor
from schemas.records import Mirror

PLAIN = [
    "-aHvh", "--no-o", "--no-g", "--stats", "--filter", "risk .~tmp~/", "--exclude", ".~tmp~/",
    "--delete", "--delete-after", "--delay-updates", "--safe-links",
]  # fmt: skip
"""The options of an rsync without a guard, as tunasync runs it."""

UNSTOPPED = supervisor.Stop()
"""Nobody stops these runs; each further one would keep two descriptors open until the last test."""


class Site:
    """A mirror in a folder, of the upstream with this address, whose files are in `upstream/below`."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url, self._folder = url, folder
        self.upstream = folder / "upstream/below"
        self.directory = folder / "mirrors/m"
        self.state = folder / "state"
        self.logs = folder / "logs"
        self.log = self.logs / "m.log"
        self.daemon_log = folder / "daemon/rsyncd.log"
        for each in (self.directory, self.state, self.logs):
            each.mkdir(parents=True, exist_ok=True)

    def job(self, named: int | str | None = None, provider: str = "rsync", **fields: Any) -> Job:
        """A job of the mirror; `named` is what an operator let it delete."""
        mirror = Mirror("m", "w1", provider, self.url, retry=1)._replace(**fields)
        paths = Paths(str(self.directory), str(self.directory.parent), str(self.logs))
        job = Job(mirror, paths, Machine(str(self.state)))
        job.limits = limits_of(mirror, named)
        job.log_file = str(self.log)
        return job

    def run(self, job: Job, stop: supervisor.Stop | None = None, hooks: tuple[ModuleType, ...] = ()) -> Ending:
        """Take a job through the pipeline, without any hook but these."""
        self.log.write_text("")
        provider = PROVIDERS[job.mirror.provider]
        means = pipeline.Means(provider, hooks, (), stop or UNSTOPPED, lambda _number: None, lambda _progress: None)
        return pipeline.run(job, means)

    def sync(self, named: int | str | None = None, **fields: Any) -> Ending:
        """Sync once."""
        return self.run(self.job(named, **fields))

    def plain(self, options: tuple[str, ...] = ()) -> dict[str, Any]:
        """What rsync alone makes of another copy of the mirror, as `tree` tells it."""
        copy = self._folder / "plain"
        subprocess.run(["rm", "-rf", str(copy)], check=True)
        subprocess.run(["cp", "-a", str(self.directory), str(copy)], check=True)
        subprocess.run(["rsync", *PLAIN, *options, self.url, f"{copy}/"], check=True, capture_output=True)
        return tree(copy)

    def listings(self) -> int:
        """How often the daemon has listed files for somebody."""
        return self.daemon_log.read_text(errors="replace").count("building file list")


def tree(folder: Path) -> dict[str, Any]:
    """Everything below a folder: type and mode, content, time in nanoseconds, links to the same file."""
    found: dict[str, Any] = {}
    first: dict[int, str] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        here, status = str(path.relative_to(folder)), path.lstat()
        content: Any = None
        if path.is_symlink():
            content = path.readlink()
        elif path.is_file():
            content = (path.read_bytes(), first.setdefault(status.st_ino, here))
        found[here] = (oct(status.st_mode), content, status.st_mtime_ns // 10**9)
    return found


def grow(root: Path, files: Mapping[str, str | bytes]) -> None:
    """Make files with these contents; a path that ends with a slash is a directory, `-> x` as a content a link to x."""
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            place.mkdir(exist_ok=True)
        elif isinstance(content, str) and content.startswith("-> "):
            place.symlink_to(content.removeprefix("-> "))
        else:
            place.write_bytes(content.encode() if isinstance(content, str) else content)
