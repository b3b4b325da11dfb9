"""`skipjack install --cron`: cron lines that do what the units do, as far as cron can.

A reboot empties /run, and the worker's user may not create a folder there; some machines also lose users and folders.
So the first line creates all of these at boot, as root, except below a disk that is not mounted yet.
"""

import os
import shlex
import shutil
from collections.abc import Iterator

from runner.base import mounts
from runner.install.others import CRON_FILE
from runner.install.setup import MANAGER, Setup, program
from runner.subprocesses.spawn import lean
from schemas.errors import SkipjackError

_BOOT, _PROGRAMS = "/etc/cron.d/skipjack-boot", CRON_FILE
_LONGEST = 998
"""Characters of a command at most: cron ignores a whole file with a longer one."""

_ABOVE = ("/", "/dev", "/run", "/tmp", "/var/run")  # noqa: S108 - mount points, not files
"""Mount points that are there before cron starts, and need no test."""

_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def cron(setup: Setup) -> str:
    """Return two files for /etc/cron.d, each after a line with its path; for an own installation, crontab lines."""
    if setup.kind == MANAGER:
        what = "cron cannot run the manager: its programs keep running, and cron does not restart them."
        raise SkipjackError(what, "Run `skipjack-manager serve --publish` under a supervisor, such as runit or OpenRC.")
    who = "" if setup.own else f"{setup.user} "
    programs = [_line(f"{minute} * * * *", who, shlex.join(words)) for minute, words in _programs(setup)]
    path = f"PATH={_SEARCH}"
    if setup.own:
        return "\n".join(["# for your own crontab", path, _line("@reboot", "", _make_folders(setup)), *programs])
    # A separate file: cron ignores a whole file while one of its lines names a missing user.
    return "\n".join(
        [
            f"# {_BOOT}",
            "# Needed now as well: run the command below once as root, or reboot.",
            path,
            _line("@reboot", "root ", boot(setup)),
            f"# {_PROGRAMS}",
            path,
            *programs,
        ]
    )


def boot(setup: Setup) -> str:
    """Return the shell command that creates, as root, the user and the folders that are missing."""
    user = shlex.quote(setup.user)
    made = f"{_add_user(setup)} && {{ [ ! -e {_PROGRAMS} ] || touch {_PROGRAMS}; }}"  # cron reads a changed file again
    return f"id -u {user} >/dev/null 2>&1 || {{ {made}; }}; {_make_folders(setup)}"


def _line(when: str, who: str, command: str) -> str:
    if not command.isprintable():
        raise SkipjackError(
            f"the command {command!r} cannot be written into a cron line.", "Choose paths without control characters."
        )
    # For cron a bare `%` ends the command.
    command = command.replace("%", r"\%")
    if len(command.encode()) > _LONGEST:
        what = f"a cron line would have {len(command.encode())} characters, and cron accepts {_LONGEST}: {command}"
        raise SkipjackError(what, "Choose shorter paths in the settings, for example of links.")
    return f"{when} {who}{command}"


def _programs(setup: Setup) -> Iterator[tuple[str, list[str]]]:
    settings = ("--settings", setup.settings)
    yield "*/3", [program("skipjack"), "follow", "--start", "--quiet", *settings]
    yield "*", lean("tick", setup.state_dir, "quiet")
    if setup.reports:
        yield "*", [program("skipjack"), "courier", "--start", "--quiet", *settings]


def _make_folders(setup: Setup) -> str:
    folders = [setup.state_dir, setup.run_dir, setup.log_dir, setup.mirror_root]
    if setup.own:
        return shlex.join(["mkdir", "-p", *folders])
    return "; ".join(_make(mount, found, setup.user) for mount, found in _by_mount(folders).items())


def _make(mount: str, folders: list[str], user: str) -> str:
    # Only missing folders are created: an existing one keeps its owner.
    made = f'[ -d "$d" ] || install -d -m 755 -o {shlex.quote(user)} "$d"'
    loop = f"for d in {shlex.join(folders)}; do {made}; done"
    # A folder below a disk that is mounted later would take a new worker's state, and fill this machine's own disk.
    return f"! mountpoint -q {shlex.quote(mount)} || {loop}" if mount else loop


def _by_mount(folders: list[str]) -> dict[str, list[str]]:
    """Return the folders by the mount point that they need, which is empty for those of the machine's own tree."""
    found: dict[str, list[str]] = {}
    points = mounts.points()
    for folder in folders:
        above = [point for point in points if f"{os.path.realpath(folder)}/".startswith(f"{point}/")]
        mount = max(above, key=len, default="")
        found.setdefault("" if mount in _ABOVE else mount, []).append(folder)
    return found


def _add_user(setup: Setup) -> str:
    """Return the command that adds a system user on this machine: Linux with shadow, BusyBox, FreeBSD."""
    user, home = setup.user, setup.state_dir
    if _has("useradd"):
        words = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home]
        return shlex.join([*words, "--shell", "/usr/sbin/nologin", user])
    if _has("pw"):
        return shlex.join(["pw", "useradd", user, "-d", home, "-s", "/usr/sbin/nologin"])
    group = shlex.join(["addgroup", "-S", user])
    words = ["adduser", "-S", "-D", "-H", "-h", home, "-s", "/sbin/nologin", "-G", user, user]
    return f"{{ {group}; {shlex.join(words)}; }}"


def _has(name: str) -> bool:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), _SEARCH])) is not None
