"""The commands of docs/signatures.md make a worker that follows what they sign."""

import subprocess
from pathlib import Path

import pytest

from runner.base.state_dir import StateLayout
from runner.plan import plan
from tests.docs.pages import blocks, commands
from tests.e2e.parts import ConfigRepository, Worker
from tests.schemas.signing import gpg_home, ssh_key

PAGE = "docs/signatures.md"
FILES: dict[str, str | None] = {
    "_site.yml": "title: x\n",
    "_workers.yml": "workers: {alpha: {}}\n",
    "a.yml": "worker: alpha\nprovider: command\nupstream: https://files.example/\ncommand: /bin/true\n",
}


def test_the_commands_of_the_page_set_up_signed_revisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, etc = tmp_path / "home", tmp_path / "etc"
    (home / ".ssh").mkdir(parents=True)
    ssh_key(home / ".ssh/id_ed25519")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    repository = ConfigRepository(tmp_path)
    (repository.tree / "alice.pub").write_bytes((home / ".ssh/id_ed25519.pub").read_bytes())
    repository.commit(FILES, "Begin")
    repository.git("checkout", "-q", "-b", "topic")
    repository.commit({"b.yml": FILES["a.yml"]}, "An unsigned change")
    repository.git("checkout", "-q", "main")

    with gpg_home() as keys:
        keys.key("alice")
        monkeypatch.setenv("GNUPGHOME", str(keys.folder))
        for block in blocks(PAGE, "sh"):
            for command in commands(block):
                here = command.replace("/etc/skipjack", str(etc)).replace("git merge", "git merge --quiet -m x")
                subprocess.run(["bash", "-ec", here], check=True, cwd=repository.tree, capture_output=True)
    repository.git("push", "-q", "origin", "HEAD:main")

    worker = Worker(tmp_path / "w", "alpha", repository.url)
    rules = f"{{allowed_signers: {etc}/allowed_signers, keyring: {etc}/signers}}"
    worker.settings.write_text(worker.settings.read_text().replace("'}", f"', verify_signatures: {rules}}}", 1))
    worker.command("follow")
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        assert (opened.header.signer, [each.mirror.name for each in opened.mirrors()]) == (
            "alice@example.org",
            ["a", "b"],
        )
