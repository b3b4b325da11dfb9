"""How is a file named in the output: as a person would type it, or from the top of the git repository?"""

import os
from pathlib import Path
from typing import NamedTuple


class CheckedFolder(NamedTuple):
    """The checked folder as it was typed, the top of its git repository, and its path below that, empty at the top.

    Both are None outside of a git repository.
    """

    typed: Path
    top: Path | None = None
    below: str | None = None

    def typed_path(self, file: str) -> str:
        """Return the path of a file in the folder, from where the command was started."""
        return str(self.typed / file)

    def repository_path(self, file: str) -> str:
        """Return the path of a file in the folder from the top of the repository, as forges name it."""
        if self.below is None:
            return (self.typed / file).as_posix()
        return f"{self.below}/{file}" if self.below else file


def checked_folder(typed: Path) -> CheckedFolder:
    """Return the folder with its place in the repository: the nearest folder above that has a `.git`."""
    real = Path(os.path.realpath(typed))
    top = next((folder for folder in (real, *real.parents) if os.path.lexists(folder / ".git")), None)
    if top is None:
        return CheckedFolder(typed)
    below = real.relative_to(top).as_posix()
    return CheckedFolder(typed, top, "" if below == "." else below)
