"""Read from rsync's output which items it would delete, and write their names to a file.

With `--max-delete=0 --debug=del2` rsync deletes nothing and prints `delete_item(PATH) mode=OCTAL flags=N` for each item
that it would delete. Names are untrusted, since an upstream chooses most of them. rsync escapes characters that are not
printable, so a name never contains a line end, and lines about other files never begin with a name. A daemon's greeting
is not printed. A malicious server can still send any line as a message, which rsync prints like its own. So the names
decide which files below the mirror's directory are deleted, and the limits how many, but they do not prove that rsync
chose them.
"""

import os
import re
from collections.abc import Callable, Collection, Iterator
from typing import BinaryIO, NamedTuple

# Patterns are compiled when they are first needed: a run that deletes nothing needs few of them.
_NOISE = rb"(?m)^(?:delete_in_dir\(.*\)|deleting in .*|cannot delete non-empty directory: .*)\n"
_ITEM = rb"(?m)^delete_item\((.*)\) mode=([0-7]{1,7}) flags=([0-9]{1,6})\n"
_HIDDEN = rb"(?m)^(?!delete_item\().+?delete_item\((.*)\) mode=([0-7]{1,7}) flags=([0-9]{1,6})$"
_UNCOUNTED = rb"(?:^|.*/)(?:\.~tmp~/.*|\.[^/]+\.[A-Za-z0-9]{6})"
"""Names that may not belong to files of the mirror: partial files, and files that a killed rsync left."""
_ESCAPED = rb"\\#([0-3][0-7]{2})"
_SKIPPED = rb"Deletions stopped due to --max-delete limit \(([0-9]+) skipped\)"
_LEFT_OUT = rb"rsync error: the --max-delete limit stopped deletions \(code 25\) at .*"
_MADE_WAY = rb"could not make way for new [a-z ]+: .*"
_PARTIAL = rb"rsync error: some files/attrs were not transferred .* \(code 23\) at .*"
_VANISHED = rb'file has vanished: ".*"|rsync warning: .* \(code 24\) at .*|'
_KIND = rb"(reg|link|dev|special): ([0-9,]+)"
_MOST_HELD = 1000  # lines of errors in memory, since an upstream can cause any number
_MOST_BYTES = 256 * 1024**2
"""Largest number of bytes of names, and at most half of the free space: an upstream can send names without end."""
_MORE = 10_000
"""Names that are kept beyond those that the limits could allow, so that a refusal has exact figures."""
_DIGITS = 18
"""Digits of a number that rsync prints; a hostile server can send thousands, which Python refuses to parse."""

_IO_ERROR = b"IO error encountered -- skipping file deletion"
_FOLDER_FORMAT, _TYPE = 0o040000, 0o170000
_ALREADY_IN_FOLDER, _MAKE_WAY, _FOR_FOLDER = 0o4, 0o370, 0o20  # flags of rsync's delete_item


class Item(NamedTuple):
    """An item that rsync would delete: its path below the mirror's directory, and whether it is a directory.

    A `nested` item is inside another item. An `obstacle` is in the place of an item of another type at the upstream;
    rsync itself removes files and empty directories that are obstacles. `for_folder`: the upstream has a directory.
    """

    path: bytes
    is_folder: bool
    nested: bool
    obstacle: bool
    for_folder: bool = False


class Counts(NamedTuple):
    """The files (all items but directories) that the upstream lists, those that are new here, and the bytes of all."""

    files: int = 0
    new: int = 0
    size: int = 0


class Errors:
    """Reads rsync's standard error, and finds out whether rsync left out anything except deletions.

    Messages about deletions that Skipjack makes instead are kept out of the log, unless these deletions fail.
    """

    def __init__(self) -> None:
        self.limits_hit: list[int] = []
        """The numbers of skipped deletions that rsync reports; a genuine rsync reports one."""
        self.serious = 0
        self.vanished = 0
        self.obstacles = 0
        self._held: list[bytes] = []

    def take(self, lines: bytes) -> bytes:
        """Take lines, and return those for the log."""
        return b"".join([line for line in lines.splitlines(keepends=True) if not self._is_held(line.rstrip(b"\r\n"))])

    def _is_held(self, line: bytes) -> bool:
        if found := re.fullmatch(_SKIPPED, line):
            if len(self.limits_hit) < 2:  # one too many is enough, and a hostile server could send any number
                self.limits_hit.append(_number(found.group(1)))
            return True
        if re.fullmatch(_LEFT_OUT, line):
            return True
        if re.fullmatch(_MADE_WAY, line) or re.fullmatch(_PARTIAL, line):
            self.obstacles += line.startswith(b"could not")
            self._held += [line] if len(self._held) < _MOST_HELD else []
            return True
        self.vanished += line.startswith(b"file has vanished: ")
        self.serious += re.fullmatch(_VANISHED, line) is None
        return False

    def held(self) -> str:
        """Return the lines that were kept out of the log, for the case that their deletions were not made."""
        return "".join(f"{shown(line)}\n" for line in self._held)

    @property
    def only_obstacles(self) -> bool:
        """Return whether rsync failed only because of directories in the place of other items."""
        return bool(self.obstacles) and not self.serious


class Listing:
    """Reads from rsync's output how many files the upstream lists."""

    def __init__(self) -> None:
        self.counts: Counts | None = None

    def take(self, lines: bytes) -> bytes:
        """Take lines of standard output, and return those for the log, which are all."""
        if b"Number of " in lines or b"Total file size: " in lines:
            counts = self.counts or Counts()
            for line in lines.splitlines():
                label, _colon, rest = line.partition(b": ")
                if label in (b"Number of files", b"Number of created files"):
                    number = sum(_number(text) for _kind, text in re.findall(_KIND, rest))
                    counts = counts._replace(**{"files" if label.endswith(b"of files") else "new": number})
                elif label == b"Total file size":
                    counts = counts._replace(size=_number(rest.partition(b" ")[0]))
            self.counts = counts
        return lines


class Names:
    """Reads rsync's output, and keeps the names of items to delete in a file without a name on the disk of `folder`.

    If there are many more files than `most` (None for no limit), not all names are kept. `made_way` gets the names, as
    rsync prints them, of files that rsync itself deletes because the upstream has directories in their place.
    `place_of` returns where an item is, by the path that rsync prints; None if that is its path.
    """

    def __init__(
        self,
        folder: str,
        most: int | None = None,
        made_way: Callable[[Collection[bytes]], None] = lambda _names: None,
        place_of: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._folder = folder
        self._most = most
        self._made_way = made_way
        self._place_of = place_of
        self._descriptor: int | None = None
        self.forget()

    def forget(self) -> None:
        """Reset everything for another rsync."""
        self.close()
        self._room = 0
        self._listing = Listing()
        self.in_force = False
        """Return whether rsync understood the options and names deletions."""
        self.io_error = False
        self.errors = Errors()
        self.files = 0
        """The number of named files that certainly belong to the mirror."""
        self.obstacles = 0
        """The number of named directories in the place of another type at the upstream."""
        self.are_too_many = False
        """Return whether names were left out, because there were more than the limits or the disk allow."""
        self.fault = ""
        """Why names could not be written; empty if they could."""

    def close(self) -> None:
        """Close the file, which deletes it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def another(self, made_way: Callable[[Collection[bytes]], None]) -> "Names":
        """Return an empty object with the same folder and limit."""
        return Names(self._folder, self._most, made_way, self._place_of)

    @property
    def listed(self) -> Counts | None:
        """Return the numbers of listed files; None if rsync has not reported them."""
        return self._listing.counts

    def output(self, lines: bytes) -> bytes:
        """Take lines of standard output, and return those for the log."""
        if b"delet" in lines:
            self._take_hidden(lines)
            kept, noise = re.subn(_NOISE, b"", lines)
            self.in_force = self.in_force or (noise > 0 and b"delete_in_dir(" in lines)
            found = re.findall(_ITEM, kept) if b"delete_item(" in kept else ()
            if found:
                self._take(found)
                kept = re.sub(_ITEM, b"", kept)
            lines = kept
        if b"IO error" in lines and _IO_ERROR in lines.splitlines():
            self.io_error = True
        return self._listing.take(lines)

    def _take_hidden(self, lines: bytes) -> None:
        """Count files that rsync itself deletes and names behind other text: a server can print the start of a line."""
        if lines.count(b"delete_item(") > lines.count(b"\ndelete_item(") + lines.startswith(b"delete_item("):
            found = re.findall(_HIDDEN, lines)
            if any(int(flags) & _FOR_FOLDER for _path, _mode, flags in found):
                self._take([each for each in found if int(each[2]) & _FOR_FOLDER])

    def _take(self, found: list[tuple[bytes, bytes, bytes]]) -> None:
        made_way = []
        for path, mode, flags in found:
            if _is_folder(mode):
                self.obstacles += int(flags) & _MAKE_WAY != 0
                continue
            # Files that rsync itself deletes all count: they cannot be examined any more.
            if int(flags) & _FOR_FOLDER:
                made_way.append(path)
            self.files += not int(flags) & _MAKE_WAY and re.fullmatch(_UNCOUNTED, path) is None
        self._keep(b"".join([b"%b %b %b\n" % (flags, mode, path) for path, mode, flags in found]))
        if made_way:
            self._made_way(made_way)

    def _keep(self, records: bytes) -> None:
        """Add to the file of names, unless there are too many. On a full disk the file is closed, which deletes it."""
        if self.are_too_many or self.fault:
            return
        try:
            if self._descriptor is None:
                self._descriptor = _nameless(self._folder)
                room = os.fstatvfs(self._descriptor)
                self._room = min(_MOST_BYTES, room.f_bavail * room.f_frsize // 2)
            self._room -= len(records)
            if self._room < 0 or (self._most is not None and self.files > self._most + _MORE):
                self.are_too_many = True
                return
            while records:
                records = records[os.write(self._descriptor, records) :]
        except OSError as error:
            self.fault = f"in {self._folder}: {error.strerror}"
            self.close()

    def items(self) -> Iterator[Item]:
        """Read the names back, in the order in which rsync printed them."""
        if self._descriptor is None:
            return
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            for item in map(read_item, file):
                yield item if self._place_of is None else item._replace(path=self._place_of(item.path))

    def copy(self, target: BinaryIO, room: int) -> None:
        """Write the names for `read_item` to another file, `room` bytes at a time."""
        if self._descriptor is None:
            return
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            while part := file.read(room):
                target.write(part)


def _is_folder(mode: bytes) -> bool:
    return int(mode, 8) & _TYPE == _FOLDER_FORMAT


def read_item(line: bytes) -> Item:
    """Return an item from a line of the file of names."""
    flags, mode, escaped = line[:-1].split(b" ", 2)
    bits = int(flags)
    nested, obstacle, for_folder = bits & _ALREADY_IN_FOLDER != 0, bits & _MAKE_WAY != 0, bits & _FOR_FOLDER != 0
    return Item(decoded(escaped), _is_folder(mode), nested, obstacle, for_folder)


def _nameless(folder: str) -> int:
    """Open a new file without a name, so that it disappears even if the run is killed."""
    try:
        return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError:  # a file system without O_TMPFILE, such as NFS
        path = os.path.join(folder, f".deletions-{os.getpid()}")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.unlink(path)
        return descriptor


def decoded(escaped: bytes) -> bytes:
    r"""Return a name as it is on disk; rsync writes bytes that are not printable as `\#ooo`."""
    if b"\\#" not in escaped:
        return escaped
    return re.sub(_ESCAPED, lambda match: bytes([int(match.group(1), 8)]), escaped)


def shown(path: bytes) -> str:
    """Return a name for a log: on one line, with characters that are not printable in octal, as rsync prints it."""
    text = path.decode("utf-8", "surrogateescape")
    return text if text.isprintable() else "".join(each if each.isprintable() else _octal(each) for each in text)


def _octal(character: str) -> str:
    return "".join(f"\\#{each:03o}" for each in character.encode("utf-8", "surrogateescape"))


def _number(text: bytes) -> int:
    digits = text.replace(b",", b"")
    return int(digits) if digits.isdigit() and len(digits) <= _DIGITS else 0
