"""`skipjack pin`: back to a revision that was in force, for a while, whatever the repository and the network do."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from runner.base.state_dir import StateLayout
from runner.courier import courier
from runner.journal import journal
from runner.journal.revision_table import KEPT
from runner.pinning import until
from runner.plan import plan
from runner.plan.plan import Header
from schemas.config.settings import load_runner
from schemas.errors import SkipjackError
from tests.e2e.parts import ConfigRepository, Worker

from .scripted_manager import Answer, Serve

MIRROR = "provider: command\nupstream: https://files.example/\ncommand: /bin/true\n"
DAY = 86400.0


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a config repository that each test gets a copy of."""
    folder = tmp_path_factory.mktemp("repository")
    files = {"_site.yml": "title: x\n", "_workers.yml": "workers: {w1: {}}\n", "_defaults.yml": "worker: w1\n"}
    ConfigRepository(folder).commit({**files, "a.yml": MIRROR}, "Begin")
    return folder


@pytest.fixture
def repository(tmp_path: Path, begun: Path) -> ConfigRepository:
    return ConfigRepository(tmp_path, begun)


@pytest.fixture
def worker(tmp_path: Path, repository: ConfigRepository) -> Worker:
    return Worker(tmp_path / "w", "w1", repository.url)


class PinnedWorker:
    """A worker that can be pinned; it had two revisions in force: one with the mirror `a`, one with `a` and `b`."""

    def __init__(self, worker: Worker, repository: ConfigRepository) -> None:
        self.worker, self.repository = worker, repository
        worker.command("follow")
        self.first = repository.git("rev-parse", "HEAD")
        self.second = repository.commit({"b.yml": MIRROR}, "Add b")
        worker.command("follow")

    def pin(self, revision: str, end: str = "2d", *more: str) -> str:
        return self.worker.command("pin", revision, "--until", end, *more).stderr

    def follow(self) -> str:
        return self.worker.command("follow").stderr

    @property
    def header(self) -> Header:
        with plan.opened(StateLayout(str(self.worker.state)).plan) as opened:
            return opened.header

    @property
    def mirrors(self) -> list[str]:
        with plan.opened(StateLayout(str(self.worker.state)).plan) as opened:
            return [each.mirror.name for each in opened.mirrors()]

    @property
    def next(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.worker.command("next", "--json").stdout)
        return found

    def fails(self, *words: str) -> str:
        """Return the error of a command that changes nothing."""
        before = Path(StateLayout(str(self.worker.state)).plan).read_bytes()
        done = self.worker.command(*words, check=False)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert Path(StateLayout(str(self.worker.state)).plan).read_bytes() == before
        return done.stderr

    def end(self) -> None:
        """Let the time of the pin pass."""
        with journal.opened(str(self.worker.state / "journal.db")) as book, book.together():
            pin = book.revisions.pin()
            assert pin is not None
            book.revisions.set_pin(pin._replace(until=time.time() - 1))


@pytest.fixture
def history(worker: Worker, repository: ConfigRepository) -> PinnedWorker:
    return PinnedWorker(worker, repository)


def test_a_pin_brings_an_earlier_revision_back_until_it_ends(history: PinnedWorker) -> None:
    assert history.mirrors == ["a", "b"]
    said = history.pin(history.first[:8], "2d", "--reason", "b fills the disk")
    assert f"revision {history.first[:12]} is now in force, with 1 mirror for w1" in said
    assert f"pinned to {history.first[:12]} until " in said
    assert f" by root: b fills the disk; the newest is {history.second[:12]}" in said
    assert history.mirrors == ["a"]

    third = history.repository.commit({"c.yml": MIRROR}, "Add c")
    history.follow()
    assert (history.mirrors, history.header.revision, history.header.seen) == (["a"], history.first, third)
    shown = history.worker.command("next").stdout
    assert f"pinned to {history.first[:12]} until " in shown
    assert f"; the newest is {third[:12]}" in shown
    pin = history.next["pin"]
    assert (pin["commit"], pin["made_by"], pin["reason"], pin["newest"]) == (
        history.first, "root", "b fills the disk", third,
    )  # fmt: skip
    assert history.next["problems"] == []
    assert abs(pin["until"] - pin["made_at"] - 2 * DAY) < DAY
    drift = json.loads(history.worker.command("drift", "--json").stdout)
    assert any(f"pinned to {history.first[:12]}" in line for line in drift["behind"])

    history.end()
    assert f"the pin to revision {history.first[:12]} is over; the newest revision is applied again" in history.follow()
    assert (history.mirrors, history.header.pin, history.next["pin"]) == (["a", "b", "c"], None, None)


def test_unpin_applies_the_newest_revision(history: PinnedWorker) -> None:
    history.pin(history.first)
    said = history.worker.command("unpin").stderr
    assert f"revision {history.second[:12]} is now in force" in said
    assert (history.mirrors, history.header.pin) == (["a", "b"], None)
    assert "this worker is not pinned; nothing was changed" in history.worker.command("unpin").stdout


def test_a_pin_to_the_revision_in_force_freezes_it_and_a_second_pin_replaces_the_first(history: PinnedWorker) -> None:
    history.pin(history.second)
    assert "prune" not in history.worker.command("drift").stderr
    assert json.loads(history.worker.command("drift", "--json").stdout)["behind"] == []
    history.repository.commit({"c.yml": MIRROR}, "Add c")
    history.follow()
    assert history.mirrors == ["a", "b"]
    history.pin(history.first, "1h")
    assert (history.mirrors, history.next["pin"]["commit"]) == (["a"], history.first)


def test_a_pin_needs_no_network(history: PinnedWorker) -> None:
    away = history.repository.remote.rename(history.repository.remote.with_suffix(".away"))
    history.pin(history.first)
    assert history.mirrors == ["a"]
    done = history.worker.command("unpin", check=False)
    assert done.returncode == 1, "the fetch failed"
    assert history.mirrors == ["a", "b"], "from the checkout"
    away.rename(history.repository.remote)


def test_reports_have_the_pin(history: PinnedWorker, serve: Serve) -> None:
    asked: list[dict[str, Any]] = []

    def says(report: dict[str, Any], _count: int) -> Answer:
        asked.append(report)
        return (200, b'{"acknowledged": 0}') if "journal" in report else (404, b"{}")

    worker = history.worker
    worker.report_to(serve(says).url, "x" * 43)
    history.pin(history.first, "1h", "--reason", "why")
    pin = history.header.pin
    assert pin is not None
    for expected in ((history.first, None, pin.until, "root", "why"), (history.second, None, None, None, None)):
        courier.once(load_runner(worker.settings), worker.settings, start=False)
        found = [each for each in asked if "journal" in each][-1]
        keys = ("revision", "rejected", "pinned_until", "pinned_by", "pin_reason")
        assert tuple(found[key] for key in keys) == expected
        worker.command("unpin")


def test_policy_and_settings_apply_to_a_pinned_revision(history: PinnedWorker) -> None:
    history.pin(history.first)
    policy = history.worker.settings.parent / "policy.yml"
    before = policy.read_text()
    policy.write_text(before.replace("providers:", "# providers:") + "\nproviders: [rsync]\n")
    history.worker.command("follow", check=False)
    assert history.mirrors == []
    assert history.header.revision == history.first
    policy.write_text(before)
    history.follow()
    assert history.mirrors == ["a"]


def test_a_rewritten_history_must_be_accepted_also_after_a_pin(history: PinnedWorker) -> None:
    git = history.repository.git
    history.pin(history.first)
    git("reset", "-q", "--hard", history.first)
    git("push", "-q", "--force", "origin", "HEAD")
    third = history.repository.commit({"c.yml": MIRROR}, "Add c")

    refused = f"no longer contains the revision {history.second[:12]}"
    assert refused in history.fails("follow")
    assert refused in history.worker.command("unpin", check=False).stderr
    assert refused in history.worker.command("follow", check=False).stderr
    assert history.mirrors == ["a"]
    history.worker.command("follow", "--accept-rewrite")
    assert (history.header.revision, history.header.base, history.mirrors) == (third, "", ["a", "c"])

    # Now the second revision is not an ancestor; its objects stay all the same.
    history.pin(history.second)
    checkout = StateLayout(str(history.worker.state)).checkout
    assert history.mirrors == ["a", "b"]
    packed = f"--git-dir={checkout}/repository.git"
    git(packed, "repack", "-a", "-d", "-q")
    git(packed, "prune", "--expire=now")
    history.follow()
    history.worker.command("follow", "--again")
    assert history.mirrors == ["a", "b"]
    history.worker.command("unpin")
    assert history.header.revision == third


def test_a_rewrite_can_be_accepted_during_a_pin(history: PinnedWorker) -> None:
    history.pin(history.first)
    history.repository.git("reset", "-q", "--hard", history.first)
    history.repository.git("push", "-q", "--force", "origin", "HEAD")
    third = history.repository.commit({"c.yml": MIRROR}, "Add c")
    history.worker.command("follow", "--accept-rewrite")
    assert (history.header.base, history.mirrors) == (third, ["a"])
    history.worker.command("unpin")
    assert (history.header.revision, history.mirrors) == (third, ["a", "c"])


def test_only_a_revision_that_was_in_force_can_be_pinned(history: PinnedWorker) -> None:
    broken = history.repository.commit({"_site.yml": "title: [\n"}, "Break")
    history.worker.command("follow", check=False)
    said = history.fails("pin", broken, "--until", "1d")
    assert f"cannot pin to {broken}: this worker had no such revision in force." in said
    assert f"The last ones: {history.second[:12]} since " in said
    assert f", in force now; {history.first[:12]} since " in said
    for word in ("HEAD", "abc", "../../x", history.first + "0", "\x1b[31m"):
        assert "had no such revision in force" in history.fails("pin", word, "--until", "1d")
    assert "cannot pin" not in history.pin(history.first.upper())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0s", "not in the future"), ("2020-01-01", "not in the future"), ("31d", "30d at most"),
        ("9999-12-31T23:59:59", "30d at most"), ("0001-01-01", "cannot pin"), ("soon", "neither a duration nor a time"),
        ("", "neither a duration nor a time"), ("999999999w", "30d at most"),
    ],
)  # fmt: skip
def test_the_end_of_a_pin_must_be_within_30_days(text: str, why: str) -> None:
    with pytest.raises(SkipjackError, match=why):
        until.parse(text, 1_900_000_000.0)


def test_the_end_of_a_pin_is_a_duration_or_a_time() -> None:
    now = 1_900_000_000.0
    assert until.parse("2d", now) == now + 2 * DAY
    assert until.parse("2030-03-18T12:00Z", now) == until.parse("2030-03-18T14:00+02:00", now) == 1_900_065_600.0


def test_a_worker_without_a_plan_cannot_be_pinned(worker: Worker) -> None:
    done = worker.command("pin", "0123abcd", "--until", "1d", check=False)
    assert done.returncode == 1
    assert "there is no plan" in done.stderr
    assert "Run `skipjack follow` first" in done.stderr


def test_a_held_worker_can_be_pinned(history: PinnedWorker) -> None:
    history.worker.settings.write_text(history.worker.settings.read_text() + "\nstart: held\n")
    history.pin(history.first)
    assert (history.mirrors, history.header.held) == (["a"], True)


def test_a_lost_revision_keeps_the_plan(history: PinnedWorker) -> None:
    history.pin(history.first)
    checkout = Path(StateLayout(str(history.worker.state)).checkout)
    history.repository.git("checkout", "-q", "--orphan", "other")
    third = history.repository.commit({"c.yml": MIRROR}, "Begin again")
    history.repository.git("push", "-q", "--force", "origin", "HEAD:main")
    for each in (checkout / "repository.git").rglob("*.pack"):
        each.unlink()
    assert history.worker.command("follow", "--accept-rewrite", check=False).returncode == 1
    assert history.mirrors == ["a"]
    assert "does not have the revision" in str(history.header.problems)
    assert history.header.seen == third
    history.worker.command("unpin")
    assert history.mirrors == ["a", "b", "c"]


def test_the_last_revisions_are_remembered(path: str) -> None:
    with journal.opened(path) as book, book.together():
        for number in range(KEPT + 5):
            for _again in range(2):
                book.revisions.remember(Header("w1", 1, f"{number:040x}", None, "", ""), float(number))
    with journal.opened(path) as book:
        found = book.revisions.in_force()
    assert len(found) == KEPT
    assert (found[0].since, found[0].until, found[1].until) == (KEPT + 4.0, None, KEPT + 4.0)
