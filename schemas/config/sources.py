"""The files of a config repository, whether they come from git or from a folder on disk."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from schemas.errors import SkipjackError
from schemas.problems import printable
from schemas.regular_files import read_beginning

MAX_BYTES = 256 * 1024
"""Limit of one file; far above any real definition, far below what could hurt."""


_ENDING = re.compile(r"\.ya?ml(\.txt)?\s*$", re.IGNORECASE)
"""What ends the name of a configuration file, or of one that its author takes for one: `.YML`, `.yaml`, `.yml.txt`."""


_NEARLY = re.compile(r"\.ya?ml[^a-z/][^/]*$|\.y[aml]{1,5}$|\.json$", re.IGNORECASE)
"""What ends the name of a file that may have been meant as configuration, or is a copy of one: `.yml.bak`, `.yml~`,
`.ymal`, `.json`."""

_OF_TOOLS = re.compile(r"(^|/)(_[^/]*|package(-lock)?|composer|renovate|tsconfig|biome|deno|manifest)\.json$")
"""Files of other programs that are often in a repository."""

_DOT_FILES_OF_TOOLS = re.compile(
    r"(^|/)\.(#.*|(gitlab-ci|pre-commit|travis|appveyor|cirrus|drone|woodpecker|circleci|codecov|coveralls|readthedocs|rtd|yamllint"
    r"|ansible-lint|golangci|goreleaser|markdownlint|prettierrc|eslintrc|stylelintrc|mega-linter|sops|rubocop|hadolint"
    r"|clang-|lgtm|copier-answers|editorconfig|dependabot|renovate|github|gitea|forgejo)[^/]*)$",
    re.IGNORECASE,
)
"""Hidden YAML files of other programs, and an editor's locks (`.#debian.yml`)."""


class SourceFile(NamedTuple):
    """One file: its path below the repository's config folder, with slashes and printable, and its bytes.

    A symbolic link has no bytes: links are never followed, since they could point out of the repository. Nor has a
    file that is `passed_over`, since its name is not that of configuration, though nearly so.
    """

    path: str
    data: bytes | None
    passed_over: bool = False


def is_config(path: str) -> bool:
    """Tell whether a path below the config folder is configuration: YAML, and in no folder that begins with a dot.

    A file whose name only looks like that of one is as well, so that it is named as a problem and not passed over.
    """
    return bool(_ENDING.search(path)) and not any(part.startswith(".") for part in path.split("/"))


def is_passed_over(path: str) -> bool:
    """Tell whether a file is no configuration, but may have been meant as such, so that it is worth a warning."""
    folder, _slash, name = path.rpartition("/")
    if is_config(path) or any(part.startswith(".") for part in folder.split("/")):
        return False
    if is_hidden(path):
        return bool(_ENDING.search(name)) and not _DOT_FILES_OF_TOOLS.search(path)
    return bool(_NEARLY.search(path)) and not _OF_TOOLS.search(path)


def is_hidden(path: str) -> bool:
    """Tell whether a file's own name begins with a dot."""
    return path.rpartition("/")[2].startswith(".")


def ending_of(path: str) -> str:
    """The end of a configuration file's name, as it is written."""
    match = _ENDING.search(path)
    return match[0] if match else ""


def read_directory(directory: Path) -> tuple[SourceFile, ...]:
    """Read a folder's configuration files, sorted by path; SkipjackError if the folder is not there."""
    if not directory.is_dir():
        raise SkipjackError(f"There is no folder {directory}.", "Name the folder that holds `_site.yml`.")
    found = []
    for folder, below, names in os.walk(directory):
        below.sort()
        for name in names:
            full = Path(folder, name)
            path = full.relative_to(directory).as_posix()
            if is_config(path):
                found.append(SourceFile(printable(path), _read(full)))
            elif is_passed_over(path):
                found.append(SourceFile(printable(path), None, passed_over=True))
    return tuple(sorted(found, key=lambda file: file.path))


def _read(path: Path) -> bytes | None:
    if path.is_symlink():
        return None
    try:
        return read_beginning(path, MAX_BYTES + 1)
    except OSError as error:
        raise SkipjackError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
