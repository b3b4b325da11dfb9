"""Folders of the system that no program may take for its own: they hold what belongs to others.

Paths are judged as they are written, without a look at the disk, so that settings load while a disk does not answer.
"""

import posixpath
from collections.abc import Iterator, Sequence
from pathlib import Path

from schemas.config.judgeable_keys import judged
from schemas.config.yaml_file import Document
from schemas.problems import Problem

_TOP = "bin boot dev etc home lib lib32 lib64 media mnt opt proc root run sbin srv sys tmp usr var"
_BELOW = "usr/include usr/local usr/share usr/src var/cache var/lib var/lock var/log var/run var/spool var/tmp"
_PROGRAMS = "usr/bin usr/lib usr/lib32 usr/lib64 usr/libexec usr/sbin"
_SYSTEM = frozenset(f"/{name}" for name in ("", *_TOP.split(), *_BELOW.split(), *_PROGRAMS.split()))
_DATA = frozenset(("/srv", "/mnt", "/media"))
"""Folders of the system that are there for data or for its disks, so that mirrors may lie directly below them."""

_CLOSED = tuple(f"/{name}" for name in ("bin boot dev etc lib lib32 lib64 proc sbin sys " + _PROGRAMS).split())
_OPEN = "/dev/shm"  # noqa: S108 - a path to compare with, nothing is written there
"""In the closed folders nothing at all is a place for mirrors, but for this file system in memory."""

_OWN = ("state_dir", "run_dir", "log_dir", "site_dir")
_ROOTS = ("mirror_root", "snapshot_root")
_APART = {"state_dir": "/var/lib/skipjack", "run_dir": "/run/skipjack", "policy": "/etc/skipjack/policy.yml"}
"""What may not lie below a root, with its default: an upstream could replace it."""


def is_system_folder(path: str) -> bool:
    """Whether an absolute path is a folder of the system itself, not one below it."""
    return path.startswith("/") and _normal(path) in _SYSTEM


def is_place_for_mirror(path: str) -> bool:
    """Whether the directory of one mirror may be at an absolute path; a sync deletes whatever else is in it."""
    return not (is_system_folder(path) or _is_closed(path))


def is_mirror_root(path: str) -> bool:
    """Whether the directories of mirrors may lie directly below an absolute path."""
    return is_place_for_mirror(path) or _normal(path) in _DATA


def problems(document: Document) -> Iterator[Problem]:
    """What is wrong with the folders that settings name."""
    for key in _OWN:
        yield from judged(_own_problems(document, key))
    for key in _ROOTS:
        yield from judged(_root_problems(document, key))


def _own_problems(document: Document, key: str) -> Iterator[Problem]:
    path = document.keys.get(key)
    if path is not None and is_system_folder(path):
        todo = f"Name a folder of its own, such as {posixpath.join(posixpath.normpath(path), 'skipjack')}."
        yield document.problem((key,), f"`{key}` is {path}, a folder of the system.", todo)


def _root_problems(document: Document, key: str) -> Iterator[Problem]:
    path = document.keys.get(key)
    if path is None:
        return
    todo = f"Name a folder for data alone, such as /srv/{key.removesuffix('_root')}."
    if not is_mirror_root(path):
        place = "a folder of the system" if is_system_folder(path) else "in a folder of the system"
        yield document.problem((key,), f"`{key}` is {path}, {place}, and upstreams would write there.", todo)
        return
    for what, inner in _kept_apart(document):
        if _is_within(_normal(inner), _normal(path)):
            yield document.problem(
                (key,), f"{what} {inner} lies in `{key}` {path}, so that an upstream could replace it.",
                f"Let one of them be elsewhere: `{key}` is for mirrors alone.",
            )  # fmt: skip


def _kept_apart(document: Document) -> Iterator[tuple[str, str]]:
    """The worker's own paths and the files that its safety rests on."""
    for key, default in _APART.items():
        yield from judged(_path(f"`{key}`", document, key, default=default))
    yield from judged(_path("`manager.token.file`", document, "manager", "token", "file"))
    yield from judged(_path("`manager.ca_cert`", document, "manager", "ca_cert"))
    yield "the settings file", str(Path(document.file).absolute())


def _path(what: str, document: Document, *keys: str, default: str | None = None) -> Iterator[tuple[str, str]]:
    """The path that settings name at some keys, if there is one that can be judged, with words for it."""
    path = document.at(*keys[:-1]).get(keys[-1], default)
    if path:
        yield what, path


def _normal(path: str) -> str:
    return posixpath.normpath(f"/{path.lstrip('/')}")


def _is_closed(path: str) -> bool:
    normal = _normal(path)
    if normal != _OPEN and _is_within(normal, _OPEN):
        return False
    return any(_is_within(normal, folder) for folder in _CLOSED)


def _is_within(path: str, folder: str) -> bool:
    parts: Sequence[str] = folder.rstrip("/").split("/")
    return path.split("/")[: len(parts)] == parts
