"""A manager whose disks are full: it reports that, acknowledges nothing, loses nothing, and recovers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_faults import small_disk
from tests.sitegen.kit import Manager, envelope_of, report_of, run_of, status_of, wait_for


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.session.close()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file with what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_full_disk_of_the_database_is_reported_and_nothing_is_acknowledged(manager: Manager) -> None:
    with small_disk(manager.state, "size=4m") as fill:
        worker, operator = manager.token(), {"Authorization": f"Bearer {manager.token('alice', 'operator')}"}
        with manager.serving():
            assert manager.post(envelope_of(report_of(1, status_of())), worker).json()["acknowledged"] == 1
            fill()
            runs = tuple(("debian", run_of(number, "failed", log_tail="x" * 16_000)) for number in range(2, 30))
            large = envelope_of(report_of(2, status_of("debian", "failed", run=runs[-1][1]), runs=runs))
            for _ in range(2):
                refused = manager.post(large, worker)
                assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
                assert refused.json() == {"error": "cannot use the manager's database: database or disk is full"}
            assert [job["status"] for job in manager.get("/jobs")] == ["success"], "reading goes on"
            order: dict[str, Any] = {"kind": "stop", "mirrors": ["debian"]}
            while (given := manager.session.post(f"{manager.url}/api/v1/commands", json=order, headers=operator)).ok:
                pass  # there was some room left in what the database had taken before
            assert given.status_code == 503
            (manager.state / "filler").unlink()
            assert manager.post(large, worker).json()["acknowledged"] == 2
            assert manager.get("/jobs")[0]["status"] == "failed"
        assert manager.command("check").returncode == 0


def test_a_full_disk_of_the_site_leaves_the_old_one_whole(manager: Manager) -> None:
    with small_disk(manager.site, "size=2m") as fill:
        worker = manager.token()
        with manager.serving(), manager.publishing() as publisher:
            manager.post(envelope_of(report_of(1, status_of())), worker)
            wait_for(lambda: (manager.site / "mirrors/debian.html").exists(), "the mirror is there")
            wait_for(lambda: manager.status()["mirrors"], "the overview has it")
            fill()
            before = contents(manager.site)
            failed = status_of("debian", "failed", run=run_of(2, "failed", log_tail="no luck\n" * 2000))
            others = [status_of(f"mirror{number}") for number in range(50)]
            manager.post(envelope_of(report_of(2, failed, *others)), worker)
            assert publisher.stderr is not None
            told = next(line for line in publisher.stderr if "cannot publish the site" in line)
            assert "No space left on device" in told
            after = contents(manager.site)
            assert after.keys() >= before.keys(), "nothing is gone"
            assert [name for name in before if name.endswith(".json") and not json.loads(after[name])] == []
            linked = {mirror["name"] for mirror in manager.status()["mirrors"]}
            assert all(f"mirrors/{name}.html" in after for name in linked)
            (manager.site / "filler").unlink()
            wait_for(lambda: len(manager.status()["mirrors"]) == 51, "the site is up to date again")
            wait_for(lambda: "no luck" in (manager.site / "mirrors/debian.html").read_text(), "so is the page")
