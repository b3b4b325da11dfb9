"""Probes of upstreams with a real rsync daemon and a web server, from the timestamp files to the report."""

import http.server
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from runner.base.state_dir import StateLayout
from runner.courier.probe_schedule import EVERY
from runner.journal import journal
from tests.e2e.fake_manager import FakeManager
from tests.e2e.parts import ConfigRepository, Manager, RsyncDaemon, Worker, wait_until
from tests.e2e.test_commands import lingering

NOON = 1709640000.0
DAY = 86400
MIRROR = "upstream: {}\nfreshness: {{file: {}}}\nmeasure_size: false\n"


@pytest.fixture
def subject(worker: Worker, fake: FakeManager) -> Worker:
    worker.report_to(fake.url, "secret")
    return worker


class Web(http.server.SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if "moved" in self.path:
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(tree: Path) -> Iterator[tuple[str, list[str]]]:
    """A web server with the upstream's files; gives its address, and what it was asked for."""
    asked: list[str] = []
    handler = type("Handler", (Web,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(tree))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def probes(fake: FakeManager, mirror: str) -> list[dict[str, Any]]:
    """The probes that were reported of a mirror, each once."""
    found = [status for report in fake.reports for status in report["statuses"] if status["mirror"] == mirror]
    return list({each["probe"]["at"]: each["probe"] for each in found if each["probe"]}.values())


def test_a_mirror_is_probed_after_a_success_and_an_hour_later(
    repository: ConfigRepository, upstream: RsyncDaemon, subject: Worker, fake: FakeManager, tree: Path
) -> None:
    (tree / "lastupdate").write_text("1709640000\n")
    repository.commit({"m.yml": MIRROR.format(upstream.url("files"), "lastupdate")}, "Add m")

    subject.command("once")

    (first,) = probes(fake, "m")
    assert (first["upstream_at"], first["own_at"], first["same"], first["problem"]) == (NOON, NOON, True, "")
    (tree / "lastupdate").write_text("1709640060\n")
    subject.command("courier")
    assert len(probes(fake, "m")) == 1, "nothing has happened, and it is not an hour since"
    with journal.opened(StateLayout(str(subject.state)).journal) as book:
        past = book._db.execute("UPDATE mirror SET probed_at = probed_at - ?, last_success_at = 1", (EVERY,))
        assert past.rowcount == 1
    subject.command("courier")
    second = probes(fake, "m")[-1]
    assert (second["upstream_at"], second["own_at"], second["same"]) == (NOON + 60, NOON, False)


def test_a_lingering_courier_probes_after_a_run_while_it_delivers(
    repository: ConfigRepository, upstream: RsyncDaemon, subject: Worker, fake: FakeManager, tree: Path
) -> None:
    (tree / "stamp").write_text("any text\n")
    repository.commit({"m.yml": MIRROR.format(upstream.url("files"), "stamp")}, "Add m")
    subject.command("follow", "--start")
    with lingering(subject):
        found = wait_until(lambda: probes(fake, "m"), "it is probed")
        assert (found[0]["upstream_at"], found[0]["same"]) == (None, True)
        subject.command("run", "m")
        wait_until(lambda: len(probes(fake, "m")) == 2, "it is probed again")


def test_only_the_timestamp_file_is_requested_and_no_redirect_followed(
    repository: ConfigRepository, subject: Worker, fake: FakeManager, web: tuple[str, list[str]], tree: Path
) -> None:
    url, asked = web
    (tree / "stamp").write_text("2024-03-05T12:00:00Z\n")
    script = subject.folder / "script"
    script.write_text("#!/bin/sh\necho 2024-03-05T11:00:00Z > stamp\n")
    script.chmod(0o755)
    text = f"provider: command\ncommand: {script}\n"
    files = {
        "a.yml": text + MIRROR.format(url + "/", "stamp"),
        "b.yml": text + MIRROR.format(url, "moved/stamp"),
        "c.yml": text + MIRROR.format(url, "stamp"),
        "d.yml": text + MIRROR.format("http://127.0.0.1:1", "stamp"),
    }
    repository.commit(files, "Add four")

    subject.command("once")

    a, b, _c, d = (probes(fake, name)[-1] for name in "abcd")
    assert (a["upstream_at"], a["own_at"], a["same"], a["problem"]) == (NOON, NOON - 3600, False, "")
    assert sorted(asked) == ["/moved/stamp", "/stamp", "/stamp"]
    assert b["problem"].startswith("the upstream answered 302 for /moved/stamp, a redirect; ")
    assert d["problem"] == "cannot read stamp from the upstream: Connection refused"


def test_an_unreadable_file_is_reported_with_the_reason(
    repository: ConfigRepository, upstream: RsyncDaemon, subject: Worker, fake: FakeManager, tree: Path
) -> None:
    (tree / "large").write_bytes(b"x" * 100_000)
    os.mkfifo(tree / "pipe")
    files = ("none", "large", "pipe")
    text = "rsync_options: [--specials]\n"
    repository.commit({f"{name}.yml": text + MIRROR.format(upstream.url("files"), name) for name in files}, "Add")

    subject.command("once")

    found = {name: probes(fake, name)[-1]["problem"] for name in files}
    assert found["none"].startswith("the upstream has no none, or one larger than 65536 bytes; ")
    assert found["none"].endswith("/none/none: No such file or directory")
    assert found["large"].endswith("large is larger than 65536 bytes")
    assert found["pipe"].startswith("the upstream has no pipe")
    assert found["pipe"].endswith("pipe is not a file")


def test_the_answer_to_a_wrong_password_is_reported(
    repository: ConfigRepository, tmp_path: Path, tree: Path, subject: Worker, fake: FakeManager
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "secrets").write_text("mirror:right\n")
    (folder / "secrets").chmod(0o600)
    password = subject.folder / "password"
    password.write_text("right\n")
    (tree / "stamp").write_text("1709640000")
    options = f"auth users = mirror\nsecrets file = {folder}/secrets"
    with RsyncDaemon(folder, {"files": tree}, options) as locked:
        text = MIRROR.format(locked.url("files"), "stamp") + f"username: mirror\npassword: {{file: {password}}}\n"
        repository.commit({"m.yml": text}, "Add m")
        subject.command("once")
        assert probes(fake, "m")[-1]["upstream_at"] == NOON
        password.write_text("wrong\n")
        with journal.opened(StateLayout(str(subject.state)).journal) as book:
            book._db.execute("UPDATE mirror SET probed_at = NULL")

        subject.command("courier")

    assert "@ERROR: auth failed" in probes(fake, "m")[-1]["problem"]
    assert "right" not in str(fake.reports) and "wrong" not in str(fake.reports)


def shown(manager: Manager, worker: Worker, freshness: str, cause: str | None) -> dict[str, Any]:
    """Return the document of the mirror `m`, once all pages show this and the newest probe."""
    with journal.opened(StateLayout(str(worker.state)).journal) as book:
        newest = book.probe("m")
    assert newest is not None and worker.pending() == 0

    def found() -> Any:
        overview, page = manager.published(), manager.published("mirrors/m.json")
        if not overview or not overview["mirrors"]:
            return None
        (copy,) = overview["mirrors"][0]["copies"]
        known = copy["probe"] and newest._asdict().items() <= copy["probe"].items()
        return page if known and (copy["freshness"], copy["cause"]) == (freshness, cause) else None

    document: dict[str, Any] = wait_until(found, f"the pages say {freshness}, {cause}")
    return document


def probe_again(worker: Worker) -> None:
    """Let an hour pass."""
    with journal.opened(StateLayout(str(worker.state)).journal) as book:
        book._db.execute("UPDATE mirror SET probed_at = NULL")
    worker.command("courier")


def test_a_stuck_upstream_is_the_cause_until_it_moves_although_every_sync_succeeds(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, manager: Manager, reporter: Worker
) -> None:
    moved_at = int(time.time()) - 8 * DAY
    (tree / "lastupdate").write_text(f"{moved_at}\n")
    repository.commit({"m.yml": MIRROR.format(upstream.url("files"), "lastupdate")}, "Add m")

    reporter.command("once")

    page = shown(manager, reporter, "stale", "upstream")
    (copy,) = page["copies"]
    assert (page["status"], page["lag"], page["stale_at"]) == ("success", 0.0, moved_at + 7 * DAY)
    assert (copy["probe"]["file"], copy["probe"]["upstream_at"], copy["probe"]["counts"]) == (
        "lastupdate",
        moved_at,
        True,
    )
    wait_until(lambda: "The upstream is not updated." in manager.page("mirrors/m.html"), "the page shows it")
    wait_until(lambda: "upstream not updated" in manager.page("index.html"), "the page shows it")
    assert [mirror["cause"] for mirror in manager.published()["mirrors"]] == ["upstream"]
    assert manager.jobs()["m"]["skipjack"]["cause"] == "upstream"

    (tree / "lastupdate").write_text(f"{int(time.time())}\n")
    reporter.command("run", "m")
    reporter.command("courier")
    assert shown(manager, reporter, "fresh", None)["lag"] == 0.0


def test_a_sync_that_fetches_nothing_is_caused_by_this_site_even_while_the_upstream_does_not_answer(
    repository: ConfigRepository, manager: Manager, reporter: Worker, web: tuple[str, list[str]], tree: Path
) -> None:
    now = int(time.time())
    (tree / "stamp").write_text(f"{now - 2 * DAY}\n")
    script = reporter.folder / "script"
    script.write_text(f"#!/bin/sh\n[ -e stamp ] || echo {now - 4 * DAY} > stamp\n")
    script.chmod(0o755)
    text = f"provider: command\ncommand: {script}\n" + MIRROR.format(web[0], "stamp")
    repository.commit({"m.yml": text}, "Add m")

    reporter.command("once")

    page = shown(manager, reporter, "stale", "lag")
    assert (page["status"], page["lag"], page["copies"][0]["probe"]["even_at"]) == ("success", 2 * DAY, now - 2 * DAY)
    words = "This mirror is behind its upstream by 2d.</b> The last run succeeded, but did not catch up."
    wait_until(lambda: words in manager.page("mirrors/m.html"), "the page shows it")
    figures = requests.get(f"{manager.url}/metrics", timeout=300).text
    assert f'skipjack_mirror_lag_seconds{{mirror="m",worker="w1"}} {2 * DAY}.0\n' in figures
    assert 'skipjack_mirror_not_fresh{mirror="m",worker="w1",cause="lag"} 1\n' in figures

    (tree / "stamp").rename(tree / "elsewhere")
    probe_again(reporter)
    page = shown(manager, reporter, "stale", "lag")
    assert "404 for /stamp" in page["copies"][0]["probe"]["problem"]

    script.write_text(f"#!/bin/sh\necho {now} > stamp\n")
    (tree / "elsewhere").rename(tree / "stamp")
    reporter.command("run", "m")
    reporter.command("courier")
    assert shown(manager, reporter, "fresh", None)["copies"][0]["probe"]["problem"] == ""


def test_a_new_timestamp_file_replaces_the_probe_of_the_previous_one_at_once(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, manager: Manager, reporter: Worker
) -> None:
    now = int(time.time())
    (tree / "old").write_text(f"{now - 8 * DAY}\n")
    (tree / "new").write_text(f"{now}\n")
    repository.commit({"m.yml": MIRROR.format(upstream.url("files"), "old")}, "Add m")
    reporter.command("once")
    assert shown(manager, reporter, "stale", "upstream")["copies"][0]["probe"]["file"] == "old"

    repository.commit({"m.yml": MIRROR.format(upstream.url("files"), "new")}, "Compare the new file")
    manager.stop()  # one that starts follows at once
    manager.start()

    (copy,) = shown(manager, reporter, "fresh", None)["copies"]
    assert (copy["probe"]["file"], copy["probe"]["counts"], copy["lag"]) == ("old", False, None)
    wait_until(
        lambda: "Not compared yet (file <code><bdi>new</bdi></code>)" in manager.page("mirrors/m.html"),
        "the page shows it",
    )
    reporter.command("follow")
    reporter.command("courier")
    (copy,) = shown(manager, reporter, "fresh", None)["copies"]
    assert (copy["probe"]["file"], copy["probe"]["counts"], copy["lag"]) == ("new", True, 0.0)


def test_an_upstream_that_changes_after_a_long_time_leaves_time_to_sync(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, manager: Manager, reporter: Worker
) -> None:
    now = int(time.time())
    (tree / "lastupdate").write_text(f"{now - 5 * DAY}\n")
    text = MIRROR.format(upstream.url("files"), "lastupdate") + "stale_after: 9d\n"
    repository.commit({"m.yml": text}, "Add m")
    reporter.command("once")
    even_at = shown(manager, reporter, "fresh", None)["copies"][0]["probe"]["even_at"]

    (tree / "lastupdate").write_text(f"{now}\n")
    probe_again(reporter)

    page = shown(manager, reporter, "fresh", None)
    assert (page["lag"], page["stale_at"]) == (5 * DAY, even_at + DAY), "not before it was behind for a day"
