"""Revisions are followed only if allowed keys have signed them: SSH, and what holds for all formats."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.git import signatures
from schemas.git.git_command import Git
from schemas.git.repository import Revision, Rewritten, Unfetched, Unverified, fetch, fetched_last
from schemas.git.signed_commit import SignedCommit
from schemas.records import SignatureRules

from .conftest import Origin
from .signing import ALICE, BOB, KeyFiles, Signing, key_print, public, run, ssh_key

OLD = "2019-06-01T12:00:00Z"
"""A date that a signer may write into a commit, at which an expired key was valid."""


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """SSH keys by the names of their owners."""
    folder = tmp_path_factory.mktemp("keys")
    return {name: ssh_key(folder / name) for name in ("alice", "bob", "mallory")}


@pytest.fixture
def key_files(tmp_path: Path) -> KeyFiles:
    """A folder for files of keys."""
    (tmp_path / "etc").mkdir()
    return KeyFiles(tmp_path / "etc")


@pytest.fixture
def signing(origin: Origin) -> Signing:
    """What signs commits of the repository."""
    return Signing(origin)


@pytest.fixture
def allowed(key_files: KeyFiles, keys: dict[str, Path]) -> SignatureRules:
    """The setting that allows Alice and Bob."""
    return key_files.rules(allowed_signers=f"{ALICE} {public(keys['alice'])}\n{BOB} {public(keys['bob'])}\n")


def fetched(origin: Origin, rules: SignatureRules, applied: str | None = None) -> Revision:
    return fetch(origin.record._replace(verify_signatures=rules), origin.checkout, applied)


def refusal(origin: Origin, rules: SignatureRules, applied: str | None = None) -> str:
    with pytest.raises(Unverified) as caught:
        fetched(origin, rules, applied)
    assert caught.value.commit == origin.git("rev-parse", "HEAD")
    assert [each.name for each in origin.checkout.glob("signatures-*")] == []
    return str(caught.value)


def test_a_signed_revision_names_who_signed_it(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    commit = signing.commit(keys["alice"])
    found = fetched(origin, allowed)
    assert (found.commit, found.signer, found.signing_key) == (commit, ALICE, key_print(keys["alice"]))
    assert [file.path for file in found.files] == ["debian.yml"]
    assert not list(origin.checkout.glob("signatures-*"))
    assert fetched(origin, allowed, commit)[3:5] == ("", ""), "nothing is new"


def test_the_first_fetch_verifies_the_newest_commit_alone(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    assert "has no signature" in refusal(origin, allowed)
    signing.commit(keys["bob"])
    assert fetched(origin, allowed).signer == BOB


def test_each_new_commit_must_be_signed(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    applied = signing.commit(keys["alice"])
    signing.commit(keys["alice"])
    unsigned = signing.commit()
    head = signing.commit(keys["alice"])
    assert refusal(origin, allowed, applied) == (
        f"the revision {head[:12]} is rejected by `verify_signatures`: commit {unsigned[:12]} (its author is given as"
        " `T <t@example.org>`) has no signature. Replace it on the branch by a commit or merge that an allowed key"
        " signs."
    )
    with pytest.raises(Unverified):
        fetched_last(origin.record._replace(verify_signatures=allowed), origin.checkout, applied)
    assert fetched(origin, allowed._replace(require="head"), applied).commit == head
    assert fetched(origin, allowed, unsigned).commit == head, "it was in force before the setting"
    assert fetched(origin, allowed).commit == head, "as after `follow --accept-rewrite`"


@pytest.mark.parametrize("branches", [["one"], ["one", "two"]], ids=["merge", "octopus"])
def test_a_signed_merge_covers_what_it_merges(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path], branches: list[str]
) -> None:
    applied = signing.commit(keys["alice"])
    for branch in branches:
        origin.git("checkout", "--quiet", "-b", branch, applied)
        origin.commit({f"{branch}.yml": "retry: 2\n"})
    origin.git("checkout", "--quiet", "main")
    merge = signing.merge(keys["bob"], *branches)
    assert fetched(origin, allowed, applied).commit == merge
    origin.git("reset", "--quiet", "--hard", applied)
    signing.merge(None, *branches)
    assert "has no signature" in refusal(origin, allowed, applied)


def test_a_long_history_is_verified_in_parts(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signatures, "_AT_ONCE", 2)
    applied = signing.commit(keys["alice"])
    bad = signing.commit(keys["mallory"])
    for name in ("bob", "alice", "alice", "bob", "alice"):
        head = signing.commit(keys[name])
    assert f"commit {bad[:12]}" in refusal(origin, allowed, applied)
    assert fetched(origin, allowed, bad).commit == head
    monkeypatch.setattr(signatures, "MOST_COMMITS", 4)
    assert "it has more than 4 new commits. Run `skipjack follow --accept-rewrite`" in refusal(origin, allowed, bad)


def test_no_reader_waits_while_commits_are_verified(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time limit would end it, which looks like damage, and each fetch would begin again."""
    readers: list[subprocess.Popen[bytes]] = []
    verified: list[bool] = []
    started, verify = Git.reader, signatures._Check.signer

    def reader(repo: Git) -> Any:
        found = started(repo)
        readers.append(found.proc)
        return found

    def signer(check: signatures._Check, commits: list[SignedCommit]) -> signatures.Signer:
        verified.append(all(each.poll() is not None for each in readers))
        return verify(check, commits)

    monkeypatch.setattr(Git, "reader", reader)
    monkeypatch.setattr(signatures._Check, "signer", signer)
    monkeypatch.setattr(signatures, "_AT_ONCE", 1)
    applied = signing.commit(keys["alice"])
    signing.commit(keys["bob"])
    signing.commit(keys["alice"])
    assert fetched(origin, allowed, applied).signer == ALICE
    assert verified == [True, True]


def test_a_merge_that_swaps_its_parents_hides_nothing(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    base = origin.git("rev-parse", "HEAD")
    applied = signing.commit(keys["alice"])
    origin.git("checkout", "--quiet", "-b", "other", base)
    unsigned = origin.commit({"other.yml": "retry: 2\n"})
    signing.merge(keys["alice"], "main")
    origin.git("branch", "--force", "main", "other")
    assert f"commit {unsigned[:12]}" in refusal(origin, allowed, applied)


def test_a_history_without_a_common_start_may_be_merged_if_it_is_signed(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    applied = signing.commit(keys["alice"])
    origin.git("checkout", "--quiet", "--orphan", "other")
    signing.commit(keys["bob"])
    origin.git("merge", "--quiet", "--allow-unrelated-histories", "-s", "ours", "--no-ff", "main")
    origin.git("branch", "--force", "main", "other")
    assert "has no signature" in refusal(origin, allowed, applied)
    origin.git("reset", "--quiet", "--hard", "HEAD^1")
    signing.merge(keys["alice"], "--allow-unrelated-histories", "-s", "ours", "main")
    origin.git("branch", "--force", "main", "other")
    assert fetched(origin, allowed, applied).signer == ALICE


def test_a_rewritten_history_is_refused_although_it_is_signed(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    applied = signing.commit(keys["alice"])
    fetched(origin, allowed)
    origin.git("reset", "--quiet", "--hard", "HEAD^")
    commit = signing.commit(keys["bob"], "--message", "Another")
    with pytest.raises(Rewritten):
        fetched(origin, allowed, applied)
    assert fetched(origin, allowed).commit == commit


def git_accepts(origin: Origin, rules: SignatureRules) -> bool:
    settings = ("-c", f"gpg.ssh.allowedSignersFile={rules.allowed_signers}")
    words = ["git", "-C", str(origin.work), *settings, "verify-commit", "HEAD"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("option", ['valid-before="20200101"', 'valid-after="20190101",valid-before="20200101"'])
def test_an_expired_key_cannot_sign_with_an_old_date(
    origin: Origin, signing: Signing, key_files: KeyFiles, keys: dict[str, Path], option: str
) -> None:
    rules = key_files.rules(allowed_signers=f"{ALICE} {option} {public(keys['alice'])}\n")
    signing.commit(keys["alice"], date=OLD)
    assert git_accepts(origin, rules), "which is why a second check is needed"
    told = refusal(origin, rules)
    assert f"the key {key_print(keys['alice'])}, which is not allowed now: allowed_signers:1: key has expired" in told
    renewed = f'{ALICE} {option} {public(keys["alice"])}\n{ALICE} valid-after="20200101" {public(keys["alice"])}\n'
    assert fetched(origin, key_files.rules(allowed_signers=renewed)).signer == ALICE


@pytest.mark.parametrize("at_once", [1, 100])
def test_each_key_of_a_history_must_be_valid_now(
    origin: Origin, signing: Signing, key_files: KeyFiles, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch,
    at_once: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(signatures, "_AT_ONCE", at_once)
    expired = f'{BOB} valid-before="20200101" {public(keys["bob"])}\n'
    rules = key_files.rules(allowed_signers=f"{ALICE} {public(keys['alice'])}\n{expired}")
    applied = signing.commit(keys["alice"])
    bad = signing.commit(keys["bob"], date=OLD)
    signing.commit(keys["alice"])
    told = refusal(origin, rules, applied)
    assert f"commit {bad[:12]} " in told and f"{key_print(keys['bob'])}, which is not allowed now" in told


def test_a_key_signs_no_commit_of_a_time_before_it_was_allowed(
    origin: Origin, signing: Signing, key_files: KeyFiles, keys: dict[str, Path]
) -> None:
    rules = key_files.rules(allowed_signers=f'{ALICE} valid-after="20200101" {public(keys["alice"])}\n')
    signing.commit(keys["alice"], date=OLD)
    assert "which was not allowed when the commit was made" in refusal(origin, rules)


@pytest.mark.parametrize(
    ("signers", "is_allowed"),
    [
        ('{alice} namespaces="git" {key}', True),
        ('{alice} namespaces="file,git" {key}', True),
        ('{alice} namespaces="file" {key}', False),
        ("{alice},{bob} {key}", True),
        ("*@example.org {key}", True),
        ("# {alice} {key}", False),
        ("", False),
        ("{alice} {other}", False),
        ("{alice} cert-authority {key}", False),
        ("nonsense", False),
    ],
)
def test_a_key_may_sign_as_its_line_allows(
    origin: Origin, signing: Signing, key_files: KeyFiles, keys: dict[str, Path], signers: str, is_allowed: bool
) -> None:
    line = signers.format(alice=ALICE, bob=BOB, key=public(keys["alice"]), other=public(keys["mallory"]))
    rules = key_files.rules(allowed_signers=f"{line}\n")
    signing.commit(keys["alice"])
    if is_allowed:
        assert fetched(origin, rules).signing_key == key_print(keys["alice"])
    else:
        assert "which is not allowed now" in refusal(origin, rules)


def test_a_signature_for_another_purpose_does_not_sign_a_commit(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    payload = f"{origin.git('cat-file', 'commit', 'HEAD')}\n"
    for purpose in ("file", "git"):
        run("ssh-keygen", "-Y", "sign", "-n", purpose, "-f", keys["alice"], given=payload.encode())
        armored = run("ssh-keygen", "-Y", "sign", "-n", purpose, "-f", keys["alice"], given=payload.encode())
        before = origin.git("rev-parse", "HEAD")
        signing.with_header("gpgsig", armored)
        if purpose == "git":
            assert fetched(origin, allowed).signer == ALICE
        else:
            assert "which is not allowed now" in refusal(origin, allowed)
            origin.git("reset", "--quiet", "--hard", before)


def test_a_certificate_signs_while_it_is_valid(
    origin: Origin, signing: Signing, key_files: KeyFiles, tmp_path: Path
) -> None:
    authority, key = ssh_key(tmp_path / "authority"), ssh_key(tmp_path / "carol")
    rules = key_files.rules(allowed_signers=f"*@example.org cert-authority {public(authority)}\n")
    for validity, is_valid in (("20190101:20200101", False), ("20190101:20990101", True)):
        run("ssh-keygen", "-q", "-s", authority, "-I", "carol", "-n", ALICE, "-V", validity, f"{key}.pub")
        run("cp", f"{key}-cert.pub", tmp_path / "signs.pub")
        run("cp", key, tmp_path / "signs")
        signing.commit(tmp_path / "signs.pub", date=OLD)
        assert git_accepts(origin, rules)
        if is_valid:
            assert fetched(origin, rules).signer == ALICE
        else:
            assert "which is not allowed now" in refusal(origin, rules)
    for line in (public(authority), key_print(authority)):
        revoked = key_files.rules(
            allowed_signers=f"*@example.org cert-authority {public(authority)}\n", revoked=f"{line}\n"
        )
        assert "`revoked` lists it" in refusal(origin, revoked)


def krl(folder: Path, key: Path) -> bytes:
    run("ssh-keygen", "-q", "-k", "-f", folder / "krl", f"{key}.pub")
    return (folder / "krl").read_bytes()


def test_other_lines_of_the_file_may_be_anything(
    origin: Origin, signing: Signing, key_files: KeyFiles, keys: dict[str, Path]
) -> None:
    odd = f"x ssh-ed25519 AAAAA\n\\udcff ssh-rsa\n\na\xe9 {public(keys['alice'])}\n"
    rules = key_files.rules(allowed_signers=odd, revoked=f"{key_print(keys['mallory'])}\n")
    Path(str(rules.allowed_signers)).write_bytes(odd.encode("latin-1"))
    signing.commit(keys["alice"])
    assert fetched(origin, rules).signer == r"a\udce9"


@pytest.mark.parametrize("form", ["key", "fingerprint", "list", "commented"])
def test_a_revoked_key_cannot_sign(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path], tmp_path: Path, form: str
) -> None:
    revoked = tmp_path / "etc" / "revoked"
    content = {
        "key": f"# Left in 2025\n{public(keys['mallory'])}\n  {public(keys['alice'])} alice\n".encode(),
        "commented": f"{key_print(keys['alice'])}  # the lost laptop\n".encode(),
        "fingerprint": f"{key_print(keys['alice'])}\n".encode(),
        "list": krl(tmp_path, keys["alice"]),
    }
    revoked.write_bytes(content[form])
    rules = allowed._replace(revoked=str(revoked))
    signing.commit(keys["bob"])
    assert fetched(origin, rules).signer == BOB
    signing.commit(keys["alice"], date=OLD)
    assert "`revoked` lists" in refusal(origin, rules)


def test_a_line_without_a_key_is_an_error_in_the_list_of_revoked_keys(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path], key_files: KeyFiles
) -> None:
    (key_files.folder / "revoked").write_text(f"{public(keys['mallory'])}\nalice@example.org\n")
    signing.commit(keys["bob"])
    told = refusal(origin, allowed._replace(revoked=str(key_files.folder / "revoked")))
    assert f"{key_files.folder}/revoked:2: `alice@example.org` is not a key or a fingerprint." in told


def test_signers_in_the_repository_are_not_trusted(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    signers = f"mallory@example.org {public(keys['mallory'])}\n"
    (origin.work / "allowed_signers").write_text(signers)
    (origin.work / ".gitconfig").write_text('[gpg "ssh"]\nallowedSignersFile = allowed_signers\n')
    signing.commit(keys["mallory"])
    assert f"the key {key_print(keys['mallory'])}, which is not allowed now" in refusal(origin, allowed)


def test_an_altered_commit_is_refused(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    applied = signing.commit(keys["alice"])
    signing.commit(keys["alice"])
    signing.with_header("", "", ("A change", "Another"))
    assert "not allowed now: Signature verification failed" in refusal(origin, allowed)
    signing.commit(keys["alice"])
    told = refusal(origin, allowed, applied)
    assert "has a signature that does not match it" in told, "only git verifies all commits of a key"


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ("gpgsig", "has several signatures"),
        ("gpgsig-sha256", "has several signatures"),
        ("gpgsig-other", "has several signatures"),
    ],
)
def test_a_second_signature_is_refused(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path], extra: str, why: str
) -> None:
    signing.commit(keys["alice"])
    signing.with_header(extra, "-----BEGIN PGP SIGNATURE-----\n\nabcd\n-----END PGP SIGNATURE-----")
    assert why in refusal(origin, allowed)


@pytest.mark.parametrize(
    ("armored", "why"),
    [
        ("-----BEGIN SIGNED MESSAGE-----\nabcd\n-----END SIGNED MESSAGE-----", "neither one of SSH nor one of OpenPGP"),
        ("-----BEGIN PGP MESSAGE-----\n\nabcd\n-----END PGP MESSAGE-----", "neither one of SSH nor one of OpenPGP"),
        ("-----BEGIN SSH SIGNATURE-----\nabcd\n-----END SSH SIGNATURE-----", "neither one of SSH nor one of OpenPGP"),
        ("-----BEGIN SSH SIGNATURE-----\nabcd", "neither one of SSH nor one of OpenPGP"),
        ("-----BEGIN PGP SIGNATURE-----\n\nwgA=\n-----END PGP SIGNATURE-----", "is signed with OpenPGP"),
        ("", "neither one of SSH nor one of OpenPGP"),
    ],
)
def test_a_signature_of_another_kind_is_refused(
    origin: Origin, signing: Signing, allowed: SignatureRules, armored: str, why: str
) -> None:
    signing.with_header("gpgsig", armored)
    assert why in refusal(origin, allowed)


def test_a_signature_that_hides_a_parent_is_refused(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    signing.commit(keys["alice"])
    content = origin.git("cat-file", "commit", "HEAD")
    signature = re.search(r"gpgsig .*?END SSH SIGNATURE-----\n(?: \n)?", content, re.DOTALL)
    assert signature
    moved = content.replace(signature[0], "").replace("parent ", f"{signature[0]}parent ")
    commit = signing.write(f"{moved}\n")
    assert origin.git("rev-list", commit) == commit, "git sees no parent"
    settings = ("-c", f"gpg.ssh.allowedSignersFile={allowed.allowed_signers}")
    assert origin.git(*settings, "log", "-1", "--format=%G?", commit) == "G", "and a good signature"
    assert "does not begin with the headers that git writes" in refusal(origin, allowed)


def test_two_signatures_in_one_header_are_refused(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    signing.commit(keys["alice"])
    content = origin.git("cat-file", "commit", "HEAD")
    armored = re.search(r"gpgsig (-----BEGIN.*?END SSH SIGNATURE-----)", content, re.DOTALL)
    assert armored
    signing.write(content.replace(armored[1], f"{armored[1]}\n {armored[1]}") + "\n")
    assert "neither one of SSH" in refusal(origin, allowed)


def test_a_signature_in_the_message_does_not_count(origin: Origin, signing: Signing, allowed: SignatureRules) -> None:
    signing.commit(None, "--message", "x\n\ngpgsig -----BEGIN SSH SIGNATURE-----\n a\n -----END SSH SIGNATURE-----")
    assert "has no signature" in refusal(origin, allowed)


def test_a_huge_commit_is_not_given_to_programs(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "message").write_text("A line\n" * 200_000)
    signing.commit(keys["alice"], "--file", str(tmp_path / "message"))
    assert "is larger than 262144 bytes" in refusal(origin, allowed)


def test_a_commit_in_another_encoding_is_verified(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "message").write_bytes("Grüße\n".encode("latin-1"))
    origin.git("config", "i18n.commitEncoding", "ISO-8859-1")
    signing.commit(keys["alice"], "--file", str(tmp_path / "message"))
    assert origin.git("log", "-1", "--format=%e") == "ISO-8859-1"
    assert fetched(origin, allowed).signer == ALICE


def test_the_author_of_a_refused_commit_is_printable(origin: Origin, signing: Signing, allowed: SignatureRules) -> None:
    signing.commit(None, "--message", "x", "--author", "Al \x1b[31m\u202eice <a@x>")
    assert "given as `Al \\x1b[31m\\u202eice <a@x>`" in refusal(origin, allowed)


def test_a_repository_of_sha_256_is_verified(tmp_path: Path, allowed: SignatureRules, keys: dict[str, Path]) -> None:
    other = Origin.__new__(Origin)
    other.work, other.checkout = tmp_path / "sha256", tmp_path / "checkout-sha256"
    run("git", "init", "--quiet", "--object-format=sha256", "--initial-branch=main", other.work)
    (other.work / "debian.yml").touch()
    applied = Signing(other).commit(keys["alice"])
    assert fetched(other, allowed).signer == ALICE
    Signing(other).commit(keys["bob"])
    assert fetched(other, allowed, applied).signer == BOB
    Signing(other).commit()
    assert "has no signature" in refusal(other, allowed, applied)


def test_replaced_objects_are_not_looked_at(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    applied = signing.commit(keys["alice"])
    unsigned = signing.commit()
    fetched(origin, allowed, unsigned)
    origin.git("reset", "--quiet", "--hard", applied)
    signed = signing.commit(keys["alice"])
    fetched(origin, allowed, applied)
    origin.git("reset", "--quiet", "--hard", unsigned)
    run("git", f"--git-dir={origin.checkout}/repository.git", "replace", unsigned, signed)
    assert "has no signature" in refusal(origin, allowed, applied)


def test_a_graft_hides_no_commit(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    applied = signing.commit(keys["alice"])
    signing.commit()
    head = signing.commit(keys["alice"])
    fetched(origin, allowed._replace(require="head"), applied)
    info = origin.checkout / "repository.git" / "info"
    info.mkdir(exist_ok=True)
    (info / "grafts").write_text(f"{head} {applied}\n")
    with pytest.raises(Exception, match=r"no signature|damaged"):
        fetched(origin, allowed, applied)


def test_a_list_of_commits_that_leaves_one_out_is_damage(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = signing.commit(keys["alice"])
    signing.commit()
    head, first = signing.commit(keys["alice"]), applied
    for listed in ([head, first], [first]):
        monkeypatch.setattr(signatures, "_new_commits", lambda *_words, listed=listed: listed)
        with pytest.raises(Unfetched, match=rf"the history of the commit {head} is damaged"):
            fetched(origin, allowed, applied)


def test_a_shallow_repository_is_verified_up_to_the_revision_in_force(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path], tmp_path: Path
) -> None:
    signing.commit(keys["alice"])
    applied = signing.commit(keys["alice"])
    fetched(origin, allowed)
    signing.commit(keys["bob"])
    unsigned, clone = signing.commit(), tmp_path / "clone"

    def shallow(depth: int) -> None:
        run("rm", "-rf", clone)
        run("git", "clone", "--quiet", f"--depth={depth}", origin.work.as_uri(), clone)

    other = origin.record._replace(url=clone.as_uri(), verify_signatures=allowed)
    shallow(2)
    with pytest.raises(Unverified, match=f"commit {unsigned[:12]}"):
        fetch(other, origin.checkout, applied)
    origin.git("reset", "--quiet", "--hard", "HEAD^")
    signing.commit(keys["alice"])
    shallow(2)
    assert fetch(other, origin.checkout, applied).signer == ALICE


@pytest.mark.parametrize("format_of_git", ["ssh", "openpgp"])
def test_no_settings_of_a_user_choose_a_program(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, format_of_git: str,
) -> None:  # fmt: skip
    accepted = signing.commit(keys["alice"])
    signing.commit(keys["mallory"])
    program, mark = tmp_path / "evil", tmp_path / "mark"
    good = f'Good "git" signature for {ALICE} with ED25519 key SHA256:x'
    program.write_text(f"#!/bin/sh\ntouch {mark}\necho '{good}'\n")
    program.chmod(0o755)
    for name in ("ssh-keygen", "gpg"):
        (tmp_path / name).symlink_to(program)
    (tmp_path / ".gitconfig").write_text(
        f'[gpg]\nprogram = {program}\nformat = {format_of_git}\n[gpg "ssh"]\nprogram = {program}\n'
        f'[gpg "openpgp"]\nprogram = {program}\n[log]\nshowSignature = true\n'
        "[i18n]\nlogOutputEncoding = UTF-16\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "which is not allowed now" in refusal(origin, allowed)
    origin.git("update-ref", "refs/heads/main", accepted)
    assert fetched(origin, allowed).signer == ALICE
    assert not mark.exists()


def test_leftovers_of_a_killed_check_are_removed(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path]
) -> None:
    signing.commit(keys["alice"])
    left = origin.checkout / "signatures-x" / "gnupg"
    left.mkdir(parents=True)
    fetched(origin, allowed)
    assert not left.parent.exists()


def test_a_missing_program_is_named(
    origin: Origin, signing: Signing, allowed: SignatureRules, keys: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    signing.commit(keys["alice"])
    monkeypatch.setattr(signatures, "_PROGRAM_FOLDERS", str(tmp_path))
    told = refusal(origin, allowed)
    assert "the program `ssh-keygen` is not installed" in told
    assert told.endswith("Install the package `openssh-client`.")


def test_a_fetch_without_the_setting_imports_nothing_for_it(origin: Origin) -> None:
    lines = (
        "import sys; from pathlib import Path; from schemas.git.repository import fetch",
        f"from schemas.records import Repository; fetch(Repository({origin.work.as_uri()!r}), Path(sys.argv[1]))",
        "print([name for name in sys.modules if 'signat' in name or 'trusted' in name or 'signed' in name])",
    )
    assert run(sys.executable, "-c", "\n".join(lines), origin.checkout) == "[]"
