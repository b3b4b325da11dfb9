"""`skipjack uninstall`: stop the units and remove the files of `install`; keep data, settings and the user."""

import contextlib
import os

from runner.base.output import finish_unread, say
from runner.base.state_dir import StateLayout
from runner.install import install, machine, others, render
from runner.install.setup import MANAGER, WORKER, Setup
from schemas.regular_files import regular

_FAILING = {
    MANAGER: ("skipjack-manager.*", "skipjack-publish.*"),
    WORKER: tuple(f"skipjack-{each}" for each in ("follow.*", "tick.*", "measure.*", "courier.*", "run@*", "settle@*")),
}
"""Patterns of units whose failures systemd remembers."""


def uninstall(setup: Setup, *, stop_jobs: bool) -> None:
    """Remove an installation; active runs continue until they end unless `stop_jobs` is set."""
    if not setup.own:
        machine.check_root()
    machine.check_systemd(setup)
    others.check_file(setup, others.unit_file(setup))
    finish_unread()
    paths = [path for path in render.everything(setup) if os.path.exists(path)]
    # Before the runs: a timer or path unit would start them again.
    install.stop(setup, [os.path.basename(path) for path in paths])
    jobs = _jobs(setup) if setup.kind != MANAGER else []
    if jobs and stop_jobs:
        machine.command(*setup.systemctl, "stop", *jobs)
    for path in paths:
        machine.remove(path)
    if setup.kind != MANAGER:
        machine.remove(StateLayout(setup.state_dir).launcher)
        machine.remove(StateLayout(setup.state_dir).units)
    _remove_user_file(setup)
    machine.command(*setup.systemctl, "daemon-reload")
    machine.tried(*setup.systemctl, "reset-failed", *_FAILING[setup.kind])  # fails for units without a failure
    for job in jobs:
        say(f"stopped {job}" if stop_jobs else f"{job} is active and continues until it ends (`--stop-jobs` stops it)")
    _say_what_stays(setup)


def _remove_user_file(setup: Setup) -> None:
    """Remove the file that creates the user if it is ours; the user stays, since it owns the data."""
    path, text = render.sysusers(setup)
    with contextlib.suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8", opener=regular) as file:
        if file.readline() == text.partition("\n")[0] + "\n":
            machine.remove(path)


def _jobs(setup: Setup) -> list[str]:
    words = ("list-units", "--plain", "--no-legend", "--state=active,activating,deactivating", "skipjack-run@*.service")
    return [line.split()[0] for line in machine.command(*setup.systemctl, *words).splitlines() if line.strip()]


def _say_what_stays(setup: Setup) -> None:
    folders = (setup.settings, setup.credentials, setup.state_dir, setup.log_dir, setup.mirror_root, setup.site_dir)
    user = "" if setup.own else f"the user {setup.user}, "
    say(f"kept: {user}{', '.join(path for path in folders if path and os.path.exists(path))}")
