"""A box: a machine for tests, on which a real systemd is process 1.

It lives in namespaces of its own (mounts, processes, control groups, host name, IPC, network) over the machine's own
tree, which it sees at the same paths and never writes: what the box writes goes to an image, a file that outlives a
reboot of the box. It has no network but its loopback. Needs root, systemd, dbus, iproute2, util-linux and e2fsprogs.

A box is gone when its `with` block ends, and also when the tests' process is killed: the kernel ends its process 1 with
us, with that everything in it, and with that its mounts. Empty control groups may be left then; the next box removes
them.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

CGROUPS = Path("/sys/fs/cgroup")
PREFIX = "skipjack-box-"
BOOT = Path(__file__).with_name("boot.sh")
IMAGE_BYTES = 8 * 1024**3
"""Size of an image, which is sparse: it takes what the box has written."""

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "PYTHONDONTWRITEBYTECODE": "1",
}
_INSIDE = """
for procs in /sys/fs/cgroup/*/exec/cgroup.procs /sys/fs/cgroup/exec/cgroup.procs; do
    [ ! -e "$procs" ] || echo $$ >"$procs"
done
user=$1
shift
[ "$user" = root ] || set -- setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups -- "$@"
exec "$@"
"""
"""Puts a command into a control group of the box, beside systemd's own ones, or it would be the machine's."""

PATIENCE = 300.0
"""Seconds after which something counts as never happening. It bounds a hang; a busy machine may be very slow."""

_NUMBERS = itertools.count(1)

T = TypeVar("T")


class Failed(Exception):  # noqa: N818 - what happened
    """A command in the box did not exit with 0; the message has all that it said."""


def wait_until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Wait until the condition gives something true, and return it."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"did not happen within {seconds:.0f} s: {what}")
        time.sleep(0.05)
    return result


def make_image(path: Path) -> None:
    """Make an empty image. Without a file system journal: the kernel below never crashes with the box."""
    with path.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    words = ["mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", str(path)]
    subprocess.run(words, check=True)


def copy_image(source: Path, target: Path) -> None:
    """Copy the image of a box that is down, holes and all."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(source), str(target)], check=True)


class _Hierarchy(NamedTuple):
    """One mounted tree of control groups: its folder below CGROUPS (empty when it is the only one), its mount options,
    and the folder of the group that we are in."""

    folder: str
    options: str
    ours: Path


def _hierarchies() -> list[_Hierarchy]:
    unified = (CGROUPS / "cgroup.controllers").exists()
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        controllers, path = line.split(":", 2)[1:]
        if unified:  # a group that holds processes cannot give controllers to its children; the topmost one can
            return [_Hierarchy("", "v2", CGROUPS)]
        folder = controllers.removeprefix("name=") or "unified"
        options = "v2" if not controllers else f"none,{controllers}" if "=" in controllers else controllers
        if (CGROUPS / folder).is_dir():
            found.append(_Hierarchy(f"/{folder}", options, CGROUPS / folder / path.strip("/")))
    return found


class Box:
    """One box on one image. Use it as a context: it is up within the block."""

    def __init__(self, image: Path, name: str = "box") -> None:
        self.image, self.name = image, name
        self._log = image.with_suffix(".log")
        self._parent: subprocess.Popen[bytes] | None = None
        self._hierarchies = _hierarchies()
        group = f"{PREFIX}{os.getpid()}-{next(_NUMBERS)}"
        self._groups = [each.ours / group for each in self._hierarchies]
        self.pid = 0
        """Process 1 of the box, as the machine numbers it."""

    def __enter__(self) -> Self:
        self.boot()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.shut_down()

    def boot(self, seconds: float = PATIENCE) -> None:
        """Boot, and wait until systemd has started everything; RuntimeError when it does not get there."""
        _remove_leftovers(self._hierarchies)
        try:
            self._make_groups(self._groups)
            self._start_parent()
            wait_until(self._has_booted, f"the box boots, see {self._log}", seconds)
            self._make_groups([each / "exec" for each in self._groups])
        except BaseException:
            self.cut_power()
            raise

    def shut_down(self, seconds: float = PATIENCE) -> None:
        """Shut down in order, as a person does; a box that does not get there is killed and TimeoutError raised."""
        if self._parent is None:
            return
        try:
            os.kill(self.pid, signal.SIGRTMIN + 4)  # systemd(1): start poweroff.target
            parent = self._parent
            wait_until(lambda: parent.poll() is not None, "the box shuts down", seconds)
        finally:
            self.cut_power()

    def cut_power(self) -> None:
        """Kill everything at once. What was written stays."""
        if self._parent is not None:
            self._parent.kill()  # and the kernel kills its child, process 1, and with that all the others
            self._parent.wait()
            wait_until(self._let_go_of_the_image, "the kernel lets go of the image")
            self._parent = None
        for group in self._groups:
            _remove(group)

    def reboot(self) -> None:
        """Shut down and boot again, on the same image."""
        self.shut_down()
        self.boot()

    def path(self, path: str) -> Path:
        """A file of the box as the machine sees it, to read and write it; no links with absolute paths on the way."""
        return Path(f"/proc/{self.pid}/root{path}")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file in the box, and the folders that it needs."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def run(
        self, *words: str, user: str = "root", env: dict[str, str] | None = None, timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the box, as a user of it, and give its exit code and output."""
        home = "/root" if user == "root" else f"/home/{user}"
        variables = _ENVIRONMENT | {"HOME": home, "USER": user, "LOGNAME": user} | (env or {})
        command = ["env", "-i", "-C", "/", *(f"{key}={value}" for key, value in variables.items())]
        # The command is killed with the process that waits for it.
        outside = ["/bin/sh", "-c", 'setpriv --pdeathsig KILL -- "$@"; exit $?', "sh"]
        return subprocess.run(
            [*self._enter(), *outside, *command, "/bin/sh", "-c", _INSIDE, "sh", user, *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout, check=False,
        )  # fmt: skip

    def do(self, *words: str, user: str = "root", env: dict[str, str] | None = None, timeout: float = PATIENCE) -> str:
        """Run a command in the box that must exit with 0, and give what it says; Failed otherwise."""
        done = self.run(*words, user=user, env=env, timeout=timeout)
        if done.returncode != 0:
            raise Failed(f"{' '.join(words)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def shell(self, script: str, user: str = "root", timeout: float = PATIENCE) -> str:
        """Run a script of bash in the box that must exit with 0, and give what it says."""
        return self.do("bash", "-euo", "pipefail", "-c", script, user=user, timeout=timeout)

    def _enter(self) -> list[str]:
        # Without a fork of its own: nsenter's stops with its child, as at a shutdown, and then never reaps it.
        return ["nsenter", "--no-fork", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-C", "--"]

    def _make_groups(self, groups: list[Path]) -> None:
        for group in groups:
            group.mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):  # in version 1 they begin empty, and then take no process
                if (group / name).exists() and not (group / "cgroup.controllers").exists():
                    (group / name).write_text((group.parent / name).read_text())

    def _start_parent(self) -> None:
        """Start the parent of process 1; the kernel kills it with this process, and its child with it."""
        join = "".join(f"echo $$ >'{group}/cgroup.procs'\n" for group in self._groups)
        unshare = ["unshare", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--net", "--fork", "--kill-child", "--"]
        cgroups = [f"{each.folder}:{each.options}" for each in self._hierarchies]
        words = ["setpriv", "--pdeathsig", "KILL", "--", "/bin/sh", "-ec", f'{join}exec "$@"', "sh", *unshare]
        with self._log.open("wb") as log:
            self._parent = subprocess.Popen(
                [*words, str(BOOT), self.name, str(self.image), *cgroups],
                stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.pid = wait_until(self._first_child, f"the box starts, see {self._log}")
        for each in self._hierarchies:
            (each.ours / "cgroup.procs").write_text(str(self._parent.pid))
        assert self._parent.stdin is not None
        self._parent.stdin.write(b"go\n")
        self._parent.stdin.close()

    def _first_child(self) -> int:
        pid = self._living_parent().pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _living_parent(self) -> subprocess.Popen[bytes]:
        if self._parent is None or self._parent.poll() is not None:
            raise RuntimeError(f"The box has died: {self._log.read_text()}")
        return self._parent

    def _has_booted(self) -> bool:
        self._living_parent()
        if Path(f"/proc/{self.pid}/exe").readlink().name != "systemd":  # it is still on its way there
            return False
        words = [*self._enter(), "systemctl", "is-system-running", "--wait"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        return done.stdout.strip() in ("running", "degraded")

    def _let_go_of_the_image(self) -> bool:
        words = ["losetup", "--noheadings", "--output", "NAME", "--associated", str(self.image)]
        return not subprocess.run(words, capture_output=True, check=True).stdout


def _remove_leftovers(hierarchies: list[_Hierarchy]) -> None:
    """Remove the control groups of boxes whose tests were killed."""
    for each in hierarchies:
        for group in each.ours.glob(f"{PREFIX}*"):
            if not Path(f"/proc/{group.name.removeprefix(PREFIX).partition('-')[0]}").exists():
                _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group and those below it, deepest first; a dying process may hold one for a moment."""

    def gone() -> bool:
        for folder in [*_folders_below(group), group]:
            with contextlib.suppress(OSError):
                folder.rmdir()
        return not group.exists()

    wait_until(gone, f"{group} is removed")


def _folders_below(group: Path) -> Iterator[Path]:
    for folder, _folders, _files in os.walk(group, topdown=False):
        yield Path(folder)
