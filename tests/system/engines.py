"""A real docker and a real podman for the tests, each with a store of its own and one image made of this machine's
programs, so that nothing is fetched and nothing of the machine's own containers is touched."""

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.parts import Server

IMAGE = "localhost/tools:1"
_APPLETS = (
    "cat",
    "echo",
    "env",
    "false",
    "head",
    "id",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mv",
    "rm",
    "sh",
    "sleep",
    "tail",
    "true",
)

PODMAN = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "none"
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{folder}/tmp"
"""


class Engine:
    """A container program, the environment that leads it to its store, and what it knows."""

    def __init__(self, program: str, env: dict[str, str]) -> None:
        self.program, self.env = program, env

    def tell(self, *words: str) -> str:
        """What the program says; raises when it fails."""
        done = subprocess.run(
            [self.program, *words], env=os.environ | self.env, capture_output=True, text=True, timeout=300
        )
        if done.returncode != 0:
            raise RuntimeError(f"{self.program} {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def running(self) -> list[str]:
        """The names of the containers that run."""
        return self.tell("ps", "--format", "{{.Names}}").split()

    def all(self) -> list[str]:
        """The names of all containers, whatever their state."""
        return self.tell("ps", "--all", "--format", "{{.Names}}").split()


class DockerDaemon(Server):
    """A docker daemon of one's own, without any network of its making."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.socket = folder, f"unix://{folder}/socket"
        words = [
            "dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid",
            "-H", self.socket, "--storage-driver", "overlay2", "--iptables=false", "--ip6tables=false",
            "--bridge=none", "--ip-forward=false", "--ip-masq=false",
        ]  # fmt: skip
        super().__init__(words, folder / "dockerd.log")

    def ready(self) -> bool:
        """Whether it answers."""
        words = ["docker", "-H", self.socket, "info"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and unmount what it leaves mounted."""
        code = super().stop(number)
        for place in self.folder.glob("exec/netns/*"):
            subprocess.run(["umount", str(place)], capture_output=True, check=False)
        return code


@contextlib.contextmanager
def docker(folder: Path, image: Path) -> Iterator[Engine]:
    """A docker with the image, while the block lasts."""
    with DockerDaemon(folder) as daemon:
        engine = Engine("docker", {"DOCKER_HOST": daemon.socket})
        engine.tell("import", str(image), IMAGE)
        yield engine
        for name in engine.all():
            engine.tell("rm", "--force", name)


@contextlib.contextmanager
def podman(folder: Path, image: Path) -> Iterator[Engine]:
    """A podman with the image, while the block lasts."""
    folder.mkdir()
    (folder / "containers.conf").write_text(PODMAN.format(folder=folder))
    store = f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/data"\nrunroot = "{folder}/run"\n'
    (folder / "storage.conf").write_text(store)
    settings = {"CONTAINERS_CONF": "containers.conf", "CONTAINERS_STORAGE_CONF": "storage.conf"}
    engine = Engine("podman", {key: str(folder / name) for key, name in settings.items()})
    engine.tell("import", str(image), IMAGE)
    yield engine
    for name in engine.all():
        engine.tell("rm", "--force", "--time", "0", name)
    for place in sorted(folder.glob("data/overlay*"), reverse=True):
        subprocess.run(["umount", str(place)], capture_output=True, check=False)


def make_image(path: Path) -> Path:
    """Pack a file system: a busybox that needs nothing, and rsync with the libraries that it needs."""
    busybox, rsync = str(shutil.which("busybox")), str(shutil.which("rsync"))
    needed = subprocess.run(["ldd", rsync], check=True, capture_output=True, text=True).stdout
    with tarfile.open(path, "w") as tar:
        for folder in ("bin", "etc", "tmp", "usr", "usr/bin"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(made)
        tar.add(Path(busybox).resolve(), "bin/busybox")
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for file in (rsync, *re.findall(r"(/\S+) \(0x", needed)):
            tar.add(Path(file).resolve(), file.lstrip("/"))
        _add_text(tar, "etc/image", "inside\n", 0o644)
        _add_text(tar, "bin/no-run-bit", "#!/bin/sh\n", 0o644)
    return path


def _add_text(tar: tarfile.TarFile, name: str, text: str, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(text), mode
    tar.addfile(info, io.BytesIO(text.encode()))
