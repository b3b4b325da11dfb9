"""What `skipjack init` need not ask: the title, the time zone, the worker's name, and where CI gets Skipjack from."""

import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from importlib import metadata

from schemas.addresses import without_secrets
from schemas.config.rules import is_time_zone
from schemas.names import is_name

_PLAIN_FOLDERS = {"mirror", "mirrors", "config", "repo", "repository", "skipjack", "src", "work"}
"""Names of folders that say nothing about the site."""

_ZONEINFO = re.compile(r"/zoneinfo/(?:posix/|right/)?(.+)$")


def title(folder: str, host: str) -> str:
    """Return a title of the site, from the name of the folder, or else from the domain of the host."""
    words = [word for word in re.split(r"[\s._-]+", os.path.basename(folder)) if word.isalnum()]
    if words and not {word.lower() for word in words} <= _PLAIN_FOLDERS:
        return " ".join(word if any(each.isupper() for each in word) else word.capitalize() for word in words)
    domain = host.partition(".")[2]
    return f"Mirrors of {domain}" if re.fullmatch(r"[A-Za-z0-9.-]+\.[A-Za-z]{2,}", domain) else "Open-source mirrors"


def worker(host: str) -> str:
    """Return a worker's name: that of the host without its domain, or else `w1`."""
    name = host.partition(".")[0]
    return name if is_name(name) and name.lower() != "localhost" else "w1"


def host() -> str:
    """Return the name of this machine, with its domain only if that is part of the name: DNS may not answer."""
    return socket.gethostname()


def forge(address: str) -> str:
    """Return the forge of a remote repository, by the name of its host; GitHub if that says nothing."""
    host = re.sub(r"^\w+://|^[^/]*@", "", address).partition("/")[0].partition(":")[0].lower()
    if "gitlab" in host:
        return "gitlab"
    return "forgejo" if host == "codeberg.org" or "forgejo" in host else "github"


def time_zone(environment: Mapping[str, str], etc: str = "/etc") -> str:
    """Return the IANA name of this machine's time zone, or else `UTC`."""
    return next((zone for zone in _zones(environment, etc) if is_time_zone(zone)), "UTC")


def _zones(environment: Mapping[str, str], etc: str) -> Iterator[str]:
    yield environment.get("TZ", "").removeprefix(":")
    try:
        found = _ZONEINFO.search(os.path.realpath(f"{etc}/localtime"))
        yield (found[1] if found else "").removeprefix("Etc/")
        with open(f"{etc}/timezone", encoding="utf-8") as file:
            yield file.readline().strip()
    except (OSError, ValueError):
        return


def source() -> str:
    """Return where pip installed Skipjack from, with the commit; empty unless that was a git repository elsewhere."""
    try:
        text = metadata.distribution("skipjack").read_text("direct_url.json") or "{}"
    except metadata.PackageNotFoundError:
        return ""
    return source_of(json.loads(text))


def source_of(direct_url: Mapping[str, object]) -> str:
    """Return the same from the record of pip (PEP 610)."""
    url, details = direct_url.get("url"), direct_url.get("vcs_info")
    if not isinstance(url, str) or not isinstance(details, dict) or not url.startswith("https://"):
        return ""
    if details.get("vcs") != "git" or without_secrets(url) != url:
        return ""
    return f"git+{url}@{details.get('commit_id')}"
