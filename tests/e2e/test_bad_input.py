"""Every mistake gets one clear message and an exit code; what worked before goes on."""

from pathlib import Path

import pytest

from runner import cli
from tests.e2e.parts import ConfigRepository, Manager, RsyncDaemon, Worker


def failure(worker: Worker, *words: str, code: int = 1) -> str:
    done = worker.command(*words, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    return done.stderr


@pytest.fixture
def synced(repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker) -> Worker:
    text = f"upstream: {upstream.url('files')}\nmeasure_size: false\n"  # else files change after `once` as well
    repository.commit({"good.yml": text}, "Add a good one")
    worker.command("once")
    return worker


def test_an_unreachable_repository_stops_nothing(synced: Worker, repository: ConfigRepository) -> None:
    repository.remote.rename(repository.remote.with_name("moved"))

    message = failure(synced, "follow")

    assert "cannot fetch" in message
    assert "git ls-remote" in message
    synced.command("run", "good")


def test_a_broken_site_or_workers_file_refuses_the_whole_revision(synced: Worker, repository: ConfigRepository) -> None:
    before = repository.git("rev-parse", "HEAD")
    repository.commit({"_workers.yml": "workers:\n  w1: {slot: 2}\n", "good.yml": "upstream: 3\n"}, "Break two")

    message = failure(synced, "follow")

    assert "_workers.yml:2:8: Unknown key `slot`. Did you mean `slots`?" in message
    assert "good.yml:1:11: `upstream` must be text, not 3." in message
    assert f"{before[:12]} stays in force" in message
    synced.command("run", "good")
    assert synced.run_of("good").revision == before


BAD = {
    "yaml": ("upstream: [rsync\n", "yaml.yml:2:1: This is not valid YAML"),
    "key": ("upstreem: rsync://a.example/b/\n", "key.yml:1:1: Unknown key `upstreem`. Did you mean `upstream`?"),
    "host": ("upstream: rsync://a.example/b/\nworker: w9\n", "host.yml:2:9: The worker `w9` is not in `_workers.yml`."),
    "slash": ("upstream: rsync://a.example/b\n", "slash.yml:1:11: The upstream `rsync://a.example/b` does not end"),
    "place": ("upstream: rsync://a.example/b/\nmirror_dir: /etc/x\n", "does not lie below this worker's `mirror_root`"),
    "option": (
        "upstream: rsync://a.example/b/\nrsync_options: [-e, sh]\n", "`rsync_options` holds `-e`, which this machine",
    ),
    "folder": ("upstream: rsync://a.example/b/\nmirror_subdir: ../x\n", "folder.yml:2:16: `mirror_subdir` cannot be"),
}  # fmt: skip
"""Definitions that cannot be used, by mirror, each with what its message says."""


def test_a_bad_definition_is_quarantined_alone(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    text = f"upstream: {upstream.url('files')}\n"
    good = repository.commit({f"{name}.yml": text for name in BAD}, "Add good ones")
    worker.command("once")
    bad = repository.commit(
        {f"{name}.yml": wrong for name, (wrong, _) in BAD.items()} | {"other.yml": text}, "Break all, add one"
    )

    message = failure(worker, "once")

    for name, (_, expected) in BAD.items():
        assert any(f"{name}.yml:" in line and expected in line for line in message.splitlines()), message
        worker.command("run", name)
        assert worker.run_of(name).revision == good
    assert (worker.states()["other"], worker.run_of("other").revision) == ("success", bad)


def test_a_tightened_policy_holds_for_what_is_in_force_already(synced: Worker) -> None:
    (synced.folder / "policy.yml").write_text("providers: [command]\n")

    assert "The provider `rsync` is not allowed on this machine." in failure(synced, "follow")

    assert "has no mirror `good`" in failure(synced, "run", "good")


def test_two_mirrors_whose_links_lead_to_one_place_are_kept_apart(
    synced: Worker, repository: ConfigRepository, upstream: RsyncDaemon
) -> None:
    (synced.root / "other").symlink_to(synced.root / "good")
    repository.commit({"other.yml": f"upstream: {upstream.url('files')}\n"}, "Add another")

    assert "lies in that of `good`" in failure(synced, "follow")

    assert "other" not in synced.states()


def test_a_force_pushed_history_is_refused_until_it_is_accepted(synced: Worker, repository: ConfigRepository) -> None:
    repository.commit({"note.yml": "upstream: rsync://127.0.0.1:1/x/\n"}, "To be rewritten")
    synced.command("follow")
    repository.git("reset", "-q", "--hard", "HEAD^")
    repository.git("push", "-q", "--force", "origin", "main")

    assert "--accept-rewrite" in failure(synced, "follow")

    synced.command("follow", "--accept-rewrite")


def test_an_undeclared_worker_is_reported(repository: ConfigRepository, tmp_path: Path) -> None:
    stranger = Worker(tmp_path / "s", "stranger", repository.url)

    message = failure(stranger, "follow")

    assert "The worker `stranger` of this machine is not listed, so it syncs nothing. Known workers: `w1`." in message


def files(worker: Worker) -> list[Path]:
    """All that is there, without what a tick that is still at work in the background makes and removes."""
    return sorted(path for path in worker.folder.rglob("*") if not path.name.startswith(("journal.db-", "agenda")))


def test_a_name_that_is_none_leads_nowhere(synced: Worker) -> None:
    before = files(synced)

    for name in ("../../etc", "/etc/passwd", ".hidden", "a b", "x" * 65, "", "a\nb"):
        assert "is not a valid mirror name" in failure(synced, "run", name)

    assert files(synced) == before


def test_an_unknown_mirror_is_reported(synced: Worker) -> None:
    assert "has no mirror `nope`" in failure(synced, "run", "nope")


def test_before_the_first_follow_the_message_has_the_next_step(worker: Worker) -> None:
    assert "skipjack follow" in failure(worker, "tick")
    assert "skipjack follow" in failure(worker, "run", "good")


def test_settings_are_checked_like_everything_else(worker: Worker) -> None:
    worker.settings.write_text("worker: w1\nrepositry: {url: x}\nstate_dir: here\n")

    message = failure(worker, "follow")

    assert f"{worker.settings}:2:1: Unknown key `repositry`. Did you mean `repository`?" in message
    assert f"{worker.settings}:3:12: `state_dir` cannot be" in message
    worker.settings.unlink()
    assert "runner.yml: No such file or directory" in failure(worker, "follow")


def test_a_wrong_token_is_reported_and_nothing_is_lost(
    reporter: Worker, manager: Manager, repository: ConfigRepository
) -> None:
    repository.commit({"m.yml": "upstream: rsync://127.0.0.1:1/x/\n"}, "Add one that fails")
    (reporter.folder / "token").write_text("not-a-token\n")

    message = failure(reporter, "once")

    assert "answered 401" in message
    assert "skipjack-manager token add" in message
    assert reporter.pending() > 0
    (reporter.folder / "token").write_text(manager.token("w1"))
    reporter.command("courier")
    assert reporter.pending() == 0
    assert manager.job("m")["status"] == "failed"


def test_a_wrong_address_is_reported(reporter: Worker, upstream: RsyncDaemon) -> None:
    text = reporter.settings.read_text()
    port = reporter.settings.read_text().split("http://127.0.0.1:")[1].split("'")[0]
    reporter.settings.write_text(text.replace(f":{port}", f":{upstream.port}"))
    assert "cannot reach the manager at" in failure(reporter, "courier")


def test_usage_errors_exit_with_2(worker: Worker) -> None:
    assert "usage: skipjack" in failure(worker, "run", code=2)


def test_escapes_in_what_a_program_prints_reach_no_terminal(repository: ConfigRepository, worker: Worker) -> None:
    program = worker.folder / "bad.sh"
    text = r"printf 'start \377 \033[31mred\033[0m\n50%%\r100%%\nERROR caf\351 \033]0;title\007\n'"
    program.write_text(f"#!/bin/sh\n{text}\nexit 3\n")
    program.chmod(0o755)
    definition = f"provider: command\nupstream: https://x.example/\ncommand: {program}\nfail_on_match: ^ERROR\n"
    repository.commit({"m.yml": definition}, "Add m")
    worker.command("follow")

    done = worker.command("run", "m", check=False)

    run = worker.run_of("m")
    for said in (done.stderr, run.reason, run.log_tail.replace("\n", "")):
        assert "\x1b" not in said and "\x07" not in said and "\r" not in said
    assert r"\x1b[31mred\x1b[0m" in run.log_tail


def test_a_program_of_skipjack_that_cannot_be_started_is_reported(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after an upgrade that failed halfway and left no interpreter."""
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert cli.main(["run", "a", "--settings", str(worker.settings)]) == 1
    assert "/nowhere/python: cannot be started: No such file or directory" in capsys.readouterr().err
