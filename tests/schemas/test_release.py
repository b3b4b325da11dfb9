"""The version that `--version` and reports show, with the commit where it is known."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from schemas import VERSION
from schemas.release import RECORD, commit_of_checkout, version

ROOT = Path(__file__).parents[2]
SHOW = "import sys; sys.path.insert(0, sys.argv[1]); from schemas.release import version; print(version())"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(["git", "-C", folder, *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit and Skipjack's version in it."""
    folder = tmp_path / "checkout"
    (folder / "schemas").mkdir(parents=True)
    for name in ("__init__.py", "release.py"):
        shutil.copy(ROOT / "schemas" / name, folder / "schemas")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "Begin")
    return folder


def shown(folder: Path) -> str:
    done = subprocess.run([sys.executable, "-I", "-S", "-c", SHOW, folder], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_checkout_shows_its_commit_however_git_keeps_it(checkout: Path, tmp_path: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert commit_of_checkout(checkout) == commit, "a loose reference"
    assert shown(checkout) == f"{VERSION}+g{commit[:12]}"
    git(checkout, "pack-refs", "--all")
    assert commit_of_checkout(checkout) == commit, "a packed reference"
    git(checkout, "worktree", "add", "-q", "-b", "other", str(tmp_path / "linked"))
    assert commit_of_checkout(tmp_path / "linked") == commit, "a linked worktree"
    git(checkout, "checkout", "-q", "--detach")
    assert commit_of_checkout(checkout) == commit, "a detached head"


def test_without_a_checkout_the_version_stands_alone(checkout: Path) -> None:
    git(checkout, "update-ref", "-d", "HEAD")
    assert (commit_of_checkout(checkout), shown(checkout)) == ("", VERSION), "a branch without a commit"
    shutil.rmtree(checkout / ".git")
    assert (commit_of_checkout(checkout), shown(checkout)) == ("", VERSION)
    (checkout / ".git").write_bytes(b"gitdir: \xff\n")
    assert shown(checkout) == VERSION


def test_a_record_of_the_build_is_preferred_and_must_be_a_commit(checkout: Path) -> None:
    own = shown(checkout)
    (checkout / "schemas" / RECORD).write_text("1a2b3c4d5e" * 4 + "\n")
    assert shown(checkout) == f"{VERSION}+g1a2b3c4d5e1a"
    (checkout / "schemas" / RECORD).write_text("../../x\n")
    assert shown(checkout) == own


def test_it_fits_into_a_report() -> None:
    assert version().partition("+")[0] == VERSION and len(version()) <= 64


@pytest.mark.skipif(not importlib.util.find_spec("setuptools"), reason="builds need setuptools")
def test_a_build_records_the_commit_and_leaves_the_checkout_alone(checkout: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "setup.py", checkout)  # without pyproject.toml, which older releases of setuptools cannot read
    words = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "built")]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    record = tmp_path / "built" / "schemas" / RECORD

    subprocess.run(words, cwd=checkout, env=environment, check=True)
    assert record.read_text() == git(checkout, "rev-parse", "HEAD") + "\n"
    assert not (checkout / "schemas" / RECORD).exists()

    (checkout / ".git").rename(tmp_path / "away")  # as in a source archive
    subprocess.run(words, cwd=checkout, env=environment, check=True)
    assert not record.exists()


@pytest.mark.skipif(not importlib.util.find_spec("setuptools"), reason="builds need setuptools")
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a checkout has a list of its files")
def test_a_source_archive_has_all_files_of_the_checkout(tmp_path: Path) -> None:
    copy, archives = tmp_path / "copy", tmp_path / "archives"
    names = {name for name in git(ROOT, "ls-files").splitlines() if (ROOT / name).is_file()}
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)

    words = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(archives)]
    subprocess.run(words, cwd=copy, check=True, capture_output=True)

    with tarfile.open(next(archives.iterdir())) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert names - found == set()
