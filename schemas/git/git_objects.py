"""Read a revision's files from git's objects, and verify the hash of each.

git does not verify what it reads from a disk: a flipped bit in a pack can give another file. Here the content of each
object must have the hash that names it, from the commit down to each file.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from schemas.config.sources import MAX_BYTES, SourceFile, is_config, is_passed_over, with_pattern_files
from schemas.errors import SkipjackError
from schemas.git.git_command import Git, GitFailed
from schemas.mirror_record import MOST_PATTERN_BYTES
from schemas.problems import printable

# Modes as trees contain them, without leading zeros.
_FOLDER, _LINK, _SUBMODULE = "40000", "120000", "160000"
_PIECE = 1024 * 1024
_COMMITTED = re.compile(rb"^committer .* (\d+) [+-]\d+$", re.M)
_LATEST = 253402214400.0
"""The last day of the year 9999, in seconds UTC: no later time has a date in every time zone."""

_TREE = re.compile(rb"tree ([0-9a-f]{40,64})\n")
_MOST = 64 * 1024 * 1024
"""Bytes of a commit or folder at most; no real one has a tenth of that."""

_MOST_ENTRIES = 500_000
"""Files and folders of a revision at most: a small repository can contain the same folder a million times."""


class Commit(NamedTuple):
    """A commit, its tree, and when it was made (seconds UTC).

    Everyone who can push chooses that time. For git a time that it cannot read is 1970, and so it is here.
    """

    name: str
    tree: str
    committed_at: float


class _Entry(NamedTuple):
    mode: str
    path: str
    name: str


class Objects:
    """The objects of a repository, read through one git process. Raises GitFailed for a missing or damaged one."""

    def __init__(self, repo: Git) -> None:
        self._repo = repo

    def __enter__(self) -> "Objects":
        self._reader: Any = self._repo.reader()
        return self

    def __exit__(self, *_exception: object) -> None:
        with suppress(OSError):  # git may have exited already
            self._reader.stdin.close()
        self._reader.stdout.close()
        self._reader.stderr.close()
        self._reader.proc.wait()

    def commit(self, reference: str) -> Commit:
        """Return the commit of a reference."""
        name, data = self._read(f"{reference}^{{commit}}", "commit", _MOST)
        tree, committed = _TREE.match(data), _COMMITTED.search(data)
        if tree is None:
            raise GitFailed(f"the commit {name} cannot be read")
        return Commit(name, tree[1].decode(), min(float(committed[1]), _LATEST) if committed else 0.0)

    def content(self, commit: str, most: int) -> bytes:
        """Return the first `most` bytes of a commit at most, by its full name."""
        return self._read(commit, "commit", most)[1]

    def folder(self, tree: str, path: str) -> str | None:
        """Return the tree of the folder at a path below a tree; None if there is none."""
        for part in [part for part in path.split("/") if part not in ("", ".")]:
            found = [entry.name for entry in self._entries(tree, "") if (entry.mode, entry.path) == (_FOLDER, part)]
            if not found:
                return None
            tree = found[0]
        return tree

    def folders_with(self, tree: str, name: str) -> list[str]:
        """Return the paths of the folders below a tree that have a file `name`, sorted; without hidden folders."""
        found, waiting, seen = [], [(tree, "")], 0
        while waiting:
            seen += 1
            if seen > _MOST_ENTRIES:
                break
            entries = self._entries(*waiting.pop())
            for entry in entries:
                folder, _slash, last = entry.path.rpartition("/")
                if entry.mode == _FOLDER and not last.startswith("."):
                    waiting.append((entry.name, f"{entry.path}/"))
                elif last == name and entry.mode not in (_FOLDER, _SUBMODULE):
                    found.append(folder)
        return sorted(found)

    def files(self, tree: str) -> tuple[SourceFile, ...]:
        """Return the configuration files below a tree and the pattern files that they name, sorted by path.

        Raises SkipjackError if there are too many files.
        """
        found = []
        entries = self._entries(tree, "")
        # No recursion: folders may be nested more deeply than Python's stack allows.
        seen = 0
        while entries:
            seen += 1
            if seen > _MOST_ENTRIES:
                raise SkipjackError(
                    f"the config repository has more than {_MOST_ENTRIES} files.", "Set `repository.path` to a folder."
                )
            entry = entries.pop()
            if entry.mode == _FOLDER:
                entries += self._entries(entry.name, f"{entry.path}/")
            elif entry.mode != _SUBMODULE and is_config(entry.path):
                data = None if entry.mode == _LINK else self._read(entry.name, "blob", MAX_BYTES + 1)[1]
                found.append(SourceFile(printable(entry.path), data))
            elif entry.mode != _SUBMODULE and is_passed_over(entry.path):
                found.append(SourceFile(printable(entry.path), None, passed_over=True))
        folders: dict[str, dict[str, _Entry]] = {}
        return with_pattern_files(found, lambda path: self._pattern_file(tree, path, folders))

    def _pattern_file(self, tree: str, path: str, folders: dict[str, dict[str, _Entry]]) -> SourceFile | None:
        """Return the pattern file at a path below a tree; `folders` has the entries of those that were read."""
        folder, _slash, name = path.rpartition("/")
        if folder not in folders:
            below = self.folder(tree, folder)
            folders[folder] = {entry.path: entry for entry in self._entries(below, "")} if below else {}
        entry = folders[folder].get(name)
        if entry is None or entry.mode in (_FOLDER, _SUBMODULE):
            return None
        data = None if entry.mode == _LINK else self._read(entry.name, "blob", MOST_PATTERN_BYTES + 1)[1]
        return SourceFile(path, data, has_patterns=True, blob=entry.name)

    def _entries(self, tree: str, folder: str) -> list[_Entry]:
        _name, data = self._read(tree, "tree", _MOST)
        found = []
        # Hashes in trees are bytes, in names two hexadecimal digits for each byte.
        place, length = 0, len(tree) // 2
        while place < len(data):
            head = data.find(b"\0", place)
            mode, _space, path = data[place:head].decode("utf-8", "surrogateescape").partition(" ")
            place = head + 1 + length
            if head < 0 or place > len(data):
                raise GitFailed(f"the tree {tree} cannot be read")
            found.append(_Entry(mode, folder + path, data[head + 1 : place].hex()))
        return found

    def _read(self, asked: str, kind: str, most: int) -> tuple[str, bytes]:
        """Return the full name of an object and at most its first `most` bytes; the hash of all of it is verified."""
        try:
            self._reader.stdin.write(f"{asked}\n".encode())
            self._reader.stdin.flush()
            head = self._reader.stdout.readline().decode().split()
        # git has ended, because of its time limit or a damaged repository.
        except BrokenPipeError:
            head = []
        if len(head) != len(("name", "kind", "size")) or head[1] != kind:
            raise GitFailed(f"the {kind} {asked} is missing or damaged")
        name, size = head[0], int(head[2])
        # A build of OpenSSL with FIPS rules refuses SHA-1 for security, but it is the name of the object here.
        proof = hashlib.new("sha1" if len(name) == len("0" * 40) else "sha256", usedforsecurity=False)
        proof.update(f"{kind} {size}\0".encode())
        kept = bytearray()
        for piece in self._pieces(size):
            proof.update(piece)
            kept += piece[: most - len(kept)]
        # It must be the requested object as well: a damaged index can lead to another one that is intact.
        if proof.hexdigest() != name or (asked != name and "^" not in asked):
            raise GitFailed(f"the {kind} {name} is damaged")
        self._reader.stdout.read(1)  # the line break after the content
        return name, bytes(kept)

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size > 0:
            piece = self._reader.stdout.read(min(size, _PIECE))
            if not piece:
                return
            size -= len(piece)
            yield piece
