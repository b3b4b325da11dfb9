"""May the lines of a pattern file of the repository be given to rsync? For `exclude_file` with a relative path.

Only patterns may stand there: no rule with which rsync reads another file, and nothing that rsync would take for
something else than its author means. rsync gets the file with `--exclude-from`; see FILTER RULES in rsync(1).
"""

import re
from collections.abc import Collection, Iterable, Iterator

from schemas.config import rsync_rules
from schemas.config.inheritance import Merged, PlainKeys
from schemas.config.sources import SourceFile, is_config
from schemas.mirror_record import MOST_PATTERN_BYTES, RSYNC_PROVIDERS, Mirror
from schemas.problems import Problem, shown
from schemas.rsync import rsync_options

MOST_LINES = 2000
"""Lines of one file at most: rsync compares each path of a mirror with each pattern."""

MOST_BYTES = 1000
"""Bytes of one line at most: rsync leaves out rules that are about as long as the longest path."""

_MOST_SHOWN = 20
"""Problems of one file that are reported."""

_LINE_END = re.compile("\r\n|\n|\r")
"""rsync ends a line at either character."""

_COMMENTS = ("#", ";")
_PREFIXES = ("- ", "+ ")
_RULE = re.compile(
    r"(?:[-+.:HPRS],?[-/!CrespxwnN+,]*|(?:clear|dir-merge|exclude|hide|include|merge|protect|risk|show)(?:,\S*)?) "
)
"""The beginning of a filter rule, which `--exclude-from` takes as a part of a name."""


class RepositoryPatterns:
    """The pattern files of a repository, each checked once."""

    def __init__(self, sources: Iterable[SourceFile]) -> None:
        self._files = {source.path: source for source in sources if source.has_patterns}
        self._found: dict[str, tuple[Problem, ...]] = {}

    def problems(self, merged: Merged) -> Iterator[Problem]:
        """Yield the problems of the file that a mirror's `exclude_file` names, and one at that key."""
        path = merged.keys.get("exclude_file")
        if path is None or path.startswith("/"):
            return
        if wrong := self._unusable(path):
            yield merged.problem("exclude_file", *wrong)
        elif found := self._of_file(path):
            what = f"The pattern file `{path}` cannot be used, see line {found[0].line}: {found[0].what}"
            yield merged.problem("exclude_file", what, found[0].todo)
            yield from found
        elif key := _ending_lines_at_zeros(merged.keys):
            what = f"With `--from0` in `{key}` rsync takes all of the file `{path}` as one pattern."
            yield merged.problem(key, what, "Remove that option.")

    def named_by(self, mirrors: Iterable[Mirror]) -> dict[str, tuple[str, ...]]:
        """Return the patterns of the files that valid mirrors name."""
        paths = {path for each in mirrors if (path := each.exclude_file) is not None and not path.startswith("/")}
        return {path: _patterns(self._files[path].data or b"") for path in sorted(paths)}

    def with_problems(self, files: Collection[str]) -> Iterator[str]:
        """Yield those of some files that are pattern files."""
        return (file for file in files if file in self._files)

    def _unusable(self, path: str) -> tuple[str, str] | None:
        """Return why a path does not name a pattern file, and what to do; None if it does."""
        if is_config(path):
            todo = "Give the file with the patterns another ending, such as `.txt`."
            return f"`exclude_file` names `{path}`, which is a file of definitions.", todo
        file = self._files.get(path)
        if file is None:
            todo = "Add the file, or correct the path: it begins at the folder of `_site.yml`. Write it behind the key."
            return f"`exclude_file` names `{path}`, but the repository has no such file.", todo
        if file.data is None:
            todo = "Replace it by a file: links are not followed."
            return f"`exclude_file` names `{path}`, which is a symbolic link.", todo
        return None

    def _of_file(self, path: str) -> tuple[Problem, ...]:
        if path not in self._found:
            self._found[path] = _first(path, file_problems(path, self._files[path].data or b""))
        return self._found[path]


def _ending_lines_at_zeros(keys: PlainKeys) -> str:
    """Return the key whose options let rsync end the lines of pattern files at zero bytes; empty if none does."""
    found = ""
    for key in rsync_rules.in_force(keys) if keys.get("provider") in RSYNC_PROVIDERS else ():
        for option in rsync_options.read_past_faults(keys[key]).named("--from0", "--no-from0"):
            found = key if option.name == "--from0" else ""
    return found


def _patterns(data: bytes) -> tuple[str, ...]:
    return tuple([line for line in _LINE_END.split(data.decode()) if line and not line.startswith(_COMMENTS)])


def _first(path: str, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    found = list(problems)
    left, more = found[:_MOST_SHOWN], len(found) - _MOST_SHOWN
    if more > 0:
        left.append(Problem(path, found[_MOST_SHOWN].line, 1, f"The file has {more} more problems.", "Correct them."))
    return tuple(left)


def file_problems(path: str, data: bytes) -> Iterator[Problem]:
    """Yield the problems of a pattern file with this content, of which more than the limit need not be read."""
    if len(data) > MOST_PATTERN_BYTES:
        what = f"The file is larger than {MOST_PATTERN_BYTES // 1024} KiB."
        yield Problem(path, 1, 1, what, "Shorten it: rsync compares each path with each pattern.")
        return
    if data.startswith(b"\xef\xbb\xbf"):
        what = "The file begins with a byte order mark, which rsync would take as a part of the first line."
        yield Problem(path, 1, 1, what, "Save it as UTF-8 without a byte order mark.")
        return
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        todo = "Save the file as UTF-8, or write `?` for each byte of such a name."
        yield Problem(path, *_place(data[: error.start]), "The file is not valid UTF-8.", todo)
        return
    lines = _LINE_END.split(text)
    if len(lines) > MOST_LINES + 1:
        what = f"The file has more than {MOST_LINES} lines."
        yield Problem(path, MOST_LINES + 1, 1, what, "Shorten it: rsync compares each path with each pattern.")
        return
    for number, line in enumerate(lines, 1):
        if (fault := _fault(line)) is not None:
            column, what, todo = fault
            yield Problem(path, number, column, what, todo)


def _place(before: bytes) -> tuple[int, int]:
    """Return the line and column of the first byte after these."""
    lines = _LINE_END.split(before.decode())
    return len(lines), len(lines[-1]) + 1


def _fault(line: str) -> tuple[int, str, str] | None:
    """Return the column, what is wrong with a line, and what to do; None for one that rsync may get."""
    is_comment = line.startswith(_COMMENTS)
    strange = next((place for place, sign in enumerate(line) if not _is_plain(sign, is_comment)), None)
    if strange is not None:
        what = f"The line contains the character U+{ord(line[strange]):04X}, which is not visible."
        return strange + 1, what, "Remove it, or write `?` for each byte of it in a name."
    if is_comment or not line:
        return None
    if len(line.encode()) > MOST_BYTES:
        return 1, f"The line has more than {MOST_BYTES} bytes.", "Shorten the pattern."
    return _pattern_fault(line)


def _is_plain(sign: str, is_comment: bool) -> bool:
    return sign.isprintable() or (is_comment and sign == "\t")


def _pattern_fault(line: str) -> tuple[int, str, str] | None:
    if line == "!":
        what = "`!` would remove all rules before it, those of Skipjack included."
        return 1, what, "Remove the line."
    has_prefix = line.startswith(_PREFIXES)
    if not has_prefix and _RULE.match(line):
        what = f"`{shown(line)}` is a filter rule of another kind; this file may contain only patterns."
        return 1, what, "Write a pattern, `- PATTERN` or `+ PATTERN`."
    pattern = line[2:] if has_prefix else line
    column = len(line) - len(pattern) + 1
    if not pattern.strip():
        return column, "The line has no pattern.", "Write one, or remove the line with its blanks."
    if pattern[0] == " ":
        return column, "A blank begins the pattern, and rsync takes it as a part of the name.", "Remove the blank."
    if pattern[-1] == " ":
        return len(line), "A blank ends the line, and rsync takes it as a part of the name.", "Remove the blank."
    return None
