"""A password that is for one upstream: what follow checked is checked again right before it is sent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base.state_dir import StateLayout
from runner.courier.upstream_probe import probe
from runner.plan import plan
from runner.run.parts import machine_of
from tests.e2e.parts import ConfigRepository, RsyncDaemon, Worker


class Site:
    """A worker with a mirror of an upstream with a password, and another password that is for another host."""

    def __init__(self, worker: Worker, upstream: RsyncDaemon, folder: Path) -> None:
        self.worker, self.log = worker, folder / "locked/rsyncd.log"
        self.mine, self.other = worker.folder / "mine/password", worker.folder / "other/password"
        for path in (self.mine, self.other):
            path.parent.mkdir()
        self.mine.write_text("right\n")
        self.other.write_text("the password of another upstream\n")
        self.upstream = upstream

    def let(self, *entries: str) -> None:
        """Write the policy's `readable`."""
        (self.worker.folder / "policy.yml").write_text(f"readable: [{', '.join(entries)}]\n")

    def asked(self) -> int:
        """Return the number of connections to the upstream."""
        return self.log.read_text().count("connect from")


@pytest.fixture
def site(tmp_path: Path, tree: Path, worker: Worker) -> Iterator[Site]:
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "secrets").write_text("mirror:right\n")
    (folder / "secrets").chmod(0o600)
    (tree / "stamp").write_text("1709640000")
    with RsyncDaemon(folder, {"files": tree}, f"auth users = mirror\nsecrets file = {folder}/secrets") as daemon:
        yield Site(worker, daemon, tmp_path)


def bound(path: Path, host: str) -> str:
    return f"{{path: {path}, upstreams: [{host}]}}"


@pytest.mark.parametrize("provider", ["rsync", "two-stage-rsync"])
def test_a_link_in_the_place_of_a_password_sends_no_other_one(
    repository: ConfigRepository, site: Site, provider: str
) -> None:
    worker = site.worker
    site.let(bound(site.mine.parent, "127.0.0.1"), bound(site.other.parent, "rsync.example.org"))
    more = "stage1_profile: debian\n" if provider == "two-stage-rsync" else ""
    text = (
        f"provider: {provider}\n{more}username: mirror\npassword: {{file: {site.mine}}}\nfreshness: {{file: stamp}}\n"
    )
    repository.commit({"m.yml": f"{text}upstream: {site.upstream.url('files')}\n"}, "Add m")
    worker.command("once")
    assert worker.run_of("m").status == "success"
    before = site.asked()

    site.mine.unlink()
    site.mine.symlink_to(site.other)
    done = worker.command("run", "m", check=False)

    run = worker.run_of("m")
    assert (done.returncode, run.status) == (1, "refused")
    assert run.reason.startswith(
        f"`password` names {site.mine}, which is only for the rsync daemon on rsync.example.org"
    )
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        planned, machine = opened.mirror("m"), machine_of(StateLayout(str(worker.state)), opened.header)
    assert planned is not None
    assert "no comparison: `password` names" in probe(planned, machine).problem
    assert site.asked() == before, "there was no connection"

    site.mine.unlink()
    site.mine.write_text("right\n")
    worker.command("run", "m")
    assert worker.run_of("m").status == "success"


def test_a_link_to_a_secret_of_the_worker_is_refused(repository: ConfigRepository, site: Site) -> None:
    worker = site.worker
    text = f"upstream: {site.upstream.url('files')}\nusername: mirror\npassword: {{file: {site.mine}}}\n"
    repository.commit({"m.yml": text}, "Add m")
    worker.command("once")
    before = site.asked()

    for target, words in (
        (worker.folder / "policy.yml", "which is a secret of the worker itself"),
        (Path("/etc/passwd"), "but only files in"),
        (worker.folder, "which is not a regular file"),
    ):
        site.mine.unlink()
        site.mine.symlink_to(target)
        worker.command("run", "m", check=False)
        run = worker.run_of("m")
        assert (run.status, words in run.reason) == ("refused", True), run.reason
    assert site.asked() == before


def test_a_plan_of_an_earlier_release_keeps_its_runs(repository: ConfigRepository, site: Site) -> None:
    worker = site.worker
    text = f"upstream: {site.upstream.url('files')}\nusername: mirror\npassword: {{file: {site.mine}}}\n"
    repository.commit({"m.yml": text}, "Add m")
    worker.command("follow")
    layout = StateLayout(str(worker.state))
    with plan.opened(layout.plan) as opened:
        header, mirrors = opened.header._replace(passwords=None), opened.mirrors()
    plan.write(layout.plan, header, mirrors)

    worker.command("run", "m")

    assert worker.run_of("m").status == "success"
