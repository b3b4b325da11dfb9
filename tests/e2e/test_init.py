"""From `skipjack init` to files on disk: commit what it wrote, follow it, sync a mirror of it."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from runner.authoring.repository_files import CI_FILES, GITLAB
from tests import prepared
from tests.docs.pages import blocks
from tests.e2e.parts import BIN, REPOSITORY, RsyncDaemon, Worker

GIT = ("-c", "user.name=Ada Admin", "-c", "user.email=ada@mirrors.example")


def skipjack(*words: str) -> str:
    done = prepared.run([str(BIN / "skipjack"), *words], timeout=300)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return str(done.stdout)


def test_a_worker_follows_and_syncs_what_init_created(tmp_path: Path, upstream: RsyncDaemon, tree: Path) -> None:
    folder = tmp_path / "site/mirrors"
    skipjack("init", str(folder), "--worker-name", "w1")
    example = folder / "example.yml"
    example.write_text(example.read_text().replace("rsync://rsync.example.org/example/", upstream.url("files")))
    # A contributor's three lines, without the line for editors.
    (folder / "os").mkdir()
    (folder / "os/debian.yml").write_text(f"title: Debian\ndescription: Any text.\nupstream: {upstream.url('files')}\n")
    for words in (("add", "."), ("commit", "-q", "-m", "Define the mirrors")):
        subprocess.run(["git", "-C", str(folder), *GIT, *words], check=True)
    assert skipjack("validate", str(folder)) == "2 mirrors are valid\n"
    (folder / "os/new.yml").write_text(f"upstream: {upstream.url('files')}\n")
    assert "+ new: " in skipjack("plan", "main", "--repo", str(folder))
    (folder / "os/new.yml").unlink()

    worker = Worker(tmp_path / "w", "w1", str(folder))
    assert "WARNING" not in worker.command("follow").stderr
    assert worker.command("once").returncode == 0

    assert worker.states() == {"debian": "success", "example": "success"}
    for name in ("debian", "example"):
        assert {path.name for path in (worker.root / name).rglob("*")} == {path.name for path in tree.rglob("*")}


def test_a_worker_follows_with_the_settings_of_init(tmp_path: Path) -> None:
    """The folders are the only lines that a test has to change."""
    folder, settings = tmp_path / "mirrors", tmp_path / "etc/runner.yml"
    skipjack("init", str(folder), "--worker-name", "w1")
    subprocess.run(["git", "-C", str(folder), "add", "."], check=True)
    subprocess.run(["git", "-C", str(folder), *GIT, "commit", "-q", "-m", "Define the mirrors"], check=True)
    skipjack("init", "--worker", str(folder), "--worker-name", "w1", "--settings", str(settings))
    text = settings.read_text()
    for key in ("mirror_root", "state_dir", "run_dir", "log_dir", "snapshot_root"):
        text = text.replace(f"\n#{key}: /", f"\n{key}: {tmp_path}/")
    settings.write_text(text)
    done = prepared.run([str(BIN / "skipjack"), "follow", "--settings", str(settings)], timeout=300)
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr
    assert (tmp_path / "var/lib/skipjack/plan.db").exists()
    assert "example" in skipjack("next", "--settings", str(settings))


def checks(forge: str, text: str) -> str:
    """What a forge runs after the installation, as one script."""
    plain = yaml.safe_load(text)
    steps = plain["mirrors"]["script"] if forge == GITLAB else [each.get("run", "") for each in
                                                                plain["jobs"]["validate"]["steps"]]  # fmt: skip
    return "\n".join(["set -eo pipefail", *(each for each in steps if each.startswith("skipjack "))])


@pytest.mark.parametrize("forge", CI_FILES)
def test_the_checks_of_a_forge_fail_where_a_definition_is_wrong(tmp_path: Path, forge: str) -> None:
    (tmp_path / ".git").mkdir()
    skipjack("init", str(tmp_path / "our mirrors"), "--ci", forge)
    script = checks(forge, (tmp_path / CI_FILES[forge]).read_text())
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    assert run().returncode == 0
    (tmp_path / "our mirrors/wrong.yml").write_text("upstraem: x\n")
    done = run()
    assert done.returncode == 1
    assert "wrong.yml" in done.stdout
    if forge == GITLAB:
        [found, *_more] = json.loads((tmp_path / "gl-code-quality-report.json").read_text())
        assert found["location"]["path"] == "our mirrors/wrong.yml"


def test_the_commands_of_the_page_begin_a_repository(tmp_path: Path) -> None:
    """Those of docs/configuration.md, for a person whose name git knows."""
    [block] = blocks("docs/configuration.md", "sh")
    names = {
        f"GIT_{who}_{what}": "ada@mirrors.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    env = os.environ | names | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    script = f"set -eo pipefail\n{block.text}\ngit status --short"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 mirror is valid\n" in done.stdout and "Set SKIPJACK_SOURCE" in done.stdout
    assert done.stdout.splitlines()[-1].startswith(" create mode"), "everything is committed"
    assert "title: Example University Mirrors\n" in (tmp_path / "mirrors/_site.yml").read_text()


def test_a_copy_of_the_example_keeps_its_schemas() -> None:
    """`mirrors/` has what `init` would write today."""
    assert skipjack("init", "--update", str(REPOSITORY / "mirrors")) == "the schemas are up to date\n"
