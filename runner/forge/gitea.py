"""The API of Gitea and Forgejo, which resembles that of GitHub."""

from collections.abc import Mapping
from typing import Any

from runner.forge.github import GitHub
from runner.forge.rest_api import ForgeRefusal

_ACTIONS = ""
_ACTIONS_ID = -2
"""The user of the tokens of jobs. Its name differs between Gitea and Forgejo, its number does not."""


class Gitea(GitHub):
    """A repository on Gitea or Forgejo."""

    size: Mapping[str, int] = {"limit": 50}

    def headers(self, token: str) -> dict[str, str]:
        """Return the headers of each request."""
        return {"Authorization": f"token {token}"}

    def own_name(self) -> str:
        """Return the name of the user of the token; empty for the token of a job."""
        try:
            user = self._api.get("/user")
        except ForgeRefusal as refusal:
            if refusal.status in (403, 404):  # the token of a job is not that of a user, or may not read it
                return _ACTIONS
            raise
        with self._api.reading("/user"):
            return _ACTIONS if user["id"] == _ACTIONS_ID else str(user["login"])

    def is_by(self, user: Mapping[str, Any] | None, own: str) -> bool:
        """Return whether a user has a name; for the token of a job, whether it is the user of jobs."""
        if user is None:
            return False
        return bool(user["id"] == _ACTIONS_ID if own == _ACTIONS else user["login"] == own)

    def changes_checks(self, _number: int) -> bool:
        """Return False: a job of the base branch has made the plan, which a pull request cannot change."""
        return False

    def contains(self, revision: str, commit: str) -> bool:
        """Return whether the history of a revision has a commit: it then has no commit that the revision lacks."""
        path = f"{self._root}/compare/{revision}...{commit}"
        try:
            found = self._api.get(path)
        except ForgeRefusal as refusal:
            if refusal.status == 404:
                return False
            raise
        with self._api.reading(path):
            return int(found["total_commits"]) == 0
