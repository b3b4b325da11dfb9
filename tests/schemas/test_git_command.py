"""How git is run, and which reason of a failure is shown."""

import base64
import contextlib
import functools
import http.server
import importlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import pytest

from schemas.errors import SkipjackError
from schemas.git.git_command import Git, GitFailed, GitResult, _reason
from schemas.git.repository import Rewritten, fetch
from schemas.records import Repository

from .conftest import Origin
from .damage import git

SSH = """ssh: connect to host git.example.org port 22: Connection refused
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"""
CHANGED_KEY = """@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Host key verification failed.
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"""


@pytest.mark.parametrize(
    ("status", "said", "reason"),
    [
        (128, SSH, "ssh: connect to host git.example.org port 22: Connection refused"),
        (128, CHANGED_KEY, "Host key verification failed"),
        (128, "warning: redirecting to https://h/\nremote: Gone.\nfatal: repository 'https://h/' not found\n",
         "fatal: repository 'https://h/' not found"),
        (128, "fatal: unable to connect to h:\nh[0: ::1]: errno=Connection refused\n\n",
         "fatal: unable to connect to h: h[0: ::1]: errno=Connection refused"),
        (1, "error: object file ./x is empty\nerror: object file ./x is empty\nfatal: loose object\n",
         "error: object file ./x is empty"),
        (128, "fatal: unable to access 'https://u:p4ss@h/x?token=t0k/': refused\n",
         "fatal: unable to access 'https://h/x?***': refused"),
        (3, "", "git exited with 3"),
        (1, "fatal: Could not read from remote repository.\n", "fatal: Could not read from remote repository"),
        (-9, "", "git was killed by signal 9"),
    ],
)  # fmt: skip
def test_the_reason_is_the_first_useful_line_without_secrets(status: int, said: str, reason: str) -> None:
    assert _reason(GitResult(status, "", said)) == reason


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home folder for git's settings."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        "[safe]\n bareRepository = explicit\n",
        "[fetch]\n prune = true\n writeCommitGraph = true\n unpackLimit = 1000\n fsckObjects = true\n all = true\n",
        "[remote]\n pushDefault = x\n[core]\n logAllRefUpdates = always\n sharedRepository = group\n",
        "[init]\n defaultObjectFormat = sha256\n defaultRefFormat = reftable\n defaultBranch = x\n",
        "[gc]\n auto = 1\n autoDetach = false\n[maintenance]\n auto = true\n",
        "[fetch]\n recurseSubmodules = true\n parallel = 0\n[transfer]\n hideRefs = refs/skipjack\n",
    ],
)
def test_the_users_settings_do_not_matter(origin: Origin, home: Path, settings: str) -> None:
    (home / ".gitconfig").write_text(settings)
    applied = fetch(origin.record, origin.checkout).commit
    commit = origin.commit({"debian.yml": "retry: 2\n"})
    assert fetch(origin.record, origin.checkout, applied).commit == commit


def test_the_users_hooks_and_templates_are_not_used(origin: Origin, home: Path, tmp_path: Path) -> None:
    hooks = home / "hooks"
    hooks.mkdir()
    for name in ("reference-transaction", "post-checkout", "post-merge"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/proof\n")
        (hooks / name).chmod(0o755)
    (home / ".gitconfig").write_text(f"[core]\n hooksPath = {hooks}\n[init]\n templateDir = {home}\n")
    fetch(origin.record, origin.checkout)
    assert not (tmp_path / "proof").exists()
    assert not (origin.checkout / "repository.git/hooks").exists()


def test_the_user_can_have_addresses_rewritten(origin: Origin, home: Path) -> None:
    (home / ".gitconfig").write_text(f'[url "{origin.work.as_uri()}"]\n insteadOf = https://git.example.org/m.git\n')
    url = "https://git.example.org/m.git"
    assert fetch(Repository(url), origin.checkout).commit == origin.git("rev-parse", "HEAD")


def test_a_repository_in_a_folder_above_is_never_used_instead(origin: Origin) -> None:
    above = origin.checkout.parent
    git(above / ".git", "init", "--quiet", "--bare")
    fetch(origin.record, origin.checkout)
    (origin.checkout / "repository.git/HEAD").write_bytes(b"")
    fetch(origin.record, origin.checkout)
    assert git(above / ".git", "for-each-ref") == ""


def test_a_repository_of_sha_256_is_followed(tmp_path: Path) -> None:
    work = tmp_path / "work"
    subprocess.run(["git", "init", "--quiet", "--object-format=sha256", "--initial-branch=main", str(work)], check=True)
    (work / "a.yml").write_text("retry: 1\n")
    for words in (["add", "."], ["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(work), *words], check=True)
    for _ in range(2):
        revision = fetch(Repository(work.as_uri()), tmp_path / "checkout")
        assert (len(revision.commit), revision.files[0].data) == (64, b"retry: 1\n")


@pytest.fixture
def fake_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in place of git that does what a test writes. GitPython asks the real one for its version."""
    importlib.import_module("git")
    path = tmp_path / "bin/git"
    path.parent.mkdir()
    path.touch(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
    return path


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("kill -9 $$", "git was killed by signal 9"),
        ("kill -11 $$", "git was killed by signal 11"),
        ("exit 124", "git exited with 124"),
        ("exit 137", "git exited with 137"),
        ("echo 'fatal: out of memory' >&2; exit 128", "fatal: out of memory"),
        ("sleep 30", "it took longer than 1s"),
    ],
)
def test_only_a_git_that_took_its_whole_time_took_too_long(
    origin: Origin, fake_git: Path, does: str, reason: str
) -> None:
    fake_git.write_text(f"#!/bin/sh\n{does}\n")
    with pytest.raises(SkipjackError) as caught:
        fetch(origin.record._replace(timeout=1 if "took" in reason else 300), origin.checkout)
    assert f": {reason}. " in str(caught.value)
    raised = "Raise `repository.timeout` in the settings (now 1s) if it needs longer."
    assert (raised in str(caught.value)) == ("took" in reason)


def test_a_fetch_without_anything_new_starts_two_gits_and_one_more_asks_for_the_history(
    origin: Origin, fake_git: Path, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    real = shutil.which("git", path=os.environ["PATH"].partition(":")[2])
    fake_git.write_text(f'#!/bin/sh\necho $* >> {calls}\nexec {real} "$@"\n')

    def counted(applied: str) -> list[str]:
        calls.write_text("")
        fetch(origin.record, origin.checkout, applied)
        known = ("fetch", "cat-file", "merge-base", "ls-remote", "rev-list", "init", "repack")
        return [word for line in calls.read_text().splitlines() for word in known if f" {word} " in f"{line} "]

    commit = fetch(origin.record, origin.checkout).commit
    assert counted(commit) == ["fetch", "cat-file"]
    origin.commit({"debian.yml": "retry: 2\n"})
    assert counted(commit) == ["fetch", "cat-file", "merge-base"]


def shallow(origin: Origin, path: Path) -> Repository:
    subprocess.run(["rm", "-rf", str(path)], check=True)
    words = ["git", "clone", "--quiet", "--bare", "--depth=1", origin.work.as_uri(), str(path)]
    subprocess.run(words, check=True)
    return Repository(path.as_uri(), timeout=300)


def test_a_shallow_clone_is_followed_from_commit_to_commit(origin: Origin, tmp_path: Path) -> None:
    applied = None
    for number in range(4):
        commit = origin.commit({"debian.yml": f"retry: {number}\n"})
        applied = fetch(shallow(origin, tmp_path / "r.git"), origin.checkout, applied).commit
        assert applied == commit


def test_a_repository_that_became_shallow_is_followed_on(origin: Origin, tmp_path: Path) -> None:
    applied = fetch(origin.record, origin.checkout).commit
    commit = origin.commit({"debian.yml": "retry: 2\n"})
    assert fetch(shallow(origin, tmp_path / "r.git"), origin.checkout, applied).commit == commit


def test_a_shallow_clone_without_the_commits_in_between_names_the_cure(origin: Origin, tmp_path: Path) -> None:
    applied = fetch(shallow(origin, tmp_path / "r.git"), origin.checkout).commit
    for number in range(2):
        commit = origin.commit({"debian.yml": f"retry: {number}\n"})
    repository = shallow(origin, tmp_path / "r.git")
    for _ in range(2):
        with pytest.raises(Rewritten, match=r"comes from a shallow clone.* Run `git fetch --unshallow` in that repos"):
            fetch(repository, origin.checkout, applied)
    git(tmp_path / "r.git", "fetch", "--quiet", "--unshallow", origin.work.as_uri(), "main")
    assert fetch(repository, origin.checkout, applied).commit == commit


def synced(origin: Origin, record: Repository, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return what git syncs in a fetch, by the setting in its command lines."""
    found, words = set(), Git._words

    def recorded(repo: Git, *given: str) -> list[str]:
        line = words(repo, *given)
        if given[0] == "fetch":
            found.add(next(word for word in line if word.startswith("core.fsync=")))
        return line

    with monkeypatch.context() as patch:
        patch.setattr(Git, "_words", recorded)
        fetch(record, origin.checkout)
    return found


def test_a_fetch_is_synced_unless_the_remote_repository_can_give_the_whole_history_again(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything, nothing = {"core.fsync=all"}, {"core.fsync=none"}
    assert synced(origin, origin.record, monkeypatch) == everything
    origin.commit({"debian.yml": "retry: 2\n"})
    assert synced(origin, origin.record, monkeypatch) == nothing
    shutil.rmtree(origin.checkout)
    for number in range(2):
        origin.commit({"debian.yml": f"retry: {number}\n"})
        assert synced(origin, shallow(origin, tmp_path / "r.git"), monkeypatch) == everything


def test_programs_are_started_by_their_whole_paths(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"/nowhere:{os.environ['PATH']}")
    line = Git(origin.checkout, 7, ())._words("version")
    assert (line[0], line[3]) == (shutil.which("timeout"), shutil.which("git"))


def test_an_error_of_git_has_the_words_that_people_need() -> None:
    assert str(GitFailed("fatal: no")) == "fatal: no"


def test_a_remote_of_another_owner_names_the_setting(origin: Origin, home: Path) -> None:
    (home / ".gitconfig").touch()
    os.chown(origin.work, 12345, 12345)
    os.chown(origin.work / ".git", 12345, 12345)
    refused = pytest.raises(
        SkipjackError, match=r"dubious ownership.* config --global --add safe\.directory /\S+`; system settings"
    )
    served = (
        subprocess.run(["git", "ls-remote", origin.work.as_uri()], capture_output=True, check=False).returncode == 0
    )
    with contextlib.nullcontext() if served else refused:  # git 2.53 serves it to root, earlier releases do not
        fetch(origin.record, origin.checkout)
    (home / ".gitconfig").write_text(f"[safe]\n directory = {origin.work}\n directory = {origin.work}/.git\n")
    assert fetch(origin.record, origin.checkout).files


class ProtectedRepository(http.server.SimpleHTTPRequestHandler):
    """Serves a bare repository with a password, and checks every command line meanwhile."""

    seen: ClassVar[set[str]] = set()
    credentials = "some body:p@s/s'3cret\"$(id)"

    def do_GET(self) -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                self.seen.add(path.read_bytes().decode(errors="replace").replace("\0", " "))
        wanted = base64.b64encode(self.credentials.encode()).decode()
        if self.headers["Authorization"] == f"Basic {wanted}":
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Length", "0")
        return self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Log nothing."""


@pytest.fixture
def private(origin: Origin, tmp_path: Path) -> Iterator[str]:
    bare = tmp_path / "web/m.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", origin.work.as_uri(), str(bare)], check=True)
    git(bare, "update-server-info")
    handler = functools.partial(ProtectedRepository, directory=str(bare.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}/m.git"
        server.shutdown()


def test_a_password_in_the_address_is_on_no_command_line(origin: Origin, private: str, home: Path) -> None:
    (home / ".gitconfig").write_text("[credential]\n helper = !echo username=wrong; echo password=wrong;#\n")
    user = quote("some body") + ":" + quote("p@s/s'3cret\"$(id)", safe="")
    revision = fetch(Repository(f"http://{user}@{private}", timeout=300), origin.checkout)
    assert revision.commit == origin.git("rev-parse", "HEAD")
    assert any("remote-http" in words for words in ProtectedRepository.seen), "it was looked at while git was at work"
    assert not [words for words in ProtectedRepository.seen if "3cret" in words]


@pytest.mark.parametrize("address", ["http://t0ken@", "http://t0ken:@", "http://t0%6Ben@"])
def test_a_token_as_the_user_is_on_no_command_line(
    origin: Origin, private: str, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(ProtectedRepository, "credentials", "t0ken:")
    ProtectedRepository.seen.clear()
    assert fetch(Repository(address + private, timeout=300), origin.checkout).files
    assert any("remote-http" in words for words in ProtectedRepository.seen), "it was looked at while git was at work"
    assert not [words for words in ProtectedRepository.seen if "t0ken" in words or "t0%6Ben" in words]


def test_a_credential_helper_of_the_user_is_asked_for_the_password_of_a_user(
    origin: Origin, private: str, home: Path
) -> None:
    store = "store --file=" + str(home / "stored")
    (home / "stored").write_text(
        f"http://other:wrong@{private}\nhttp://some%20body:p%40s%2Fs%273cret%22%24%28id%29@{private}\n"
    )
    (home / ".gitconfig").write_text(f"[credential]\n helper = {store}\n useHttpPath = true\n")
    assert fetch(Repository(f"http://some%20body@{private}", timeout=300), origin.checkout).files


def test_a_credential_helper_of_the_user_is_used(origin: Origin, private: str, home: Path) -> None:
    (home / "helper").write_text("#!/bin/sh\necho 'username=some body'\necho 'password=p@s/s'\"'3cret\\\"\\$(id)\"\n")
    (home / "helper").chmod(0o755)
    (home / ".gitconfig").write_text(f"[credential]\n helper = {home}/helper\n")
    assert fetch(Repository(f"http://{private}", timeout=300), origin.checkout).files


def test_a_wrong_password_is_reported_as_that(origin: Origin, private: str) -> None:
    with pytest.raises(SkipjackError, match=r"Authentication failed for 'http://127\.0\.0\.1:[0-9]+/m\.git/'"):
        fetch(Repository(f"http://u:s3cret@{private}", timeout=300), origin.checkout)
