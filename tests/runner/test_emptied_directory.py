"""Which empty directory counts as one that the last run itself emptied."""

from pathlib import Path

import pytest

from runner.api import Abort, Job, Past
from runner.hooks import missing_files
from runner.paths import Paths
from schemas.records import Mirror


@pytest.mark.parametrize(("inode", "refused"), [(257, False), (256, True)])
def test_the_inode_that_all_subvolumes_of_btrfs_share_tells_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inode: int, *, refused: bool
) -> None:
    directory = tmp_path / "m"
    directory.mkdir()
    job = Job(Mirror("m", "w1", "command", "x"), Paths(str(directory), str(tmp_path), ""))
    job.past = Past(success_at=1.0, files_in=str(directory), emptied=inode)
    monkeypatch.setattr(missing_files, "inode_of", lambda _path: inode)
    if not refused:
        missing_files.pre_job(job)
        return
    with pytest.raises(Abort, match="is empty, but the last success"):
        missing_files.pre_job(job)
