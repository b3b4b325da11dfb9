"""What pages show of tunasync's workers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sitegen.messages.model import AuditEntry
from sitegen.messages.tunasync_rules import message
from sitegen.publish import SitePublisher
from sitegen.storage import tunasync_store
from sitegen.storage.store import Store
from sitegen.web.snapshot_cache import SnapshotCache
from tests.sitegen.kit import NOW, delivery_of, post_status, report_of, run_of, status_of
from tests.sitegen.test_tunasync import jobs_of

AT = int(NOW) * 10**9
BY = AuditEntry(NOW, "tunasync", "", "", "tests", {})


class Site:
    """A store with a Go worker's jobs, and the files rendered from it."""

    def __init__(self, folder: Path) -> None:
        self.store, self.folder = Store(str(folder / "state")), folder / "site"
        self._publisher = SitePublisher(self.store, str(self.folder))
        self.register()

    def register(self) -> None:
        self.store.write(tunasync_store.register, "w1", "http://localhost:6000/", AT)

    def post(self, mirror: str, **more: Any) -> None:
        body = {"name": mirror, "status": "success", "is_master": True, "upstream": "rsync://a/b/"} | more
        post_status(self.store, "w1", mirror, message(json.dumps(body).encode()), AT)

    def publish(self) -> None:
        self._publisher.publish(NOW)

    def sizes(self) -> dict[str, str]:
        """Return the sizes in the file that front ends read."""
        self.publish()
        jobs = json.loads((self.folder / "static" / "tunasync.json").read_text())
        assert jobs_of(SnapshotCache(self.store, lambda: NOW).snapshot()) == jobs, "`GET /jobs` is the same list"
        return {job["name"]: job["size"] for job in jobs}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    with made.store:
        yield made


def test_sizes_are_shown_as_the_worker_wrote_them(site: Site) -> None:
    site.post("arch", size="1.2 TB")
    site.post("debian", size="3.00T")
    site.post("new")
    assert site.sizes() == {"arch": "1.2 TB", "debian": "3.00T", "new": "unknown"}
    site.post("debian", status="syncing", size="unknown")
    site.post("new", size="12.5Gi\x1b[31m")
    assert site.sizes() == {"arch": "1.2 TB", "debian": "3.00T", "new": "12.5Gi\\x1b[31m"}
    site.store.write(tunasync_store.alter, "w1", "arch", {"size": "~2T"}, AT)
    assert site.sizes()["arch"] == "~2T"


def test_sizes_of_a_worker_that_became_a_skipjack_worker_are_reported_ones(site: Site) -> None:
    site.post("debian", size="1.2 TB")
    site.publish()
    site.store.apply([delivery_of(report_of(1, status_of("debian", size=5 * 10**9, run=run_of(1))))])
    assert site.sizes() == {"debian": "5.00G"}


def test_a_deleted_workers_state_does_not_return(site: Site) -> None:
    site.post("debian", size="1.2 TB")
    site.publish()
    site.store.write(tunasync_store.flush, BY)
    assert site.sizes() == {"debian": "1.2 TB"}
    site.store.write(tunasync_store.forget, "w1", BY)
    site.register()
    site.post("debian")
    assert site.sizes() == {"debian": "unknown"}
