"""Warnings about mirrors beside each other: folders and names that collide on some machines, but not on all."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from schemas.config import folders
from schemas.config.placement import MASTER
from schemas.config.upstreams import daemon_host, plain_host
from schemas.mirror_record import NO_ENTRIES
from schemas.records import Mirror

OF_THE_SITE = frozenset({
    "api", "cmd", "jobs", "metrics", "ping", "workers",
    "assets", "index.html", "meta.json", "mirrors", "static", "status.json", "workers.html",
})  # fmt: skip
"""The first parts of the paths of the site's pages and of the manager's API; a test compares them."""

_OF_WINDOWS = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
"""Names of devices, with any ending: Windows cannot create files with these names."""


def of_mirrors(mirrors: Sequence[Mirror], site_url: str = "", roots: Mapping[str, str] = NO_ENTRIES) -> list[str]:
    """Return a line for each warning, once for a mirror on several workers.

    `roots` has the `mirror_root` of each worker for which it is known.
    """
    names = {mirror.name for mirror in mirrors}
    lines = (*_of_folders(mirrors, roots), *_of_names(names, site_url), *_from_itself(mirrors, site_url))
    return list(dict.fromkeys(lines))


def _of_folders(mirrors: Sequence[Mirror], roots: Mapping[str, str]) -> Iterator[str]:
    for mirror, other, root in folders.perhaps_overlapping(mirrors, roots):
        what = f"its `mirror_dir` and the directory of `{other.name}` are the same or nested if `mirror_root` is {root}"
        yield f"`{mirror.name}`: {what}. Then remove `mirror_dir`, or choose another one."
    for inner, outer in folders.nested_if_similar(mirrors):
        similar = "upper and lower case, or two forms of a letter,"
        what = f"its directory lies in that of `{outer.name}` where {similar} count as equal"
        yield f"`{inner.name}`: {what}. Set another `mirror_subdir` or `mirror_dir`."
    for inner, outer in folders.volumes_in_directories(mirrors):
        what = f"its container can write to the directory of `{outer.name}` through `docker_volumes`"
        yield f"`{inner.name}`: {what}. Add `:ro` if it only reads there."
    for inner, renamed in folders.in_previous_directories(mirrors):
        what = f"its directory lies in one that `{renamed.name}` had under a previous name"
        yield f"`{inner.name}`: {what}. Move the files of `{renamed.name}` before the first sync."


def _of_names(names: Iterable[str], site_url: str) -> Iterator[str]:
    for name in sorted(names):
        if site_url and name.lower() in OF_THE_SITE:
            what = f"the site's own pages or the manager's API are at {site_url}/{name}, the address of this mirror"
            yield f"`{name}`: {what}. Rename it, unless that host serves only mirrors."
        if _OF_WINDOWS.fullmatch(name):
            yield f"`{name}`: Windows reserves this name, so git cannot check `{name}.yml` out there. Rename it."


def _from_itself(mirrors: Sequence[Mirror], site_url: str) -> Iterator[str]:
    """Yield master copies that are fetched from the site's own host; other copies may be."""
    host = plain_host(urlsplit(site_url).hostname or "")
    for mirror in mirrors if host else ():
        if host in mirror.upstream.lower() and mirror.role == MASTER and daemon_host(mirror.upstream) == host:
            what = f"its `upstream` is {host}, the host of this site"
            yield f"`{mirror.name}`: {what}. Name the original, or set `role: slave` for a copy of another worker's."
