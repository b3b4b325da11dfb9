"""Following a real git repository into a real store."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.records import Repository, SignatureRules
from sitegen.follow import Follower
from sitegen.storage.corruption import Damaged
from sitegen.storage.store import Store
from tests.cases import some
from tests.schemas.damage import DAMAGE
from tests.schemas.signing import ALICE, public, ssh_key
from tests.sitegen.kit import Manager

GOOD = {
    "_site.yml": "title: Example\ntime_zone: Asia/Shanghai\n",
    "_workers.yml": "workers:\n  w1: {}\n",
    "debian.yml": "provider: rsync\nworker: w1\nupstream: rsync://rsync.example.org/debian/\ntitle: Debian\n",
    "arch.yml": "provider: rsync\nworker: w1\nupstream: rsync://rsync.example.org/arch/\n",
}


class Origin:
    """A repository that tests commit to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._git("init", "--quiet", "--initial-branch=main", str(path))
        self.commit(GOOD)

    def commit(self, files: Mapping[str, str | None], key: Path | None = None) -> None:
        for name, text in files.items():
            if text is None:
                (self.path / name).unlink()
            else:
                (self.path / name).parent.mkdir(exist_ok=True)
                (self.path / name).write_text(text)
        self._git("-C", str(self.path), "add", "--all")
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        signed = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}") if key else ()
        sign = ["-S"] if key else []
        self._git("-C", str(self.path), *identity, *signed, "commit", "--quiet", "--message=x", *sign)

    def rewind(self) -> None:
        self._git("-C", str(self.path), "reset", "--quiet", "--hard", "HEAD^")

    def head(self) -> str:
        words = ["git", "-C", str(self.path), "rev-parse", "HEAD"]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Keep the repository out of reach for a while."""
        away = self.path.rename(self.path.with_name("away"))
        yield
        away.rename(self.path)

    def _git(self, *words: str) -> None:
        subprocess.run(["git", *words], check=True)


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")


@pytest.fixture
def follower(origin: Origin, store: Store, tmp_path: Path) -> Follower:
    return Follower(Repository(str(origin.path)), str(tmp_path / "state"), store)


def names(store: Store) -> list[str]:
    declared = store.declared()
    return [mirror.name for mirror in declared.mirrors] if declared else []


def test_a_revision_is_kept_once(follower: Follower, store: Store) -> None:
    assert follower.follow()
    assert names(store) == ["arch", "debian"]
    changes = store.changes()
    assert not follower.follow()
    assert store.changes() == changes


def test_a_removed_mirror_is_dropped_and_an_invalid_one_keeps_its_last_definition(
    origin: Origin, follower: Follower, store: Store
) -> None:
    follower.follow()
    origin.commit({"arch.yml": None, "debian.yml": "provider: nonsense\n"})
    assert follower.follow()
    declared = store.declared()
    assert declared is not None
    assert [mirror.title for mirror in declared.mirrors] == ["Debian"]
    assert any("debian.yml" in problem for problem in declared.problems)


def test_a_rejected_revision_is_recorded_once_and_the_old_one_stays(
    origin: Origin, follower: Follower, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    follower.follow()
    origin.commit({"_site.yml": "titel: Example\n"})
    assert follower.follow()
    assert not follower.follow()
    refused, unreachable = store.notes()
    assert refused is not None and "_site.yml" in refused.reason
    assert (refused.revision, unreachable) == (origin.head(), None)
    assert names(store) == ["arch", "debian"]
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    with origin.away():
        assert follower.follow()
        assert (store.notes()[0], store.notes()[1] is None) == (refused, False), "it is still refused"
    assert follower.follow()
    assert store.notes() == (refused, None), "since the same moment"
    origin.commit({"_site.yml": "title: Again\n"})
    assert follower.follow()
    assert store.notes() == (None, None)


def test_an_unsigned_revision_is_rejected_before_its_files_are_read(
    origin: Origin, store: Store, tmp_path: Path
) -> None:
    key = ssh_key(tmp_path / "alice")
    (tmp_path / "allowed").write_text(f"{ALICE} {public(key)}\n")
    rules = SignatureRules(allowed_signers=str(tmp_path / "allowed"), owner=os.geteuid())
    source = Repository(str(origin.path), verify_signatures=rules)

    def follower() -> Follower:
        return Follower(source, str(tmp_path / "state"), store)

    assert follower().follow()
    assert (names(store), store.notes()[0] is None) == ([], False), "not even the first revision"
    origin.commit({"arch.yml": None}, key)
    assert follower().follow()
    assert (names(store), store.notes()) == (["debian"], (None, None))
    origin.commit({"debian.yml": None, "_site.yml": "titel: x\n"})
    unsigned = origin.head()
    again = follower()
    assert again.follow()
    assert not again.follow()
    refused, _unreachable = store.notes()
    assert refused is not None and refused.revision == unsigned
    assert "is rejected by `verify_signatures`" in refused.reason and "has no signature" in refused.reason
    assert (names(store), again.refusal) == (["debian"], refused.reason)
    origin.commit({"_site.yml": "title: x\n"}, key)
    follower().follow()
    assert (names(store), store.notes()[0] is None) == (["debian"], False), "it does not cover the one before"
    origin.rewind()
    origin.rewind()
    assert again.follow()
    assert store.notes() == (None, None)


def test_the_note_is_cleared_when_an_unchanged_repository_can_be_fetched_again(
    origin: Origin, follower: Follower, store: Store
) -> None:
    follower.follow()
    away = origin.path.rename(origin.path.with_name("away"))
    assert follower.follow()
    refused, unreachable = store.notes()
    assert unreachable is not None and "cannot fetch" in unreachable.reason
    assert refused is None, "nothing is known of a newer revision"
    away.rename(origin.path)
    assert follower.follow()
    assert store.notes() == (None, None)


def test_a_restarted_publisher_keeps_the_configuration_without_the_repository(
    follower: Follower, store: Store, tmp_path: Path
) -> None:
    follower.follow()
    again = Follower(Repository(str(tmp_path / "gone")), str(tmp_path / "state2"), store)
    assert again.follow()
    assert names(store) == ["arch", "debian"]


def test_a_rewritten_history_is_followed_with_a_warning(
    origin: Origin, follower: Follower, store: Store, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    origin.commit({"extra.yml": GOOD["arch.yml"]})
    follower.follow()
    was = store.facts().declared
    assert was is not None
    origin.rewind()
    assert follower.follow()
    now = store.facts().declared
    assert now is not None
    assert names(store) == ["arch", "debian"]
    (problem,) = now.problems
    assert f"no longer contains the revision {was.revision[:12]}" in problem
    assert "Workers refuse it. If it was intended, run `skipjack follow --accept-rewrite` on each of them." in problem
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [problem]
    assert not follower.follow()
    again = Follower(Repository(str(origin.path)), str(tmp_path / "state"), store)
    origin.commit({"_site.yml": "title: Next\n"})
    assert again.follow()
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_publish_once_shows_what_is_declared(origin: Origin, tmp_path: Path) -> None:
    manager = Manager(tmp_path, repository={"url": str(origin.path)})
    done = manager.command("publish", "--once")
    assert done.returncode == 0, done.stderr
    status = manager.status()
    assert [(mirror["name"], mirror["status"]) for mirror in status["mirrors"]] == [
        ("arch", "none"),
        ("debian", "none"),
    ]
    assert status["site"]["time_zone"] == "Asia/Shanghai"
    manager.session.close()


def test_a_damaged_configuration_in_the_store_is_written_again(follower: Follower, store: Store) -> None:
    assert follower.follow()
    for column in ("site", "workers", "mirrors"):
        with store.transaction(writing=True) as tx:
            tx.exec_driver_sql(f"UPDATE catalogue SET {column} = '{{'")
        with pytest.raises(Damaged, match=f"catalogue 1: `{column}` cannot be read"):
            store.declared()
        assert follower.follow(), "though the revision is the same"
        assert names(store) == ["arch", "debian"]
        assert not follower.follow()


DAMAGED = (
    "empty reference", "empty HEAD", "empty objects", "flipped bits in a pack", "file for objects",
    "a named pipe for HEAD", "a named pipe for packed-refs", "named pipes for packs",
)  # fmt: skip


@pytest.mark.parametrize("kind", some(DAMAGED, every=3))
def test_a_damaged_checkout_is_replaced(
    origin: Origin, follower: Follower, store: Store, tmp_path: Path, kind: str
) -> None:
    origin.commit({"os/gnu.yml": GOOD["arch.yml"]})
    assert follower.follow()
    DAMAGE[kind](tmp_path / "state/checkout/repository.git")
    origin.commit({"debian.yml": None})
    assert follower.follow()
    assert names(store) == ["arch", "gnu"]
    assert store.notes() == (None, None)
    assert not follower.follow()


@pytest.mark.parametrize("kind", some(DAMAGED, every=3))
def test_a_damaged_checkout_keeps_the_configuration_until_the_repository_can_be_fetched(
    origin: Origin, follower: Follower, store: Store, tmp_path: Path, kind: str
) -> None:
    origin.commit({"os/gnu.yml": GOOD["arch.yml"]})
    follower.follow()
    DAMAGE[kind](tmp_path / "state/checkout/repository.git")
    away = origin.path.rename(origin.path.with_name("away"))
    assert follower.follow()
    assert names(store) == ["arch", "debian", "gnu"]
    unreachable = store.facts().unreachable
    assert unreachable is not None and "does not appear to be a git repository" in unreachable.reason
    away.rename(origin.path)
    assert follower.follow()
    assert store.notes() == (None, None)


def test_plug_ins_are_known_from_the_repository(follower: Follower, store: Store, origin: Origin) -> None:
    """A manager has none installed. A schema that cannot be used concerns only the mirrors of the plug-in."""
    file = ".skipjack/schemas/git.provider.schema.json"
    fragment = {
        "title": "Git",
        "description": "Mirrors a repository.",
        "type": "object",
        "additionalProperties": False,
        "properties": {"depth": {"type": "integer", "description": "Commits."}},
    }
    (origin.path / ".skipjack" / "schemas").mkdir(parents=True)
    text = "provider: git\nworker: w1\nupstream: https://git.example.org/p.git\ngit: {depth: 1}\n"
    origin.commit({file: json.dumps(fragment), "project.yml": text})
    assert follower.follow() and follower.refusal == ""
    assert names(store) == ["arch", "debian", "project"]
    origin.commit({file: '{"$ref": "#"}', "new.yml": text})
    assert follower.follow() and follower.refusal == ""
    assert names(store) == ["arch", "debian", "project"], "the last valid definition is kept"
    declared = store.declared()
    assert declared is not None and any(file in problem for problem in declared.problems)
