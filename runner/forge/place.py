"""Which forge, which repository and which token a job uses: from its options, else from its variables."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from schemas.errors import SkipjackError
from schemas.mirror_record import Secret
from schemas.secrets import is_token, read_token

TOKEN = "SKIPJACK_FORGE_TOKEN"  # noqa: S105 - the name of a variable

GITHUB, GITLAB, GITEA = "github", "gitlab", "gitea"

_VARIABLES = {
    GITHUB: ("GITHUB_API_URL", "GITHUB_REPOSITORY"),
    GITEA: ("GITHUB_API_URL", "GITHUB_REPOSITORY"),
    GITLAB: ("CI_API_V4_URL", "CI_PROJECT_ID"),
}
"""The variables of a job with the address of the API and the repository."""

_MARKS = {"GITLAB_CI": GITLAB, "GITEA_ACTIONS": GITEA, "FORGEJO_ACTIONS": GITEA, "GITHUB_ACTIONS": GITHUB}
"""Variables that are `true` in the jobs of a forge; runners of Gitea and Forgejo set that of GitHub as well."""

_REPOSITORIES = {
    GITHUB: r"[\w.-]+/[\w.-]+",
    GITEA: r"[\w.-]+/[\w.-]+",
    GITLAB: r"[0-9]+|[\w.-]+(?:/[\w.-]+)+",
}


class MissingOption(Exception):  # noqa: N818 - wrong usage
    """Neither an option nor a variable of the job has a value, or it is not valid. The message is for the user."""


class ForgeOptions(NamedTuple):
    """What the options name; None for what the job's variables have."""

    forge: str | None
    api: str | None
    repository: str | None
    token_file: Path | None
    ca_cert: str | None


class ForgePlace(NamedTuple):
    """A repository on a forge: the kind of forge, the address of its API, and the token."""

    kind: str
    api: str
    repository: str
    token: str
    ca_cert: str | None


def located(choices: ForgeOptions, environment: Mapping[str, str]) -> ForgePlace:
    """Return the place. MissingOption for a missing or wrong choice, SkipjackError without a usable token."""
    kind = choices.forge or next((kind for mark, kind in _MARKS.items() if environment.get(mark) == "true"), "")
    if not kind:
        raise MissingOption("no job of a known forge is running: name it with --forge")
    api_variable, repository_variable = _VARIABLES[kind]
    api = choices.api or environment.get(api_variable, "")
    repository = choices.repository or environment.get(repository_variable, "")
    if not re.fullmatch(_REPOSITORIES[kind], repository, re.ASCII):
        raise MissingOption(f"name the repository with --repository: {repository!r} is not valid")
    _check_address(api)
    return ForgePlace(kind, api, repository, _token(choices.token_file, environment), choices.ca_cert)


def _check_address(api: str) -> None:
    parts = urlsplit(api)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise MissingOption("name the address of the API with --api: it begins with https://")


def _token(file: Path | None, environment: Mapping[str, str]) -> str:
    if file is not None:
        return read_token(Secret(file=os.fspath(file)))
    token = environment.get(TOKEN, "")
    if not is_token(token):
        what = f"there is no token in the variable {TOKEN}." if not token else f"the value of {TOKEN} is not a token."
        raise SkipjackError(what, f"Set {TOKEN} in the job, or name a file with `--token-file`.")
    return token
