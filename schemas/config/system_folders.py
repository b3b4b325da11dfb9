"""May a path be used for mirrors or for Skipjack's own data? Folders of the system may not: others store data there.

Paths are judged as written, without access to the disk, so that settings load while a disk does not answer.
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
"""Folders of the system for data and mounted disks: mirrors may lie directly below them."""

_CLOSED = tuple(f"/{name}" for name in ("bin boot dev etc lib lib32 lib64 proc sbin sys " + _PROGRAMS).split())
_OPEN = "/dev/shm"  # noqa: S108 - a path to compare with, nothing is written there
"""The only place in a closed folder where mirrors may be: a file system in memory."""

_OWN = ("state_dir", "run_dir", "log_dir", "site_dir")
_ROOTS = ("mirror_root", "snapshot_root")
_APART = {"state_dir": "/var/lib/skipjack", "run_dir": "/run/skipjack", "policy": "/etc/skipjack/policy.yml"}
"""Paths that may not lie below a root, with their defaults: an upstream could replace them."""


def is_system_folder(path: str) -> bool:
    """Return whether an absolute path is a folder of the system, not a path below one."""
    return path.startswith("/") and _normal(path) in _SYSTEM


def is_place_for_mirror(path: str) -> bool:
    """Return whether an absolute path may be a mirror's directory; a sync deletes everything else in it."""
    return not (is_system_folder(path) or _is_closed(path))


def is_mirror_root(path: str) -> bool:
    """Return whether mirrors' directories may lie directly below an absolute path."""
    return is_place_for_mirror(path) or _normal(path) in _DATA


def problems(document: Document) -> Iterator[Problem]:
    """Yield the problems of the folders in settings."""
    for key in _OWN:
        yield from judged(_own_problems(document, key))
    for key in _ROOTS:
        yield from judged(_root_problems(document, key))


def _own_problems(document: Document, key: str) -> Iterator[Problem]:
    path = document.keys.get(key)
    if path is not None and is_system_folder(path):
        todo = f"Name a separate folder, such as {posixpath.join(posixpath.normpath(path), 'skipjack')}."
        yield document.problem((key,), f"`{key}` is {path}, a folder of the system.", todo)


def _root_problems(document: Document, key: str) -> Iterator[Problem]:
    path = document.keys.get(key)
    if path is None:
        return
    todo = f"Name a folder only for data, such as /srv/{key.removesuffix('_root')}."
    if not is_mirror_root(path):
        place = "a folder of the system" if is_system_folder(path) else "in a folder of the system"
        yield document.problem((key,), f"`{key}` is {path}, {place}, where upstreams would write.", todo)
        return
    for what, inner in _kept_apart(document):
        if _is_within(_normal(inner), _normal(path)):
            yield document.problem(
                (key,), f"{what} {inner} lies in `{key}` {path}, so an upstream could replace it.",
                f"Move one of them: `{key}` is only for mirrors.",
            )  # fmt: skip


def _kept_apart(document: Document) -> Iterator[tuple[str, str]]:
    """Yield the worker's own paths and the files that its security depends on, each with a name for messages."""
    for key, default in _APART.items():
        yield from judged(_path(f"`{key}`", document, key, default=default))
    yield from judged(_path("`manager.token.file`", document, "manager", "token", "file"))
    yield from judged(_path("`manager.ca_cert`", document, "manager", "ca_cert"))
    yield "the settings file", str(Path(document.file).absolute())


def _path(what: str, document: Document, *keys: str, default: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield the path at some keys, if it is set, with its name for messages."""
    path = document.at(*keys[:-1]).get(keys[-1], default)
    if path:
        yield what, path


def _normal(path: str) -> str:
    # Without further slashes at the start: normpath keeps two, to which POSIX may give another meaning.
    return posixpath.normpath(f"/{path.lstrip('/')}")


def _is_closed(path: str) -> bool:
    normal = _normal(path)
    if normal != _OPEN and _is_within(normal, _OPEN):
        return False
    return any(_is_within(normal, folder) for folder in _CLOSED)


def _is_within(path: str, folder: str) -> bool:
    # By whole names: /srv/mirror2 does not lie in /srv/mirror.
    parts: Sequence[str] = folder.rstrip("/").split("/")
    return path.split("/")[: len(parts)] == parts
