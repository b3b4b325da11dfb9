"""Which empty directory counts as one that the last run itself emptied?"""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.base.mirror_paths import Paths
from runner.hooks import missing_files
from runner.journal.last_success import Past, identity_of
from runner.plugin_api import Abort, Job
from schemas.records import Mirror


def began(directory: Path, emptied: int | None) -> bool:
    """Return whether a run may begin in an empty directory after one that emptied the directory with that identity."""
    job = Job(Mirror("m", "w1", "command", "x"), Paths(str(directory), str(directory.parent), ""))
    job.past = Past(success_at=1.0, files_in=str(directory), emptied=emptied)
    try:
        missing_files.pre_job(job)
    except Abort as abort:
        assert " is empty, but the last success" in abort.reason
        return False
    return True


def test_only_the_directory_that_was_emptied_counts_as_emptied(tmp_path: Path) -> None:
    directory, other = tmp_path / "m", tmp_path / "other"
    directory.mkdir()
    other.mkdir()
    assert began(directory, identity_of(str(directory)))
    assert not began(directory, identity_of(str(other)))
    assert not began(directory, None)


@pytest.mark.parametrize(
    ("system", "mounted", "known"), [(7, True, True), (7, False, True), (0, False, True), (0, True, False)]
)
def test_the_top_of_a_file_system_without_an_id_has_no_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: int, *, mounted: bool, known: bool
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_fsid=system))
    monkeypatch.setattr(os.path, "ismount", lambda _path: mounted)
    assert (identity_of(str(tmp_path)) is not None) == known
    assert began(tmp_path, identity_of(str(tmp_path))) == known


def test_another_file_system_has_another_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for system in (1, 2):
        monkeypatch.setattr(os, "statvfs", lambda _path, system=system: SimpleNamespace(f_fsid=system))
        found.add(identity_of(str(tmp_path)))
    assert len(found) == 2
