"""Which webhooks are from a forge that has our secret? Their header and the bytes of the body show it."""

import hashlib
import hmac
from collections.abc import AsyncIterable, Mapping

TOKEN = "x-gitlab-token"  # noqa: S105 - the name of a header
"""GitLab sends the secret itself."""

_PREFIX = b"sha256="
_SIGNED = ("x-hub-signature-256", "x-gitea-signature", "x-forgejo-signature")
"""The HMAC-SHA256 of the body in hexadecimal. GitHub sends the first one; Gitea and Forgejo also one of their own."""


def is_signed(headers: Mapping[str, str]) -> bool:
    """Return whether a request has a signature or a token, genuine or not."""
    return any(name in headers for name in (TOKEN, *_SIGNED))


async def is_genuine(headers: Mapping[str, str], body: AsyncIterable[bytes], secret: str) -> bool:
    """Return whether one of the signatures, or the token, was made with the secret. Compares in constant time.

    Anyone can send a body, so none of it is kept.
    """
    mac = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    async for part in body:
        mac.update(part)
    signature = mac.hexdigest().encode()
    if hmac.compare_digest(_sent(headers, TOKEN), secret.encode()):
        return True
    return any(hmac.compare_digest(_sent(headers, name).removeprefix(_PREFIX), signature) for name in _SIGNED)


def _sent(headers: Mapping[str, str], name: str) -> bytes:
    return headers.get(name, "").encode("latin-1")
