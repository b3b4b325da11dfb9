"""Which files of a repository are configuration, and their content, from git or from a folder on disk."""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from schemas.errors import SkipjackError
from schemas.mirror_record import MOST_PATTERN_BYTES
from schemas.problems import printable
from schemas.regular_files import read_beginning

MAX_BYTES = 256 * 1024
"""Bytes of one file at most: far more than a real definition has, and cheap to parse."""

FRAGMENTS = ".skipjack/schemas/"
"""The folder beside `_site.yml` with JSON Schemas of plug-ins."""

POLICIES = ".skipjack/policies/"
"""The folder beside `_site.yml` with exported policies of workers. No other hidden folder is read."""

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
EXCLUDE_FILE_PATTERN = f"^(/|{_PART}(/{_PART})*$)"
"""The JSON Schema contains the pattern as well; a test keeps them equal. Each part of a relative path is like the name
of a mirror, so none is hidden, leads upwards or looks like an option."""

_PATTERN_FILE = re.compile(rf"{_PART}(?:/{_PART})*")

_NAMES_PATTERN_FILE = re.compile(rb"""exclude_file["']?\s*:\s*["']?([A-Za-z0-9][A-Za-z0-9._/-]*)""")

EDITOR_SCHEMAS = {kind: f"{FRAGMENTS}{kind}.schema.json" for kind in ("mirror", "defaults", "site", "workers")}
"""Files in the same folder that only editors read, by the kind of file that each describes."""

_ENDING = re.compile(r"\.ya?ml(\.txt)?\s*$", re.IGNORECASE)
"""End of the name of a configuration file, or of a file that its author means as one: `.YML`, `.yaml`, `.yml.txt`."""

_NEARLY = re.compile(r"\.ya?ml[^a-z/][^/]*$|\.y[aml]{1,5}$|\.json$", re.IGNORECASE)
"""End of the name of a file that may be meant as configuration, or is a copy of one: `.yml.bak`, `.yml~`, `.ymal`,
`.json`."""

_OF_TOOLS = re.compile(r"(^|/)(_[^/]*|package(-lock)?|composer|renovate|tsconfig|biome|deno|manifest)\.json$")
"""Files of other programs that repositories often contain."""

_DOT_FILES_OF_TOOLS = re.compile(
    r"(^|/)\.(#.*|(gitlab-ci|pre-commit|travis|appveyor|cirrus|drone|woodpecker|circleci|codecov|coveralls|readthedocs|rtd|yamllint"
    r"|ansible-lint|golangci|goreleaser|markdownlint|prettierrc|eslintrc|stylelintrc|mega-linter|sops|rubocop|hadolint"
    r"|clang-|lgtm|copier-answers|editorconfig|dependabot|renovate|github|gitea|forgejo)[^/]*)$",
    re.IGNORECASE,
)
"""Hidden YAML files of other programs, and lock files of editors (`.#debian.yml`)."""


class SourceFile(NamedTuple):
    """One file: its printable path below the repository's config folder, with slashes, and its bytes.

    A symbolic link has no bytes: links are never followed, since they could point out of the repository. A file that is
    `passed_over` has none either: its name is similar to that of configuration, but it is not read. One that
    `has_patterns` is a file for `exclude_file`; `blob` is git's name of its content, empty if it comes from a folder.
    """

    path: str
    data: bytes | None
    passed_over: bool = False
    has_patterns: bool = False
    blob: str = ""


def is_config(path: str) -> bool:
    """Return whether a path below the config folder is read: YAML that is not below a hidden folder.

    A wrong ending such as `.yaml` counts as well, so that the file is reported as a problem and not passed over. The
    schemas of plug-ins and the exported policies count as well, the schemas for editors do not.
    """
    if path.startswith(FRAGMENTS):
        name = path[len(FRAGMENTS) :]
        return name.endswith(".json") and "/" not in name and path not in EDITOR_SCHEMAS.values()
    if path.startswith(POLICIES):
        name = path[len(POLICIES) :]
        return "/" not in name and not name.startswith(".") and bool(_ENDING.search(name))
    return bool(_ENDING.search(path)) and not any(part.startswith(".") for part in path.split("/"))


def is_passed_over(path: str) -> bool:
    """Return whether a file is not configuration, but may be meant as such, so that it gets a warning."""
    folder, _slash, name = path.rpartition("/")
    if is_config(path) or any(part.startswith(".") for part in folder.split("/")):
        return False
    if is_hidden(path):
        return bool(_ENDING.search(name)) and not _DOT_FILES_OF_TOOLS.search(path)
    return bool(_NEARLY.search(path)) and not _OF_TOOLS.search(path)


def pattern_files_of(files: Iterable[SourceFile]) -> dict[str, frozenset[str]]:
    """Return the pattern files that YAML files name with `exclude_file`, each with the paths of those YAML files.

    The text is searched, so a comment counts as well. A change of a pattern file changes the mirrors that these YAML
    files declare or whose keys they set. Paths that no pattern file can have are left out.
    """
    found: dict[str, set[str]] = {}
    for file in files:
        for name in _NAMES_PATTERN_FILE.findall(file.data or b""):
            if is_pattern_file(path := name.decode()):
                found.setdefault(path, set()).add(file.path)
    return {path: frozenset(named_by) for path, named_by in found.items()}


def is_pattern_file(path: str) -> bool:
    """Return whether a path below the config folder can be that of a pattern file: not hidden, and no YAML."""
    return _PATTERN_FILE.fullmatch(path) is not None and not is_config(path)


def with_pattern_files(files: Iterable[SourceFile], read: Callable[[str], SourceFile | None]) -> tuple[SourceFile, ...]:
    """Return configuration files and the pattern files that they name, sorted by path.

    `read` returns a pattern file, None if there is no such file.
    """
    own = list(files)
    found = {path: each for path in pattern_files_of(own) if (each := read(path)) is not None}
    others = [file for file in own if file.path not in found]  # it may look like configuration, as `x.json` does
    return tuple(sorted([*others, *found.values()], key=lambda file: file.path))


def is_hidden(path: str) -> bool:
    """Return whether a file's name begins with a dot."""
    return path.rpartition("/")[2].startswith(".")


def ending_of(path: str) -> str:
    """Return the end of a configuration file's name, as written."""
    match = _ENDING.search(path)
    return match[0] if match else ""


def read_directory(directory: Path) -> tuple[SourceFile, ...]:
    """Read a folder's configuration files, sorted by path.

    Raises SkipjackError if the folder does not exist, or one below it cannot be read: its mirrors would look removed.
    """
    require_folder(directory)
    found = []
    for folder, below, names in os.walk(directory, onerror=_unreadable):
        # Nothing in a hidden folder is read but what `.skipjack` has, and `.git` may be large.
        below[:] = [name for name in sorted(below) if not name.startswith(".") or name == ".skipjack"]
        for name in names:
            full = Path(folder, name)
            path = full.relative_to(directory).as_posix()
            if is_config(path):
                found.append(SourceFile(printable(path), _read(full)))
            elif is_passed_over(path):
                found.append(SourceFile(printable(path), None, passed_over=True))
    return with_pattern_files(found, lambda path: read_pattern_file(directory, path))


def require_folder(directory: Path) -> None:
    """Raise SkipjackError if there is no such folder."""
    if not directory.is_dir():
        what = f"{directory} is not a folder." if directory.exists() else f"the folder {directory} does not exist."
        raise SkipjackError(what, "Name the folder that contains `_site.yml`.")


def read_files(directory: Path, paths: Iterable[str]) -> tuple[SourceFile, ...]:
    """Read some of a folder's configuration files, and the pattern files that they name, as `read_directory` does.

    Files that do not exist are left out.
    """
    full = {path: directory / path for path in paths}
    found = [SourceFile(printable(path), _read(each)) for path, each in full.items() if os.path.lexists(each)]
    return with_pattern_files(found, lambda path: read_pattern_file(directory, path))


def read_pattern_file(directory: Path, path: str) -> SourceFile | None:
    """Return a pattern file below a folder, without following a link on the way; None if there is none."""
    full = directory / path
    folders = full.parents[: path.count("/")]
    if any(folder.is_symlink() for folder in folders) or not (full.is_symlink() or full.is_file()):
        return None
    return SourceFile(path, _read(full, MOST_PATTERN_BYTES), has_patterns=True)


def _read(path: Path, most: int = MAX_BYTES) -> bytes | None:
    if path.is_symlink():
        return None
    try:
        # One byte more than allowed, by which the parser sees that the file is too large.
        return read_beginning(path, most + 1)
    except OSError as error:
        raise _cannot_read(path, error) from error


def _unreadable(error: OSError) -> None:
    raise _cannot_read(error.filename, error) from error


def _cannot_read(path: object, error: OSError) -> SkipjackError:
    return SkipjackError(f"cannot read {printable(str(path))}: {error.strerror}.", "Check its permissions.")
