"""What has to hold of the manager's settings beyond the form of each value."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from schemas import build
from schemas.problems import Problem
from schemas.records import ManagerSettings
from schemas.yaml_file import Document

HIGHEST_PORT = 65535
LEAST_SIZE = 1024
"""Bytes of a head or a body below which hardly any request fits."""


def check(document: Document) -> Iterator[Problem]:
    """The problems of settings that the schema allows."""
    settings = build.manager_settings(document.value)
    yield from _listen(document, settings)
    yield from _limits(document, settings)
    yield from _folders(document, settings)


def _listen(document: Document, settings: ManagerSettings) -> Iterator[Problem]:
    port = int(settings.listen.rpartition(":")[2])
    if port > HIGHEST_PORT:
        what = f"There is no port {port}, only those up to {HIGHEST_PORT}."
        yield document.problem(("listen",), what, "Write for example `listen: 127.0.0.1:8080`.")


def _limits(document: Document, settings: ManagerSettings) -> Iterator[Problem]:
    if settings.limits.read_timeout < 1:
        todo = "Write for example `read_timeout: 30s`."
        yield document.problem(("limits", "read_timeout"), "Nobody can send a request in no time.", todo)
    for path, size in (
        (("limits", "header_size"), settings.limits.header_size),
        (("body_limit",), settings.body_limit),
    ):
        if size < LEAST_SIZE:
            what, todo = f"Hardly any request fits into {size} bytes.", f"Write for example `{path[-1]}: 32KiB`."
            yield document.problem(path, what, todo)


def _folders(document: Document, settings: ManagerSettings) -> Iterator[Problem]:
    """Whatever lies below the site's folder can be read by everybody."""
    if PurePosixPath(settings.state_dir).is_relative_to(settings.site_dir):
        what = f"The database in {settings.state_dir} would be shown to everybody, as a part of the site."
        path = ("site_dir",) if "site_dir" in document.value else ("state_dir",)
        yield document.problem(path, what, "Give the site a folder of its own.")
