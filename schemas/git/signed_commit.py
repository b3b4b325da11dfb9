"""What does a commit object say about its parent, its author and its signature? Nothing here is verified."""

import binascii
import hashlib
import re
from base64 import b64decode, b64encode
from typing import NamedTuple

from schemas.problems import shown

MOST_BYTES = 256 * 1024
"""Bytes of a commit at most whose signature is verified: programs get all of it."""

SSH, OPENPGP = "ssh", "openpgp"
"""Formats of signatures, named as in git's setting `gpg.format`."""

_ARMOR = {
    SSH: re.compile(rb"-----BEGIN SSH SIGNATURE-----\n((?:[A-Za-z0-9+/=]+\n)+)-----END SSH SIGNATURE-----\n"),
    OPENPGP: re.compile(rb"-----BEGIN PGP SIGNATURE-----\n((?:(?!-----)[^\n]*\n)+)-----END PGP SIGNATURE-----\n"),
}
"""One signature and nothing else. git verifies the first of several, and programs differ in which one they read."""

_ARMORED_DATA = re.compile(rb"([A-Za-z0-9+/]+={0,2})(=[A-Za-z0-9+/]{4})?")
"""The lines of an OpenPGP armor, joined: data in base64, and perhaps its checksum."""

_OLD_SIGNATURE, _NEW_SIGNATURE = range(0x88, 0x8B), 0xC2
"""The first byte of a signature packet of OpenPGP, by the two forms of its length (RFC 4880, section 4.2)."""

_AS_GIT_WRITES = re.compile(rb"tree [0-9a-f]+\n(parent [0-9a-f]+\n)*author [^\n]*\ncommitter [^\n]*\n")
"""The first headers. git ignores a parent that does not follow directly, although it is signed."""

_AUTHOR = re.compile(rb"^author (.*?)(?: [+-]?\d+ [+-]\d+)?$", re.M)
_PARENT = re.compile(rb"tree [0-9a-f]+\nparent ([0-9a-f]{40,64})\n")
_SSH_MAGIC = b"SSHSIG\0\0\0\1"


class SignedCommit(NamedTuple):
    """A commit as its object shows it.

    - `parent`: its first parent, None if it has none. `author`: for messages.
    - `form`: the format of its signature; empty if it has no usable one, for the reason in `fault`.
    - `payload`: what is signed. `key`: the public key in an SSH signature, or its certificate.
    """

    name: str
    parent: str | None
    author: str
    fault: str = ""
    form: str = ""
    signature: bytes = b""
    payload: bytes = b""
    key: bytes = b""

    @property
    def key_print(self) -> str:
        """The fingerprint of the key or certificate in an SSH signature."""
        return ssh_print(self.key)


def ssh_print(key: bytes) -> str:
    """Return the fingerprint of a public SSH key, as `ssh-keygen -l` shows it."""
    return "SHA256:" + b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def parse(name: str, data: bytes) -> SignedCommit:
    """Return what a commit object of at most MOST_BYTES shows; a longer one has a `fault`."""
    parent, author = _PARENT.match(data), _AUTHOR.search(data)
    found = SignedCommit(
        name, parent[1].decode() if parent else None, shown(author[1].decode("utf-8", "replace") if author else "")
    )
    if len(data) > MOST_BYTES:
        return found._replace(fault=f"is larger than {MOST_BYTES} bytes")
    signatures, payload = _split(data)
    if not signatures:
        return found._replace(fault="has no signature")
    if not _AS_GIT_WRITES.match(data):
        return found._replace(fault="does not begin with the headers that git writes, in their order")
    if len(signatures) > 1:
        return found._replace(fault="has several signatures")
    return _with_signature(found._replace(payload=payload), *signatures[0])


def _split(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the headers with signatures, each with its value, and the commit without them."""
    head, rest = data.partition(b"\n\n")[::2]
    signatures: list[tuple[bytes, bytes]] = []
    kept, in_signature = [], False
    for line in head.split(b"\n"):
        key, _space, value = line.partition(b" ")
        if key.startswith(b"gpgsig"):
            in_signature = True
            signatures.append((key, value + b"\n"))
        elif in_signature and not key:
            last, so_far = signatures[-1]
            signatures[-1] = (last, so_far + value + b"\n")
        else:
            in_signature = False
            kept.append(line)
    return signatures, b"\n".join(kept) + b"\n\n" + rest


def _with_signature(found: SignedCommit, header: bytes, armored: bytes) -> SignedCommit:
    """Return a commit with its only signature."""
    # git reads the header that belongs to the kind of hashes of the repository.
    if header != (b"gpgsig" if len(found.name) == len("0" * 40) else b"gpgsig-sha256"):
        return found._replace(fault=f"has its signature in the header `{shown(header.decode('utf-8', 'replace'))}`")
    # Some programs end the header with an empty line.
    armored = armored.rstrip(b"\n") + b"\n"
    for form, pattern in _ARMOR.items():
        if match := pattern.fullmatch(armored):
            key = _ssh_key(match[1]) if form == SSH else _openpgp_key(match[1])
            if key is not None:
                return found._replace(form=form, signature=armored, key=key)
    return found._replace(fault="has a signature that is neither one of SSH nor one of OpenPGP")


def _openpgp_key(text: bytes) -> bytes | None:
    """Return no key if an OpenPGP armor has one signature packet; None if it has anything else.

    gpg would unpack compressed data to any size, and look for the signature in it.
    """
    lines = [line.rstrip(b" \t\r") for line in text.split(b"\n")]
    data = _ARMORED_DATA.fullmatch(b"".join(lines[lines.index(b"") + 1 :]))
    try:
        packet = b64decode(data[1], validate=True) if data else b""
    except binascii.Error:
        return None
    return b"" if packet and _packet_end(packet) == len(packet) else None


def _packet_end(data: bytes) -> int:
    """Return where a signature packet at the beginning of some bytes ends; 0 if there is none of a known length."""
    first, second = data[0], int.from_bytes(data[1:2], "big")
    if first in _OLD_SIGNATURE:
        start = 1 + (1 << first % 4)
        return start + int.from_bytes(data[1:start], "big")
    if first != _NEW_SIGNATURE or 224 <= second < 255:
        return 0
    if second == 255:
        return 6 + int.from_bytes(data[2:6], "big")
    return 2 + second if second < 192 else 3 + int.from_bytes(data[1:3], "big") - 0xC000 + 192


def _ssh_key(text: bytes) -> bytes | None:
    """Return the public key in an SSH signature; None if it is malformed (see PROTOCOL.sshsig of OpenSSH)."""
    try:
        blob = b64decode(text.replace(b"\n", b""), validate=True)
    except binascii.Error:
        return None
    start = len(_SSH_MAGIC) + 4
    end = start + int.from_bytes(blob[len(_SSH_MAGIC) : start], "big")
    return blob[start:end] if blob.startswith(_SSH_MAGIC) and start < end <= len(blob) else None
