"""`skipjack install`: write the units and the files they need, and start them. It can be repeated at any time.

Active runs are not touched: they keep the release and the settings that they started with.
"""

import os

from runner.base import secret_files
from runner.base.output import finish_unread, log, say
from runner.base.state_dir import StateLayout
from runner.install import listen_check, machine, others, render, secret_check
from runner.install.setup import MANAGER, Setup, program
from schemas.standard_streams import ERROR, WARNING

_STARTERS, _SOCKET = (".timer", ".path", ".socket"), "skipjack-manager.socket"

_LINGERING = "/var/lib/systemd/linger"
"""Where systemd keeps a file for each user whose units continue after the last session."""

_LASTING = ("skipjack-manager.service", "skipjack-publish.service")


def install(setup: Setup) -> int:
    """Install and start everything; SkipjackError if the machine lacks something, before anything is written.

    Return the exit code: 1 when everything is installed but the courier cannot read its token.
    """
    # All checks come first, so that a failed one leaves the machine as it was.
    _check(setup)
    finish_unread()  # from here on the machine changes, and a closed terminal must not end this halfway
    _make_user(setup)
    machine.check_readable(setup, program("skipjack-manager" if setup.kind == MANAGER else "skipjack"))
    _make_folders(setup)
    if setup.kind == MANAGER:
        secret_check.require(setup)  # before its units restart, which would fail
    _remove(setup)
    changed = {os.path.basename(path) for path, text in render.files(setup).items() if machine.write(path, text)}
    if setup.kind != MANAGER:
        machine.write(StateLayout(setup.state_dir).launcher, f"{setup.launcher}\n")
    machine.command(*setup.systemctl, "daemon-reload")
    has_token = True
    if setup.kind != MANAGER:
        _follow(setup)
        has_token = secret_check.warn(setup)  # before the units start, which fail without their secrets
    _start(setup, changed)
    if setup.reports and has_token:
        # Its timer has it running: only a restart brings new settings and the new release.
        machine.command(*setup.systemctl, "try-restart", "skipjack-courier.service")
    if setup.own and not os.path.exists(f"{_LINGERING}/{setup.user}"):
        words = f"these units stop when you log out; to keep them, run `loginctl enable-linger {setup.user}` as root"
        log(words, about="install")
    if not has_token:
        words = "the courier cannot report until it can read the token; everything else is installed and started"
        log(words, about="install", level=ERROR)
    return 0 if has_token else 1


def show(setup: Setup) -> None:
    """Print the files that `install` would write, each after its path."""
    files = dict([render.sysusers(setup)]) if not setup.own else {}
    files |= render.files(setup)
    if setup.kind != MANAGER:
        files[StateLayout(setup.state_dir).launcher] = f"{setup.launcher}\n"
    say("\n".join(f"# {path}\n{text}" for path, text in files.items()).rstrip("\n"), has_addresses=False)


def _check(setup: Setup) -> None:
    if not setup.own:
        machine.check_root()
        machine.check_place()
    machine.check_systemd(setup)
    others.check_file(setup, others.unit_file(setup))
    others.check_folders(setup)
    if setup.kind != MANAGER and not setup.own:
        machine.check_polkit()
    if setup.containers.endswith("docker") and not setup.own:
        machine.check_group("docker")
    listen_check.require_free(setup)


def _make_user(setup: Setup) -> None:
    if not setup.own and not machine.has_user(setup.user):
        path, text = render.sysusers(setup)
        machine.write(path, text)
        machine.command("systemd-sysusers", path)
        say(f"created the user {setup.user}")


def _make_folders(setup: Setup) -> None:
    owner = "" if setup.own else setup.user
    make_own_folders(setup)
    if setup.kind == MANAGER:
        if any(secret.credential for secret in setup.secrets.values()):
            machine.make_folder(setup.credentials, mode=0o700)
        return
    for request in ("", "measure"):  # the path units watch these folders
        machine.make_folder(StateLayout(setup.state_dir).start_request(request).rstrip("/"), owner)
    if not machine.make_folder(setup.mirror_root, owner):
        machine.check_writable(setup, setup.mirror_root)
    machine.note_set_id(setup, setup.mirror_root)
    for path in (setup.credentials, setup.passwords):
        machine.make_folder(path, mode=0o700)


def make_own_folders(setup: Setup) -> None:
    """Create the programs' own folders; an existing one keeps its owner, with a warning if that is another user."""
    owner = "" if setup.own else setup.user
    machine.adopt(setup)
    own = [setup.state_dir, setup.run_dir, setup.log_dir, setup.site_dir]
    for path in (path for path in own if path):
        if not machine.make_folder(path, owner) and path in setup.foreign:
            machine.warn_foreign(setup, path)


def _remove(setup: Setup) -> None:
    gone = [path for path in render.obsolete(setup) if os.path.exists(path)]
    # While the files are still there, which `systemctl disable` needs.
    stop(setup, [os.path.basename(path) for path in gone])
    for path in gone:
        machine.remove(path)


def stop(setup: Setup, names: list[str]) -> None:
    """Stop and disable these units, except template units and drop-ins: only other units start those."""
    starters = [name for name in names if name.endswith(_STARTERS)]
    services = [name for name in names if name.endswith((".service", ".target")) and "@" not in name]
    if starters:
        machine.command(*setup.systemctl, "disable", "--now", *starters)
    if services:
        machine.command(*setup.systemctl, "disable", "--now", *services)
    for name in starters + services:
        say(f"stopped {name}")


def _follow(setup: Setup) -> None:
    """Make a plan before units start, to show whether the config repository can be fetched; this starts no run."""
    fine, said = machine.tried(program("skipjack"), "follow", "--settings", setup.settings)
    if fine:
        say("followed the config repository:")
    else:
        words = "`skipjack follow` failed, or the configuration has problems; it printed:"
        log(words, about="install", level=WARNING)
    # Its warnings about secrets are left out: `secret_check` repeats them, and as root it can look into each folder.
    left_out = f"{WARNING} follow: {secret_files.beginning(setup.user)}"
    lines = (line for line in said.splitlines() if not line.startswith(left_out))
    say("\n".join(f"  {line}" for line in lines))


def _start(setup: Setup, changed: set[str]) -> None:
    """Start all units. Lasting ones are restarted, for a new release or new settings; runs never are."""
    names = [os.path.basename(path) for path in render.files(setup)]
    started = [name for name in names if render.is_started(name)]
    enabled = [name for name in names if name.endswith("-mounted.service") or name in started]
    restarted = [name for name in started if name in changed or name in _LASTING]
    # Also removes links that an earlier installation with other folders needed.
    machine.command(*setup.systemctl, "reenable", *(name for name in enabled if not name.endswith(".target")))
    if _SOCKET in changed:
        # systemd opens no socket for an active service, and one of an earlier release may have opened its own.
        machine.command(*setup.systemctl, "stop", "skipjack-manager.service")
    if restarted and not machine.tried(*setup.systemctl, "restart", *restarted)[0]:
        machine.explain(setup, restarted)
    machine.command(*setup.systemctl, "start", *started)
    for name in started:
        say(f"started {name}")
