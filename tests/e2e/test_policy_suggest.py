"""With the entries of `skipjack policy suggest`, every definition stays allowed after an upgrade."""

from pathlib import Path

import pytest
import yaml

from runner.plan import plan
from tests.e2e.parts import ConfigRepository, RsyncDaemon, Worker

OLD = "forbidden_env: ['LD_*', 'GIT_*']\nforbidden_rsync_options: [-e, --rsh, --log-file]\nprograms: [/opt/scripts/]\n"


def planned(worker: Worker) -> set[str]:
    with plan.opened(str(worker.state / "plan.db")) as opened:
        return {each.mirror.name for each in opened.mirrors()}


def declare(repository: ConfigRepository, upstream: RsyncDaemon, folder: Path) -> None:
    """Definitions that the policies of earlier releases allowed."""
    patterns = folder / "elsewhere/patterns"
    patterns.parent.mkdir()
    patterns.write_text("*.iso\n")
    rsync = f"upstream: {upstream.url('files')}\n"
    command = "provider: command\nupstream: https://x/\ncommand: /opt/scripts/x\n"
    repository.commit(
        {
            "plain.yml": rsync,
            "options.yml": rsync + "rsync_options: [--partial-dir=.part, -AX]\n",
            "patterns.yml": rsync + f"exclude_file: {patterns}\n",
            "variables.yml": command + "env: {BRANCH: stable, FLAGS: '--x $y'}\n",
            "both.yml": command + "env: {BRANCH: testing}\n",
            "program.yml": command.replace("/opt/scripts/x", "/opt/other/x"),
            "ssh.yml": "upstream: mirror@host.example:/x/\n",
            "never.yml": rsync + "mirror_dir: /\n",
        },
        "Declare",
    )


@pytest.mark.parametrize("old", [None, OLD])
def test_nothing_is_quarantined_once_the_suggestion_is_in_the_policy(
    old: str | None, repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker, tmp_path: Path
) -> None:
    policy = worker.folder / "policy.yml"
    policy.unlink()
    if old is not None:
        policy.write_text(old)
    declare(repository, upstream, tmp_path)
    told = worker.command("follow", check=False)
    quarantined = {"options", "patterns", "variables", "both", "never", *(["program", "ssh"] if old else [])}
    every = {"plain", "options", "patterns", "variables", "both", "program", "ssh", "never"}
    assert planned(worker) == every - quarantined
    assert ("`forbidden_env` in the policy is out of date" in told.stderr) == (old is not None)
    assert "`skipjack policy suggest` on that machine prints the missing entries." in told.stdout + told.stderr
    before = {path: path.stat().st_mtime_ns for path in worker.state.rglob("*")}

    suggested = worker.command("policy", "suggest").stdout

    assert {path: path.stat().st_mtime_ns for path in worker.state.rglob("*")} == before, "it changes nothing"
    keys = yaml.safe_load(suggested)
    assert set(keys) == {
        "allowed_env", "allowed_rsync_options", "pattern_files", *(["programs"] if old else [])
    }  # fmt: skip
    assert {"BRANCH", "FLAGS=*"} <= set(keys["allowed_env"])
    assert set(keys["allowed_rsync_options"]) == {"default", "--partial-dir=.part", "--acls", "--xattrs"}, "no other"
    assert set(keys["allowed_env"]) == {"default", "BRANCH", "FLAGS=*"}, "nothing that no definition needs"
    assert "  - BRANCH  # both, variables\n" in suggested
    assert ("  - /usr/bin/ssh  # ssh\n" in suggested) == (old is not None)
    assert "# never: no entry of the policy can allow this. The directory /" in suggested
    assert ("# Remove `forbidden_env`" in suggested) == (old is not None)

    policy.write_text(suggested)
    told = worker.command("follow", check=False)

    assert planned(worker) == every - {"never"}
    assert "out of date" not in told.stderr
    worker.command("run", "patterns")
    again = worker.command("policy", "suggest").stdout
    assert yaml.safe_load(again) is None and "already allows all" in again


def test_the_suggestion_still_denies_what_an_old_policy_denied(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    (worker.folder / "policy.yml").write_text("forbidden_env: [TZ]\nforbidden_rsync_options: [-z]\n")
    text = f"upstream: {upstream.url('files')}\nrsync_options: [-z]\nenv: {{TZ: UTC}}\n"
    repository.commit({"m.yml": text, "n.yml": f"upstream: {upstream.url('files')}\nenv: {{LANG: C}}\n"}, "Declare")

    suggested = worker.command("policy", "suggest").stdout

    keys = yaml.safe_load(suggested)
    assert "TZ" not in keys["allowed_env"] and "LANG" in keys["allowed_env"]
    assert "--compress" not in keys["allowed_rsync_options"] and "--archive" in keys["allowed_rsync_options"]
    assert "--rsh" not in keys["allowed_rsync_options"], "no definition needs what was taken off the list"
    assert "# m: no entry of the policy can allow this." in suggested
