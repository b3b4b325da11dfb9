"""Checks and changes of the machine: its files, users and service manager. Each change is printed."""

import contextlib
import grp
import os
import pwd
import re
import sys
from collections.abc import Iterable
from typing import NoReturn

from runner.base import privileges
from runner.base.output import log, say
from runner.base.secret_files import HOMES
from runner.install import adoption
from runner.install.setup import MANAGER, PACKAGES, Setup
from runner.subprocesses import spawn
from schemas.errors import SkipjackError
from schemas.regular_files import regular
from schemas.standard_streams import WARNING

PATIENCE = 300.0
"""Seconds that a command of the system may take."""

_ROUTINE = re.compile(
    r"(Start|Stopp|Failed to (?:start|listen on) )"
    r"|\S+: (Main process exited|Failed with result|Scheduled restart|Consumed|Start req)"
)
"""Lines that systemd logs for every unit that fails to start, whatever the reason."""

_UNSEEN = ("/tmp/", "/var/tmp/", *HOMES)  # noqa: S108 - hidden from units

OLDEST = 250
"""The first release of systemd that passes a whole folder of credentials to a unit."""


def check_systemd(setup: Setup) -> None:
    """Raise SkipjackError unless systemd runs here and is recent enough for the units."""
    if not os.path.isdir("/run/systemd/system"):
        raise SkipjackError("systemd does not run on this machine.", "Use the cron lines of `skipjack install --cron`.")
    said = command("systemctl", "--version")
    version = re.match(r"systemd (\d+)", said)
    if version is None or int(version[1]) < OLDEST:
        what = f"this machine has {said.partition(chr(10))[0]}, but the units need systemd {OLDEST} or newer."
        raise SkipjackError(what, "Use the cron lines of `skipjack install --cron`.")
    if setup.own:
        code, said = _ask(*setup.systemctl, "show", "--property=Version")
        if code:
            what = f"cannot reach your systemd user instance: {_last_line(said)}."
            raise SkipjackError(
                what, "Log in as this user, for example by ssh (su and sudo do not start it), and try again."
            )


def check_root() -> None:
    """Raise SkipjackError unless this is root."""
    if os.geteuid() != 0:
        raise SkipjackError(
            "only root can install units of the system.", "Use sudo, or install units of your own with `--user`."
        )


def check_place() -> None:
    """Raise SkipjackError if Skipjack is installed where its units cannot see it: in a home, /tmp or /var/tmp."""
    for folder in dict.fromkeys(map(os.path.realpath, (sys.prefix, PACKAGES))):
        if folder.startswith(_UNSEEN):
            raise SkipjackError(
                f"Skipjack is installed in {folder}, which is hidden from its units.",
                "Install it below /opt, as docs/systemd.md shows, and run `skipjack install` from there.",
            )


def check_polkit() -> None:
    """Raise SkipjackError if there is no polkit, whose rule lets the worker start its units."""
    if not any(
        map(os.path.exists, ("/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd", "/usr/libexec/polkit-1/polkitd"))
    ):
        raise SkipjackError(
            "polkit is not installed, so the worker's user could not start the mirrors' units.",
            "Install it: `apt-get install polkitd`.",
        )


def check_group(name: str) -> None:
    """Raise SkipjackError if the group that has access to the container daemon does not exist."""
    try:
        grp.getgrnam(name)
    except KeyError as error:
        what = f"there is no group `{name}`, so runs cannot get access to that daemon."
        raise SkipjackError(what, "Install it first: `apt-get install docker.io`.") from error


def check_readable(setup: Setup, program: str) -> None:
    """Raise SkipjackError if the user of the units or cron lines cannot read the settings or run our programs."""
    if setup.own or os.geteuid() != 0:
        return
    code, said = as_user(setup.user, program, "--version")
    if code:
        raise SkipjackError(
            f"the user {setup.user} cannot run {program}: {_last_line(said)}.",
            "Install Skipjack where every user can read it, such as /opt, with a Python that every user can run.",
        )
    if as_user(setup.user, "test", "-r", setup.settings)[0]:
        what = f"the user {setup.user} cannot read the settings {setup.settings}."
        of_file = f"`chgrp {setup.user}` and `chmod g+r`" if has_user(setup.user) else "`chmod a+r`"
        raise SkipjackError(what, f"Use {of_file} for the file, and `chmod a+x` for its folders.")


def check_writable(setup: Setup, path: str) -> None:
    """Warn if the user of the units cannot write to an existing folder."""
    if not setup.own and as_user(setup.user, "test", "-w", path)[0]:
        words = f"{setup.user} cannot write to {path}; change its owner with `chown -R {setup.user}: {path}`"
        log(words, about="install", level=WARNING)


def note_set_id(setup: Setup, path: str) -> None:
    """Note that an upstream's program could run as the worker's user, since rsync keeps its set-user-ID bit."""
    with contextlib.suppress(OSError):  # not mounted yet, or not visible
        if not os.statvfs(path).f_flag & os.ST_NOSUID:
            words = (
                f"{path} is not mounted `nosuid`, so every account of this machine could run a set-user-ID"
                f" program of an upstream as {setup.user}; docs/systemd.md shows how to mount it"
            )
            log(words, about="install")


def warn_foreign(setup: Setup, path: str) -> None:
    """Warn that another user owns one of our folders. It keeps that owner, whose programs may be using it."""
    words = (
        f"{path} belongs to another user; once no other program writes to it, change the owner with"
        f" `chown -R {setup.user}: {path}` and run this command again"
    )
    log(words, about="install", level=WARNING)


def adopt(setup: Setup) -> None:
    """Give a state directory that root's commands created to the manager's user."""
    if setup.kind != MANAGER or setup.own or not adoption.is_for_giving(setup.state_dir):
        return
    found = pwd.getpwnam(setup.user)
    if found.pw_uid != 0:
        adoption.give(setup.state_dir, found.pw_uid, found.pw_gid)
        say(f"gave {setup.state_dir}, created by root, to {setup.user}")


def has_user(name: str) -> bool:
    """Return whether the user exists."""
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


def make_folder(path: str, owner: str = "", mode: int = 0o755) -> bool:
    """Create a folder for `owner`, with the missing ones above it; return whether it was missing."""
    if os.path.isdir(path):
        return False
    try:
        os.makedirs(path, mode)
        os.chmod(path, mode)  # whatever the umask is
        if owner:
            found = pwd.getpwnam(owner)
            os.chown(path, found.pw_uid, found.pw_gid)
    except OSError as error:
        raise SkipjackError(f"cannot create the folder {path}: {error.strerror}.", "Create it yourself.") from error
    say(f"created {path}")
    return True


def write(path: str, text: str) -> bool:
    """Replace a file by a rename unless it has this text already; return whether it was written."""
    with (
        contextlib.suppress(FileNotFoundError, UnicodeDecodeError),
        open(path, encoding="utf-8", opener=regular) as file,
    ):
        if file.read() == text:
            return False
    aside = f"{path}.new"  # not synced: after a power cut, `install` can be repeated
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(aside, "w", encoding="utf-8", opener=regular) as file:
            file.write(text)
        # The units' user reads it, whatever the umask of root is.
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except OSError as error:
        raise SkipjackError(f"cannot write the file {path}: {error.strerror}.", "Check its folder.") from error
    say(f"wrote {path}")
    return True


def remove(path: str) -> None:
    """Remove a file if it exists, and its folder if that is an empty folder of drop-ins now."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SkipjackError(f"cannot remove the file {path}: {error.strerror}.", "Remove it yourself.") from error
    say(f"removed {path}")
    folder = os.path.dirname(path)
    if folder.endswith(".d") and os.path.basename(os.path.dirname(folder)) in ("system", "user"):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def as_user(user: str, *words: str) -> tuple[int, str]:
    """Run a short command as another user, who need not exist yet; return its exit code and output."""
    return _ask(*words, identity=privileges.identity(user))


def command(*words: str) -> str:
    """Run a command of the system and return its output; SkipjackError if it fails."""
    code, said = _ask(*words)
    if code:
        raise SkipjackError(f"`{' '.join(words)}` failed: {_last_line(said)}.", "Fix that, and try again.")
    return said


def explain(setup: Setup, names: Iterable[str]) -> NoReturn:
    """Raise SkipjackError for units that did not start, with the last error of the first one."""
    for name in names:
        code, _said = _ask(*setup.systemctl, "is-active", name)
        if code:
            own = ("--user",) if setup.own else ()
            words = ("journalctl", *own, "--no-pager", "--output=cat", "--lines=50", "--unit", name)
            said = _last_words(_ask(*words)[1])
            place = f" at `listen: {setup.listen}`" if name.endswith(".socket") else ""
            raise SkipjackError(
                f"{name} cannot start{place}: {said}.", f"Fix that, and try again. See `journalctl -u {name}`."
            )
    raise SkipjackError("systemd could not start the units.", "See `systemctl --failed` and `journalctl -b`.")


def _last_words(journal: str) -> str:
    """Return the last line of a unit's journal that has a reason, without systemd's lines that any failure has."""
    lines = [line for line in journal.splitlines() if not _ROUTINE.match(line)]
    return _last_line(re.sub(r"^skipjack[\w@.-]*: ", "", "\n".join(lines), flags=re.M))


def tried(*words: str) -> tuple[bool, str]:
    """Run a command that may fail; return whether it succeeded, and its output."""
    code, said = _ask(*words)
    return code == 0, said


def _ask(*words: str, identity: privileges.Identity | None = None) -> tuple[int, str]:
    try:
        return spawn.ask(words, PATIENCE, identity=identity)
    except spawn.CannotStart as error:
        return 1, str(error)


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1].rstrip(".") if lines else "no output"
