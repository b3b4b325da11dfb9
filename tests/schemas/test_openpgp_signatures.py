"""Revisions are followed only if allowed keys have signed them: OpenPGP."""

import base64
import contextlib
import os
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from schemas.git.repository import Unverified, fetch
from schemas.git.signed_commit import OPENPGP, parse
from schemas.records import SignatureRules

from .conftest import Origin
from .signing import ALICE, GpgHome, KeyFiles, Signing, gpg_home, public, run, ssh_key

PAST = ("--faked-system-time", "20190601T120000!")


class GpgKeys(NamedTuple):
    """A home of GnuPG with keys, by the names of their owners."""

    home: GpgHome
    prints: dict[str, str]


@pytest.fixture(scope="module")
def keys() -> Iterator[GpgKeys]:
    """OpenPGP keys: one that is valid, one that has expired, one that is not allowed."""
    with gpg_home() as home:
        prints = {name: home.key(name) for name in ("alice", "mallory")}
        prints["expired"] = home.key("expired", *PAST, expires="2019-12-31")
        home.gpg("--quick-add-key", prints["alice"], "ed25519", "sign", "never")
        lines = home.gpg("--with-colons", "--list-keys", prints["alice"]).splitlines()
        prints["subkey"] = [line.split(":")[9] for line in lines if line.startswith("fpr:")][-1]
        yield GpgKeys(home, prints)


@pytest.fixture
def rules(tmp_path: Path, keys: GpgKeys) -> SignatureRules:
    """The setting that allows the keys of Alice, and the expired one."""
    ring = tmp_path / "etc" / "keyring"
    ring.mkdir(parents=True)
    for name in ("alice", "expired"):
        (ring / f"{name}.asc").write_text(keys.home.exported(keys.prints[name]))
    (ring / "README").write_text("Only files with keys are read.\n")
    return SignatureRules(keyring=str(ring), owner=os.geteuid())


def signed(origin: Origin, keys: GpgKeys, name: str, *options: str) -> str:
    """Make a commit that a key signs."""
    Signing(origin).commit()
    content = f"{origin.git('cat-file', 'commit', 'HEAD')}\n"
    return Signing(origin).with_header("gpgsig", keys.home.signed(content, keys.prints[name], *options))


def refusal(origin: Origin, rules: SignatureRules) -> str:
    with pytest.raises(Unverified) as caught:
        fetch(origin.record._replace(verify_signatures=rules), origin.checkout)
    assert not list(origin.checkout.glob("signatures-*"))
    return str(caught.value)


@pytest.mark.parametrize("name", ["alice", "subkey"])
def test_an_allowed_key_signs(
    origin: Origin, keys: GpgKeys, rules: SignatureRules, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "none"))
    commit = signed(origin, keys, name)
    found = fetch(origin.record._replace(verify_signatures=rules), origin.checkout)
    assert (found.commit, found.signing_key) == (commit, keys.prints[name])
    assert found.signer == "alice <alice@example.org>"
    assert not (tmp_path / "none").exists()
    assert not list(origin.checkout.glob("signatures-*"))
    assert not agents(origin.checkout)


def agents(folder: Path) -> list[bytes]:
    """Return the command lines of processes that name a folder of keys in a checkout."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            lines.append((process / "cmdline").read_bytes())
    return [line for line in lines if f"{folder}/signatures-".encode() in line]


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("mallory", (), ", which is not in `keyring`"),
        ("expired", PAST, "has expired"),
        ("alice", ("--digest-algo", "SHA1", "--allow-weak-digest-algos"), "weak algorithm such as SHA-1"),
    ],
    ids=["unknown", "expired", "SHA-1"],
)
def test_other_signatures_are_refused(
    origin: Origin, keys: GpgKeys, rules: SignatureRules, name: str, options: tuple[str, ...], why: str
) -> None:
    signed(origin, keys, name, *options)
    told = refusal(origin, rules)
    assert why in told
    assert name != "mallory" or f"is signed by the key {keys.prints[name][-16:]}" in told


def test_an_expired_signature_is_refused(origin: Origin, keys: GpgKeys, rules: SignatureRules) -> None:
    home = keys.home
    key = home.key("old", *PAST)
    Path(str(rules.keyring), "old.asc").write_text(home.exported(key))
    keys.prints["old"] = key
    signed(origin, keys, "old", *PAST, "--default-sig-expire", "1d")
    assert "has an expired signature" in refusal(origin, rules)


def test_a_revoked_key_is_refused(origin: Origin, keys: GpgKeys, rules: SignatureRules) -> None:
    signed(origin, keys, "alice")
    certificate = (keys.home.folder / "openpgp-revocs.d" / f"{keys.prints['alice']}.rev").read_text()
    Path(str(rules.keyring), "a-revocation.asc").write_text(certificate.replace(":-----BEGIN", "-----BEGIN"))
    assert "is signed by" in (told := refusal(origin, rules))
    assert "which is revoked" in told


@pytest.mark.parametrize("name", ["alice", "subkey"])
@pytest.mark.parametrize("spelling", ["{}\n", "# gone\n0x{}  # Alice\n", "spaces"])
def test_a_fingerprint_revokes_a_key_and_its_subkeys(
    origin: Origin, keys: GpgKeys, rules: SignatureRules, tmp_path: Path, name: str, spelling: str
) -> None:
    found = keys.prints["alice"]
    spaced = " ".join(found[start : start + 4] for start in range(0, 40, 4)).lower()
    (tmp_path / "revoked").write_text(spaced if spelling == "spaces" else spelling.format(found))
    signed(origin, keys, name)
    told = refusal(origin, rules._replace(revoked=str(tmp_path / "revoked")))
    assert f"is signed by the key {keys.prints[name]}, which `revoked` lists" in told


def test_an_altered_commit_is_refused(origin: Origin, keys: GpgKeys, rules: SignatureRules) -> None:
    signed(origin, keys, "alice")
    Signing(origin).with_header("", "", ("A change", "Another"))
    assert "has a signature that does not match it" in refusal(origin, rules)


def test_two_signatures_are_refused(origin: Origin, keys: GpgKeys, rules: SignatureRules) -> None:
    signed(origin, keys, "alice", "--local-user", keys.prints["mallory"])
    assert "neither one of SSH nor one of OpenPGP" in refusal(origin, rules)


def test_compressed_data_is_not_unpacked(origin: Origin, keys: GpgKeys, rules: SignatureRules) -> None:
    Signing(origin).commit()
    content = f"{origin.git('cat-file', 'commit', 'HEAD')}\n"
    deflate = zlib.compressobj(wbits=-15)
    signature = keys.home.signed(content, keys.prints["alice"]).encode()
    raw = subprocess.run(["gpg", "--dearmor"], input=signature, capture_output=True, check=True).stdout
    packet = b"\xa3\1" + deflate.compress(raw) + deflate.flush()
    armored = f"-----BEGIN PGP SIGNATURE-----\n\n{base64.b64encode(packet).decode()}\n-----END PGP SIGNATURE-----"
    Signing(origin).with_header("gpgsig", armored)
    assert "neither one of SSH nor one of OpenPGP" in refusal(origin, rules)


@pytest.mark.parametrize("length", [b"\x88\3", b"\x89\0\3", b"\x8a\0\0\0\3", b"\xc2\3", b"\xc2\xff\0\0\0\3"])
def test_a_signature_is_one_packet(length: bytes) -> None:
    def form(packets: bytes) -> str:
        data = base64.b64encode(packets).decode()
        head = f"tree {'0' * 40}\nauthor A <a@example.org> 1 +0000\ncommitter A <a@example.org> 1 +0000\n"
        armored = f"-----BEGIN PGP SIGNATURE-----\n \n {data}\n -----END PGP SIGNATURE-----"
        return parse("0" * 40, f"{head}gpgsig {armored}\n\nA change\n".encode()).form

    assert form(length + b"abc") == OPENPGP
    for other in (length + b"ab", length + b"abcd", length * 2 + b"abc", length[:1], b"\xa3" + length, b"\xc2\xe3abc"):
        assert form(other) == ""
    assert form(b"\xc2\xc0\1" + b"a" * 193) == OPENPGP


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("alice.asc", "no key\n", "cannot import the keys in {ring}/alice.asc: "),
        ("alice.asc", "", "cannot import the keys in {ring}/alice.asc: "),
        (None, "", "the folder {ring} has no files with keys"),
    ],
    ids=["text", "empty", "none"],
)
def test_a_keyring_without_keys_is_refused(
    origin: Origin, keys: GpgKeys, rules: SignatureRules, name: str | None, content: str, why: str
) -> None:
    ring = Path(str(rules.keyring))
    for path in ring.iterdir():
        path.unlink()
    if name:
        (ring / name).write_text(content)
    signed(origin, keys, "alice")
    assert why.format(ring=ring) in refusal(origin, rules)


def test_commits_of_both_kinds_are_verified(
    origin: Origin, keys: GpgKeys, rules: SignatureRules, tmp_path: Path
) -> None:
    key = ssh_key(tmp_path / "key")
    both = KeyFiles(tmp_path / "etc").rules(allowed_signers=f"{ALICE} {public(key)}\n")._replace(keyring=rules.keyring)
    applied = origin.git("rev-parse", "HEAD")
    Signing(origin).commit(key)
    signed(origin, keys, "alice")
    record = origin.record._replace(verify_signatures=both)
    assert fetch(record, origin.checkout, applied).signing_key == keys.prints["alice"]
    Signing(origin).commit(key)
    assert fetch(record, origin.checkout, applied).signer == ALICE


def test_a_keyring_in_the_binary_form_is_read(origin: Origin, keys: GpgKeys, tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    ring.mkdir()
    run("gpg", "--batch", "--output", ring / "alice.gpg", "--export", keys.prints["alice"],
        GNUPGHOME=str(keys.home.folder))  # fmt: skip
    signed(origin, keys, "alice")
    rules = SignatureRules(keyring=str(ring), owner=os.geteuid())
    assert fetch(origin.record._replace(verify_signatures=rules), origin.checkout).signing_key == keys.prints["alice"]
