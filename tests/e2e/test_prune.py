"""`skipjack drift` and `skipjack prune` on a real worker: what is left of mirrors that are gone, and only that."""

import json
import os
import pty
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.base import locks
from runner.base.state_dir import StateLayout
from runner.drift import folders, search, tree, usage
from runner.drift.items import digest, removable
from runner.drift.removal import Remover
from runner.drift.tree import NotAsListed
from runner.follow import noted
from runner.install import others
from runner.journal import journal
from runner.journal.journal import Subject
from runner.overrides import override_store
from runner.plan import plan
from schemas.config.settings import load_runner
from tests.cases import some
from tests.e2e.gate import Gate, syncing
from tests.e2e.parts import BIN, ConfigRepository, Manager, Worker, wait_until

MIRROR = "provider: command\nupstream: https://files.example/\ncommand: touch file\n"


@pytest.fixture
def left(repository: ConfigRepository, worker: Worker) -> Worker:
    """A worker with the mirrors `stays` and `gone`, of which the latter lost its definition after a run."""
    repository.commit({"stays.yml": MIRROR, "gone.yml": MIRROR}, "Add two")
    worker.command("once")
    repository.commit({"gone.yml": None}, "Remove one")
    worker.command("follow")
    return worker


def drift(worker: Worker) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(worker.command("drift", "--json").stdout)
    return found


def shown(worker: Worker) -> set[tuple[str, str]]:
    """The items of a worker: kind and name."""
    return {(each["kind"], each["name"]) for each in drift(worker)["items"]}


def removable_of(worker: Worker) -> set[tuple[str, str]]:
    return {(each["kind"], each["name"]) for each in drift(worker)["items"] if not each["kept"]}


def listed(worker: Worker, *more: str) -> str:
    """The digest of the list that `prune` prints."""
    done = worker.command("prune", *more)
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("list "))
    assert "nothing was removed" in done.stdout
    return line.split()[1].rstrip(":")


ALL = {("data", "gone"), ("logs", "gone"), ("state", "gone")}


def test_leftovers_of_a_removed_mirror_are_shown_and_removed_in_two_steps(left: Worker) -> None:
    found = drift(left)
    assert {(each["kind"], each["name"]) for each in found["items"]} == ALL
    data = next(each for each in found["items"] if each["kind"] == "data")
    assert (data["path"], data["size"], data["complete"]) == (f"{left.root}/gone", 0, True)
    assert abs(data["last_change"] - (left.root / "gone/file").stat().st_mtime) < 1
    assert found["behind"] == found["unread"] == []

    name = listed(left)
    assert shown(left) == ALL, "a list removes nothing"
    done = left.command("prune", "--confirm", name)
    assert "removed state gone" in done.stdout and f"removed logs {left.folder}/logs/gone" in done.stdout
    assert shown(left) == {("data", "gone")}
    assert not (left.folder / "logs/gone").exists()
    assert not any(Path(left.lock(kind, "gone")).exists() for kind in ("supervisor", "mirror"))
    with journal.opened(StateLayout(str(left.state)).journal) as book:
        assert book.states().keys() == {"stays"}
        assert book.last_run("gone") is None
        assert [status.mirror for status in book.statuses()] == ["stays"]

    assert "1 directory without a definition" in left.command("prune").stdout
    left.command("prune", "--data", "--yes")
    assert shown(left) == set()
    assert [path.name for path in left.root.iterdir()] == ["stays"]
    assert (left.root / "stays/file").exists() and (left.folder / "logs/stays/latest").exists()
    assert "nothing on this machine is without a definition" in left.command("drift").stdout


def test_a_list_that_has_changed_is_not_removed(left: Worker) -> None:
    name = listed(left, "--data")
    (left.root / "appeared").mkdir()
    done = left.command("prune", "--data", "--confirm", name, check=False)
    assert done.returncode == 1
    assert "the list has changed" in done.stderr and "Nothing was removed" in done.stderr
    assert left.command("prune", "--confirm", "0" * 16, check=False).returncode == 1
    assert shown(left) == ALL | {("data", "appeared")}
    name = listed(left, "--data")
    (left.root / "gone/new").touch()
    assert left.command("prune", "--data", "--confirm", name, check=False).returncode == 1
    assert shown(left) == ALL | {("data", "appeared")}


@pytest.mark.parametrize(("answer", "is_removed"), [
    ("yes", True), pytest.param("y", False, marks=pytest.mark.release), ("", False),
])  # fmt: skip
def test_a_person_at_a_terminal_is_asked(left: Worker, answer: str, is_removed: bool) -> None:
    ours, theirs = pty.openpty()
    words = [str(BIN / "skipjack"), "prune", "--settings", str(left.settings)]
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        printed = b""
        while b"Type yes: " not in printed:
            printed += os.read(ours, 10_000)
        assert shown(left) == ALL
        os.write(ours, f"{answer}\n".encode())
        while True:  # else a full terminal could block it
            try:
                os.read(ours, 10_000)
            except OSError:  # it has ended
                break
        assert process.wait(300) == 0
    os.close(ours)
    assert shown(left) == ({("data", "gone")} if is_removed else ALL)


def test_folders_above_mirrors_are_searched_and_their_own_are_not(
    repository: ConfigRepository, worker: Worker, tmp_path: Path
) -> None:
    (worker.root / "disk/debian/inside/deeper").mkdir(parents=True)
    (worker.root / "linked").symlink_to(worker.root / "disk/debian")
    (worker.root / "elsewhere").symlink_to(tmp_path)
    (worker.root / "lost+found").mkdir()
    (worker.root / "index.html").touch()
    for name in ("linux/gnu/pub", "linux/old", "bsd/one", "new\nline", ".hidden"):
        (worker.root / name).mkdir(parents=True)
    files = {"gnu.yml": f"{MIRROR}mirror_subdir: linux\n", "linked.yml": MIRROR}
    repository.commit(files, "Add two in other places")
    worker.command("follow")

    paths = {os.path.relpath(each["path"], worker.root) for each in drift(worker)["items"] if each["kind"] == "data"}

    assert paths == {"linux/old", "bsd", "new\nline", ".hidden"}
    assert "new\\nline" in worker.command("drift").stdout


def test_definitions_with_problems_keep_everything(repository: ConfigRepository, left: Worker) -> None:
    """A mirror that never was valid is not in the plan, and its directory may be full of files."""
    (left.root / "fresh").mkdir()
    repository.commit({"fresh.yml": f"{MIRROR}retry: no\n"}, "Add a broken one")
    left.command("follow", check=False)
    assert removable_of(left) == set()
    assert shown(left) == ALL | {("data", "fresh")}
    done = left.command("prune", "--data", "--yes", check=False)
    assert done.returncode == 1
    assert "nothing is removed, since the plan may not be complete" in done.stderr
    assert "The definitions have problems, so mirrors may be missing: fresh.yml:4:8" in done.stderr
    assert shown(left) == ALL | {("data", "fresh")}


def test_a_plan_that_is_behind_keeps_everything(repository: ConfigRepository, left: Worker) -> None:
    repository.commit({"_site.yml": "titel: x\n"}, "Break the site")
    left.command("follow", check=False)
    assert any("is rejected" in line for line in drift(left)["behind"])
    assert left.command("prune", "--yes", check=False).returncode == 1
    repository.commit({"_site.yml": "title: x\n"}, "Correct it")
    left.command("follow")
    assert removable_of(left) == ALL
    repository.remote.rename(repository.remote.with_suffix(".away"))
    left.command("follow", check=False)
    done = left.command("prune", "--yes", check=False)
    assert "Fetching the repository has failed since" in done.stderr
    assert shown(left) == ALL


def test_an_active_run_keeps_what_it_uses(repository: ConfigRepository, worker: Worker, gate: Gate) -> None:
    repository.commit({"m.yml": gate.mirror()}, "Add m")
    worker.command("follow")
    process = worker.start("run", "m")
    syncing(worker, gate, "m")
    repository.commit({"m.yml": None}, "Remove it")
    worker.command("follow")
    assert {(each["kind"], bool(each["kept"])) for each in drift(worker)["items"]} == {
        ("state", True), ("data", False), ("logs", False),
    }  # fmt: skip
    done = worker.command("prune", "--data", "--yes", check=False)
    assert done.returncode == 1
    assert done.stderr.count("is in use by a run. It was not removed") == 2
    assert (worker.root / "m").is_dir() and (worker.folder / "logs/m/latest").exists()
    gate.open.touch()
    process.wait(300)
    worker.command("prune", "--data", "--yes")
    assert shown(worker) == set()


def remover(worker: Worker) -> tuple[Remover, dict[str, Any]]:
    """What removes the items of a worker as listed now, and these items by kind."""
    settings = load_runner(worker.settings)
    found, known = search.look(settings)
    return Remover(settings, known, lambda: None), {each.kind: each for each in removable(found.items, data=True)}


def _swapped_for_a_link(worker: Worker, victim: Path) -> None:
    (worker.root / "gone").rename(worker.root / "aside")
    (worker.root / "gone").symlink_to(victim)


def _reached_through_a_link(worker: Worker, victim: Path) -> None:
    (victim / "gone").mkdir()
    (victim / "gone/file").touch()
    worker.root.rename(worker.root.with_name("aside"))
    worker.root.symlink_to(victim)


def _replaced(worker: Worker, _victim: Path) -> None:
    (worker.root / "gone").rename(worker.root / "aside")
    (worker.root / "gone").mkdir()


def _used_again(worker: Worker, _victim: Path) -> None:
    (worker.root / "gone/new").touch()


@pytest.mark.parametrize("change", some([_swapped_for_a_link, _reached_through_a_link, _replaced, _used_again], 2))
def test_another_directory_at_a_listed_path_stays(
    left: Worker, tmp_path: Path, change: Callable[[Worker, Path], None]
) -> None:
    removing, items = remover(left)
    victim = tmp_path / "victim"
    (victim / "below").mkdir(parents=True)
    (victim / "below/file").touch()
    change(left, victim)
    with pytest.raises((NotAsListed, OSError)):
        removing.remove(items["data"])
    assert (victim / "below/file").exists()
    assert (left.root / "gone").exists()


def test_a_mirror_that_gets_a_definition_after_the_list_stays(repository: ConfigRepository, left: Worker) -> None:
    removing, items = remover(left)
    repository.commit({"gone.yml": MIRROR}, "Bring it back")
    left.command("follow")
    for item in items.values():
        with pytest.raises(NotAsListed, match="has a definition by now"):
            removing.remove(item)
    assert (left.root / "gone/file").exists() and (left.folder / "logs/gone/latest").exists()


def test_a_directory_whose_lock_is_held_stays(left: Worker) -> None:
    removing, items = remover(left)
    held = locks.try_lock_directory(str(left.root / "gone"))
    assert held is not None
    with pytest.raises(NotAsListed, match="is in use by a run"):
        removing.remove(items["data"])
    os.close(held)
    removing.remove(items["data"])
    assert not (left.root / "gone").exists()


def test_a_directory_stays_as_long_as_a_container_may_use_it(left: Worker) -> None:
    layout = StateLayout(str(left.state))
    marker = Path(layout.containers, "inside")
    marker.parent.mkdir(exist_ok=True)
    marker.touch()
    assert ("container", "inside") in shown(left) - removable_of(left)
    removing, items = remover(left)
    with pytest.raises(NotAsListed, match="may be in use by a container"):
        removing.remove(items["data"])
    marker.unlink()
    removing.remove(items["data"])
    assert not (left.root / "gone").exists()


def test_logs_beside_other_files_stay(left: Worker) -> None:
    removing, items = remover(left)
    (left.folder / "logs/gone/notes.txt").touch()
    os.utime(left.folder / "logs/gone", ns=(0, (left.folder / "logs/gone").stat().st_mtime_ns))
    with pytest.raises(NotAsListed, match=r"has other files than logs by now, such as `notes\.txt`"):
        removing.remove(items["logs"])
    assert ("logs", "gone") in shown(left) - removable_of(left)


def test_the_directories_of_another_worker_are_in_use(
    left: Worker, repository: ConfigRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Worker(tmp_path / "other", "w1", repository.url)
    other.settings.write_text(other.settings.read_text().replace(str(other.root), str(left.root)))
    repository.commit({"gone.yml": MIRROR}, "Bring it back")
    other.command("follow")
    cron = tmp_path / "cron"
    cron.write_text(f"* * * * * skipjack skipjack tick --settings {other.settings}\n")
    monkeypatch.setattr(others, "CRON_FILE", str(cron))
    settings = load_runner(left.settings)
    assert {each.kind for each in search.look(settings)[0].items} == {"logs", "state"}
    (other.state / "plan.db").unlink()
    found, known = search.look(settings)
    assert "and its plan cannot be read" in known.unsure
    assert removable(found.items, data=True) == ()


def test_overrides_older_than_a_week_are_shown_and_stay(left: Worker) -> None:
    layout = StateLayout(str(left.state))
    with plan.opened(layout.plan) as opened, journal.opened(layout.journal) as book:
        subject = Subject.of(opened.mirrors()[0])
        override_store.override(book, [subject], "disabled", "alice", time.time() - 6 * 86400, reason="disk")
        assert ("override", "stays") not in shown(left)
        override_store.override(book, [subject], "disabled", "alice", time.time() - 8 * 86400, reason="disk")
    (item,) = (each for each in drift(left)["items"] if each["kind"] == "override")
    assert item["what"].startswith("disabled since ") and item["what"].endswith(" by alice: disk")
    assert item["kept"] == "`skipjack enable stays` ends it; or remove the definition."
    left.command("prune", "--data", "--yes")
    assert shown(left) == {("override", "stays")}


def test_a_tree_is_removed_whatever_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top, outside = tmp_path / "root/tree", tmp_path / "outside"
    deep = top
    top.mkdir(parents=True)
    for number in range(250):
        deep = deep / f"f{number % 10}"
        deep.mkdir()
        (deep / "file").touch()
    (outside / "kept").mkdir(parents=True)
    (top / "link").symlink_to(outside)
    os.mkfifo(top / "pipe")
    closed = top / "closed"
    (closed / "inner").mkdir(parents=True)
    (closed / "inner/file").touch()
    for folder in (closed / "inner", closed):
        folder.chmod(0o500)
    monkeypatch.setattr(tree, "_AT_ONCE", 2)
    count: list[int] = []
    tree.remove(str(top), str(tmp_path / "root"), lambda _found: True, lambda: count.append(1))
    assert len(count) == 250 + 3
    assert [path.name for path in (tmp_path / "root").iterdir()] == []
    assert (outside / "kept").is_dir()
    with pytest.raises(NotAsListed, match="does not lie below"):
        tree.remove(str(outside), str(tmp_path / "root"), lambda _found: True, lambda: None)


def test_a_mount_inside_keeps_a_directory() -> None:
    points = ["/", "/srv/mirror", "/srv/mirror/gone/data"]
    assert folders.mounted_in("/srv/mirror/gone", points).startswith("Something is mounted at /srv/mirror/gone/data")
    assert folders.mounted_in("/srv/mirror/gone2", points) == ""


def test_a_walk_that_takes_too_long_gives_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10)
    assert usage.measured(str(tmp_path), time.monotonic() - 1, lambda _size: None).complete is False
    found = usage.measured(str(tmp_path), time.monotonic() + 1e6, lambda _size: None)
    assert (found.size, found.complete) == (10, True)


def test_the_digest_is_that_of_the_list_and_not_of_its_order(left: Worker) -> None:
    found = search.look(load_runner(left.settings))[0].items
    assert digest(found) == digest(found[::-1]) != digest(found[1:])


def test_without_a_plan_nothing_is_removed(worker: Worker) -> None:
    for command in ("drift", "prune"):
        done = worker.command(command, check=False)
        assert (done.returncode, "there is no plan" in done.stderr) == (1, True)


def test_the_workers_page_shows_how_many_things_are_without_a_definition(
    repository: ConfigRepository, manager: Manager, reporter: Worker
) -> None:
    def published() -> int | None:
        found: list[dict[str, Any]] = (manager.published() or {"workers": []})["workers"]
        return next((each["leftovers"] for each in found if each["name"] == "w1"), None)

    repository.commit({"gone.yml": MIRROR}, "Add one")
    reporter.command("once")
    wait_until(lambda: published() == 0, "nothing is left over")
    assert "Without a definition" not in manager.page("workers.html")
    repository.commit({"gone.yml": None}, "Remove it")
    reporter.command("once")
    wait_until(lambda: published() == 3, "its directory, logs and state are shown")
    wait_until(
        lambda: "<dd>3, see <code>skipjack drift</code></dd>" in manager.page("workers.html"), "the page shows it"
    )
    reporter.command("prune", "--data", "--yes")
    reporter.command("courier")
    wait_until(lambda: published() == 0, "nothing is left over")
    assert "gone" not in manager.names()


def test_leftovers_are_counted_once_a_day_and_after_a_new_plan(left: Worker, repository: ConfigRepository) -> None:
    count = Path(StateLayout(str(left.state)).leftovers)
    assert count.read_text() == "3\n"
    (left.root / "more").mkdir()
    left.command("follow")
    assert count.read_text() == "3\n"
    os.utime(count, (time.time() - 90_000,) * 2)
    left.command("follow", "--again")
    assert count.read_text() == "4\n"
    (left.root / "again").mkdir()
    repository.commit({"new.yml": MIRROR}, "A new plan")
    left.command("follow")
    assert count.read_text() == "5\n"
    os.utime(count, (time.time() + 90_000,) * 2)
    (left.root / "again").rmdir()
    left.command("follow")
    assert count.read_text() == "4\n", "the clock was wrong"
    for content in ("", "x", "-1", "9" * 100):
        count.write_text(content)
        assert noted.leftovers(StateLayout(str(left.state))) is None
