"""`skipjack policy export`, and what its file decides: nothing on the worker."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import pytest

from runner import cli
from runner.authoring import policy_export
from runner.plan import plan
from runner.policy.exported import judged
from schemas.config import catalogue, exported_policy
from schemas.config.sources import read_directory
from schemas.errors import SkipjackError
from tests import prepared
from tests.e2e.parts import BIN, ConfigRepository, Manager, RsyncDaemon, Worker, wait_until
from tests.runner.scripted_manager import ScriptedManager

PLACE = "/opt/only-for-operators/"

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


def test_a_failure_leaves_no_file_behind(worker: Worker, checkout: Path) -> None:
    folder = checkout / ".skipjack/policies"
    (folder / "w1.yml").mkdir(parents=True)
    done = worker.command("policy", "export", "--into", str(checkout), check=False)
    assert done.returncode == 1 and "Is a directory" in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["w1.yml"]


def test_root_writes_as_the_owner_of_the_folder(worker: Worker) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "_site.yml").touch()
        if os.geteuid() == 0:
            folder.chmod(0o755)
            shutil.chown(folder, "nobody")
        worker.command("policy", "export", "--into", name)
        written = folder / ".skipjack/policies/w1.yml"
        assert written.stat().st_uid == folder.stat().st_uid


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


def test_the_manager_has_the_policies_of_all_workers_and_shows_when_the_exported_ones_are_out_of_date(
    repository: ConfigRepository, manager: Manager, reporter: Worker, checkout: Path
) -> None:
    second = Worker(reporter.folder.parent / "second", "w2", repository.url, manager)
    token = reporter.folder / "operator"
    token.write_text(manager.token("alice", "operator") + "\n")
    (reporter.folder / "policy.yml").write_text(f"programs: ['{PLACE}']\n")
    repository.commit({"_workers.yml": "workers: {w1: {}, w2: {}}\n"}, "Add a worker")
    for worker in (reporter, second):
        worker.command("follow")
        worker.command("courier")

    def verdicts() -> list[str]:
        return [each["exported_policy"] for each in (manager.published() or {"workers": []})["workers"]]

    wait_until(lambda: verdicts() == ["missing", "missing"], "the page shows that the files are missing")
    words = ("--manager", manager.url, "--token-file", str(token), "--into", str(checkout))
    done = prepared.run([str(BIN / "skipjack"), "policy", "export", *words], timeout=300)
    assert (done.returncode, done.stderr.count("wrote ")) == (0, 2), done.stderr
    files = {path.name: path.read_text() for path in (checkout / ".skipjack/policies").iterdir()}
    assert files == {
        "w1.yml": reporter.command("policy", "export").stdout, "w2.yml": second.command("policy", "export").stdout
    }  # fmt: skip
    repository.commit({f".skipjack/policies/{name}": text for name, text in files.items()}, "Add the policies")
    reporter.command("follow")
    reporter.command("courier")
    wait_until(lambda: verdicts() == ["current", "current"], "the page shows that they are up to date")

    (reporter.folder / "policy.yml").write_text(f"programs: ['{PLACE}']\nimages: ['tools:*']\n")
    reporter.command("follow")
    reporter.command("courier")
    wait_until(lambda: verdicts() == ["outdated", "current"], "the page shows which one is out of date")
    wait_until(lambda: "out of date" in manager.page("workers.html"), "the page of workers")
    assert not [path for path in manager.site.rglob("*.*") if PLACE.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((401, b'{"error": "a valid token is required"}'), "answered 401: a valid token is required. Create a token"),
        ((404, b'{"error": "unknown path"}'), "answered 404: unknown path. Check the address"),
        ((200, b"{}"), "is not one of Skipjack."),
        ((200, b'{"policies": []}'), "knows the policy of no worker."),
        ((200, b'{"policies": [{"policy": {"worker": "../x"}}]}'), "is invalid: "),
        ((200, b"[" * 1000), "is not one of Skipjack."),
    ],
)
def test_a_manager_without_valid_policies_changes_nothing(
    checkout: Path, tmp_path: Path, answer: tuple[int, bytes], why: str
) -> None:
    token = tmp_path / "token"
    token.write_text("hunter2\n")
    scripted = ScriptedManager(lambda _asked, _count: answer)
    try:
        with pytest.raises(SkipjackError) as raised:
            policy_export.export_all(scripted.url, str(token), None, checkout)
    finally:
        scripted.close()
    assert why in str(raised.value) and "\n" not in str(raised.value) and "hunter2" not in str(raised.value)
    assert not (checkout / ".skipjack").exists()


def test_a_manager_that_is_not_there_or_a_missing_token_is_one_line(checkout: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    url = "http://127.0.0.1:9"
    for why in (f"cannot read the secret {token}: No such file", f"cannot read the policies from the manager at {url}"):
        with pytest.raises(SkipjackError, match=re.escape(why)):
            policy_export.export_all(url, str(token), None, checkout)
        token.write_text("x\n")


@pytest.mark.parametrize(
    "words",
    [
        ("--token-file", "x"),
        ("--ca-cert", "x"),
        ("--manager", "http://h"),
        ("--manager", "http://h", "--into", "."),
        ("--manager", "http://h", "--into", ".", "--token-file", "x", "--settings", "y"),
    ],
)
def test_options_that_do_not_fit_together_are_a_wrong_usage(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(["policy", "export", *words])
    assert raised.value.code == 2 and "skipjack policy export: error: " in capsys.readouterr().err
