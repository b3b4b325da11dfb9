"""What only root can try of the manager's own files."""

import os
from pathlib import Path

from sitegen.storage.store import Store
from tests.sitegen.kit import delivery_of, report_of, status_of


def test_files_that_root_creates_in_a_users_folder_belong_to_that_user(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with Store(str(tmp_path)) as store:
        store.apply([delivery_of(report_of(1, status_of()))])
        owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()}
    assert owners == dict.fromkeys(
        ("manager.db", "manager.db-mark", "manager.db-wal", "manager.db-shm"), (12345, 12345)
    )
