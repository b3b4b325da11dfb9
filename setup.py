"""Record in a build from a checkout which commit it is of; everything else is in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # isolated builds start without the folder of this file

from schemas.release import RECORD, commit_of_checkout  # noqa: E402


class BuildWithCommit(build_py):
    """Builds the packages, and the file that `schemas/release.py` reads."""

    def run(self) -> None:
        """Write the record into the build folder alone, so that neither a checkout nor a source archive gets one."""
        super().run()
        if self.editable_mode:
            return  # an editable installation reads the checkout
        record = Path(self.build_lib, "schemas", RECORD)
        record.unlink(missing_ok=True)  # an earlier build in this folder may have left one
        if commit := commit_of_checkout(ROOT):
            record.write_text(f"{commit}\n", "utf-8")


setup(cmdclass={"build_py": BuildWithCommit})
