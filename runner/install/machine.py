"""The machine that is installed to: its files, users and service manager. Every change is told as it is made."""

import contextlib
import grp
import os
import pwd
import re
import sys
from collections.abc import Iterable
from typing import NoReturn

from runner.base import privileges
from runner.base.output import say
from runner.base.secret_files import HOMES
from runner.install import adoption
from runner.install.setup import MANAGER, PACKAGES, Setup
from runner.subprocesses import spawn
from schemas.errors import SkipjackError
from schemas.regular_files import regular

PATIENCE = 300.0
"""Seconds that one command of the system may take."""

_ROUTINE = re.compile(
    r"(Start|Stopp|Failed to (?:start|listen on) )"
    r"|\S+: (Main process exited|Failed with result|Scheduled restart|Consumed|Start req)"
)
"""What systemd says of every unit that fails to start, whatever the reason."""

_UNSEEN = ("/tmp/", "/var/tmp/", *HOMES)  # noqa: S108 - where nothing may be installed

OLDEST = 250
"""The first systemd that gives units a whole folder of credentials."""


def check_systemd(setup: Setup) -> None:
    """SkipjackError when there is no systemd that could run the units."""
    if not os.path.isdir("/run/systemd/system"):
        raise SkipjackError("systemd does not run on this machine.", "Use the lines of `skipjack install --cron`.")
    said = command("systemctl", "--version")
    version = re.match(r"systemd (\d+)", said)
    if version is None or int(version[1]) < OLDEST:
        what = f"This machine has {said.partition(chr(10))[0]}, and the units need systemd {OLDEST} or newer."
        raise SkipjackError(what, "Use the lines of `skipjack install --cron`.")
    if setup.own:
        code, said = _ask(*setup.systemctl, "show", "--property=Version")
        if code:
            what = f"Your own service manager cannot be reached: {_last_line(said)}."
            raise SkipjackError(what, "Log in as this user (ssh will do; su and sudo will not), and try again.")


def check_root() -> None:
    """SkipjackError when we are not root."""
    if os.geteuid() != 0:
        raise SkipjackError(
            "Units of the system can only be installed by root.", "Use sudo, or install for yourself with --user."
        )


def check_place() -> None:
    """SkipjackError when units of the system would not see the installation: they have their own /tmp and no homes."""
    for folder in dict.fromkeys(map(os.path.realpath, (sys.prefix, PACKAGES))):
        if folder.startswith(_UNSEEN):
            raise SkipjackError(
                f"Skipjack is installed in {folder}, where units of the system do not see it.",
                "Install it below /opt, as docs/systemd.md shows, and run that one's `skipjack install`.",
            )


def check_polkit() -> None:
    """SkipjackError when nothing would read the rule that lets the worker start its units."""
    if not any(
        map(os.path.exists, ("/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd", "/usr/libexec/polkit-1/polkitd"))
    ):
        raise SkipjackError(
            "polkit is not installed, so the worker's user could not start the mirrors' units.",
            "Install it: `apt-get install polkitd`.",
        )


def check_group(name: str) -> None:
    """SkipjackError when the group is not there that may talk to the containers' daemon."""
    try:
        grp.getgrnam(name)
    except KeyError as error:
        what = f"There is no group `{name}`, so the runs could not be let to the daemon of that name."
        raise SkipjackError(what, "Install it first: `apt-get install docker.io`.") from error


def check_readable(setup: Setup, program: str) -> None:
    """SkipjackError when the user of units or cron lines could not read its settings, or not run our programs."""
    if setup.own or os.geteuid() != 0:
        return
    code, said = as_user(setup.user, program, "--version")
    if code:
        raise SkipjackError(
            f"The user {setup.user} cannot run {program}: {_last_line(said)}.",
            "Install Skipjack where every user may read it, as in /opt, with a Python that every user may run.",
        )
    if as_user(setup.user, "test", "-r", setup.settings)[0]:
        what = f"The user {setup.user} cannot read the settings {setup.settings}."
        of_file = f"`chgrp {setup.user}` and `chmod g+r` do" if has_user(setup.user) else "`chmod a+r` does"
        raise SkipjackError(what, f"{of_file} for the file, `chmod a+x` for its folders.")


def check_writable(setup: Setup, path: str) -> None:
    """Tell when the user of the units cannot write to a folder that is there already."""
    if not setup.own and as_user(setup.user, "test", "-w", path)[0]:
        say(f"warning: {setup.user} cannot write to {path}; give it over with `chown -R {setup.user}: {path}`")


def tell_set_id(setup: Setup, path: str) -> None:
    """Tell when a program of an upstream could run as the worker's user: rsync keeps its set-user-ID bit."""
    with contextlib.suppress(OSError):
        if not os.statvfs(path).f_flag & os.ST_NOSUID:
            say(
                f"note: {path} is not mounted `nosuid`, so every account of this machine could run a set-user-ID"
                f" program of an upstream as {setup.user}; docs/systemd.md says how to mount it"
            )


def tell_foreign(setup: Setup, path: str) -> None:
    """Tell that a folder of ours belongs to another user, who keeps it: that user's programs may be at work there."""
    say(
        f"warning: {path} belongs to another user, and stays so; once no other program writes to it, give it over with"
        f" `chown -R {setup.user}: {path}` and run this command again"
    )


def adopt(setup: Setup) -> None:
    """Give the manager's user a state directory that root's commands have made, and tell it."""
    if setup.kind != MANAGER or setup.own or not adoption.is_for_giving(setup.state_dir):
        return
    found = pwd.getpwnam(setup.user)
    if found.pw_uid != 0:
        adoption.give(setup.state_dir, found.pw_uid, found.pw_gid)
        say(f"gave {setup.state_dir}, which root's commands had made, to {setup.user}")


def has_user(name: str) -> bool:
    """Whether the machine knows the user."""
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


def make_folder(path: str, owner: str = "", mode: int = 0o755) -> bool:
    """Make a folder and what is missing above it; True if it was not there. `owner` gets the new folder."""
    if os.path.isdir(path):
        return False
    try:
        os.makedirs(path, mode)
        os.chmod(path, mode)
        if owner:
            found = pwd.getpwnam(owner)
            os.chown(path, found.pw_uid, found.pw_gid)
    except OSError as error:
        raise SkipjackError(f"The folder {path} cannot be made: {error.strerror}.", "Make it yourself.") from error
    say(f"made {path}")
    return True


def write(path: str, text: str) -> bool:
    """Write a file if it is not as it should be, in one step; True if it was written."""
    with (
        contextlib.suppress(FileNotFoundError, UnicodeDecodeError),
        open(path, encoding="utf-8", opener=regular) as file,
    ):
        if file.read() == text:
            return False
    aside = f"{path}.new"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(aside, "w", encoding="utf-8", opener=regular) as file:
            file.write(text)
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except OSError as error:
        raise SkipjackError(f"{path} cannot be written: {error.strerror}.", "Check its folder.") from error
    say(f"wrote {path}")
    return True


def remove(path: str) -> None:
    """Remove a file if it is there, and its folder if that was one of drop-ins and is empty now."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SkipjackError(f"{path} cannot be removed: {error.strerror}.", "Remove it yourself.") from error
    say(f"removed {path}")
    folder = os.path.dirname(path)
    if folder.endswith(".d") and os.path.basename(os.path.dirname(folder)) in ("system", "user"):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def as_user(user: str, *words: str) -> tuple[int, str]:
    """Run a short command with the rights of another user, who may be yet to be made; gives its exit code and what it
    said."""
    return _ask(*words, identity=privileges.identity(user))


def command(*words: str) -> str:
    """Run a command of the system that must succeed and give what it said; SkipjackError otherwise."""
    code, said = _ask(*words)
    if code:
        raise SkipjackError(f"`{' '.join(words)}` failed: {_last_line(said)}.", "Mend that, and try again.")
    return said


def explain(setup: Setup, names: Iterable[str]) -> NoReturn:
    """Raise the SkipjackError about units that could not be started, with what the first of them said last."""
    for name in names:
        code, _said = _ask(*setup.systemctl, "is-active", name)
        if code:
            own = ("--user",) if setup.own else ()
            words = ("journalctl", *own, "--no-pager", "--output=cat", "--lines=50", "--unit", name)
            said = _last_words(_ask(*words)[1])
            place = f" at `listen: {setup.listen}`" if name.endswith(".socket") else ""
            raise SkipjackError(
                f"{name} cannot start{place}: {said}.", f"Correct this and try again. See `journalctl -u {name}`."
            )
    raise SkipjackError("systemd could not start the units.", "See `systemctl --failed` and `journalctl -b`.")


def _last_words(journal: str) -> str:
    """The last line of a unit's journal that says why it failed, without systemd's lines that only say that it did."""
    lines = [line for line in journal.splitlines() if not _ROUTINE.match(line)]
    return _last_line(re.sub(r"^skipjack[\w@.-]*: ", "", "\n".join(lines), flags=re.M))


def tried(*words: str) -> tuple[bool, str]:
    """Run a command that may fail; gives whether it succeeded, and what it said."""
    code, said = _ask(*words)
    return code == 0, said


def _ask(*words: str, identity: privileges.Identity | None = None) -> tuple[int, str]:
    try:
        return spawn.ask(words, PATIENCE, identity=identity)
    except spawn.CannotStart as error:
        return 1, str(error)


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1].rstrip(".") if lines else "it said nothing"
