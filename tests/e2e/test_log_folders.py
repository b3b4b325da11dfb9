"""A mirror's own folder for its logs, from its definition to the run."""

from pathlib import Path

from tests.e2e.parts import ConfigRepository, RsyncDaemon, Worker


def test_a_run_keeps_its_logs_in_the_mirrors_own_folder_and_passes_it_to_commands(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    own = worker.folder / "logs/deep/er"
    text = f"upstream: {upstream.url('files')}\nlog_dir: {own}\nexec_on_success: [printenv TUNASYNC_LOG_DIR]\n"
    repository.commit({"m.yml": text}, "Declare m")

    worker.command("once")

    assert worker.states() == {"m": "success"}
    assert (own / "latest").read_text().splitlines()[-1] == str(own)
    assert not (worker.folder / "logs/m").exists()
    assert f"logs:       {own}," in worker.command("run", "m", "--dry-run").stdout


def test_a_folder_elsewhere_needs_the_machines_leave(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker, tmp_path: Path
) -> None:
    own = tmp_path / "elsewhere/m"
    repository.commit({"m.yml": f"upstream: {upstream.url('files')}\nlog_dir: {own}\n"}, "Declare m")

    refused = worker.command("once", check=False)

    assert f"The folder {own} does not lie below this worker's `log_dir`" in refused.stderr + refused.stdout
    assert not own.exists()
    policy = worker.folder / "policy.yml"
    policy.write_text(policy.read_text() + f"log_roots: [{own.parent}]\n")
    worker.command("once")
    assert "sent" in (own / "latest").read_text()


def test_of_two_mirrors_with_one_folder_the_second_waits_until_that_is_corrected(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    text = f"upstream: {upstream.url('files')}\nlog_dir: {worker.folder}/logs/both\n"
    repository.commit({"a.yml": text, "b.yml": text}, "Declare both")

    told = worker.command("once", check=False)

    assert "b.yml:2:10: `b` has the same `log_dir` as `a` (a.yml)." in told.stderr + told.stdout
    assert worker.states() == {"a": "success"}
    repository.commit({"b.yml": text.replace("both", "b")}, "Part them")
    worker.command("once")
    assert worker.states() == {"a": "success", "b": "success"}
