"""The example plug-in: the provider `git` against a real server."""

from pathlib import Path

import pytest

from tests.e2e.parts import ConfigRepository
from tests.e2e.plugin_parts import Environment, GitDaemon, PluginWorker, git, push


@pytest.fixture
def worker(tmp_path: Path, example: Environment, repository: ConfigRepository) -> PluginWorker:
    """A worker with the example plug-in, which its policy allows."""
    worker = PluginWorker(tmp_path / "w", "w1", repository.url)
    worker.environment = example
    worker.allow("providers: [rsync, git]")
    return worker


def declare(repository: ConfigRepository, upstream: str, more: str = "") -> None:
    text = f"provider: git\nupstream: '{upstream}'\nmeasure_size: false\n{more}"
    repository.commit({"project.yml": text}, "Declare project")


def sync(worker: PluginWorker) -> str:
    """Follow and sync; gives the status."""
    worker.command("follow")
    worker.command("run", "project", check=False)
    return worker.run_of("project").status


def branches(worker: PluginWorker) -> set[str]:
    listed = git(worker.root / "project", "for-each-ref", "--format=%(refname:short)")
    return set(listed.splitlines())


def commits(worker: PluginWorker, branch: str = "HEAD") -> int:
    return int(git(worker.root / "project", "rev-list", "--count", branch))


def test_branches_and_tags_follow_the_upstream(
    worker: PluginWorker, repository: ConfigRepository, source: GitDaemon
) -> None:
    push(source, "project", "side", branch="side")
    declare(repository, source.url("project"))
    assert sync(worker) == "success"
    assert (branches(worker), commits(worker)) == ({"trunk", "side", "v1"}, 2)
    first = worker.run_of("project")
    assert first.files == 3
    assert first.bytes and first.bytes > 10_000, "each commit has 5 kB that cannot be compressed"

    push(source, "project", "three")
    git(source.root / "project", "branch", "-D", "side")
    assert sync(worker) == "success"

    assert (branches(worker), commits(worker)) == ({"trunk", "v1"}, 3)
    second = worker.run_of("project")
    assert second.files == 2
    assert second.bytes and second.bytes < first.bytes


def test_a_clone_checks_out_the_default_branch_of_the_upstream(
    worker: PluginWorker, repository: ConfigRepository, source: GitDaemon, tmp_path: Path
) -> None:
    declare(repository, source.url("project"))
    assert sync(worker) == "success"
    git(tmp_path, "clone", "-q", str(worker.root / "project"), "copy")
    assert git(tmp_path / "copy", "branch", "--show-current") == "trunk"
    assert (tmp_path / "copy/two").exists()


def test_depth_limits_the_history_and_without_it_the_rest_is_fetched(
    worker: PluginWorker, repository: ConfigRepository, source: GitDaemon
) -> None:
    declare(repository, source.url("project"), "git: {depth: 1}\n")
    assert sync(worker) == "success"
    assert commits(worker) == 1

    declare(repository, source.url("project"))
    assert sync(worker) == "success"

    assert commits(worker) == 2


def test_one_branch_is_mirrored_alone(worker: PluginWorker, repository: ConfigRepository, source: GitDaemon) -> None:
    push(source, "project", "side", branch="side")
    declare(repository, source.url("project"), "git: {branch: side}\n")
    assert sync(worker) == "success"
    assert branches(worker) == {"side"}
    assert git(worker.root / "project", "symbolic-ref", "HEAD") == "refs/heads/side"


def test_a_run_continues_where_a_killed_one_ended(
    worker: PluginWorker, repository: ConfigRepository, source: GitDaemon
) -> None:
    """As after a kill in the middle of the first fetch."""
    place = worker.root / "project"
    git(worker.root, "init", "-q", "--bare", "project")
    (place / "objects/pack/tmp_pack_x").write_bytes(b"PACK")
    (place / "HEAD").unlink()
    declare(repository, source.url("project"))
    assert sync(worker) == "success"
    assert commits(worker) == 2


def test_an_upstream_that_does_not_answer_is_reported_and_tried_again_soon(
    worker: PluginWorker, repository: ConfigRepository, source: GitDaemon
) -> None:
    declare(repository, source.url("project"), "interval: 30d\nretry_after_failure: 10m\n")
    source.stop()

    assert sync(worker) == "failed"

    run = worker.run_of("project")
    assert run.exit_code == 75
    assert "the upstream did not answer" in run.reason or "Connection refused" in run.reason
    assert "early retry: its upstream was unreachable" in worker.command("next").stdout


def test_an_upstream_without_such_a_repository_fails_with_the_servers_words(
    worker: PluginWorker, repository: ConfigRepository, source: GitDaemon
) -> None:
    declare(repository, source.url("nothing"))
    assert sync(worker) == "failed"
    assert "access denied or repository not exported" in worker.run_of("project").reason


def test_an_address_starts_no_program(worker: PluginWorker, repository: ConfigRepository, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    declare(repository, f"ext::sh -c touch% {marker}")
    worker.command("follow", check=False)
    worker.command("run", "project", check=False)
    assert not marker.exists()


def test_variables_of_a_definition_do_not_replace_those_that_protect_the_worker(
    worker: PluginWorker, repository: ConfigRepository, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    worker.allow("allowed_env: [default, GIT_ALLOW_PROTOCOL=*]")
    declare(repository, f"ext::sh -c touch% {marker}", "env: {GIT_ALLOW_PROTOCOL: ext}\n")
    worker.command("follow", check=False)
    worker.command("run", "project", check=False)
    assert not marker.exists()
