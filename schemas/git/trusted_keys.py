"""The keys that may sign, as programs get them: copies in a private folder, which one check alone uses.

The files are judged, read once and copied, so that all programs of a check see the same keys. GnuPG gets a home of its
own with these keys only: no key, setting, agent or network of a user takes part.
"""

import binascii
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from schemas.errors import SkipjackError
from schemas.git.checkout import KEY_FOLDER
from schemas.git.signed_commit import ssh_print
from schemas.problems import shown
from schemas.records import SignatureRules
from schemas.trusted_files import names_in_trusted, read_trusted

_MOST_BYTES = 4 * 1024 * 1024
"""Bytes of a file with keys at most. A revocation list of OpenSSH grows with each key."""

_MOST_KEY_FILES = 200
_KEY_FILES = (".asc", ".gpg", ".pgp")

_KRL = b"SSHKRL\n\0"
_SSH_KEY = re.compile(rb"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ +[A-Za-z0-9+/]+=*( .*)?")
_SSH_PRINT = re.compile(rb"SHA256:[A-Za-z0-9+/]{43}")
_KEY_IN_LINE = re.compile(rb"(?:ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+[ \t]+([A-Za-z0-9+/]+=*)")
_OPENPGP_PRINT = re.compile(rb"(0x)?([0-9A-Fa-f]{64}|[0-9A-Fa-f]{40})")

_GPG_CONF = """\
batch
no-tty
no-autostart
disable-dirmngr
no-auto-key-retrieve
no-auto-key-locate
no-auto-check-trustdb
no-random-seed-file
lock-never
trust-model always
weak-digest SHA1
weak-digest RIPEMD160
"""
"""Every key in this home may sign. Nothing is started and nothing is fetched."""


class TrustedKeys(NamedTuple):
    """The files for the programs of one check, in `folder`.

    `allowed_signers` is None without the setting. `key_files` are the files of the keyring by name. `revoked_keys` is
    for OpenSSH, and `revoked_prints` has the fingerprints of other revoked keys, without spaces, as git prints them.
    """

    folder: Path
    allowed_signers: Path | None
    key_files: tuple[tuple[str, Path], ...]
    revoked_keys: Path | None
    revoked_prints: frozenset[str]

    @property
    def gpg_home(self) -> Path:
        """The home of GnuPG, in which no key is imported yet."""
        return self.folder / "gnupg"


@contextmanager
def copied(rules: SignatureRules, place: Path) -> Iterator[TrustedKeys]:
    """Copy the keys into a private folder in `place`, which is removed at the end.

    Raises SkipjackError if a file is unreadable, or if others than root and the owner of the settings can change it.
    """
    folder = Path(tempfile.mkdtemp(prefix=KEY_FOLDER, dir=place))
    try:
        yield _copies(rules, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copies(rules: SignatureRules, folder: Path) -> TrustedKeys:
    (folder / "gnupg").mkdir(mode=0o700)
    (folder / "gnupg/gpg.conf").write_text(_GPG_CONF, "ascii")
    allowed = revoked = None
    if rules.allowed_signers:
        allowed = folder / "allowed_signers"
        allowed.write_bytes(read_trusted(rules.allowed_signers, rules.owner, _MOST_BYTES))
    keys, prints = b"", frozenset[str]()
    if rules.revoked:
        keys, prints = _revocations(rules.revoked, read_trusted(rules.revoked, rules.owner, _MOST_BYTES))
    # OpenSSH compares keys, those of authorities as well; a fingerprint alone would not revoke what one has certified.
    keys += b"".join(_keys_with(prints, allowed.read_bytes())) if allowed else b""
    if keys:
        revoked = folder / "revoked"
        revoked.write_bytes(keys)
    return TrustedKeys(folder, allowed, _key_files(rules, folder), revoked, prints)


def _key_files(rules: SignatureRules, folder: Path) -> tuple[tuple[str, Path], ...]:
    if not rules.keyring:
        return ()
    names = [name for name in names_in_trusted(rules.keyring, rules.owner) if name.endswith(_KEY_FILES)]
    if not names or len(names) > _MOST_KEY_FILES:
        what = f"the folder {rules.keyring} has {len(names) or 'no'} files with keys (`*.asc`, `*.gpg`, `*.pgp`)."
        todo = f"Export each key into a file: `gpg --armor --export KEY > {rules.keyring}/NAME.asc`."
        raise SkipjackError(what, todo if not names else f"At most {_MOST_KEY_FILES} are read.")
    copies = []
    for number, name in enumerate(names):
        copy = folder / f"key-{number}"
        copy.write_bytes(read_trusted(f"{rules.keyring}/{name}", rules.owner, _MOST_BYTES))
        copies.append((shown(name), copy))
    return tuple(copies)


def _keys_with(prints: Collection[str], signers: bytes) -> Iterator[bytes]:
    """Yield the lines of those keys in a file of allowed signers that have one of the fingerprints."""
    for found in _KEY_IN_LINE.finditer(signers):
        with suppress(binascii.Error):  # then OpenSSH rejects the line
            if ssh_print(binascii.a2b_base64(found[1])) in prints:
                yield found[0] + b"\n"


def _revocations(path: str, data: bytes) -> tuple[bytes, frozenset[str]]:
    """Return the revoked keys in a form for OpenSSH, and the fingerprints. Raises SkipjackError for any other line."""
    if data.startswith(_KRL):
        return data, frozenset()
    keys, prints = [], set()
    for number, line in enumerate(data.splitlines(), start=1):
        text = line.partition(b"#")[0].strip() if not _SSH_KEY.fullmatch(line.strip()) else line.strip()
        bare = text.replace(b" ", b"")
        if _SSH_KEY.fullmatch(text):
            keys.append(text + b"\n")
        elif _SSH_PRINT.fullmatch(text):
            prints.add(text.decode())
        elif found := _OPENPGP_PRINT.fullmatch(bare):
            prints.add(found[2].decode().upper())
        elif text:
            what = f"{path}:{number}: `{shown(text.decode('utf-8', 'replace'))}` is not a key or a fingerprint."
            todo = "Write a public key of SSH, its fingerprint `SHA256:…`, or all digits of an OpenPGP fingerprint."
            raise SkipjackError(what, todo)
    return b"".join(keys), frozenset(prints)
