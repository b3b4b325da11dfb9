"""Damage to a bare repository, as by power cuts, bad disks, killed programs and people."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

Damage = Callable[[Path], None]
REFERENCE = "refs/skipjack/fetched"


def git(repository: Path, *words: str, stdin: bytes | None = None) -> str:
    """Run git on a bare repository."""
    command = ["git", f"--git-dir={repository}", *words]
    return subprocess.run(command, check=True, capture_output=True, input=stdin).stdout.decode().strip()


def unpack(repository: Path) -> None:
    """Unpack packs into loose objects, as earlier versions left them."""
    for pack in list((repository / "objects/pack").glob("*.pack")):
        data = pack.read_bytes()
        for path in repository.glob(f"objects/pack/{pack.stem}.*"):
            path.unlink()
        git(repository, "unpack-objects", "-q", stdin=data)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def _with(name: str, data: bytes) -> Damage:
    """Write a file of the repository."""
    return lambda repository: _write(repository / name, data)


def _gone(name: str) -> Damage:
    return lambda repository: _remove(repository.glob(name))


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _file_instead(name: str) -> Damage:
    def damage(repository: Path) -> None:
        _remove([repository / name])
        (repository / name).write_text("x")

    return damage


def _folder_instead(name: str) -> Damage:
    def damage(repository: Path) -> None:
        _remove([repository / name])
        (repository / name / "x").mkdir(parents=True)
        (repository / name / "x/y").touch()

    return damage


def _loose(change: Callable[[bytes], bytes]) -> Damage:
    def damage(repository: Path) -> None:
        unpack(repository)
        for path in list(repository.glob("objects/??/*")):
            _write(path, change(path.read_bytes()))

    return damage


def _one_loose(name: str) -> Damage:
    """Remove one object, by its name relative to the reference."""

    def damage(repository: Path) -> None:
        unpack(repository)
        found = git(repository, "rev-parse", f"{REFERENCE}{name}")
        (repository / "objects" / found[:2] / found[2:]).unlink()

    return damage


def _packed(suffix: str, change: Callable[[bytes], bytes]) -> Damage:
    def damage(repository: Path) -> None:
        for path in list(repository.glob(f"objects/pack/*.{suffix}")):
            _write(path, change(path.read_bytes()))

    return damage


def _flipped(data: bytes) -> bytes:
    """Flip one bit of every tenth byte."""
    return bytes(byte ^ (number % 10 == 0) for number, byte in enumerate(data))


def _empty(_data: bytes) -> bytes:
    return b""


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _of_another_user(repository: Path) -> None:
    for path in (repository / "objects", repository):
        path.chmod(0o500)
        if os.geteuid() == 0:
            os.chown(path, 12345, 12345)


def _swapped_objects(repository: Path) -> None:
    """Swap valid objects, which git itself does not notice."""
    unpack(repository)
    names = [git(repository, "rev-parse", f"{REFERENCE}:{path}") for path in ("debian.yml", "os/gnu.yml")]
    one, other = (repository / "objects" / name[:2] / name[2:] for name in names)
    first, second = one.read_bytes(), other.read_bytes()
    _write(one, second)
    _write(other, first)


def _file_for_the_repository(repository: Path) -> None:
    shutil.rmtree(repository)
    repository.write_text("x")


def _link_for_the_repository(repository: Path) -> None:
    shutil.rmtree(repository)
    repository.symlink_to("/nonexistent")


def _pipe(name: str) -> Damage:
    """Replace a file by a named pipe: a git that opens it waits forever."""

    def damage(repository: Path) -> None:
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    return damage


def _loose_pipes(repository: Path) -> None:
    unpack(repository)
    for path in list(repository.glob("objects/??/*")):
        path.unlink()
        os.mkfifo(path)


def _packed_pipes(suffix: str) -> Damage:
    def damage(repository: Path) -> None:
        for path in list(repository.glob(f"objects/pack/*.{suffix}")):
            path.unlink()
            os.mkfifo(path)

    return damage


def _socket(repository: Path) -> None:
    (repository / "HEAD").unlink()
    os.mknod(repository / "HEAD", stat.S_IFSOCK | 0o600)


def _link_to(name: str, target: str) -> Damage:
    def damage(repository: Path) -> None:
        (repository / name).unlink(missing_ok=True)
        (repository / name).symlink_to(target)

    return damage


def _pipe_for_the_repository(repository: Path) -> None:
    shutil.rmtree(repository)
    os.mkfifo(repository)


def _alternates_to_a_pipe(repository: Path) -> None:
    other = repository.parent.parent / "other"
    (other / "info").mkdir(parents=True)
    os.mkfifo(other / "info/alternates")
    _write(repository / "objects/info/alternates", f"{other}\n".encode())


_GARBAGE = b"\0\xff garbage ["
_LATER = b"[core]\n\trepositoryformatversion = 99\n\tbare = true\n"

PIPES: dict[str, Damage] = {
    **{
        f"a named pipe for {name}": _pipe(name)
        for name in (
            REFERENCE, "HEAD", "config", "packed-refs", "shallow", "index", "applied", "objects/info/alternates",
            "objects/info/commit-graph", "objects/pack/multi-pack-index", "config.worktree", "info/grafts",
            "refs/heads/main", "info/attributes", "commondir", "gitdir", "FETCH_HEAD", "logs/refs/skipjack/fetched",
        )
    },
    "a named pipe in a folder that alternates name": _alternates_to_a_pipe,
    "alternates for a walk over HTTP": _with("objects/info/http-alternates", b"/nonexistent\n"),
    "named pipes for small objects": _loose_pipes,
    "named pipes for packs": _packed_pipes("pack"),
    "named pipes for indexes of packs": _packed_pipes("idx"),
    "a named pipe for the repository": _pipe_for_the_repository,
    "a socket for HEAD": _socket,
    "a link to a device for packed references": _link_to("packed-refs", "/dev/zero"),
    "a link to itself for a folder": _link_to("refs/round", ".."),
}  # fmt: skip
"""Files for which git would wait, or which it would read forever."""


def program(repository: Path) -> Path:
    """A program beside a checkout, which leaves a file `started` there."""
    path = repository.parent.parent / "program"
    path.write_text(f"#!/bin/sh\ntouch {path.parent}/started\nexit 1\n")
    path.chmod(0o755)
    return path


def _setting(text: str) -> Damage:
    """Add a setting that names a program."""

    def damage(repository: Path) -> None:
        with (repository / "config").open("a") as config:
            config.write(text.format(program=program(repository)))

    return damage


def _alternates_with_a_program(repository: Path) -> None:
    _setting("[core]\n\talternateRefsCommand = {program}\n")(repository)
    other = repository.parent.parent / "other.git"
    git(other, "init", "--bare", "--quiet")
    _write(repository / "objects/info/alternates", f"{other}/objects\n".encode())


def _included(repository: Path) -> None:
    path = repository.parent.parent / "included"
    path.write_text(f"[core]\n\tgitProxy = {program(repository)}\n")
    _setting(f"[include]\n\tpath = {path}\n")(repository)


def _of_a_common_folder(repository: Path) -> None:
    common = repository.parent.parent / "common.git"
    shutil.copytree(repository, common, dirs_exist_ok=True)
    _setting("[core]\n\tgitProxy = {program}\n")(repository)
    shutil.copy(repository / "config", common / "config")
    _write(repository / "config", b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
    (repository / "commondir").write_text(f"{common}\n")


PROGRAMS: dict[str, Damage] = {
    "a program for alternates": _alternates_with_a_program,
    "a program as a proxy": _setting("[core]\n\tgitProxy = {program}\n"),
    "a program in an included file": _included,
    "a program of a common folder": _of_a_common_folder,
    "a program that watches files": _setting("[core]\n\tfsmonitor = {program}\n\tsshCommand = {program}\n"),
    "a program for passwords": _setting("[credential]\n\thelper = {program}\n"),
    "a program in the place of an address": _setting('[url "ext::{program} "]\n\tinsteadOf = file://\n'),
    "another address": _setting('[url "/nonexistent"]\n\tinsteadOf = file://\n'),
}
"""Settings in a repository that make git start a program, or ask another remote."""


def _replaced(repository: Path) -> None:
    git(repository, "replace", REFERENCE, f"{REFERENCE}~1")


DAMAGE: dict[str, Damage] = {
    **PIPES,
    "folder for a lock": lambda repository: (repository / "shallow.lock/x").mkdir(parents=True),
    "grafts": lambda repository: _write(repository / "info/grafts", git(repository, "rev-parse", REFERENCE).encode()),
    "replaced commit": _replaced,
    "history cut off": lambda repository: _write(
        repository / "shallow", git(repository, "rev-parse", REFERENCE).encode() + b"\n"
    ),
    "packed references cut off": _with("packed-refs", b"# pack-refs with: peeled fully-peeled sorted \n1234"),
    "empty reference": _with(REFERENCE, b""),
    "garbage in the reference": _with(REFERENCE, _GARBAGE),
    "reference to nothing": _with(REFERENCE, b"1" * 40 + b"\n"),
    "reference gone": _gone(REFERENCE),
    "folder for the reference": _folder_instead(REFERENCE),
    "file for the folder of references": _file_instead("refs/skipjack"),
    "empty HEAD": _with("HEAD", b""),
    "garbage in HEAD": _with("HEAD", _GARBAGE),
    "HEAD gone": _gone("HEAD"),
    "folder for HEAD": _folder_instead("HEAD"),
    "empty config": _with("config", b""),
    "garbage in config": _with("config", _GARBAGE),
    "config gone": _gone("config"),
    "config of a later git": _with("config", _LATER),
    "garbage in packed references": _with("packed-refs", _GARBAGE),
    "garbage in shallow": _with("shallow", _GARBAGE),
    "alternates that are not there": _with("objects/info/alternates", b"/nonexistent\n"),
    "empty objects": _loose(_empty),
    "flipped bits in objects": _loose(_flipped),
    "objects cut off": _loose(_half),
    "objects swapped": _swapped_objects,
    "commit gone": _one_loose(""),
    "tree gone": _one_loose("^{tree}"),
    "folder's tree gone": _one_loose(":os"),
    "file gone": _one_loose(":os/gnu.yml"),
    "earlier commit gone": _one_loose("~1"),
    "empty pack": _packed("pack", _empty),
    "flipped bits in a pack": _packed("pack", _flipped),
    "pack cut off": _packed("pack", _half),
    "pack gone": _gone("objects/pack/*.pack"),
    "empty index of a pack": _packed("idx", _empty),
    "flipped bits in the index of a pack": _packed("idx", _flipped),
    "index of a pack gone": _gone("objects/pack/*.idx"),
    "folder of packs gone": _gone("objects/pack"),
    "objects gone": _gone("objects"),
    "references gone": _gone("refs"),
    "file for objects": _file_instead("objects"),
    "file for packs": _file_instead("objects/pack"),
    "file for references": _file_instead("refs"),
    "everything gone": shutil.rmtree,
    "nothing in it": _gone("*"),
    "file for the repository": _file_for_the_repository,
    "link to nothing for the repository": _link_for_the_repository,
    "of another user": _of_another_user,
}
