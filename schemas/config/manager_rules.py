"""Rules about the manager's settings that a JSON Schema cannot express."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from schemas.config.judgeable_keys import entries, judged
from schemas.config.yaml_file import Document
from schemas.problems import Problem
from schemas.records import ManagerSettings
from schemas.units import parse_duration, parse_size

HIGHEST_PORT = 65535
LEAST_SIZE = 1024
"""Bytes of a head or a body; hardly any request is smaller."""

_DEFAULTS = ManagerSettings()


def check(document: Document) -> Iterator[Problem]:
    """Yield the problems of settings that the schema accepts."""
    for rule in (_listen, _read_timeout, _header_size, _body_limit, _trusted_proxies, _writes_from, _folders):
        yield from judged(rule(document))


def _listen(document: Document) -> Iterator[Problem]:
    port = int(document.keys.get("listen", ":0").rpartition(":")[2])
    # The system takes such a number modulo 65536: 70000 would be port 4464.
    if port > HIGHEST_PORT:
        what = f"The port {port} is invalid: the highest port is {HIGHEST_PORT}."
        yield document.problem(("listen",), what, "Write for example `listen: 127.0.0.1:8080`.")


def _read_timeout(document: Document) -> Iterator[Problem]:
    value = document.at("limits").get("read_timeout")
    # With 0 s every request would be too slow.
    if value is not None and parse_duration(value) < 1:
        todo = "Write for example `read_timeout: 30s`."
        yield document.problem(("limits", "read_timeout"), "`read_timeout` must be at least 1s.", todo)


def _header_size(document: Document) -> Iterator[Problem]:
    return _size(document, "limits", "header_size")


def _body_limit(document: Document) -> Iterator[Problem]:
    return _size(document, "body_limit")


def _size(document: Document, *path: str) -> Iterator[Problem]:
    value = document.at(*path[:-1]).get(path[-1])
    if value is not None and (size := parse_size(value)) < LEAST_SIZE:
        what = f"`{path[-1]}` is {size} bytes, but must be at least {LEAST_SIZE}."
        todo = f"Write for example `{path[-1]}: 32KiB`."
        yield document.problem(path, what, todo)


def _trusted_proxies(document: Document) -> Iterator[Problem]:
    return _networks(document, "trusted_proxies")


def _writes_from(document: Document) -> Iterator[Problem]:
    return _networks(document, "tunasync", "writes_from")


def _networks(document: Document, *path: str) -> Iterator[Problem]:
    import ipaddress  # loaded here, since the settings of a worker have no networks

    for place, text in entries(document.at(*path[:-1]), path[-1]):
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            what = f"`{text}` in `{path[-1]}` is not a valid network: {error}."
            yield document.problem((*path, place), what, "Write for example `192.0.2.7` or `192.0.2.0/24`.")


def _folders(document: Document) -> Iterator[Problem]:
    """Reject a database below the site's folder, which everybody can read."""
    state_dir = document.keys.get("state_dir", _DEFAULTS.state_dir)
    if PurePosixPath(state_dir).is_relative_to(document.keys.get("site_dir", _DEFAULTS.site_dir)):
        what = f"`state_dir` {state_dir} lies in `site_dir`, so everybody could read the database."
        path = ("site_dir",) if "site_dir" in document.value else ("state_dir",)
        yield document.problem(path, what, "Put the site into a separate folder.")
