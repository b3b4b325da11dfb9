"""Boxes for the tests: an image per session on which Skipjack is installed, and copies of it. Tests of what needs root
but no systemd have the parts of the end-to-end tests as well.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import begun, manager, reporter, repository, tree, upstream, worker
from tests.system.box import Box, copy_image, make_image
from tests.system.postgresql import Server
from tests.system.site import Site

__all__ = ["begun", "manager", "reporter", "repository", "tree", "upstream", "worker"]

CHECKOUT = Path(__file__).parents[2]
PYTHON = "/usr/bin/python3"
"""A Python that every user may run: the one of the tests may be in a user's home."""

WHEELS = "/opt/wheels-of-skipjack"
ROOMS = ("schemas", "runner", "sitegen", "pyproject.toml", "README.md", "LICENSE", "constraints.txt")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say at once what these tests need; without it each would fail for a reason of its own."""
    if items and os.geteuid() != 0:
        pytest.exit(
            "the tests of tests/system need root: they mount and make namespaces; use `sudo make test-system`", 2
        )


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of a box with Skipjack in /opt/skipjack, which nothing has been done with yet."""
    return make_installed(tmp_path_factory.mktemp("installed"))


def make_installed(folder: Path) -> Path:
    """Make the image of a box with Skipjack as it stands, and all that it needs, in /opt/skipjack.

    The only step that may use a network; the box has none.
    """
    image = folder / "box.img"
    make_image(image)
    with Box(image) as box:
        shutil.copytree(_wheels(folder), box.path(WHEELS))
        install_version(box, "/opt/skipjack")
    return image


def _wheels(folder: Path) -> Path:
    """Skipjack and what it needs as packages for PYTHON, with what builds it again from its folder."""
    source, venv = folder / "source", folder / "venv"
    copy_source(source)
    subprocess.run([PYTHON, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin/pip"), "wheel", "--quiet", "--constraint", "constraints.txt"]
    words = [*pip, "--wheel-dir", str(folder / "wheels"), ".[postgresql]", "setuptools>=80"]
    subprocess.run(words, cwd=source, check=True)
    return folder / "wheels"


def copy_source(folder: Path) -> None:
    """Copy what Skipjack is installed from."""
    folder.mkdir()
    for name in ROOMS:
        copy = shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy
        copy(CHECKOUT / name, folder / name)


def install_version(box: Box, folder: str) -> None:
    """Install Skipjack into a folder of the box."""
    box.do(PYTHON, "-m", "venv", folder)
    box.do(f"{folder}/bin/pip", "install", "--quiet", "--no-index", f"--find-links={WHEELS}", "skipjack")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A running PostgreSQL, for the tests of one module."""
    with Server() as running:
        yield running


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Iterator[Box]:
    """A running box with Skipjack in /opt/skipjack, for the tests of one module."""
    image = tmp_path_factory.mktemp("box") / "box.img"
    copy_image(installed, image)
    with Box(image) as box:
        yield box


@pytest.fixture(scope="module")
def site(box: Box) -> Site:
    """An upstream, a config repository and a worker's settings in the module's box; nothing is installed yet."""
    site = Site(box)
    site.prepare()
    return site
