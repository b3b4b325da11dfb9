"""Mirrors imported from tunasync continue with the same directories, logs and options."""

import shlex
import subprocess
from pathlib import Path

from tests import prepared
from tests.e2e.parts import BIN, ConfigRepository, RsyncDaemon, Worker

TUNASYNC = """\
[global]
name = "w1"
mirror_dir = "{0}/mirrors"
log_dir = "{0}/logs/{{{{.Name}}}}/sync"
concurrent = 2
interval = 60
rsync_options = ["--partial-dir=.part"]

[[mirrors]]
name = "plain"
upstream = "{1}"

[[mirrors]]
name = "apart"
upstream = "{1}"
mirror_dir = "{0}/data/apart"
log_dir = "{0}/data-logs/{{{{.Name}}}}"
exclude_file = "{0}/excluded"
"""


def skipjack(*words: str) -> subprocess.CompletedProcess[str]:
    return prepared.run([str(BIN / "skipjack"), *words], timeout=300)


def test_imported_mirrors_continue_under_the_written_policy(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old / "mirrors", old / "data", new):
        folder.mkdir(parents=True)
    (old / "excluded").write_text("folder-1\n")
    (old / "worker.conf").write_text(TUNASYNC.format(old, upstream.url("files")))

    imported = skipjack("import", "tunasync", str(old / "worker.conf"), "--into", str(new / "mirrors"))

    named = [line for line in imported.stdout.splitlines() if "worker.conf:" in line]
    assert [line.partition("worker.conf:")[2].partition(":")[0] for line in named] == ["7", "16", "17", "18"]
    assert all("policy.yml" in line for line in named)
    repository.commit({path.name: path.read_text() for path in (new / "mirrors").iterdir()}, "Import")
    own = f"state_dir: {worker.state}\nrun_dir: {worker.folder}/run\npolicy: {new}/policy.yml\n"
    settings = (new / "runner.yml").read_text().replace("https://git.example.org/mirrors.git", repository.url)
    worker.settings.write_text(settings + own)

    worker.command("once")
    assert worker.states() == {}, "nothing starts beside tunasync's own worker"
    assert "plain" in worker.command("next").stdout
    worker.command("release")
    worker.command("once")

    assert worker.states() == {"plain": "success", "apart": "success"}
    assert (old / "mirrors/plain/folder-1").is_dir()
    assert (old / "data/apart/folder-2").is_dir() and not (old / "data/apart/folder-1").exists()
    assert (old / "logs/plain/sync/latest").exists() and (old / "data-logs/apart/latest").exists()
    told = worker.command("run", "apart", "--dry-run").stdout.splitlines()
    [*words, source, target] = shlex.split(next(line for line in told if " 1. " in line))
    assert (source, target) == (upstream.url("files"), f"{old}/data/apart/")
    assert words[-12:-9] == ["--exclude-from", str(old / "excluded"), "--partial-dir=.part"]
    assert words[-1] == "--max-delete=0"


def test_without_that_policy_they_are_quarantined(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker, tmp_path: Path
) -> None:
    (tmp_path / "worker.conf").write_text(TUNASYNC.format(worker.folder, upstream.url("files")))
    skipjack("import", "tunasync", str(tmp_path / "worker.conf"), "--into", str(tmp_path / "new/mirrors"))
    files = {path.name: path.read_text() for path in (tmp_path / "new/mirrors").iterdir()}
    repository.commit(files, "Import")

    told = worker.command("follow", check=False)

    assert "plain.yml: `rsync_options` holds `--partial-dir`" in told.stdout + told.stderr
    assert "apart.yml: The directory" in told.stdout + told.stderr
    assert worker.states() == {}


YUKI = """\
name: files
image: ustcmirror/rsync:latest
cron: "@every 1h"
storageDir: {0}/repo/files
envs: {{RSYNC_HOST: "{1}", RSYNC_PATH: files/, RSYNC_EXCLUDE: --exclude=/folder-1}}
"""


def test_a_mirror_imported_from_yuki_continues_in_its_directory(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "repo/files").mkdir(parents=True)
    (old / "repo/files/gone").touch()
    (old / "daemon.toml").write_text(f'repo_config_dir = ["."]\nrepo_logs_dir = "{old}/logs"\n')
    (old / "files.yaml").write_text(YUKI.format(old, f"127.0.0.1:{upstream.port}"))

    imported = skipjack("import", "yuki", str(old), "--into", str(new / "mirrors"), "--worker", "w1")

    assert "Mirrors, in" in imported.stdout, imported.stderr
    repository.commit({path.name: path.read_text() for path in (new / "mirrors").iterdir()}, "Import")
    own = f"state_dir: {worker.state}\nrun_dir: {worker.folder}/run\npolicy: {new}/policy.yml\n"
    settings = (new / "runner.yml").read_text().replace("https://git.example.org/mirrors.git", repository.url)
    worker.settings.write_text(settings + own)
    worker.command("follow")
    worker.command("run", "files", "--while-held")

    assert worker.states() == {"files": "success"}
    assert (old / "repo/files/folder-2").is_dir() and not (old / "repo/files/folder-1").exists()
    assert not (old / "repo/files/gone").exists() and (old / "logs/files/latest").exists()
