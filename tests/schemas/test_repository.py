import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.config.sources import MAX_BYTES
from schemas.errors import SkipjackError
from schemas.git import git_remedies
from schemas.git.repository import fetch
from schemas.records import Repository

from .conftest import Origin


def paths(origin: Origin, path: str = ".") -> list[str]:
    return [file.path for file in fetch(origin.record._replace(path=path), origin.checkout).files]


def refusal(repository: Repository, checkout: Path, applied: str | None = None) -> str:
    with pytest.raises(SkipjackError) as caught:
        fetch(repository, checkout, applied)
    return str(caught.value)


def test_the_newest_revision_is_read(origin: Origin) -> None:
    commit = origin.git("rev-parse", "HEAD")
    revision = fetch(origin.record, origin.checkout)
    assert revision.commit == commit
    assert revision.committed_at == float(origin.git("log", "-1", "--format=%ct"))
    assert [(file.path, file.data) for file in revision.files] == [("debian.yml", b"retry: 1\n")]


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("1700000000 +0100", 1700000000.0),
        ("253402300800 +0000", 253402214400.0),
        ("9223372036854775807 +0000", 253402214400.0),
        (f"{'9' * 400} +0000", 253402214400.0),
        ("0 +99999", 0.0),
        ("-5 +0000", 0.0),
        ("1700000000", 0.0),
        ("yesterday", 0.0),
    ],
)
def test_a_commit_may_have_any_date_and_gets_one_that_can_be_shown(origin: Origin, date: str, seconds: float) -> None:
    tree, head = origin.git("rev-parse", "HEAD^{tree}"), origin.git("rev-parse", "HEAD")
    content = f"tree {tree}\nparent {head}\nauthor T <t@x> 0 +0000\ncommitter T <t@x> {date}\n\nA change\n"
    path = origin.work.parent / "commit"
    path.write_text(content)
    commit = origin.git("hash-object", "-t", "commit", "-w", "--literally", str(path))
    origin.git("update-ref", "refs/heads/main", commit)
    revision = fetch(origin.record, origin.checkout, applied=head)
    assert (revision.commit, revision.committed_at) == (commit, seconds)
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        assert datetime.fromtimestamp(revision.committed_at, ZoneInfo(zone)).year in (1969, 1970, 2023, 9999)


def test_a_new_commit_is_read_the_next_time(origin: Origin) -> None:
    first = fetch(origin.record, origin.checkout).commit
    second = origin.commit({"debian.yml": "retry: 2\n", "os/gnu.yml": ""})
    revision = fetch(origin.record, origin.checkout, applied=first)
    assert revision.commit == second
    assert [(file.path, file.data) for file in revision.files] == [("debian.yml", b"retry: 2\n"), ("os/gnu.yml", b"")]


def test_files_are_read_from_the_configured_folder(origin: Origin) -> None:
    origin.commit({"config/mirrors/gnu.yml": "", "config/mirrors/os/kde.yml": "", "config/other.yml": ""})
    assert paths(origin, "config/mirrors") == paths(origin, "./config//mirrors/") == ["gnu.yml", "os/kde.yml"]


def test_only_configuration_is_read(origin: Origin) -> None:
    origin.commit({"README.md": "", ".github/workflows/ci.yml": "", "os/.hidden/x.yml": "", "x.yaml": "", "x.sh": ""})
    assert paths(origin) == ["debian.yml", "x.yaml"]


def test_another_branch_can_be_followed(origin: Origin) -> None:
    origin.git("checkout", "--quiet", "-b", "next")
    commit = origin.commit({"gnu.yml": ""})
    assert fetch(origin.record._replace(branch="next"), origin.checkout).commit == commit
    assert fetch(origin.record, origin.checkout).commit != commit


def test_a_link_has_no_data_and_is_not_followed(origin: Origin) -> None:
    (origin.work / "link.yml").symlink_to("/etc/passwd")
    (origin.work / "folder").symlink_to("/etc")
    origin.commit()
    files = {file.path: file.data for file in fetch(origin.record, origin.checkout).files}
    assert files == {"debian.yml": b"retry: 1\n", "link.yml": None}


def test_schemas_of_plug_ins_are_read_from_their_folder_alone(origin: Origin) -> None:
    file = ".skipjack/schemas/git.provider.schema.json"
    (origin.work / "top" / ".skipjack" / "schemas").mkdir(parents=True)
    (origin.work / "top" / ".skipjack" / "schemas" / "link.hook.schema.json").symlink_to("/etc/passwd")
    others = [".skipjack/x.yml", ".skipjack/schemas/a.md", ".skipjack/schemas/b/c.json", f"os/{file}"]
    origin.commit({f"top/{path}": "{}" for path in (file, *others)})
    found = fetch(origin.record._replace(path="top"), origin.checkout).files
    assert [(each.path, each.data) for each in found] == [
        (file, b"{}"),
        (".skipjack/schemas/link.hook.schema.json", None),
    ]


def test_submodules_are_ignored(origin: Origin, tmp_path: Path) -> None:
    other = Origin(tmp_path / "other")
    other.commit({"evil.yml": ""})
    allow = ("-c", "protocol.file.allow=always")
    origin.git(*allow, "submodule", "--quiet", "add", "--name", "x", other.work.as_uri(), "sub.yml")
    origin.commit()
    assert paths(origin) == ["debian.yml"]


def test_of_a_large_file_only_as_much_is_read_as_shows_that_it_is_too_large(origin: Origin) -> None:
    origin.commit({"debian.yml": b"#" * (4 * MAX_BYTES), "gnu.yml": "retry: 3\n"})
    sizes = {file.path: len(file.data or b"") for file in fetch(origin.record, origin.checkout).files}
    assert sizes == {"debian.yml": MAX_BYTES + 1, "gnu.yml": 9}


def test_names_that_are_not_utf_8_are_spelled_out(origin: Origin) -> None:
    (origin.work / os.fsdecode(b"caf\xe9\n.yml")).touch()
    origin.commit()
    assert paths(origin) == [r"caf\udce9\n.yml", "debian.yml"]


def test_nothing_of_the_repository_comes_to_lie_on_disk(origin: Origin) -> None:
    origin.commit({".gitattributes": "*.yml filter=evil\n"})
    fetch(origin.record, origin.checkout)
    assert not list(origin.checkout.rglob("*.yml"))


def test_history_without_the_applied_revision_is_refused_and_the_refusal_lasts(origin: Origin) -> None:
    applied = origin.commit({"debian.yml": "retry: 2\n"})
    fetch(origin.record, origin.checkout)
    origin.git("reset", "--quiet", "--hard", "HEAD~1")
    for _ in range(2):
        assert refusal(origin.record, origin.checkout, applied) == (
            f"the branch `main` of {origin.record.url} no longer contains the revision {applied[:12]} that this"
            " machine follows. Its history was rewritten. If that was intended, run `skipjack follow --accept-rewrite`."
        )
    assert fetch(origin.record, origin.checkout).commit == origin.git("rev-parse", "HEAD")


@pytest.mark.parametrize("applied", ["0" * 40, "nonsense", ""])
def test_an_unknown_applied_revision_is_a_rewritten_history(origin: Origin, applied: str) -> None:
    assert "no longer contains the revision" in refusal(origin.record, origin.checkout, applied)


def test_a_missing_branch_is_reported_with_the_default_branch(origin: Origin) -> None:
    assert refusal(origin.record._replace(branch="nope"), origin.checkout) == (
        f"the branch `nope` does not exist in {origin.record.url}. "
        "The default branch is `main`: set `repository.branch: main` in the settings."
    )


def test_a_renamed_default_branch_is_reported_also_with_a_checkout(origin: Origin) -> None:
    fetch(origin.record, origin.checkout)
    origin.git("branch", "-m", "main", "trunk")
    assert refusal(origin.record, origin.checkout).endswith("set `repository.branch: trunk` in the settings.")
    assert fetch(origin.record._replace(branch="trunk"), origin.checkout).files


def test_no_failure_is_its_own_cause(origin: Origin) -> None:
    """A loop over the causes of an error must end."""
    fetch(origin.record, origin.checkout)
    origin.git("branch", "-m", "main", "trunk")
    with pytest.raises(SkipjackError) as raised:
        fetch(origin.record, origin.checkout)
    causes: list[BaseException] = [raised.value]
    while (cause := causes[-1].__cause__) is not None:
        assert cause not in causes
        causes.append(cause)


def test_an_empty_remote_repository_has_no_branch_to_name(origin: Origin, tmp_path: Path) -> None:
    origin.git("init", "-q", "--bare", str(tmp_path / "empty.git"))
    url = (tmp_path / "empty.git").as_uri()
    assert refusal(Repository(url), origin.checkout) == (
        f"the branch `main` does not exist in {url}. "
        "Push it, or set `repository.branch` in the settings to an existing one."
    )


@pytest.mark.parametrize("path", ["nope", "debian.yml", "debian.yml/x", "config/nope"])
def test_a_missing_folder_is_reported(origin: Origin, path: str) -> None:
    origin.commit({"config/x.yml": ""})
    assert refusal(origin.record._replace(path=path), origin.checkout) == (
        f"the branch `main` of {origin.record.url} has no folder `{path}`. Set `repository.path` in the settings."
    )


def test_a_missing_repository_is_reported_and_the_checkout_stays_usable(origin: Origin, tmp_path: Path) -> None:
    fetch(origin.record, origin.checkout)
    assert "cannot fetch" in refusal(Repository((tmp_path / "nothing").as_uri()), origin.checkout)
    assert fetch(origin.record, origin.checkout).files


def test_an_unreachable_server_is_reported(tmp_path: Path, dead_port: int) -> None:
    url = f"git://127.0.0.1:{dead_port}/x.git"
    reported = refusal(Repository(url), tmp_path)
    assert f"cannot fetch the branch `main` of {url}: " in reported and "Connection refused" in reported
    assert "Check `repository.url` in the settings." in reported
    line = reported.partition("To run git as Skipjack does: `sudo -H -u ")[2].rstrip("`").partition(" ")[2]
    assert line.endswith(f"git ls-remote {url}")
    done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode and "Connection refused" in done.stderr, "the line is one that runs"


@pytest.mark.parametrize(
    ("reason", "todo"),
    [
        (
            "fatal: unable to access 'https://h/x/': Could not resolve host: h",
            "Check the host name in `repository.url`",
        ),
        ("ssh: Could not resolve hostname h: Name or service not known", "Check the host name in `repository.url`"),
        ("gnutls_handshake() failed: An unexpected TLS packet was received.", "write `http://` in `repository.url`"),
        ("error:0A00010B:SSL routines::wrong version number", "write `http://` in `repository.url`"),
        ("Recv failure: Connection reset by peer", "write `https://` in `repository.url`"),
        (
            "SSL: certificate subject name (x) does not match target host name 'h'",
            "The certificate is for another name",
        ),
        (
            "SSL: no alternative certificate subject name matches target host name",
            "The certificate is for another name",
        ),
        ("SSL certificate problem: certificate has expired", "Renew the certificate"),
        ("SSL certificate problem: self-signed certificate", "git config --global http.sslCAInfo FILE"),
        (
            "server certificate verification failed. CAfile: none CRLfile: none",
            "git config --global http.sslCAInfo FILE",
        ),
        (
            "/usr/bin/timeout: fork system call failed: Resource temporarily unavailable",
            "(`ulimit -u`, `ulimit -n`) or of the unit",
        ),
        ("error: cannot create async thread: Resource temporarily unavailable", "Raise the limit of the user"),
        ("fatal: unable to create temporary file: Too many open files", "Raise the limit of the user"),
        ("Host key verification failed.", "the host's key, and accept it"),
        ("git@h: Permission denied (publickey).", "a key or a password with read access"),
        ("fatal: could not read Username for 'https://h': terminal prompts disabled", "a key or a password"),
        ("ssh: connect to host h port 22: Connection timed out", "no firewall blocks it. Check `repository.url`"),
        (
            "fatal: repository 'http://h/x' not found",
            "Check `repository.url` in the settings. To run git as Skipjack",
        ),
    ],
)
def test_each_failure_has_a_remedy(reason: str, todo: str) -> None:
    assert todo in git_remedies.remedy(reason, "https://h/x", Path("/c"))


@pytest.mark.parametrize(
    ("url", "typed"),
    [
        ("ssh://git@h:22/x", "ssh://git@h:22/x"),
        ("ssh://git:s3cret@h/x", "ssh://h/x"),
        ("git@h:x", "git@h:x"),
        ("https://u:s3cret@h/x", "https://h/x"),
    ],
)
def test_the_line_that_runs_git_has_the_user_of_ssh_and_no_secret(url: str, typed: str) -> None:
    assert git_remedies.remedy("", url, Path("/c")).endswith(f"git ls-remote {typed}`")


@pytest.mark.parametrize("password", ["s3cret", "s3cret@s3cret", "s3cret:s3cret"])
def test_a_password_in_the_address_is_never_shown(tmp_path: Path, dead_port: int, password: str) -> None:
    reported = refusal(Repository(f"http://somebody:{password}@127.0.0.1:{dead_port}/x.git"), tmp_path)
    assert f"http://127.0.0.1:{dead_port}/x.git" in reported
    assert "s3cret" not in reported and "somebody" not in reported


@pytest.mark.parametrize("rest", ["x.git?private_token=s3cret", "x.git?s3cret", "x.git#s3cret", "x.git?a=b&c=s3cret#d"])
def test_a_query_in_the_address_is_never_shown(tmp_path: Path, dead_port: int, rest: str) -> None:
    reported = refusal(Repository(f"http://127.0.0.1:{dead_port}/{rest}"), tmp_path)
    assert f"http://127.0.0.1:{dead_port}/x.git{rest[5]}***" in reported
    assert "s3cret" not in reported


def test_a_server_that_does_not_answer_times_out_and_its_password_is_masked(tmp_path: Path, deaf: int) -> None:
    reported = refusal(Repository(f"http://somebody:s3cret@127.0.0.1:{deaf}/x.git", timeout=1), tmp_path)
    assert "it took longer than 1s" in reported
    assert "s3cret" not in reported


def test_an_address_that_names_a_program_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = tmp_path / "proof"
    (tmp_path / ".gitconfig").write_text("[protocol]\n\tallow = always\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    reported = refusal(Repository(f"ext::touch {proof}"), tmp_path / "checkout")
    assert "transport 'ext' not allowed" in reported
    assert not proof.exists()


def test_the_environments_git_variables_are_not_obeyed(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"):
        monkeypatch.setenv(name, "/nonexistent")
    assert paths(origin) == ["debian.yml"]
    assert not [name for name in os.environ if name.startswith("GIT_DIR")]


def test_without_git_the_package_to_install_is_reported(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert refusal(origin.record, origin.checkout) == (
        "the program `git` is not installed. Install the package `git`."
    )  # fmt: skip


@contextmanager
def git_daemon(base: Path, port: int) -> Iterator[None]:
    folder = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()
    words = ["--export-all", "--reuseaddr", "--verbose", "--listen=127.0.0.1", f"--port={port}", f"--base-path={base}"]
    with subprocess.Popen([f"{folder}/git-daemon", *words, str(base)], stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        try:
            assert "Ready to rumble" in daemon.stderr.readline()
            yield
        finally:
            daemon.terminate()


def test_a_real_server_is_followed_from_commit_to_commit(origin: Origin, tmp_path: Path, dead_port: int) -> None:
    with git_daemon(tmp_path, dead_port):
        repository = Repository(f"git://127.0.0.1:{dead_port}/origin/.git", timeout=300)
        first = fetch(repository, origin.checkout)
        assert [file.path for file in first.files] == ["debian.yml"]
        commit = origin.commit({"gnu.yml": ""})
        second = fetch(repository, origin.checkout, first.commit)
        assert (second.commit, len(second.files)) == (commit, 2)
