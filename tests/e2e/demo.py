"""`make demo`: the whole path on real parts, with an explanation of each step.

Everything lies below `build/demo`; the rendered site stays in `build/demo/site`, and nothing is left running.
"""

import contextlib
import functools
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from filelock import FileLock, Timeout

from tests.e2e.parts import (
    REPOSITORY,
    ConfigRepository,
    Manager,
    RsyncDaemon,
    Worker,
    end_on_signals,
    validate,
    wait_until,
)

FOLDER = REPOSITORY / "build" / "demo"
CANDIDATES = (
    "/usr/share/doc",
    "/usr/share/zoneinfo",
    "/usr/share/perl",
    "/usr/lib/python3.11",
    "/usr/share/i18n",
    "/etc",
)
"""Folders that a Debian has, the first ones with files in them are served by the upstream."""

SLOW_KIB = 600
"""KiB/s that the mirror may take while the manager is stopped, so that there is time to stop it."""

_started = time.monotonic()


def tell(text: str) -> None:
    """Say what happens, with the seconds since the start."""
    sys.stdout.write(f"[{time.monotonic() - _started:5.1f} s] {text}\n")
    sys.stdout.flush()


def quote(text: str) -> None:
    """Show what a command said."""
    for line in text.strip().splitlines():
        sys.stdout.write(f"          | {line}\n")
    sys.stdout.flush()


def main() -> int:
    """Play all acts; a failure of any is the demo's."""
    end_on_signals(signal.SIGTERM, signal.SIGHUP)
    FOLDER.parent.mkdir(exist_ok=True)
    try:
        with FileLock(FOLDER.parent / "demo.lock", timeout=0):
            _play()
    except Timeout:
        sys.stderr.write("Another demo is running in this folder; end it with Ctrl-C there.\n")
        return 1
    except KeyboardInterrupt:
        sys.stdout.write("\n")
    except (TimeoutError, RuntimeError, subprocess.CalledProcessError, OSError) as error:
        sys.stderr.write(f"The demo failed: {error}\nIts logs are below {FOLDER}.\n")
        return 1
    return 0


def _play() -> None:
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    samples = FOLDER / "samples"
    samples.mkdir(parents=True)
    (samples / "README").write_text("Grows while you watch.\n")
    modules = _modules()
    files = sum(count for _path, count in modules.values())
    with contextlib.ExitStack() as stack:
        tell(f"1. An upstream: a real rsync daemon that serves {files} files of this machine.")
        daemon = stack.enter_context(
            RsyncDaemon(FOLDER / "upstream", {name: path for name, (path, _) in modules.items()} | {"samples": samples})
        )
        repository = _repository(daemon, list(modules))
        manager = Manager(FOLDER / "manager", repository.url, FOLDER / "site")
        tell("3. A manager, which takes reports and renders the page; and a token for the worker.")
        manager.start()
        stack.callback(manager.stop)
        worker = Worker(FOLDER / "worker", "w1", repository.url, manager)
        _first_sync(worker, manager)
        _change(repository, worker, manager, daemon)
        _break(repository, worker, manager)
        _without_manager(worker, manager, samples)
        _finish(manager)
        with contextlib.suppress(KeyboardInterrupt):
            _show(manager.site)


def _modules() -> dict[str, tuple[Path, int]]:
    """Three folders of the machine with files in them, by the name of their module."""
    found: dict[str, tuple[Path, int]] = {}
    for path in map(Path, CANDIDATES):
        count = sum(len(names) for _folder, _below, names in os.walk(path))
        if count > 20 and len(found) < 3:
            found[path.name.replace(".", "")] = (path, count)
    return found


def _repository(daemon: RsyncDaemon, modules: list[str]) -> ConfigRepository:
    tell("2. A config repository: the mirrors are YAML files in git.")
    repository = ConfigRepository(FOLDER)
    files: dict[str, str | None] = {
        "_site.yml": "title: Demo Mirrors\ndescription: Files of this very machine, mirrored.\n"
        "categories:\n  os: Operating systems\n  tools: Tools\n",
        "_workers.yml": "workers:\n  w1:\n    description: This machine\n    slots: 2\n",
        "_defaults.yml": "worker: w1\nprovider: rsync\ninterval: 1h\nretry: 1\ncategory: os\n",
        "clock.yml": "title: Clock\ndescription: A command in place of rsync.\nprovider: command\ncategory: tools\n"
        f"upstream: {daemon.url('none')}\ncommand: sh -c 'date > now.txt; echo size-sum 1K'\n"
        "size_pattern: size-sum ([0-9.]+[KMGT]?)\n",
    }
    for name in modules:
        files[f"{name}.yml"] = (
            f"title: {name.title()}\ndescription: Files of this machine.\nupstream: {daemon.url(name)}\n"
        )
    repository.commit(files, "Mirror this machine's own files")
    quote("\n".join(sorted(files)))
    quote(f"{modules[0]}.yml:\n{files[f'{modules[0]}.yml']}")
    return repository


def _first_sync(worker: Worker, manager: Manager) -> None:
    tell("4. The worker follows the repository, syncs what is due and reports. `skipjack once` does all in turn.")
    _once(worker)
    _wait(manager, "every mirror has succeeded", lambda page: all(_succeeded(each) for each in page.values()))
    files = sum(len(names) for _folder, _below, names in os.walk(worker.root))
    quote(f"{files} files are now in {worker.root}")


def _change(repository: ConfigRepository, worker: Worker, manager: Manager, daemon: RsyncDaemon) -> None:
    tell("5. Another mirror is proposed on a branch, checked as in CI, and merged.")
    repository.git("switch", "-q", "-c", "add-samples")
    text = (
        f"title: Samples\ndescription: A new mirror, from a branch.\nupstream: {daemon.url('samples')}\n"
        f"interval: 2h\nrsync_options: [--bwlimit={SLOW_KIB}]\n"
    )
    repository.commit({"samples.yml": text}, "Add the samples")
    quote(validate(repository.tree))
    repository.git("switch", "-q", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "Merge the branch add-samples", "add-samples")
    repository.git("push", "-q", "origin", "main")
    _once(worker)
    _wait(manager, "the new mirror is on the page", lambda page: _succeeded(page.get("samples")))


def _break(repository: ConfigRepository, worker: Worker, manager: Manager) -> None:
    tell("6. An invalid definition is merged. It is quarantined: its mirror keeps the last valid one.")
    broken = (repository.tree / "samples.yml").read_text().replace("interval: 2h", "intervall: 90")
    repository.commit({"samples.yml": broken}, "Sync the samples less often (or so it is meant)")
    ran = {each["name"]: each["last_success_at"] for each in manager.published()["mirrors"]}
    _once(worker, fine=False)
    for name in ("samples", "clock"):
        quote(worker.command("run", name).stderr)
    worker.command("courier")
    _wait(
        manager,
        "the clock and the samples have run again nevertheless",
        lambda page: all(page[name]["last_success_at"] > ran[name] for name in ("clock", "samples")),
    )


def _without_manager(worker: Worker, manager: Manager, upstream: Path) -> None:
    tell("7. The manager is stopped while a run is under way. The run goes on, and its report waits.")
    (upstream / "news").write_bytes(os.urandom(SLOW_KIB * 1024 * 5))
    before = manager.published()["mirrors"]
    ran = {each["name"]: each["last_success_at"] for each in before}
    courier = worker.start("courier", "--linger")
    try:
        run = worker.start("run", "samples")
        _wait(manager, "the page shows the run", lambda page: page["samples"]["status"] == "syncing")
        manager.stop()
        quote("the manager is stopped, the run goes on")
        quote(f"the run ended with exit code {run.wait(60)}; reports that wait: {worker.pending()}")
        manager.start()
        quote("the manager is back")
        _wait(manager, "the status has arrived", lambda page: page["samples"]["last_success_at"] > ran["samples"])
        wait_until(lambda: worker.pending() == 0, "no report waits any more")
    finally:
        courier.terminate()
        courier.wait()


def _finish(manager: Manager) -> None:
    page = manager.published()
    tell("This is what visitors see now:")
    quote("\n".join(f"{each['name']:<12} {each['freshness']:<8} {each['status']}" for each in page["mirrors"]))
    tell(f"The rendered site is in {manager.site.relative_to(REPOSITORY)}/")


def _once(worker: Worker, *, fine: bool = True) -> None:
    done = worker.command("once", check=False)
    quote(done.stderr)
    if (done.returncode == 0) != fine:
        raise SystemExit(f"skipjack once ended with {done.returncode}; see {worker.state}/messages.log")


def _succeeded(mirror: dict[str, Any] | None) -> bool:
    return mirror is not None and mirror["status"] == "success"


def _wait(manager: Manager, what: str, condition: Callable[[dict[str, dict[str, Any]]], bool]) -> None:
    """Wait until the published page shows this, and print that."""

    def says() -> bool:
        page = manager.published()
        return page is not None and condition({each["name"]: each for each in page["mirrors"]})

    wait_until(says, what, 60)
    quote(f"the page: {what}")


def _show(site: Path) -> None:
    """Serve the page; until Ctrl-C on a terminal, otherwise only long enough to see that it answers."""
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            answer = requests.get(address, timeout=300)
            answer.raise_for_status()
            if sys.stdin.isatty() and sys.stdout.isatty():
                tell(f"Look at the page: {address}   (Ctrl-C ends the demo)")
                signal.pause()
            else:
                tell(f"The page answered at {address}; without a terminal to wait for, the demo ends here.")
        finally:
            server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log line for each."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    sys.exit(main())
