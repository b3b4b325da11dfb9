"""Which password does an upstream get when its file is replaced while it is read?"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.base import file_policy, file_view, passwords
from runner.base.mirror_paths import Paths
from runner.plugin_api import Abort, Job, Machine
from schemas.errors import SkipjackError
from schemas.mirror_record import Mirror, Secret


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A mirror with a password that only its upstream may get, beside one for another host and the worker's token."""
    for name in ("own", "other", "token"):
        (tmp_path / name).write_text(f"the password {name}\n")
    readable = [[["h.example"], f"{tmp_path}/own", ""], [["other.example"], f"{tmp_path}/other", ""]]
    machine = Machine(passwords=(readable, [f"{tmp_path}/token"], None))
    mirror = Mirror("m", "w1", "rsync", "rsync://h.example/x/", password=Secret(file=f"{tmp_path}/own"))
    return Job(mirror, Paths(str(tmp_path / "m"), str(tmp_path), str(tmp_path)), machine)


def replace_after_the_check(monkeypatch: pytest.MonkeyPatch, replace: Callable[[], None]) -> None:
    """Let the file be replaced right after it was judged by its path."""
    judge, left = file_policy.password_violations, [1]

    def judged(*arguments: Any) -> Iterator[tuple[str, str]]:
        found = list(judge(*arguments))
        if left[0]:
            left[0] -= 1
            replace()
        return iter(found)

    monkeypatch.setattr(passwords, "password_violations", judged)


def test_the_password_of_its_own_file_is_read(job: Job) -> None:
    assert job.password() == "the password own"


@pytest.mark.parametrize("name", ["other", "token"])
def test_a_file_that_is_swapped_after_the_check_is_not_read(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def swap() -> None:
        (tmp_path / "own").unlink()
        (tmp_path / "own").symlink_to(name)

    replace_after_the_check(monkeypatch, swap)
    with pytest.raises(Abort, match=f"`password` names {tmp_path}/{name}, ") as raised:
        job.password()
    assert raised.value.status == "refused"


def test_a_link_in_the_place_of_an_entry_does_not_lead_to_another_password(job: Job, tmp_path: Path) -> None:
    """The entry is the file itself, so that a link of its name would always be in the list."""
    (tmp_path / "own").unlink()
    (tmp_path / "own").symlink_to("other")
    with pytest.raises(Abort, match=f"`password` names {tmp_path}/own, .* only for the rsync daemon on other.example"):
        job.password()


def test_a_hard_link_to_another_password_is_refused(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its path alone it is the mirror's own."""

    def swap() -> None:
        (tmp_path / "own").unlink()
        os.link(tmp_path / "other", tmp_path / "own")

    refused = f"`password` names {tmp_path}/own, which has 2 hard links, so it may be a secret as well"
    replace_after_the_check(monkeypatch, swap)
    for _after_and_before_the_check in range(2):
        with pytest.raises(Abort, match=refused) as raised:
            job.password()
        assert raised.value.status == "refused"


def test_only_links_of_root_and_of_the_workers_user_are_followed_in_entries_of_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "real/folder"
    real.mkdir(parents=True)
    (tmp_path / "above").symlink_to("real")
    (tmp_path / "absolute").symlink_to(real)
    (tmp_path / "again").symlink_to("above/../above/./folder")
    (tmp_path / "loop").symlink_to("loop")
    names = ("real/folder", "above/folder", "absolute", "again", "absolute/missing/x", "missing/../above")
    for name in names:
        assert file_view.trusted_path(f"{tmp_path}/{name}") == str((tmp_path / name).resolve()), name
    assert file_view.trusted_path("/") == "/"
    assert file_view.trusted_path(f"{tmp_path}/loop") == f"{tmp_path}/loop"
    # As if another user had made the links: of the owners only root and this one are known.
    monkeypatch.setattr(file_view, "_TRUSTED", frozenset[int]())
    monkeypatch.setattr(os, "geteuid", lambda: -1)
    assert file_view.trusted_path(f"{tmp_path}/above/folder") == f"{tmp_path}/above/folder"


def test_a_new_password_that_is_renamed_over_the_old_one_is_read(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renew() -> None:
        (tmp_path / "new").write_text("a new password\n")
        (tmp_path / "new").replace(tmp_path / "own")

    replace_after_the_check(monkeypatch, renew)
    assert job.password() == "a new password"


def test_a_file_that_cannot_be_read_is_reported_by_its_path(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_after_the_check(monkeypatch, (tmp_path / "own").unlink)
    with pytest.raises(SkipjackError, match=f"cannot read the secret {tmp_path}/own: No such file or directory"):
        job.password()
