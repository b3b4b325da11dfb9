"""Files of a person's folder: all or none are written, and none of theirs is replaced."""

import errno
import os
import resource
from pathlib import Path

import pytest

from runner.authoring import file_writing
from schemas.errors import SkipjackError

NAMES = ("a.yml", "b/c.yml", "b/d/e.yml")


def wanted(folder: Path) -> dict[str, str]:
    return {str(folder / name): f"new {name}" for name in NAMES}


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


NEW = {name: f"new {name}" for name in NAMES}


def refuse(*_words: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM), "x")


@pytest.mark.parametrize("has_links", [True, False])
def test_files_are_created_also_on_a_file_system_without_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    (tmp_path / ".a.yml.skipjack-new").write_text("left by a crash, and longer than the new content")
    written = file_writing.create(wanted(tmp_path), below=str(tmp_path))
    assert (written.created, written.kept) == ([*wanted(tmp_path)], [])
    assert content(tmp_path) == NEW


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_appears_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool) -> None:
    real, mine = os.fsync, tmp_path / "b/c.yml"

    def fsync(descriptor: int) -> None:
        mine.write_text("mine")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    written = file_writing.create(wanted(tmp_path), below=str(tmp_path))
    assert (written.kept, content(tmp_path)) == ([str(mine)], NEW | {"b/c.yml": "mine"})


@pytest.mark.parametrize("after", range(3))
def test_files_that_are_in_place_are_removed_if_another_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    real, calls = os.link, []

    def link(aside: str, path: str) -> None:
        calls.append(path)
        if len(calls) > after:
            refuse()
        real(aside, path)

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os, "rename", refuse)
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(SkipjackError, match=r"cannot write x: Operation not permitted\. Nothing was changed\."):
        file_writing.create(wanted(tmp_path), below=str(tmp_path))
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    for write in (file_writing.create, file_writing.replace):
        with pytest.raises(KeyboardInterrupt):
            write(wanted(tmp_path), below=str(tmp_path))
        assert [*tmp_path.iterdir()] == []


def test_a_failed_replacement_keeps_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file_writing.replace(dict.fromkeys(wanted(tmp_path), "old"), below=str(tmp_path))
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SkipjackError, match="Nothing was changed"):
        file_writing.replace(wanted(tmp_path), below=str(tmp_path))
    assert content(tmp_path) == dict.fromkeys(NAMES, "old")


def test_a_file_that_does_not_fit_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))
    try:
        with pytest.raises(SkipjackError, match=r"cannot write .*/a\.yml: File too large\. Nothing was changed\."):
            file_writing.create(wanted(tmp_path / "new"), below=str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
