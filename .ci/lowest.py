"""Print the lowest version of each package that `pyproject.toml` allows, as constraints for pip."""

import itertools
import re
import sys
import tomllib
from pathlib import Path

BOUND = re.compile(r"^([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)")

project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
for line in itertools.chain(project["dependencies"], *project["optional-dependencies"].values()):
    if found := BOUND.match(line):
        sys.stdout.write("{}=={}\n".format(*found.groups()))
