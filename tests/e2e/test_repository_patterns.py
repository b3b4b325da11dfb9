"""`exclude_file` names a file of the repository: from the merge to what rsync leaves out."""

import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.base.state_dir import StateLayout
from runner.plan import plan
from tests.cases import some
from tests.e2e.gate import Gate, syncing
from tests.e2e.parts import ConfigRepository, RsyncDaemon, Worker, validate

FILE = "filters/m.txt"
RULES = "# not for visitors\n+ /folder-0/file 0*\n/folder-0/*\nfolder-1/\n"


DEFAULTS = f"worker: w1\nexclude_file: {FILE}\n"


def blob(content: str) -> str:
    """Return git's name of a file with this content."""
    data = content.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def stored(worker: Worker) -> dict[str, str]:
    """The stored pattern files."""
    folder = Path(StateLayout(str(worker.state)).repository_patterns)
    return {path.name: path.read_text() for path in folder.iterdir()} if folder.exists() else {}


def named(worker: Worker, mirror: str = "m") -> str:
    """The pattern file that the plan names for a mirror."""
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        planned = opened.mirror(mirror)
    assert planned is not None
    return str(planned.mirror.exclude_file)


def folders(worker: Worker) -> dict[str, int]:
    """The folders of the mirror `m`, each with its number of files."""
    found = (path for path in (worker.root / "m").glob("folder-*"))
    return {path.name: len(list(path.iterdir())) for path in found}


def add(repository: ConfigRepository, upstream: RsyncDaemon, more: str = "", rules: str = RULES) -> None:
    text = f"upstream: {upstream.url('files')}\nexclude_file: {FILE}\n{more}"
    repository.commit({"m.yml": text, FILE: rules}, "Add m")


@pytest.mark.parametrize("provider", ["rsync", "two-stage-rsync"])
def test_rsync_leaves_out_what_the_file_of_the_repository_says(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker, provider: str
) -> None:
    add(repository, upstream, f"provider: {provider}\n")
    worker.command("once")
    assert folders(worker) == {"folder-0": 1, "folder-2": 10, "folder-3": 10}
    path = f"{worker.state}/repository-patterns/{blob(RULES)}"
    assert (named(worker), stored(worker)) == (path, {blob(RULES): RULES})
    assert Path(path).stat().st_mode & 0o777 == 0o644
    assert not any((worker.state / "patterns").rglob("*")), "the copies of the run are gone"


def test_a_change_of_the_file_alone_changes_the_mirror_and_a_rename_does_not(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    add(repository, upstream)
    worker.command("once")
    before = named(worker)
    repository.commit(
        {FILE: None, "f2/m": RULES, "m.yml": (repository.tree / "m.yml").read_text().replace(FILE, "f2/m")}, "Move"
    )
    worker.command("follow")
    assert named(worker) == before

    repository.commit({"f2/m": "folder-2/\n"}, "Leave out another folder")
    worker.command("follow")
    worker.command("run", "m")

    assert named(worker).endswith(blob("folder-2/\n"))
    assert folders(worker).keys() >= {"folder-0", "folder-1", "folder-3"}
    assert folders(worker)["folder-0"] == folders(worker)["folder-1"] == 10


def test_a_broken_file_keeps_the_definition_in_force_of_its_mirrors_alone(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    add(repository, upstream)
    worker.command("follow")
    before = named(worker)

    repository.commit({FILE: "merge /etc/passwd\n", "n.yml": f"upstream: {upstream.url('files')}\nretry: 2\n"}, "Break")
    done = worker.command("follow", check=False)

    assert done.returncode == 1
    assert re.search(rf"^.*{FILE}:1:1: `merge /etc/passwd` is a filter rule of another kind", done.stderr, re.M)
    assert re.search(r"m\.yml:2:15: The pattern file `filters/m\.txt` cannot be used, see line 1", done.stderr)
    assert (named(worker), named(worker, "n")) == (before, "None")
    worker.command("run", "m")
    assert "folder-1" not in folders(worker)


def _altered(path: Path, _secret: Path) -> None:
    path.write_text("*\n")


def _linked(path: Path, secret: Path) -> None:
    path.unlink()
    path.symlink_to(secret)


def _with_two_names(path: Path, secret: Path) -> None:
    path.unlink()
    os.link(secret, path)


def _missing(path: Path, _secret: Path) -> None:
    path.unlink()


SWAPS: dict[Callable[[Path, Path], None], str] = {
    _altered: "was altered; rsync would send it to the upstream",
    _linked: "is really {secret}, outside of the policy's `pattern_files`",
    _with_two_names: "has 2 hard links",
    _missing: "No such file or directory",
}


@pytest.mark.parametrize("swap", some(SWAPS, 2))
def test_another_file_in_the_place_of_the_stored_one_is_never_sent(
    repository: ConfigRepository,
    upstream: RsyncDaemon,
    worker: Worker,
    tmp_path: Path,
    swap: Callable[[Path, Path], None],
) -> None:
    add(repository, upstream)
    worker.command("follow")
    secret = tmp_path / "secret"
    secret.write_text("a secret\n")
    path = Path(named(worker))
    swap(path, secret)

    assert worker.command("run", "m", check=False).returncode == 1

    reason = worker.run_of("m").reason
    assert SWAPS[swap].format(secret=secret) in reason
    assert "run `skipjack follow`, which writes it again from the repository" in reason
    assert folders(worker) == {}
    worker.command("follow")
    assert (path.read_text(), path.is_symlink(), path.stat().st_nlink) == (RULES, False, 1)
    assert secret.read_text() == "a secret\n", "the file in its place was replaced and not written to"
    worker.command("run", "m")
    assert "folder-1" not in folders(worker)


def test_no_definition_can_name_a_stored_file_itself(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    add(repository, upstream)
    worker.command("follow")
    path = named(worker)
    option = f"upstream: {upstream.url('files')}\nrsync_options: [--exclude-from={path}]\n"
    key = f"upstream: {upstream.url('files')}\nexclude_file: {path}\n"
    relative = f"upstream: {upstream.url('files')}\nexclude_file: {FILE}\nrsync_options: [--exclude-from, {FILE}]\n"
    repository.commit({"a.yml": option, "b.yml": key, "c.yml": relative}, "Name it")

    done = worker.command("follow", check=False)

    for name, what in (
        ("a", f"`rsync_options` names {path}"),
        ("b", f"`exclude_file` names {path}"),
        ("c", f"`rsync_options` names {FILE}"),
    ):
        assert f"{name}.yml: {what}, but only files in" in done.stderr
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        assert [each.mirror.name for each in opened.mirrors()] == ["m"]


def test_a_file_of_the_machine_beside_that_of_the_repository_is_still_judged(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker, tmp_path: Path
) -> None:
    (tmp_path / "filters/base").write_text("folder-2/\n")
    add(repository, upstream, f"rsync_options: [--exclude-from, {tmp_path}/filters/base]\n")
    worker.command("once")
    assert folders(worker) == {"folder-0": 1, "folder-3": 10}


def test_a_stored_file_goes_when_neither_the_plan_nor_a_run_uses_it(
    repository: ConfigRepository, gate: Gate, worker: Worker
) -> None:
    """The worker has no clock of its own here, so the files get the times of the past."""
    repository.commit({"m.yml": gate.mirror(), "_defaults.yml": DEFAULTS, FILE: "one\n"}, "Begin")
    worker.command("follow")
    process = worker.start("run", "m")
    syncing(worker, gate, "m")

    repository.commit({FILE: "two\n"}, "Change")
    worker.command("follow")
    assert stored(worker).keys() == {blob("one\n"), blob("two\n")}
    _age(worker, "one\n", 600)
    worker.command("follow")
    assert blob("one\n") in stored(worker), "the run began before the file left the plan"
    gate.open.touch()
    process.wait(300)
    _age(worker, "one\n", 8000)
    worker.command("follow")
    assert stored(worker) == {blob("two\n"): "two\n"}


def _age(worker: Worker, content: str, seconds: float) -> None:
    """Let a stored file have left the plan some time ago."""
    path = Path(StateLayout(str(worker.state)).repository_patterns, blob(content))
    os.utime(path, (time.time() - seconds,) * 2)


def test_a_dry_run_reads_the_file_with_and_without_a_plan(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    add(repository, upstream)
    for _planned in (False, True):
        done = worker.command("run", "m", "--dry-run")
        assert f"/repository-patterns/{blob(RULES)}" in done.stdout
        assert "folder-2/file 2" in done.stdout and "folder-1/file 1" not in done.stdout
        worker.command("follow")


def test_validate_reports_the_line_and_the_policy_needs_no_entry(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    add(repository, upstream)
    worker.command("follow")
    assert "already allows all definitions" in worker.command("policy", "suggest").stdout
    add(repository, upstream, "retry: 3\n", "good\nP bad\n")
    assert f"{repository.tree}/{FILE}:2:1: `P bad` is a filter rule of another kind" in validate(repository.tree)
