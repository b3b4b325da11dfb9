"""Which class speaks to which kind of forge."""

from runner.forge.forge import Forge
from runner.forge.gitea import Gitea
from runner.forge.github import GitHub
from runner.forge.gitlab import GitLab
from runner.forge.place import GITEA, GITHUB, GITLAB, ForgePlace

_KINDS: dict[str, type[GitHub | GitLab]] = {GITHUB: GitHub, GITEA: Gitea, GITLAB: GitLab}


def connected(place: ForgePlace, author: str | None) -> Forge:
    """Return the forge. `author` is the user whose comments count as own, None for that of the token."""
    return _KINDS[place.kind](place, author)
