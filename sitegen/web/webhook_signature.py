"""Which webhooks are from a forge that has our secret? Their header and the bytes of the body show it."""

import hashlib
import hmac
from collections.abc import Mapping

TOKEN = "x-gitlab-token"  # noqa: S105 - the name of a header
"""GitLab sends the secret itself."""

_PREFIX = b"sha256="
_SIGNED = ("x-hub-signature-256", "x-gitea-signature", "x-forgejo-signature")
"""The HMAC-SHA256 of the body in hexadecimal. GitHub sends the first one; Gitea and Forgejo also one of their own."""


def is_signed(headers: Mapping[str, str]) -> bool:
    """Return whether a request has a signature or a token, genuine or not."""
    return any(name in headers for name in (TOKEN, *_SIGNED))


def is_genuine(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Return whether one of the signatures, or the token, was made with the secret. Compares in constant time."""
    key = secret.encode()
    signature = hmac.new(key, body, hashlib.sha256).hexdigest().encode()
    known = [(_sent(headers, TOKEN), key)]
    known += [(_sent(headers, name).removeprefix(_PREFIX), signature) for name in _SIGNED]
    return any(hmac.compare_digest(sent, right) for sent, right in known)


def _sent(headers: Mapping[str, str], name: str) -> bytes:
    return headers.get(name, "").encode("latin-1")
