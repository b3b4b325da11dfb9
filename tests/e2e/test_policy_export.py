"""`skipjack policy export`, and what its file decides: nothing on the worker."""

from pathlib import Path

import pytest

from runner.plan import plan
from runner.policy.exported import judged
from schemas.config import catalogue, exported_policy
from schemas.config.sources import read_directory
from tests.e2e.parts import ConfigRepository, RsyncDaemon, Worker

DENIED = {"boxed": "docker_image: tools:1\n", "shell": "rsync_options: ['--rsh=sh']\n"}


@pytest.fixture
def checkout(tmp_path: Path, upstream: RsyncDaemon) -> Path:
    """A folder of definitions, of which the default policy denies two."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "_site.yml").write_text("title: T\n")
    (folder / "_workers.yml").write_text("workers: {w1: {}}\n")
    for name, keys in ({"plain": ""} | DENIED).items():
        (folder / f"{name}.yml").write_text(f"worker: w1\nprovider: rsync\nupstream: {upstream.url('files')}\n{keys}")
    return folder


def planned(worker: Worker) -> set[str]:
    with plan.opened(str(worker.state / "plan.db")) as opened:
        return {each.mirror.name for each in opened.mirrors()}


def test_the_exported_policy_denies_in_a_check_what_the_worker_denies(worker: Worker, checkout: Path) -> None:
    worker.report_to("https://manager.example", "the token of this worker")
    printed = worker.command("policy", "export").stdout
    made = exported_policy.read("w1.yml", printed.encode())
    assert made.worker == worker.name and made.settings.mirror_root == str(worker.root)
    for word in ("manager.example", "the token of", "repository", "config.git"):
        assert word not in printed
    found = catalogue.load(read_directory(checkout))
    assert not found.problems
    assert {mirror.name for mirror in found.mirrors if judged(mirror, made)} == DENIED.keys()


def test_the_file_is_written_once_and_stays_while_it_judges_alike(worker: Worker, checkout: Path) -> None:
    path = checkout / ".skipjack/policies/w1.yml"
    done = worker.command("policy", "export", "--into", str(checkout))
    assert done.stdout == "" and f"wrote {path}" in done.stderr
    assert path.read_text() == worker.command("policy", "export").stdout
    assert list(path.parent.iterdir()) == [path]
    path.write_text(path.read_text().replace("release: ", "release: 0.0.9+"))
    before = path.read_bytes()
    assert f"{path} is up to date" in worker.command("policy", "export", "--into", str(checkout)).stderr
    assert path.read_bytes() == before
    (worker.folder / "policy.yml").write_text("programs: []\n")
    assert f"wrote {path}" in worker.command("policy", "export", "--into", str(checkout)).stderr
    assert exported_policy.read("w1.yml", path.read_bytes()).policy.programs == ()


def test_a_folder_that_is_none_of_definitions_stays_as_it_is(worker: Worker, tmp_path: Path) -> None:
    empty, linked = tmp_path / "empty", tmp_path / "linked"
    for folder in (empty, linked):
        folder.mkdir()
    (linked / "_site.yml").touch()
    (linked / ".skipjack").symlink_to(empty)
    for folder, why in (
        (tmp_path / "missing", "has no `_site.yml`"), (empty, "has no `_site.yml`"), (linked, "leads out of"),
    ):  # fmt: skip
        done = worker.command("policy", "export", "--into", str(folder), check=False)
        assert (done.returncode, done.stdout) == (1, "") and why in done.stderr and done.stderr.count("\n") == 1
    assert list(empty.iterdir()) == []


def test_a_merged_file_allows_nothing_on_the_worker(
    repository: ConfigRepository, worker: Worker, checkout: Path
) -> None:
    allowing = worker.folder / "allowing.yml"
    allowing.write_text("images: ['*']\nallowed_rsync_options: [default, --rsh]\n")
    settings = worker.settings.read_text()
    worker.settings.write_text(settings.replace("policy.yml", "allowing.yml"))
    exported = worker.command("policy", "export").stdout
    assert set(exported_policy.read("w1.yml", exported.encode()).policy.images) == {"*"}
    worker.settings.write_text(settings)
    files = {path.name: path.read_text() for path in checkout.glob("[a-z]*.yml")}
    repository.commit(files | {".skipjack/policies/w1.yml": exported}, "Allow everything")
    done = worker.command("follow", check=False)
    assert planned(worker) == {"plain"}
    for word in ("The image `tools:1` is not allowed", "`--rsh`"):
        assert word in done.stdout + done.stderr
    repository.commit({".skipjack/policies/w1.yml": exported.replace("  hooks: []\n", "")}, "Break the file")
    done = worker.command("follow", check=False)
    assert ".skipjack/policies/w1.yml:" in done.stderr and "`hooks` is missing in `policy`" in done.stderr
    assert planned(worker) == {"plain"}
