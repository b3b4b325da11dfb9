"""Folders of the system that no program may take for its own: they hold what belongs to others."""

import posixpath
from collections.abc import Iterator

from schemas.problems import Problem
from schemas.yaml_file import Document

_TOP = "bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp usr var"
_BELOW = "usr/local var/cache var/lib var/lock var/log var/run var/spool var/tmp"
_SYSTEM = frozenset(f"/{name}" for name in ("", *_TOP.split(), *_BELOW.split()))
_OWN = ("state_dir", "run_dir", "log_dir", "site_dir")


def is_system_folder(path: str) -> bool:
    """Whether an absolute path is a folder of the system itself, not one below it."""
    return path.startswith("/") and posixpath.normpath(f"/{path.lstrip('/')}") in _SYSTEM


def problems(document: Document) -> Iterator[Problem]:
    """What is wrong with the folders that settings name for a program's own files."""
    for key in _OWN:
        path = document.value.get(key)
        if path is not None and is_system_folder(path):
            todo = f"Name a folder of its own, such as {posixpath.join(posixpath.normpath(path), 'skipjack')}."
            yield document.problem((key,), f"`{key}` is {path}, a folder of the system.", todo)
