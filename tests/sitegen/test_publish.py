"""publish as a real process over a real store and real files."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from schemas import wakeup
from schemas.errors import SkipjackError
from schemas.records import FreshnessFile, Mirror, Site, Worker
from schemas.report import MirrorStatus, Probe
from schemas.wakeup import WakeupSocket
from sitegen import publish as publish_module
from sitegen.messages.model import DeclaredConfig
from sitegen.publish import SitePublisher
from sitegen.storage.store import Store
from tests.sitegen.kit import (
    NOW,
    PATIENCE,
    REVISION,
    Manager,
    delivery_of,
    end,
    envelope_of,
    report_of,
    run_of,
    status_of,
    wait_for,
)


def declare(store: Store, *names: str, silent_after: int = 1800, stale_after: int = 86400) -> None:
    mirrors = tuple(Mirror(name, "w1", "rsync", "rsync://up/", stale_after=stale_after) for name in names)
    workers = {"w1": Worker("w1", silent_after=silent_after)}
    store.keep_catalogue(DeclaredConfig(REVISION, NOW, Site("Site"), workers, mirrors, ()), time.time())


def tell(store: Store, number: int, *statuses: MirrorStatus) -> None:
    store.apply([delivery_of(report_of(number, *statuses), at=time.time())])


def current(name: str = "debian", status: str = "success") -> MirrorStatus:
    run = run_of(ord(name[-1]), status, ended_at=time.time())
    return status_of(name, status, at=time.time(), run=run)


def test_only_changed_files_are_written_and_removed_mirrors_are_deleted(store: Store, tmp_path: Path) -> None:
    publisher, mirrors = SitePublisher(store, str(tmp_path / "site")), tmp_path / "site" / "mirrors"
    declare(store, "a", "b", "c")
    tell(store, 1, current("a"), current("b"))
    publisher.publish(time.time())
    before = {path.name: path.stat().st_mtime_ns for path in mirrors.iterdir()}
    assert set(before) == {f"{name}.{suffix}" for name in "abc" for suffix in ("html", "json")}
    declare(store, "a", "b")
    tell(store, 2, current("b", "failed"))
    publisher.publish(time.time())
    after = {path.name: path.stat().st_mtime_ns for path in mirrors.iterdir()}
    assert set(after) == {"a.html", "a.json", "b.html", "b.json"}
    assert {name for name in after if after[name] != before[name]} == {"b.html", "b.json"}


def test_all_files_are_written_again_after_a_failure(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = SitePublisher(store, str(tmp_path / "site"))
    tell(store, 1, current())

    def no_space(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_space)
        with pytest.raises(SkipjackError, match="No space left"):
            publisher.publish(time.time())
        assert publish_module._pause(publisher) == publish_module._RETRY
    publisher.publish(time.time())
    assert (tmp_path / "site" / "mirrors" / "debian.html").exists()


def test_a_mirror_turns_stale_by_time_alone(manager: Manager) -> None:
    with manager.store() as store:
        declare(store, "debian", silent_after=4, stale_after=3)
        tell(store, 1, current())
        with manager.publishing():
            seen = []

            def verdict_is_unknown() -> bool:
                verdict = manager.status()["mirrors"][0]["freshness"]
                if verdict not in seen:
                    seen.append(verdict)
                return bool(verdict == "unknown")

            wait_for(verdict_is_unknown, "the mirror is unknown")
            # A busy machine may begin to publish, or to look, when a former verdict is over.
            assert seen == [verdict for verdict in ("fresh", "stale", "unknown") if verdict in seen]
            wait_for(lambda: not manager.status()["counts"]["fresh"])


def test_a_page_changes_when_the_upstream_is_not_updated_for_too_long(store: Store, tmp_path: Path) -> None:
    now = time.time()
    rule, stood = FreshnessFile("lastupdate", max_age=600), Probe(now, now - 300, now - 300, True, even_at=now)
    mirror = Mirror("debian", "w1", "rsync", "rsync://up/", freshness=rule)
    store.keep_catalogue(DeclaredConfig(REVISION, NOW, Site("Site"), {"w1": Worker("w1")}, (mirror,), ()), now)
    tell(store, 1, current()._replace(probe=stood))
    publisher, status = SitePublisher(store, str(tmp_path)), tmp_path / "status.json"

    assert publisher.publish(now) == stood.at + 300
    assert json.loads(status.read_bytes())["mirrors"][0]["freshness"] == "fresh"
    publisher.publish(now + 300)

    shown = json.loads(status.read_bytes())["mirrors"][0]
    assert (shown["freshness"], shown["cause"]) == ("stale", "upstream")
    assert "The upstream is not updated." in (tmp_path / "mirrors/debian.html").read_text()


def test_a_report_is_published_at_once_and_atomically(manager: Manager) -> None:
    token = manager.token()
    with manager.serving(), manager.publishing():
        for number in range(1, 20):
            status = current(f"m{number % 5}", "success" if number % 2 else "failed")
            assert manager.post(envelope_of(report_of(number, status)), token).status_code == 200
            for _ in range(20):
                assert manager.status()["generator"].startswith("Skipjack")
        wanted = {f"m{number % 5}": "success" if number % 2 else "failed" for number in range(15, 20)}

        def shown() -> dict[str, str]:
            return {mirror["name"]: mirror["status"] for mirror in manager.status()["mirrors"]}

        wait_for(lambda: shown() == wanted, "the last states are shown")

        def listed() -> list[str]:
            jobs = json.loads((manager.site / "static" / "tunasync.json").read_bytes())
            return [job["name"] for job in jobs]

        wait_for(lambda: listed() == sorted(wanted), "the other files follow")
        index = (manager.site / "index.html").read_text()
        assert all(f"mirrors/{name}.html" in index for name in wanted)
        wait_for(lambda: not list(manager.site.rglob(".*")), "nothing stays half-done")


def test_the_first_change_after_a_pause_wakes_the_publisher(manager: Manager) -> None:
    token = manager.token()
    code = "import sys; from sitegen import cli, publish; publish.AT_MOST = 1e6; sys.exit(cli.main())"
    words = [sys.executable, "-c", code, "publish", "--settings", str(manager.settings_file)]
    with manager.serving(), subprocess.Popen(words, text=True, stderr=subprocess.PIPE) as publisher:
        try:
            wait_for(lambda: (manager.run / "publish.sock").exists())
            time.sleep(publish_module.AT_LEAST)  # the pause itself is what this is about
            assert manager.post(envelope_of(report_of(1, current())), token).status_code == 200
            wait_for((manager.site / "mirrors" / "debian.html").exists, "it was woken: otherwise it sleeps for days")
        finally:
            end(publisher)


def test_a_second_publisher_is_refused(manager: Manager) -> None:
    with manager.publishing():
        done = manager.command("publish")
        assert done.returncode == 1
        assert "another publisher is running" in done.stderr


def test_publish_once_writes_the_site_and_fails_without_a_repository(manager: Manager) -> None:
    with manager.store() as store:
        tell(store, 1, current())
    done = manager.command("publish", "--once")
    assert (done.returncode, done.stderr) == (
        1,
        "ERROR skipjack-manager: the site shows only what workers report: `manager.yml` has no config repository."
        " Set `repository: {url: …}` there.\n",
    )
    assert manager.status()["mirrors"][0]["name"] == "debian"


def test_published_files_are_world_readable_under_a_strict_umask(manager: Manager) -> None:
    with manager.store() as store:
        tell(store, 1, current())
    before = os.umask(0o077)  # which the program inherits
    try:
        assert "has no config repository" in manager.command("publish", "--once").stderr
    finally:
        os.umask(before)
    modes = {path: path.stat().st_mode & 0o777 for path in (manager.site, *manager.site.rglob("*"))}
    assert modes == {path: 0o755 if path.is_dir() else 0o644 for path in modes}
    assert {"index.html", "debian.html", "tunasync.json", "style.css"} <= {path.name for path in modes}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_publish_cleanly(manager: Manager, number: int, code: int) -> None:
    with manager.publishing() as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (code, "")


def children(process: "subprocess.Popen[str]") -> list[int]:
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    threads = [path / "children" for path in listed.parent.parent.iterdir()]
    return [int(pid) for path in threads for pid in path.read_text().split()]


def is_alive(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and ") Z " not in path.read_text()


def test_serve_restarts_its_publisher_and_ends_it(manager: Manager) -> None:
    with manager.serving("--publish") as process:
        wait_for((manager.site / "status.json").exists)
        (first,) = children(process)
        os.kill(first, signal.SIGKILL)
        found: list[int] = []

        def there_is_another() -> bool:  # between the two there is none
            found[:] = children(process)
            return bool(found) and found != [first]

        wait_for(there_is_another, "another publisher")
        (second,) = found
    assert not is_alive(second)


def test_serve_restarts_its_publisher_after_a_lack_of_descriptors(manager: Manager) -> None:
    with manager.serving("--publish") as process:
        wait_for((manager.site / "status.json").exists)
        (first,) = children(process)
        before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        os.kill(first, signal.SIGKILL)
        assert process.stderr is not None
        shown = next(line for line in process.stderr if "cannot be started" in line)
        assert "the publisher cannot be started: Too many open files, restarting in" in shown

        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)

        wait_for(lambda: children(process), "another publisher")
        (second,) = children(process)
        assert is_alive(second)
    assert not is_alive(second)


def test_the_publisher_does_not_outlive_a_killed_serve(manager: Manager) -> None:
    with manager.serving("--publish") as process:
        wait_for((manager.site / "status.json").exists)
        (child,) = children(process)
        process.kill()
        process.wait()
        wait_for(lambda: not is_alive(child), "the publisher is gone")


def test_a_wakeup_needs_no_publisher_and_is_not_lost_with_one(tmp_path: Path) -> None:
    wakeup.send(str(tmp_path), wakeup.PUBLISHER)
    with closing(WakeupSocket(str(tmp_path), wakeup.PUBLISHER)) as wakeups:
        assert not wakeups.wait(0)
        for _ in range(1000):
            wakeup.send(str(tmp_path), wakeup.PUBLISHER)
        assert wakeups.wait(PATIENCE)
        assert not wakeups.wait(0)
    wakeup.send(str(tmp_path), wakeup.PUBLISHER)


def test_an_unusable_run_directory_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SkipjackError, match=r"cannot create the socket `.*publish\.sock`"):
        WakeupSocket(str(tmp_path / "file"), wakeup.PUBLISHER)
    with pytest.raises(SkipjackError, match="too long"):
        WakeupSocket(str(tmp_path / ("x" * 120)), wakeup.PUBLISHER)


@pytest.mark.parametrize(("took", "rest"), [(0.0, 0.2), (0.05, 0.2), (0.12, 0.36), (0.5, 1.5), (10.0, 2.0)])
def test_the_rest_grows_with_the_publishing_time_up_to_a_limit(took: float, rest: float) -> None:
    assert publish_module._rest(took) == pytest.approx(rest)


def test_publish_once_writes_the_site_and_fails_when_the_fetch_fails(tmp_path: Path) -> None:
    manager = Manager(tmp_path, repository={"url": f"file://{tmp_path}/none.git"})
    done = manager.command("publish", "--once")
    assert done.returncode == 1
    assert "cannot follow the config repository" in done.stderr and "none.git" in done.stderr
    assert (manager.site / "index.html").exists()
