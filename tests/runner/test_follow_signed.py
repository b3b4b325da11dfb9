"""`follow` with `verify_signatures`: what is not signed by an allowed key changes nothing and is shown everywhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.base.state_dir import StateLayout
from runner.courier import courier
from runner.plan import plan
from runner.plan.plan import Header
from schemas.config.settings import load_runner
from tests.e2e.parts import ConfigRepository, Worker
from tests.schemas.signing import ALICE, key_print, public, ssh_key

from .scripted_manager import Answer, Serve

DEFINITION = "provider: command\nupstream: https://files.example/\ncommand: /bin/true\n"


class Person:
    """A person who commits to a config repository with a key."""

    def __init__(self, repository: ConfigRepository, key: Path) -> None:
        self.key = key
        self._repository = repository
        repository.git("config", "gpg.format", "ssh")
        repository.git("config", "user.signingkey", str(key))

    def commit(self, files: dict[str, str | None], *, signed: bool = True) -> str:
        """Commit and push files, and return the commit."""
        self._repository.git("config", "commit.gpgsign", str(signed).lower())
        return self._repository.commit(files, "A change")


@pytest.fixture
def repository(tmp_path: Path) -> ConfigRepository:
    return ConfigRepository(tmp_path)


@pytest.fixture
def alice(tmp_path: Path, repository: ConfigRepository) -> Person:
    """Alice, whose key signs the first revision."""
    found = Person(repository, ssh_key(tmp_path / "alice"))
    files = {"_site.yml": "title: x\n", "_workers.yml": "workers: {w1: {}}\n", "_defaults.yml": "worker: w1\n"}
    found.commit({**files, "a.yml": DEFINITION})
    return found


@pytest.fixture
def worker(tmp_path: Path, repository: ConfigRepository, alice: Person) -> Worker:
    made = Worker(tmp_path / "w", "w1", repository.url)
    (tmp_path / "allowed").write_text(f"{ALICE} {public(alice.key)}\n")
    verify(made, f"{{allowed_signers: {tmp_path}/allowed}}")
    return made


def verify(worker: Worker, rules: str) -> None:
    """Add `verify_signatures` to a worker's settings."""
    text = worker.settings.read_text()
    worker.settings.write_text(text.replace("'}", f"', verify_signatures: {rules}}}", 1))


def header(worker: Worker) -> Header:
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        return opened.header


def mirrors(worker: Worker) -> list[str]:
    with plan.opened(StateLayout(str(worker.state)).plan) as opened:
        return [each.mirror.name for each in opened.mirrors()]


def upcoming(worker: Worker) -> dict[str, object]:
    plain: dict[str, object] = json.loads(worker.command("next", "--json").stdout)
    return plain


def test_the_plan_names_who_signed_what_runs(worker: Worker, alice: Person, repository: ConfigRepository) -> None:
    worker.command("follow")
    commit = repository.git("rev-parse", "HEAD")
    found = upcoming(worker)
    assert [found[key] for key in ("revision", "signer", "signing_key")] == [commit, ALICE, key_print(alice.key)]
    line = f"revision {commit[:12]}, signed by {ALICE} with the key {key_print(alice.key)}\n"
    assert line in worker.command("next").stdout
    worker.command("follow", "--again")
    assert header(worker).signer == ALICE, "nothing was new"


def test_an_unsigned_revision_is_rejected_and_shown_until_it_is_replaced(
    worker: Worker, alice: Person, repository: ConfigRepository
) -> None:
    worker.command("follow")
    good = repository.git("rev-parse", "HEAD")
    bad = alice.commit({"b.yml": DEFINITION, "a.yml": None}, signed=False)

    for _time in range(2):  # also when the plan knows it already
        done = worker.command("follow", check=False)
        assert done.returncode == 1
        assert f"the revision {bad[:12]} is rejected by `verify_signatures`: commit {bad[:12]} ".lower() in (
            done.stderr.lower()
        )
        assert "has no signature. Replace it on the branch" in done.stderr
        assert f"the newest revision is rejected; {good[:12]} stays in force" in done.stderr
    found = header(worker)
    assert (found.revision, found.seen, found.signer) == (good, bad, ALICE)
    assert mirrors(worker) == ["a"]
    problems = str(upcoming(worker)["problems"])
    assert "has no signature" in problems
    assert f"Revision {bad[:12]} is rejected; revision {good[:12]} stays in use" in problems

    repository.git("reset", "-q", "--hard", good)
    repository.git("push", "-q", "--force", "origin", "HEAD")
    worker.command("follow")
    assert upcoming(worker)["problems"] == []
    signed = alice.commit({"b.yml": DEFINITION})
    worker.command("follow")
    assert (header(worker).revision, mirrors(worker)) == (signed, ["a", "b"])


def test_reports_have_the_signer_and_the_rejected_revision(
    worker: Worker, alice: Person, repository: ConfigRepository, serve: Serve
) -> None:
    asked: list[dict[str, Any]] = []

    def says(report: dict[str, Any], _count: int) -> Answer:
        asked.append(report)
        return (200, b'{"acknowledged": 0}') if "journal" in report else (404, b"{}")

    worker.report_to(serve(says).url, "x" * 43)
    worker.command("follow")
    good = repository.git("rev-parse", "HEAD")
    bad = alice.commit({"b.yml": DEFINITION}, signed=False)
    for rejected in (None, bad):
        courier.once(load_runner(worker.settings), worker.settings, start=False)
        found = [each for each in asked if "journal" in each][-1]
        assert [found[key] for key in ("revision", "rejected", "signer", "signing_key")] == [
            good, rejected, ALICE, key_print(alice.key)
        ]  # fmt: skip
        worker.command("follow", check=False)
    assert any("has no signature" in each["what"] for each in found["problems"])


def test_a_key_that_is_allowed_later_brings_the_revision_into_force(
    worker: Worker, repository: ConfigRepository, tmp_path: Path
) -> None:
    worker.command("follow")
    bob = Person(repository, ssh_key(tmp_path / "bob"))
    commit = bob.commit({"b.yml": DEFINITION})
    assert "is not allowed now: `allowed_signers` does not list it" in worker.command("follow", check=False).stderr
    with (tmp_path / "allowed").open("a") as file:
        file.write(f"bob@example.org {public(bob.key)}\n")
    worker.command("follow")
    assert (header(worker).revision, header(worker).signer) == (commit, "bob@example.org")


def test_the_policy_of_the_machine_applies_although_the_newest_revision_is_rejected(
    worker: Worker, alice: Person
) -> None:
    worker.command("follow")
    alice.commit({"b.yml": DEFINITION}, signed=False)
    worker.command("follow", check=False)
    with (worker.folder / "policy.yml").open("a") as file:
        file.write("providers: [rsync]\n")
    worker.command("follow", check=False)
    assert mirrors(worker) == []


def test_an_unreadable_file_of_keys_keeps_the_revision_in_force(worker: Worker, alice: Person, tmp_path: Path) -> None:
    worker.command("follow")
    good = header(worker).revision
    alice.commit({"b.yml": DEFINITION})
    (tmp_path / "allowed").chmod(0o666)
    told = worker.command("follow", check=False).stderr
    assert f"{tmp_path}/allowed can be changed by other users, so it proves nothing" in told
    (tmp_path / "allowed").rename(tmp_path / "away")
    assert f"cannot read {tmp_path}/allowed: No such file" in worker.command("follow", check=False).stderr
    assert header(worker).revision == good


def test_a_new_machine_starts_with_a_signed_revision_only(worker: Worker, alice: Person) -> None:
    alice.commit({"b.yml": DEFINITION}, signed=False)
    done = worker.command("follow", check=False)
    assert done.returncode == 1
    assert "has no signature" in done.stderr
    assert "Until then no mirror runs: this worker has no usable plan." in done.stderr
    alice.commit({"c.yml": DEFINITION})
    worker.command("follow")
    assert mirrors(worker) == ["a", "b", "c"]


def test_an_accepted_rewrite_must_be_signed_as_well(
    worker: Worker, alice: Person, repository: ConfigRepository
) -> None:
    worker.command("follow")
    good = header(worker).revision
    repository.git("checkout", "-q", "--orphan", "other")
    for signed in (False, True):
        alice.commit({"b.yml": DEFINITION, "c.yml": str(signed)}, signed=signed)
        repository.git("push", "-q", "--force", "origin", "HEAD:main")
        assert "no longer contains the revision" in worker.command("follow", check=False).stderr
        done = worker.command("follow", "--accept-rewrite", check=False)
        if not signed:
            assert "has no signature" in done.stderr
            assert header(worker).revision == good
    assert header(worker).revision == repository.git("rev-parse", "HEAD")


def test_a_pin_needs_no_new_signature_and_its_end_verifies_all_since(
    worker: Worker, alice: Person, repository: ConfigRepository, tmp_path: Path
) -> None:
    worker.command("follow")
    first = repository.git("rev-parse", "HEAD")
    bob = Person(repository, ssh_key(tmp_path / "bob"))
    allowed = tmp_path / "allowed"
    only_alice = allowed.read_text()
    allowed.write_text(f"{only_alice}bob@mirrors.example {public(bob.key)}\n")
    bob.commit({"b.yml": DEFINITION})
    worker.command("follow")
    # Bob's key turns out to be stolen: back to Alice's revision, which the signer of then stands for.
    allowed.write_text(only_alice)
    worker.command("pin", first[:10], "--until", "1d")
    assert (header(worker).revision, header(worker).signer, mirrors(worker)) == (first, ALICE, ["a"])
    Person(repository, alice.key)
    newest = alice.commit({"c.yml": DEFINITION})
    for command in ("follow", "unpin", "follow"):
        done = worker.command(command, check=False)
        assert done.returncode == 1
        assert "which is not allowed now" in done.stderr, "Bob's commit was in force before, and is verified again"
        assert (header(worker).revision, header(worker).seen, mirrors(worker)) == (first, newest, ["a"])
    worker.command("follow", "--accept-rewrite")
    assert (header(worker).revision, header(worker).signer, mirrors(worker)) == (newest, ALICE, ["a", "b", "c"])


def test_a_pin_replaces_a_revision_while_the_newest_is_not_signed(
    worker: Worker, alice: Person, repository: ConfigRepository
) -> None:
    worker.command("follow")
    first = repository.git("rev-parse", "HEAD")
    alice.commit({"b.yml": DEFINITION})
    worker.command("follow")
    bad = alice.commit({"c.yml": DEFINITION}, signed=False)
    worker.command("follow", check=False)
    worker.command("pin", first, "--until", "1d")
    assert mirrors(worker) == ["a"]
    done = worker.command("follow", check=False)
    assert (done.returncode, header(worker).seen, mirrors(worker)) == (1, bad, ["a"])
    assert "has no signature" in done.stderr
    assert worker.command("follow", check=False).returncode == 1
    assert mirrors(worker) == ["a"]
