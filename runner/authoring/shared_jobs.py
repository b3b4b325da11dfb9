"""Which jobs a new config repository uses from the repository that Skipjack is installed from."""

import re
from typing import NamedTuple

_SOURCE = re.compile(
    r"git\+https://(?P<host>[\w.-]+)/(?P<path>[\w.-]+(?:/[\w.-]+)*?/[\w.-]+?)(?:\.git)?@(?P<revision>[\w.-]+)", re.ASCII
)

_GITHUB = "github.com"


class SharedJobs(NamedTuple):
    """How a job names the repository with the shared ones, and its revision."""

    place: str
    revision: str


def of_github(source: str) -> SharedJobs | None:
    """Return how workflows of GitHub name it; None if it is not on GitHub, where alone they can use it."""
    found = _SOURCE.fullmatch(source)
    if not found or found["host"] != _GITHUB or found["path"].count("/") != 1:
        return None
    return SharedJobs(found["path"], found["revision"])


def of_forgejo(source: str) -> SharedJobs | None:
    """Return how workflows of Forgejo and Gitea name it; None if it has not the form of such an address."""
    found = _SOURCE.fullmatch(source)
    if not found or found["path"].count("/") != 1:
        return None
    return SharedJobs(f"https://{found['host']}/{found['path']}", found["revision"])


def of_gitlab(source: str) -> SharedJobs | None:
    """Return the address of its files for pipelines of GitLab; None if only its owner knows that."""
    found = _SOURCE.fullmatch(source)
    if found and found["host"] == _GITHUB:
        return SharedJobs(f"https://raw.githubusercontent.com/{found['path']}/{found['revision']}", found["revision"])
    if found and "gitlab" in found["host"].split("."):
        return SharedJobs(f"https://{found['host']}/{found['path']}/-/raw/{found['revision']}", found["revision"])
    return None
