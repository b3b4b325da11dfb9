"""Read the configuration of yuki, USTC's mirror manager, as yukid does: `daemon.toml`, and a YAML file for each mirror.

Several folders of mirrors are merged by file name and field: a later folder wins, and `envs` and `volumes` are merged.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from runner.importing import toml_source
from runner.importing.definitions import Value
from runner.importing.findings import Finding
from schemas.config import yaml_file
from schemas.config.yaml_file import Document
from schemas.errors import SkipjackError
from schemas.problems import InvalidConfigError, Problem, printable, shown
from schemas.regular_files import read_regular

DAEMON = "daemon.toml"
ENDING = ".yaml"
_MOST = 1024**2

_TEXT, _NUMBER, _PAIRS = "text", "a whole number", "a mapping of texts"
FIELDS: Mapping[str, str] = {
    "name": _TEXT, "cron": _TEXT, "interval": _TEXT, "image": _TEXT, "storageDir": _TEXT, "user": _TEXT,
    "bindIP": _TEXT, "network": _TEXT, "logRotCycle": _NUMBER, "retry": _NUMBER, "envs": _PAIRS, "volumes": _PAIRS,
}  # fmt: skip
"""The fields of a mirror. Earlier releases have `interval` in place of `cron`."""


class YukiMirror(NamedTuple):
    """A mirror: its fields without `envs` and `volumes`, these two by name, and where its file begins."""

    fields: Mapping[str, Value]
    envs: Mapping[str, Value]
    volumes: Mapping[str, Value]
    place: Value

    def get(self, field: str, default: Any) -> Any:
        """Return the value of a field."""
        return self.fields[field].value if field in self.fields else default

    def at(self, field: str) -> Value:
        """Return where a field is set, or where the mirror's file begins."""
        return self.fields.get(field, self.place)


class YukiConfig(NamedTuple):
    """The options of `daemon.toml`, all mirrors, and findings."""

    daemon: Mapping[str, Value]
    mirrors: tuple[YukiMirror, ...]
    findings: tuple[Finding, ...]

    def get(self, option: str, default: Any) -> Any:
        """Return the value of an option of `daemon.toml`."""
        return self.daemon[option].value if option in self.daemon else default


def read(folder: str) -> YukiConfig:
    """Read a folder with `daemon.toml` and the folders that it names, or else a folder with a file for each mirror.

    SkipjackError if a file cannot be read or is not valid YAML or TOML, or there is no mirror.
    """
    path = os.path.join(folder, DAEMON)
    daemon = _daemon(path) if os.path.lexists(path) else {}
    folders = _folders(daemon, folder)
    names = sorted({name for each in folders for name in _files(each)})
    findings: list[Finding] = []
    mirrors = [_merged([_document(path) for path in _paths(folders, name)], findings) for name in names]
    if not mirrors:
        what = f"no mirror of yuki is in {', '.join(map(printable, folders))}: no name ends in `{ENDING}`."
        raise SkipjackError(what, f"Name the folder of `{DAEMON}`, or that of the mirrors' files.")
    return YukiConfig(daemon, tuple(mirrors), tuple(findings))


def _daemon(path: str) -> dict[str, Value]:
    source = toml_source.read(path)
    return {key: Value(value, source.file, source.line((key,))) for key, value in source.value.items()}


def _folders(daemon: Mapping[str, Value], folder: str) -> list[str]:
    """Return the folders of the mirrors. yukid takes relative ones from its working folder, which is not known."""
    place = daemon.get("repo_config_dir")
    if place is None:
        return [folder]
    names = [place.value] if isinstance(place.value, str) else place.value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        finding = place.finding("`repo_config_dir` must be a list of folders.", "Correct it; yukid rejects it too.")
        raise SkipjackError(str(finding))
    return [os.path.join(folder, name) for name in names]


def _files(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise SkipjackError(
            f"cannot read the folder {printable(folder)}: {error.strerror}.", "Check the path."
        ) from error
    return [name for name in names if name.endswith(ENDING) and not name.startswith(".")]


def _paths(folders: list[str], name: str) -> Iterator[str]:
    return (path for folder in folders if os.path.isfile(path := os.path.join(folder, name)))


def _document(path: str) -> Document:
    try:
        data = read_regular(path, _MOST)
    except OSError as error:
        raise SkipjackError(
            f"cannot read {printable(path)}: {error.strerror}.", "Check the file and its owner."
        ) from error
    document = yaml_file.parse(data, printable(path))
    problems = list(document.problems)
    if not problems and not isinstance(document.value, dict):
        problems = [Problem(document.file, 1, 1, "The file is not a mapping.", "Write the fields of a mirror.")]
    if problems:
        raise InvalidConfigError("cannot read the configuration of yuki:", problems)
    return document


def _merged(documents: list[Document], findings: list[Finding]) -> YukiMirror:
    """Return a mirror from its files, of which later ones win."""
    fields: dict[str, Value] = {}
    pairs: dict[str, dict[str, Value]] = {"envs": {}, "volumes": {}}
    for document in documents:
        for key, value in document.value.items():
            place = Value(value, document.file, document.place_of_key((key,))[0])
            if key not in FIELDS:
                findings.append(place.finding(f"yuki has no field `{shown(key)}`.", "Check whether it is misspelt."))
            elif not _fits(FIELDS[key], value):
                findings.append(
                    place.finding(f"`{key}` is left out: it is not {FIELDS[key]}.", "Correct it, and import again.")
                )
            elif key in pairs:
                pairs[key] |= {
                    name: Value(str(text), document.file, document.place_of_key((key, name))[0])
                    for name, text in value.items()
                }
            else:
                fields[key] = place
    return YukiMirror(fields, pairs["envs"], pairs["volumes"], Value(None, documents[0].file, 1))


def _fits(kind: str, value: object) -> bool:
    if kind == _TEXT:
        return isinstance(value, str)
    if kind == _NUMBER:
        return type(value) is int and value >= 0
    # Numbers and booleans are texts there.
    return isinstance(value, dict) and all(isinstance(each, str | int) for each in value.values())
